"""The dominant eigenvalue and its eigenvector, by power iteration.

>>> import jax.numpy as jnp
>>> from gradx.linalg import power_iteration
>>> eigenvalue, vector = power_iteration(jnp.array([[2.0, 1.0], [1.0, 2.0]]))
>>> print(jnp.round(eigenvalue, 4), jnp.round(jnp.abs(vector), 4))
3.0 [0.7071 0.7071]
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.lax import Precision, PrecisionLike
from jax.typing import ArrayLike

from gradx import checks, numerics, tree
from gradx.linalg import sharding
from gradx.typing import PyTree, Range


def power_iteration(
    matrix: ArrayLike | Callable[[Any], Any],
    *,
    v0: PyTree | None = None,
    num_iters: ArrayLike = 100,
    error_tolerance: ArrayLike = 1e-6,
    precision: PrecisionLike = Precision.HIGHEST,
    key: jax.Array | None = None,
) -> tuple[jax.Array, Any]:
    """Find the eigenvalue of largest modulus: v <- M v / ‖M v‖, lambda = vᴴ M v.

    Args:
      matrix: (n, n), or a function from a tree like `v0` to its product with M (a Hessian-vector product, say).
      v0: (n,), or a tree; the start, needed with a function; None draws it in [-1, 1] from `key`.
      num_iters: most products after the first.
      error_tolerance: stop at ‖M v - lambda v‖ <= it times |lambda|.
      precision: of the products with an array.
      key: of `jax.random`; None is seed 0.

    Returns (lambda, v), ‖v‖ = 1, computed and given in float32 at least. `vmap` does a batch.

    Two eigenvalues of equal largest modulus and opposite sign: no convergence. The zero matrix: 0 and the
    start. A start of zero, or orthogonal to the eigenvector sought, stays so. inf or NaN in an array: NaN.
    Derivative: d lambda = vᴴ dM v at the v found, which is exact for symmetric and Hermitian matrices only; v
    is a constant to differentiation.
    An explicitly sharded array is gathered once; a function sees `v0`'s own sharding.
    Errors: ValueError for a matrix that is not square, a v0 of another length, or a function without v0.
    Reference: Golub and Van Loan, Matrix Computations, section 7.3.

    >>> from gradx import linalg
    >>> import jax.numpy as jnp
    >>> eigenvalue, vector = linalg.power_iteration(jnp.diag(jnp.array([4.0, 1.0])))
    >>> round(float(eigenvalue), 3), [round(abs(x), 3) for x in vector.tolist()]
    (4.0, [1.0, 0.0])
    """
    num_iters = checks.hyperparameter("power_iteration", "num_iters", num_iters, Range(low=0, integer=True))
    checks.hyperparameter("power_iteration", "error_tolerance", error_tolerance, Range(low=0.0))
    if callable(matrix) and checks.is_function(matrix):
        if v0 is None:
            raise ValueError("power_iteration: a matrix given as a function needs v0, a tree like its argument")
        start = jax.tree.map(lambda x: jnp.asarray(x).astype(numerics.at_least_float32(jnp.result_type(x))), v0)
        return _iterate(matrix, start, num_iters, error_tolerance)
    array, scale = scaled(sharding.gather(square("power_iteration", matrix)))
    product = functools.partial(jnp.matmul, array, precision=precision)
    start = sharding.gather(_start(v0, array, key), axes=1)
    eigenvalue, vector = _iterate(product, start, num_iters, error_tolerance)
    return scale.astype(eigenvalue.dtype) * eigenvalue, vector


def square(owner: str, matrix: Any) -> jax.Array:
    """Return `matrix` in float32 at least; refuse what is no (n, n) array."""
    matrix = jnp.asarray(matrix)
    if matrix.ndim != 2 or matrix.shape[0] != matrix.shape[1]:
        raise ValueError(f"{owner}: matrix must be (n, n), got {checks.describe(matrix)}; use vmap for a batch")
    return matrix.astype(numerics.at_least_float32(matrix.dtype))


def scaled(matrix: jax.Array, least: float = 0.0) -> tuple[jax.Array, jax.Array]:
    """Return (matrix / s, s), s the largest modulus of an entry or `least`: products then cannot overflow.

    s is a constant to differentiation, which changes no derivative of what is homogeneous in the matrix.
    """
    scale = jax.lax.stop_gradient(jnp.maximum(jnp.max(jnp.abs(matrix), initial=0.0), least))
    return numerics.safe_divide(matrix, scale.astype(matrix.dtype)), scale


def _start(v0: ArrayLike | None, matrix: jax.Array, key: jax.Array | None) -> jax.Array:
    size = matrix.shape[-1]
    if v0 is None:
        real = jnp.finfo(matrix.dtype).dtype
        uniform = jax.random.uniform(jax.random.key(0) if key is None else key, (size,), real, -1.0, 1.0)
        return uniform.astype(matrix.dtype)
    v0 = jnp.asarray(v0)
    if v0.shape != (size,):
        raise ValueError(f"power_iteration: v0 must be ({size},) as matrix is, got {checks.describe(v0)}")
    return v0.astype(matrix.dtype)


def _iterate(product: Callable, start: PyTree, num_iters: ArrayLike, tolerance: ArrayLike) -> tuple[jax.Array, PyTree]:
    def unconverged(state: tuple) -> jax.Array:
        v, mv, count = state
        eigenvalue = tree.vdot(v, mv)
        residual = tree.norm(jax.tree.map(lambda a, b: a - eigenvalue.astype(b.dtype) * b, mv, v))
        return (residual > tolerance * jnp.abs(eigenvalue)) & (count < num_iters)

    def advance(state: tuple) -> tuple:
        _, mv, count = state
        v = _unit(mv)
        return v, frozen(v), count + 1

    # The loop sees constants only: it could not be differentiated backwards otherwise, and need not be.
    start = jax.lax.stop_gradient(_unit(start))
    image = jax.lax.stop_gradient(tree.cast_like(product(start), start))
    start, image = numerics.vary_together(start, image)
    converted, constants = jax.closure_convert(lambda v: tree.cast_like(product(v), v), start)
    constants = jax.lax.stop_gradient(constants)

    def frozen(v: PyTree) -> PyTree:
        return converted(v, *constants)

    v, _, _ = jax.lax.while_loop(unconverged, advance, (start, image, 0))
    return tree.vdot(v, product(v)), v


def _unit(vector: PyTree) -> PyTree:
    """Return v / ‖v‖, divided by its largest entry first, so that no square over- or underflows; 0 for 0."""
    vector = _divide(vector, _largest(vector))
    return _divide(vector, tree.norm(vector))


def _largest(vector: PyTree) -> jax.Array:
    norms = [jnp.max(jnp.abs(leaf), initial=0.0) for leaf in jax.tree.leaves(vector)]
    dtype = functools.reduce(jnp.promote_types, [norm.dtype for norm in norms])
    return functools.reduce(jnp.maximum, [norm.astype(dtype) for norm in norms])


def _divide(vector: PyTree, number: jax.Array) -> PyTree:
    return jax.tree.map(lambda leaf: numerics.safe_divide(leaf, number.astype(leaf.dtype)), vector)
