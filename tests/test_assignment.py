"""Both Hungarian forms: SciPy's assignment, all permutations where costs are infinite, batches that end unevenly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from scipy.optimize import linear_sum_assignment

from gradx.assignment import base_hungarian_algorithm, hungarian_algorithm
from tests.oracles.assignment import CASES, by_all_permutations

GRADIENT_TOLERANCE = 1e-8
"""Central differences of a linear function in float64."""
COST_TOLERANCE = 1e-5
"""Float32 sums of a few costs of order one."""

solvers = pytest.mark.parametrize("solve", [hungarian_algorithm, base_hungarian_algorithm], ids=lambda f: f.__name__)
jitted = {solve: jax.jit(solve) for solve in (hungarian_algorithm, base_hungarian_algorithm)}


def assert_valid(rows, columns, shape):
    rows, columns = np.asarray(rows), np.asarray(columns)
    assert rows.dtype == columns.dtype == np.int32
    assert rows.shape == columns.shape == (min(shape),)
    assert np.all(np.diff(rows) > 0)
    assert len(set(columns)) == min(shape)
    assert rows.min() >= 0
    assert rows.max() < shape[0]
    assert columns.min() >= 0
    assert columns.max() < shape[1]


def assert_close(got, wanted, tolerance):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert np.max(np.abs(x - y) / (1 + np.abs(y))) <= tolerance


@pytest.mark.parametrize("case", CASES, ids=str)
def test_matches_the_reference(case):
    run = jax.jit(case.ours)
    (drawn,) = case.arguments(np.random.default_rng(0))
    with jax.enable_x64(True):
        assert_close(run(jnp.asarray(drawn)), case.reference(drawn), case.tolerance)
    single = jnp.asarray(drawn, jnp.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        got = run(single)
    assert_close(got, case.reference(np.asarray(single, np.float64)), case.tolerance32)
    if case.peer:
        assert_close(got, case.peer(single), case.tolerance32)


@pytest.mark.parametrize("case", [case for case in CASES if "cost" in case.name and "square" not in case.name], ids=str)
def test_the_gradient_of_the_cost_is_the_assignment(case):
    with jax.enable_x64(True):
        (costs,) = case.arguments(np.random.default_rng(0))
        check_grads(jax.jit(case.ours), (jnp.asarray(costs),), 1, ["rev"], GRADIENT_TOLERANCE, GRADIENT_TOLERANCE, 1e-6)
        gradient = jax.grad(case.ours)(jnp.asarray(costs))
    wanted = np.zeros_like(costs)
    wanted[linear_sum_assignment(costs)] = 1
    np.testing.assert_array_equal(gradient, wanted)


@solvers
@pytest.mark.parametrize("shape", [(6, 6), (3, 7), (7, 3), (1, 4), (4, 1)])
def test_ties_leave_the_least_cost(solve, shape):
    rng = np.random.default_rng(1)
    for _ in range(20):
        costs = rng.integers(0, 4, size=shape).astype(np.float32)
        rows, columns = jitted[solve](costs)
        assert_valid(rows, columns, shape)
        assert costs[rows, columns].sum() == costs[linear_sum_assignment(costs)].sum()


@solvers
@pytest.mark.parametrize("shape", [(5, 5), (3, 6), (6, 3)])
def test_few_infinite_costs_are_used_and_the_others_are_least(solve, shape):
    rng = np.random.default_rng(2)
    for density in (0.2, 0.5, 0.8, 1.0):
        for _ in range(5):
            costs = np.where(rng.random(shape) < density, np.inf, rng.normal(size=shape)).astype(np.float32)
            rows, columns = jitted[solve](costs)
            assert_valid(rows, columns, shape)
            chosen = costs[rows, columns]
            infinite, finite = by_all_permutations(costs)
            assert np.isinf(chosen).sum() == infinite
            assert abs(chosen[np.isfinite(chosen)].sum() - finite) <= COST_TOLERANCE


@solvers
def test_nan_forbids_and_minus_infinity_prescribes(solve):
    costs = jnp.array([[jnp.nan, 1.0, 5.0], [0.0, -jnp.inf, 0.0], [jnp.nan, 2.0, 9.0]])
    rows, columns = jitted[solve](costs)
    np.testing.assert_array_equal(rows, [0, 1, 2])
    np.testing.assert_array_equal(columns, [2, 1, 0])  # the middle pair, though it leaves a NaN to one of the others


@solvers
def test_padded_problems_in_one_batch(solve):
    """Problems of four shapes, some done long before others, padded with infinity to one shape."""
    rng, shapes = np.random.default_rng(3), [(6, 8), (1, 1), (4, 2), (2, 7)]
    problems = [rng.normal(size=shape).astype(np.float32) for shape in shapes]
    padded = np.full((4, 6, 8), np.inf, np.float32)
    for box, costs in zip(padded, problems, strict=True):
        box[: costs.shape[0], : costs.shape[1]] = costs
    for costs, (n, m), rows, columns in zip(problems, shapes, *jax.jit(jax.vmap(solve))(padded), strict=True):
        inside = (rows < n) & (columns < m)
        assert inside.sum() == min(n, m)
        assert (
            abs(costs[rows[inside], columns[inside]].sum() - costs[linear_sum_assignment(costs)].sum())
            <= COST_TOLERANCE
        )


@solvers
def test_vmap_over_finished_and_unfinished_square_problems(solve):
    """A problem that is solved at once has no free column left while the others go on."""
    rng = np.random.default_rng(4)
    batch = np.stack([1 - np.eye(7), *rng.normal(size=(3, 7, 7))]).astype(np.float32)
    rows, columns = jax.jit(jax.vmap(jax.vmap(solve)))(batch[None])
    for costs, i, j in zip(batch, rows[0], columns[0], strict=True):
        assert_valid(i, j, costs.shape)
        assert abs(costs[i, j].sum() - costs[linear_sum_assignment(costs)].sum()) <= COST_TOLERANCE


@solvers
@pytest.mark.parametrize("factor", [1e4, 1e-30, 1e37, 3.4e38])
def test_extreme_costs(solve, factor):
    costs = (np.float32(factor) * np.random.default_rng(5).uniform(-1, 1, size=(6, 6))).astype(np.float32)
    rows, columns = jitted[solve](costs)
    assert_valid(rows, columns, costs.shape)
    np.testing.assert_array_equal(columns, linear_sum_assignment(costs.astype(np.float64))[1])


@solvers
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int8, jnp.int32, jnp.uint8, jnp.bool_], ids=str)
def test_every_real_dtype(solve, dtype):
    drawn = np.random.default_rng(6).integers(0, 100, size=(5, 6)) % (2 if dtype == jnp.bool_ else 100)
    costs = jnp.asarray(drawn, dtype)
    rows, columns = solve(costs)
    assert_valid(rows, columns, costs.shape)
    exact = np.asarray(costs, np.float64)
    assert exact[rows, columns].sum() == exact[linear_sum_assignment(exact)].sum()


@solvers
@pytest.mark.parametrize("shape", [(0, 0), (0, 3), (3, 0)])
def test_nothing_to_assign(solve, shape):
    rows, columns = solve(jnp.zeros(shape))
    assert rows.shape == columns.shape == (0,)
    assert rows.dtype == columns.dtype == jnp.int32


@solvers
def test_what_is_no_matrix_of_real_costs_is_refused(solve):
    with pytest.raises(ValueError, match=rf"{solve.__name__}: cost_matrix must have shape \(n, m\), got float32\[3\]"):
        solve(jnp.ones(3))
    with pytest.raises(TypeError, match=rf"{solve.__name__}: costs must be real, got complex64\[2,2\]"):
        solve(jnp.ones((2, 2), jnp.complex64))
