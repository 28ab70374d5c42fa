"""Projection onto a transport polytope: the non-negative matrices with given row and column sums.

>>> import jax.numpy as jnp
>>> from gradx.projections import projection_transport
>>> y = projection_transport(jnp.array([[0.5, 0.0], [0.25, 0.25]]), jnp.array([0.5, 0.5]), jnp.array([0.5, 0.5]))
>>> with jnp.printoptions(precision=3):
...     print(y)
[[0.375 0.125]
 [0.125 0.375]]
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks, numerics
from gradx.projections import common
from gradx.typing import Range

SLOPE_KEPT = 0.1
"""The line search ends where the slope has fallen to this part of what it was."""
MAX_TRIES = 60
"""The most steps that one line search tries."""
MAX_IDLE = 3
"""Within rounding of the end, so many steps without a smaller error stop the search."""


class _State(NamedTuple):
    point: jax.Array  # (n, m) x + α 1ᵀ + 1 βᵀ
    error: jax.Array  # () largest violation of a sum
    best: jax.Array  # (n, m) the point with the smallest error so far
    best_error: jax.Array  # ()
    idle: jax.Array  # () int32, steps since the error was smallest
    step: jax.Array  # () int32


def projection_transport(
    x: ArrayLike, row_sums: ArrayLike, column_sums: ArrayLike, *, max_iters: int = 200
) -> jax.Array:
    """Project onto a transport polytope: argmin ‖Y − x‖² with Y ≥ 0, Y 1 = row_sums, Yᵀ 1 = column_sums.

    Y = max(x + α 1ᵀ + 1 βᵀ, 0), where (α, β) minimise the convex piecewise quadratic dual
    ½ ‖max(x + α 1ᵀ + 1 βᵀ, 0)‖² − ⟨row_sums, α⟩ − ⟨column_sums, β⟩. Semismooth Newton steps with a line search find the
    support, and one linear solve on the support gives Y and its exact derivative in all three arguments; time
    O((n + m)³) a step. The sums are met to their own rounding however large x is; the point is as near as the rounding
    of x allows, in float32 1e-3 for entries of 1e4.

    Args:
      x: the matrix, (n, m), n and m at least 1; `jax.vmap` for several.
      row_sums: what each row sums to, (n,), ≥ 0.
      column_sums: what each column sums to, (m,), ≥ 0, with the same total as `row_sums`.
      max_iters: the most Newton steps; it stops when every sum is met to rounding.

    Returns (n, m), in the floating dtype of `x` (an integer gives float32).

    Raises:
      ValueError: shapes that do not fit; concrete NumPy sums that are negative or whose totals differ.

    Reference: Blondel, Seguy and Rolet 2018, "Smooth and sparse optimal transport" (arXiv 1710.06276), the dual.

    >>> from gradx import projections
    >>> import jax.numpy as jnp
    >>> plan = projections.projection_transport(jnp.eye(2), jnp.array([0.5, 0.5]), jnp.array([0.5, 0.5]))
    >>> [[round(x, 4) for x in row] for row in plan.tolist()]
    [[0.5, 0.0], [0.0, 0.5]]
    """
    owner = "projection_transport"
    _check(owner, x, row_sums, column_sums)
    max_iters = checks.hyperparameter(owner, "max_iters", max_iters, Range(low=1, integer=True))
    lifted, rows, columns = common.lift(owner, (x, row_sums, column_sums))
    point = jax.lax.stop_gradient(_solve_dual(*jax.lax.stop_gradient((lifted, rows, columns)), max_iters=max_iters))
    return common.store(_on_support(lifted, rows, columns, point), x)


def _check(owner: str, x: ArrayLike, row_sums: ArrayLike, column_sums: ArrayLike) -> None:
    fits = np.ndim(row_sums) == np.ndim(column_sums) == 1 and np.shape(x) == np.shape(row_sums) + np.shape(column_sums)
    if not fits or 0 in np.shape(x):
        shapes = f"x {np.shape(x)}, row_sums {np.shape(row_sums)}, column_sums {np.shape(column_sums)}"
        raise ValueError(
            f"{owner}: x must have shape (n, m), row_sums (n,), column_sums (m,), none empty, got {shapes}"
        )
    common.refuse_below(owner, "row_sums", row_sums, 0.0)
    common.refuse_below(owner, "column_sums", column_sums, 0.0)
    if isinstance(row_sums, np.ndarray) and isinstance(column_sums, np.ndarray):
        totals = float(row_sums.sum(dtype=np.float64)), float(column_sums.sum(dtype=np.float64))
        if abs(totals[0] - totals[1]) > 1e-3 * max(totals):
            raise ValueError(
                f"{owner}: row_sums and column_sums must have the same total, got {totals[0]} and {totals[1]}"
            )


def _missing(plan: jax.Array, row_sums: jax.Array, column_sums: jax.Array) -> jax.Array:
    """Return by how much each row and each column falls short of its sum: (n + m,), the dual's descent direction."""
    return jnp.concatenate([row_sums - jnp.sum(plan, axis=1), column_sums - jnp.sum(plan, axis=0)])


def _outer_sum(duals: jax.Array, n: int) -> jax.Array:
    """Return α 1ᵀ + 1 βᵀ, (n, m), of the stacked (α, β)."""
    return duals[:n, None] + duals[None, n:]


def _laplacian(support: jax.Array, ridge: jax.Array) -> jax.Array:
    """Return the dual's second derivative, (n + m, n + m): how the sums answer to (α, β) on the support."""
    s = support.astype(ridge.dtype)
    upper = jnp.concatenate([jnp.diag(jnp.sum(s, axis=1)), s], axis=1)
    lower = jnp.concatenate([s.T, jnp.diag(jnp.sum(s, axis=0))], axis=1)
    matrix = jnp.concatenate([upper, lower], axis=0)
    return matrix + ridge * jnp.eye(matrix.shape[0], dtype=ridge.dtype)


def _solve_dual(x: jax.Array, row_sums: jax.Array, column_sums: jax.Array, max_iters: int) -> jax.Array:
    """Return the point x + α 1ᵀ + 1 βᵀ at the dual's minimum.

    The point is kept, and not α and β: near the support it is as small as the sums are, however large x is, and so are
    its rounding errors there.
    """
    eps, n = jnp.finfo(x.dtype).eps, x.shape[0]
    largest = jnp.maximum(jnp.max(row_sums), jnp.max(column_sums))
    reach = jnp.maximum(largest + jnp.max(x) - jnp.min(x), jnp.finfo(x.dtype).tiny)

    def missing(point: jax.Array) -> jax.Array:
        return _missing(jnp.maximum(point, 0), row_sums, column_sums)

    def unfinished(state: _State) -> jax.Array:
        settled = (state.idle >= MAX_IDLE) & (state.best_error <= 64 * eps * largest)
        return (state.step < max_iters) & (state.best_error > eps * largest) & ~settled

    def newton(state: _State) -> _State:
        # The matrix is singular where parts of the support are not joined. The ridge then moves them about as far as x
        # reaches, and it fades with the error, so that the last steps are Newton's.
        matrix = _laplacian(state.point > 0, jnp.maximum(state.error / reach, 10 * eps))
        direction = jnp.linalg.solve(matrix, missing(state.point))
        move = _outer_sum(direction, n)
        t = _root_of_falling(lambda t: jnp.sum(direction * missing(state.point + t * move)), jnp.ones_like(reach))
        point = state.point + t * move
        error = jnp.max(jnp.abs(missing(point)))
        better = error < state.best_error
        best = jnp.where(better, point, state.best)
        idle = jnp.where(better, 0, state.idle + 1)
        return _State(point, error, best, jnp.minimum(error, state.best_error), idle, state.step + 1)

    point = x - jnp.max(x, axis=1, keepdims=True) + largest / x.shape[1]
    error, zero = jnp.max(jnp.abs(missing(point))), jnp.zeros((), jnp.int32)
    start, _ = numerics.vary_together(_State(point, error, point, error, zero, zero), row_sums)
    return jax.lax.while_loop(unfinished, newton, start).best


def _root_of_falling(slope: Callable, one: jax.Array) -> jax.Array:
    """Return t > 0 where the falling function `slope` is near 0: 1 where that will do, else by doubling and halving."""
    one, enough = numerics.vary_together(one, SLOPE_KEPT * jnp.abs(slope(0 * one)))
    unbounded = jnp.full_like(one, jnp.finfo(one.dtype).max)

    def too_steep(search: tuple) -> jax.Array:
        t, _, _, tries = search
        return (jnp.abs(slope(t)) > enough) & (tries < MAX_TRIES)

    def narrow(search: tuple) -> tuple:
        t, low, high, tries = search
        short = slope(t) > 0
        low, high = jnp.where(short, t, low), jnp.where(short, high, t)
        return jnp.where(high < unbounded, (low + high) / 2, 2 * t), low, high, tries + 1

    start = (one, 0 * one, unbounded, jnp.zeros((), jnp.int32))
    return jax.lax.while_loop(too_steep, narrow, start)[0]


def _on_support(x: jax.Array, row_sums: jax.Array, column_sums: jax.Array, point: jax.Array) -> jax.Array:
    """Return the plan with the support of `point` and the sums asked for, differentiable in the other arguments.

    `point` is a constant, so x enters by its derivative alone. The pseudo-inverse is constant too, for the support is.
    """
    plan = jnp.maximum(point, 0)
    support = ~(plan <= 0)  # NaN is in
    plan = plan + jnp.where(support, x - jax.lax.stop_gradient(x), 0)
    inverse = jnp.linalg.pinv(_laplacian(support, jnp.zeros((), x.dtype)), hermitian=True)
    missing = _missing(plan, row_sums, column_sums)
    correction = jnp.matmul(inverse, missing, precision=jax.lax.Precision.HIGHEST)
    return jnp.maximum(jnp.where(support, plan + _outer_sum(correction, x.shape[0]), 0), 0)
