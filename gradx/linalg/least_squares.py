"""Least squares with a sign constraint.

>>> import jax.numpy as jnp
>>> from gradx.linalg import nnls
>>> print(jnp.round(nnls(jnp.array([[1.0, 2.0], [3.0, 4.0]]), jnp.array([5.0, 6.0]), 500), 3))
[0.  1.7]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, numerics
from gradx.linalg import sharding
from gradx.typing import Range


def nnls(A: ArrayLike, b: ArrayLike, iters: int, unroll: int | bool = 1, L: ArrayLike | None = None) -> jax.Array:
    """Minimise ‖A x - b‖ over x >= 0 by the accelerated projected gradient method.

    From x = y = 0, t = 1:  x' = max(0, y - Aᵀ(A y - b) / L),  t' = (1 + sqrt(1 + 4 t²)) / 2,
    y' = x' + (t - 1) / t' (x' - x).

    Args:
      A: (m, n).
      b: (m,), or (m, k) for k problems at once.
      iters: steps, a Python int.
      unroll: as `lax.scan`'s.
      L: an upper bound on the largest eigenvalue of AᵀA, positive; None takes the smaller of its Frobenius norm and its
        largest absolute column sum.

    The objective comes within 2 L ‖x*‖² / iters² of its minimum, counted as half the square.
    Returns (n,) or (n, k), in float32 at least; `vmap` does a batch. A = 0 gives 0, no steps give 0. The
    accuracy is that of the normal equations, for AᵀA is formed. inf or NaN: NaN. Differentiated step by step.
    Explicitly sharded A and b are gathered once.
    Errors: ValueError for shapes that do not fit, negative iters or L <= 0.
    Reference: Polyak 2015, Projected gradient method for non-negative least square; Beck and Teboulle 2009.

    >>> from gradx import linalg
    >>> import jax.numpy as jnp
    >>> [round(x, 3) for x in linalg.nnls(jnp.eye(2), jnp.array([2.0, -1.0]), iters=50).tolist()]
    [2.0, 0.0]
    """
    A, b = _operands(A, b)
    iters = checks.hyperparameter("nnls", "iters", iters, Range(low=0, integer=True))
    if L is not None:
        checks.hyperparameter("nnls", "L", L, Range(low=0.0, closed="(]"))
    columns = b[:, None] if b.ndim == 1 else b
    gram, target = _matmul(A.T, A), _matmul(A.T, columns)
    bound = _column_sums_or_frobenius(gram) if L is None else jnp.asarray(L, gram.dtype)

    def step(state: tuple, _: None) -> tuple[tuple, None]:
        x, y, t = state
        new_x = jnp.maximum(y - numerics.safe_divide(_matmul(gram, y) - target, bound), 0)
        new_t = (1 + jnp.sqrt(1 + 4 * t * t)) / 2
        return (new_x, new_x + (t - 1) / new_t * (new_x - x), new_t), None

    zero = jnp.zeros_like(target)
    (x, _, _), _ = jax.lax.scan(step, (zero, zero, jnp.ones((), gram.dtype)), length=iters, unroll=unroll)
    return x[:, 0] if b.ndim == 1 else x


def _operands(A: ArrayLike, b: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return A and b, whole on every device, in their common precision."""
    A, b = jnp.asarray(A), jnp.asarray(b)
    if A.ndim != 2 or b.ndim not in (1, 2) or len(A) != len(b):
        shapes = f"A is {checks.describe(A)} and b is {checks.describe(b)}"
        raise ValueError(f"nnls: A must be (m, n) and b (m,) or (m, k), but {shapes}; use vmap for a batch")
    dtype = jnp.promote_types(numerics.at_least_float32(A.dtype), numerics.at_least_float32(b.dtype))
    return sharding.gather(A).astype(dtype), sharding.gather(b, axes=b.ndim).astype(dtype)


def _column_sums_or_frobenius(gram: jax.Array) -> jax.Array:
    """Return an upper bound on the largest eigenvalue: the smaller of two norms that are never below it."""
    columns = jnp.max(jnp.sum(jnp.abs(gram), axis=0), initial=0)
    frobenius = numerics.safe_sqrt(jnp.sum(gram * gram))
    return jnp.minimum(columns, frobenius)


def _matmul(x: jax.Array, y: jax.Array) -> jax.Array:
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)
