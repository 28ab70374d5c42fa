"""Linear assignment: pair the rows of a cost matrix with its columns so that the costs sum to the least.

Both functions are the Hungarian method as shortest augmenting paths (Crouse 2016, "On implementing 2D rectangular
assignment algorithms"); they differ in where they start. Costs count as pairs (infinite part, finite part) compared in
that order, so that an infinite cost forbids a pair exactly, with no large number standing for it.

>>> import jax.numpy as jnp
>>> from gradx.assignment import hungarian_algorithm
>>> cost = jnp.array([[8.0, 4.0, 7.0], [5.0, 2.0, 3.0], [9.0, 6.0, 7.0], [9.0, 4.0, 8.0]])
>>> rows, columns = hungarian_algorithm(cost)
>>> rows, columns, cost[rows, columns].sum()
(Array([0, 1, 3], dtype=int32), Array([0, 2, 1], dtype=int32), Array(15., dtype=float32))
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, glossary, numerics

FREE = -1
"""Stands for the partner of a row or column that has none."""
TAKEN = 2**30
"""The infinite part of a distance that no path may use: more than any sum of infinite costs."""


class _Cost(NamedTuple):
    infinite: jax.Array  # int32, how many infinite costs
    finite: jax.Array  # float, the sum of the others


class _Matching(NamedTuple):
    row_price: _Cost  # (n,)
    column_price: _Cost  # (m,), never positive, and 0 for a free column
    column_of_row: jax.Array  # (n,) int32
    row_of_column: jax.Array  # (m,) int32


class _Search(NamedTuple):
    distance: _Cost  # (m,) the shortest path known to each column
    from_row: jax.Array  # (m,) int32, the row before the column on that path
    reached: jax.Array  # (m,) bool, columns whose distance is final
    row: jax.Array  # () int32, the row to go on from
    length: _Cost  # () the distance of that row
    end: jax.Array  # () int32, the free column where the path ends, FREE until it is found


def hungarian_algorithm(cost_matrix: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return the assignment (i, j) of least cost, from a greedy start.

    Minimise Σ cost[i, j] over min(n, m) pairs, no row and no column twice. Each row offers for its cheapest column, the
    first to offer gets it, and only the others go through shortest augmenting paths: fewer than in
    `base_hungarian_algorithm`, with the same cost at the end; O(min(n, m)² max(n, m)) at worst. Runs under `jit` and
    `vmap`; where several assignments cost the least, one of them is given.

    Args:
      cost_matrix: (n, m), any real dtype. +inf or NaN forbids a pair: as few forbidden pairs as possible are used, and
        among those assignments the finite costs are least. So smaller problems in a batch are padded with inf: the
        pairs within the true size are its optimum, and the pairs beyond are to be left out. −inf prescribes a pair in
        the same sense. Costs are computed with in float32, float64 ones in float64: integers beyond 2²⁴ are rounded.

    Returns two int32 arrays of min(n, m) entries, rows in increasing order, and their columns. The cost is
    `cost_matrix[i, j].sum()`, whose gradient is the assignment.

    Raises:
      ValueError: a cost that is no matrix.
      TypeError: complex costs.

    >>> from gradx import assignment
    >>> import jax.numpy as jnp
    >>> rows, columns = assignment.hungarian_algorithm(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    return _solve("hungarian_algorithm", cost_matrix, _greedy)


def base_hungarian_algorithm(cost_matrix: ArrayLike) -> tuple[jax.Array, jax.Array]:
    """Return the assignment (i, j) of least cost, from an empty start: one shortest augmenting path for each row.

    The textbook form, with arguments, results and errors those of `hungarian_algorithm`; its loop runs min(n, m)
    times, whatever the costs are.

    >>> from gradx import assignment
    >>> import jax.numpy as jnp
    >>> rows, columns = assignment.base_hungarian_algorithm(jnp.array([[4.0, 1.0], [2.0, 3.0]]))
    >>> rows.tolist(), columns.tolist()
    ([0, 1], [1, 0])
    """
    return _solve("base_hungarian_algorithm", cost_matrix, _empty)


def _solve(owner: str, cost_matrix: ArrayLike, start: Callable) -> tuple[jax.Array, jax.Array]:
    costs = jax.lax.stop_gradient(jnp.asarray(cost_matrix))
    if costs.ndim != 2:
        raise ValueError(f"{owner}: cost_matrix must have shape (n, m), got {checks.describe(costs)}")
    if jnp.iscomplexobj(costs):
        raise TypeError(f"{owner}: costs must be real, got {checks.describe(costs)}")
    if 0 in costs.shape:
        return jnp.zeros((0,), jnp.int32), jnp.zeros((0,), jnp.int32)
    if costs.shape[0] > costs.shape[1]:
        column_of_row = _assign(_split(costs.T), start)
        order = jnp.argsort(column_of_row).astype(jnp.int32)
        return column_of_row[order], order
    return jnp.arange(costs.shape[0], dtype=jnp.int32), _assign(_split(costs), start)


def _split(costs: jax.Array) -> _Cost:
    """Return the infinite and the finite part of each cost, the finite ones small enough for sums of them."""
    costs = costs.astype(numerics.at_least_float32(costs.dtype))
    sign = jnp.where(jnp.isnan(costs), 1, jnp.sign(costs)).astype(jnp.int32)
    finite = jnp.isfinite(costs)
    values = jnp.where(finite, costs, 0)
    shrink = jnp.where(jnp.max(jnp.abs(values)) > 2.0**63, 2.0**-64, 1.0).astype(values.dtype)
    return _Cost(jnp.where(finite, 0, sign), values * shrink)


@jax.jit(static_argnums=1)
def _assign(costs: _Cost, start: Callable) -> jax.Array:
    """Return the column of each row, for no more rows than columns."""

    def unfinished(matching: _Matching) -> jax.Array:
        return jnp.any(matching.column_of_row == FREE)

    def match_one_more(matching: _Matching) -> _Matching:
        row = jnp.argmax(matching.column_of_row == FREE).astype(jnp.int32)
        search = _shortest_path(costs, matching, row)
        return _flip_path(_raise_prices(matching, search, row), search)

    first, _ = numerics.vary_together(start(costs), costs)
    return jax.lax.while_loop(unfinished, match_one_more, first).column_of_row


def _empty(costs: _Cost) -> _Matching:
    n, m = costs.finite.shape
    return _Matching(_zero(costs.finite.dtype, n), _zero(costs.finite.dtype, m), _all_free(n), _all_free(m))


def _greedy(costs: _Cost) -> _Matching:
    """Price each row at its cheapest column, and give each column to the first row that it is cheapest for."""
    n, m = costs.finite.shape
    cheapest = jax.vmap(_argmin)(costs)
    rows = jnp.arange(n, dtype=jnp.int32)
    price = jax.tree.map(lambda c: c[rows, cheapest], costs)
    first = jnp.full(m, n, jnp.int32).at[cheapest].min(rows)
    row_of_column = jnp.where(first < n, first, FREE)
    column_of_row = jnp.where(first[cheapest] == rows, cheapest, FREE)
    return _Matching(price, _zero(costs.finite.dtype, m), column_of_row, row_of_column)


def _shortest_path(costs: _Cost, matching: _Matching, start: jax.Array) -> _Search:
    """Find the shortest path of reduced costs from the free row `start` to a free column (Dijkstra's algorithm).

    Under `vmap` a finished problem comes here again, with a row that is not free: its search must end at once.
    """
    wanted = matching.column_of_row[start] == FREE

    def open_end(search: _Search) -> jax.Array:
        return wanted & (search.end == FREE)

    def go_on(search: _Search) -> _Search:
        cost = _at(costs, search.row)
        price = _add(_at(matching.row_price, search.row), matching.column_price)
        through = _add(search.length, _subtract(cost, price))
        shorter = ~search.reached & _less(through, search.distance)
        distance = _where(shorter, through, search.distance)
        from_row = jnp.where(shorter, search.row, search.from_row)
        column = _argmin(_where(search.reached, _taken(distance), distance))
        owner = matching.row_of_column[column]
        end = jnp.where(owner == FREE, column, FREE)
        return _Search(distance, from_row, search.reached.at[column].set(True), owner, _at(distance, column), end)

    m, dtype = matching.row_of_column.shape[0], costs.finite.dtype
    far = _taken(_zero(dtype, m))
    nothing = _Search(far, _all_free(m), jnp.zeros(m, bool), start, _zero(dtype), jnp.full((), FREE, jnp.int32))
    nothing, _ = numerics.vary_together(nothing, costs)
    return jax.lax.while_loop(open_end, go_on, nothing)


def _raise_prices(matching: _Matching, search: _Search, start: jax.Array) -> _Matching:
    """Change the prices so that reduced costs stay non-negative and are 0 along the path."""
    slack = _subtract(search.length, search.distance)  # how much nearer than the path's end a reached column is
    column_price = _where(search.reached, _subtract(matching.column_price, slack), matching.column_price)
    column = matching.column_of_row
    passed = (column != FREE) & search.reached[column]
    row_price = _where(passed, _add(matching.row_price, _at(slack, column)), matching.row_price)
    row_price = jax.tree.map(lambda price, length: price.at[start].add(length), row_price, search.length)
    return matching._replace(row_price=row_price, column_price=column_price)


def _flip_path(matching: _Matching, search: _Search) -> _Matching:
    """Give each column on the path to the row before it, from its end back to its start."""

    def unfinished(state: tuple) -> jax.Array:
        return state[2] != FREE

    def give(state: tuple) -> tuple:
        column_of_row, row_of_column, column = state
        row = search.from_row[column]
        previous = column_of_row[row]  # FREE at the start of the path
        return column_of_row.at[row].set(column), row_of_column.at[column].set(row), previous

    state = (matching.column_of_row, matching.row_of_column, search.end)
    column_of_row, row_of_column, _ = jax.lax.while_loop(unfinished, give, state)
    return matching._replace(column_of_row=column_of_row, row_of_column=row_of_column)


def _all_free(n: int) -> jax.Array:
    return jnp.full(n, FREE, jnp.int32)


def _zero(dtype: jnp.dtype, *shape: int) -> _Cost:
    return _Cost(jnp.zeros(shape, jnp.int32), jnp.zeros(shape, dtype))


def _taken(cost: _Cost) -> _Cost:
    return _Cost(jnp.full_like(cost.infinite, TAKEN), jnp.zeros_like(cost.finite))


def _at(cost: _Cost, index: jax.Array) -> _Cost:
    return _Cost(cost.infinite[index], cost.finite[index])


def _add(x: _Cost, y: _Cost) -> _Cost:
    return _Cost(x.infinite + y.infinite, x.finite + y.finite)


def _subtract(x: _Cost, y: _Cost) -> _Cost:
    return _Cost(x.infinite - y.infinite, x.finite - y.finite)


def _where(condition: jax.Array, x: _Cost, y: _Cost) -> _Cost:
    return jax.tree.map(lambda a, b: jnp.where(condition, a, b), x, y)


def _less(x: _Cost, y: _Cost) -> jax.Array:
    return (x.infinite < y.infinite) | ((x.infinite == y.infinite) & (x.finite < y.finite))


def _argmin(cost: _Cost) -> jax.Array:
    least = cost.infinite == jnp.min(cost.infinite)
    return jnp.argmin(jnp.where(least, cost.finite, jnp.finfo(cost.finite.dtype).max)).astype(jnp.int32)


__all__ = ["base_hungarian_algorithm", "hungarian_algorithm"]

__dir__ = glossary.document_all(globals(), __all__)
