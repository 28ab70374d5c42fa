"""Projections onto a line, a hyperplane, a halfspace and an affine set: one inner product, or one pseudo-inverse.

>>> import jax.numpy as jnp
>>> from gradx.projections import projection_hyperplane
>>> projection_hyperplane(jnp.array([1.0, 2.0]), jnp.array([1.0, 1.0]), 1.0)
Array([0., 1.], dtype=float32)
"""

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks, tree as tree_
from gradx.projections import common
from gradx.typing import PyTree


def projection_vector(x: PyTree, a: PyTree) -> PyTree:
    """Project onto the line through 0 and `a`: y = (⟨x, a⟩ / ⟨a, a⟩) a, inner products over all leaves together.

    `x` and `a` are pytrees of real arrays with the same leaves; the result has the floating dtypes of `x` (integers
    give float32). For a = 0 the line is the point 0: zeros, with finite derivatives.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> x = jnp.array([3.0, 1.0])
    >>> [round(x, 4) for x in projections.projection_vector(x, jnp.array([1.0, 1.0])).tolist()]
    [2.0, 2.0]
    """
    lifted, unit, _, square = _operands("projection_vector", x, a)
    weight = tree_.vdot(lifted, unit) / square
    return common.store(jax.tree.map(lambda leaf: weight * leaf, unit), x)


def projection_hyperplane(x: PyTree, a: PyTree, b: ArrayLike) -> PyTree:
    """Project onto the hyperplane ⟨a, y⟩ = b: y = x − (⟨a, x⟩ − b) / ⟨a, a⟩ · a, inner products over all leaves.

    `x` and `a` are pytrees of real arrays with the same leaves, `b` a scalar; the result has the floating dtypes of `x`
    (integers give float32). For a = 0 there is no hyperplane: x is given back.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> x = jnp.array([3.0, 1.0])
    >>> [round(x, 4) for x in projections.projection_hyperplane(x, jnp.array([1.0, 1.0]), 2.0).tolist()]
    [2.0, 0.0]
    """
    owner = "projection_hyperplane"
    lifted, unit, size, square = _operands(owner, x, a)
    excess = tree_.vdot(unit, lifted) - common.scalar(owner, "b", b, square.dtype) / size
    return common.store(_move(lifted, unit, excess / square), x)


def projection_halfspace(x: PyTree, a: PyTree, b: ArrayLike) -> PyTree:
    """Project onto the halfspace ⟨a, y⟩ ≤ b: y = x − max(⟨a, x⟩ − b, 0) / ⟨a, a⟩ · a, inner products over all leaves.

    `x` and `a` are pytrees of real arrays with the same leaves, `b` a scalar; the result has the floating dtypes of `x`
    (integers give float32). For a = 0 the set is everything or nothing: x is given back.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> x = jnp.array([3.0, 1.0])
    >>> [round(x, 4) for x in projections.projection_halfspace(x, jnp.array([1.0, 0.0]), 2.0).tolist()]
    [2.0, 1.0]
    """
    owner = "projection_halfspace"
    lifted, unit, size, square = _operands(owner, x, a)
    excess = tree_.vdot(unit, lifted) - common.scalar(owner, "b", b, square.dtype) / size
    return common.store(_move(lifted, unit, jnp.maximum(excess, 0) / square), x)


def projection_affine_set(x: ArrayLike, A: ArrayLike, b: ArrayLike) -> jax.Array:
    """Project onto the affine set {y : A y = b}: y = x − A⁺ (A x − b), with the pseudo-inverse A⁺.

    Rows of A that repeat or depend on each other do no harm. Where no y solves A y = b, the set is that of the least
    squares solutions. Derivatives with respect to A hold where its rank does not change nearby.

    Args:
      x: the point, of shape (n,); `jax.vmap` for several.
      A: the matrix, (m, n).
      b: the right-hand side, (m,).

    Returns the nearest point, (n,), in the floating dtype of `x` (an integer gives float32).

    Raises:
      ValueError: shapes that do not fit.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> A, b = jnp.array([[1.0, 1.0]]), jnp.array([2.0])
    >>> [round(x, 4) for x in projections.projection_affine_set(jnp.array([3.0, 1.0]), A, b).tolist()]
    [2.0, 0.0]
    """
    owner = "projection_affine_set"
    if np.ndim(x) != 1 or np.ndim(b) != 1 or np.shape(A) != (np.shape(b)[0], np.shape(x)[0]):
        shapes = f"x {np.shape(x)}, A {np.shape(A)} and b {np.shape(b)}"
        raise ValueError(f"{owner}: x must have shape (n,), A (m, n) and b (m,), got {shapes}")
    point, matrix, right = common.lift(owner, (x, A, b))
    if matrix.size == 0:
        return common.store(point, x)
    precision = jax.lax.Precision.HIGHEST
    excess = jnp.matmul(matrix, point, precision=precision) - right
    return common.store(point - jnp.matmul(jnp.linalg.pinv(matrix), excess, precision=precision), x)


def _operands(owner: str, x: PyTree, a: PyTree) -> tuple[PyTree, PyTree, jax.Array, jax.Array]:
    """Return x, u = a / size, size and ⟨u, u⟩, lifted, where size is about max |a|: no square is lost.

    For a = 0 the last is 1, so that the formulas divide by no zero.
    """
    checks.same_leaves(owner, "a", a, x, "x", dtypes=False)
    lifted, normal = common.lift(owner, (x, a))
    size = common.unit(normal)
    unit = jax.tree.map(lambda leaf: leaf / size, normal)
    square = tree_.vdot(unit, unit)
    return lifted, unit, size, jnp.where(square == 0, 1, square)


def _move(x: PyTree, direction: PyTree, step: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf, d: leaf - step * d, x, direction)
