"""The transport polytope: feasibility and optimality by linear programming, at every scale; corners; errors."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from gradx.projections import projection_simplex, projection_transport
from tests.oracles.projections import sums_matrix

TOLERANCE = {np.float32: 1e-6, np.float64: 1e-14}
"""A few ulps of sums of order one."""
project = jax.jit(projection_transport)


def draw(seed, shape, scale, dtype):
    rng = np.random.default_rng(seed)
    rows, columns = 0.05 + rng.random(shape[0]), 0.05 + rng.random(shape[1])
    return (scale * rng.normal(size=shape)).astype(dtype), rows / rows.sum(), columns / columns.sum()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_no_plan_is_nearer(dtype):
    """Y is the projection if and only if <x - Y, Z - Y> <= 0 for every plan Z: a linear program finds the largest."""
    shape = (10, 7)
    for scale in (0.01, 1, 100, 1e4):
        x, rows, columns = draw(0, shape, scale, dtype)
        with jax.enable_x64(dtype is np.float64):
            y = np.asarray(project(x, jnp.asarray(rows, dtype), jnp.asarray(columns, dtype)), np.float64)
        assert y.min() >= 0
        sums = np.concatenate([rows, columns])
        assert np.abs(sums_matrix(*shape) @ y.ravel() - sums).max() <= TOLERANCE[dtype]
        direction = (x - y).ravel()
        best = scipy.optimize.linprog(-direction, A_eq=sums_matrix(*shape), b_eq=sums)
        assert -best.fun - direction @ y.ravel() <= TOLERANCE[dtype] * (1 + scale)


def test_one_row_takes_the_column_sums_and_one_column_the_row_sums():
    sums = jnp.array([0.25, 0.0, 0.75])
    np.testing.assert_allclose(project(jnp.array([[3.0, 1.0, -2.0]]), jnp.ones(1), sums), sums[None], atol=1e-6)
    np.testing.assert_allclose(project(jnp.array([[3.0], [1.0], [-2.0]]), sums, jnp.ones(1)), sums[:, None], atol=1e-6)


def test_without_a_choice_between_columns_each_row_is_projected_onto_a_simplex():
    x = jnp.array(
        [[0.5, 0.2, 0.0], [0.0, 0.5, 0.2], [0.2, 0.0, 0.5]]
    )  # a circulant: the column sums come of themselves
    wanted = jnp.stack([projection_simplex(row) for row in x])
    np.testing.assert_allclose(project(x, jnp.ones(3), jnp.ones(3)), wanted, atol=1e-6)


@pytest.mark.parametrize("x", [np.zeros((3, 4)), np.full((3, 4), 7.0), -np.eye(3, 4)], ids=["zeros", "equal", "ties"])
def test_ties_and_zero_sums(x):
    for rows, columns in (([1, 0, 2], [0, 3, 0, 0]), ([0, 0, 0], [0, 0, 0, 0]), ([1, 1, 1], [0.75] * 4)):
        rows, columns = jnp.asarray(rows, jnp.float32), jnp.asarray(columns, jnp.float32)
        y, pullback = jax.vjp(project, jnp.asarray(x, jnp.float32), rows, columns)
        assert jnp.all(y >= 0)
        np.testing.assert_allclose(jnp.sum(y, 1), rows, atol=1e-6)
        np.testing.assert_allclose(jnp.sum(y, 0), columns, atol=1e-6)
        assert all(jnp.all(jnp.isfinite(gradient)) for gradient in pullback(jnp.ones_like(y)))


def test_arguments_are_checked():
    with pytest.raises(ValueError, match=r"got x \(2, 3\), row_sums \(3,\), column_sums \(2,\)"):
        projection_transport(jnp.ones((2, 3)), jnp.ones(3), jnp.ones(2))
    with pytest.raises(ValueError, match=r"none empty, got x \(0, 3\)"):
        projection_transport(jnp.ones((0, 3)), jnp.ones(0), jnp.ones(3))
    with pytest.raises(ValueError, match="row_sums must be at least 0"):
        projection_transport(jnp.ones((2, 2)), np.array([-1.0, 2.0]), np.ones(2))
    with pytest.raises(ValueError, match=r"the same total, got 3.0 and 2.0"):
        projection_transport(jnp.ones((2, 2)), np.array([1.0, 2.0]), np.ones(2))
    with pytest.raises(ValueError, match=r"max_iters must be in \[1, inf\], got 0"):
        projection_transport(jnp.ones((2, 2)), jnp.ones(2), jnp.ones(2), max_iters=0)


def test_low_precision_keeps_its_dtype_and_rounds_once():
    x = jnp.asarray(draw(0, (3, 4), 1, np.float32)[0], jnp.bfloat16)
    rows, columns = jnp.full(3, 0.5, jnp.bfloat16), jnp.full(4, 0.375, jnp.bfloat16)
    got = project(x, rows, columns)
    assert got.dtype == jnp.bfloat16
    wanted = project(*(a.astype(jnp.float32) for a in (x, rows, columns)))
    np.testing.assert_array_equal(got, wanted.astype(jnp.bfloat16))
