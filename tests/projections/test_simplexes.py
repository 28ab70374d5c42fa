"""Simplex and L1 norm: membership, optimality, ties, zeros, the threshold's steps at their worst, many entries."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.projections import projection_l1_ball, projection_l1_sphere, projection_simplex
from tests.oracles.projections import l1_ball, simplex

TOLERANCE = 1e-6
"""Float32: sums of a few dozen numbers of order one."""
LONG_SUM_TOLERANCE = 1e-5
"""Float32: sums of 10^5 numbers, added in blocks."""


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("spread", [0.01, 1.0, 100.0])
def test_the_simplex_has_no_nearer_point(seed, spread):
    """y is the projection if and only if <x - y, vertex - y> <= 0 for every vertex."""
    x = spread * jnp.asarray(np.random.default_rng(seed).normal(size=30), jnp.float32)
    y = projection_simplex(x, 3.0)
    assert jnp.all(y >= 0)
    assert abs(jnp.sum(y) - 3) <= 3 * TOLERANCE
    assert jnp.max(3 * (x - y) - jnp.sum((x - y) * y)) <= TOLERANCE * (1 + 30 * spread)


def test_ties_share_alike():
    np.testing.assert_allclose(projection_simplex(jnp.full(7, 4.0)), 1 / 7, rtol=TOLERANCE)
    np.testing.assert_allclose(projection_simplex(jnp.zeros(7), 2.0), 2 / 7, rtol=TOLERANCE)


def test_one_entry_takes_all():
    assert projection_simplex(jnp.array([-5.0]), 2.0) == jnp.array([2.0])
    assert jax.grad(lambda x: projection_simplex(x)[0])(jnp.array([3.0])) == jnp.array([0.0])


def test_the_l1_sphere_is_reached_from_inside_at_zeros():
    """Optax gives 0 wherever x is 0, which leaves the sphere."""
    for x, wanted in (([0.0, 0.0], [0.5, 0.5]), ([-0.2, 0.0], [-0.6, 0.4])):
        np.testing.assert_allclose(projection_l1_sphere(jnp.array(x)), wanted, rtol=TOLERANCE)
        assert jnp.all(jnp.isfinite(jax.jacobian(projection_l1_sphere)(jnp.array(x))))


def test_inside_the_l1_ball_nothing_changes_and_the_derivative_is_the_identity():
    for x in (jnp.zeros(3), jnp.array([0.1, -0.5, 1 / 3])):
        assert np.array_equal(projection_l1_ball(x), x)
        assert np.array_equal(jax.jacobian(projection_l1_ball)(x), np.eye(3))


def test_a_support_that_shrinks_an_entry_at_a_time():
    """Newton's worst case: each step drops the smallest entry alone."""
    x = [0.0]
    for k in range(1, 40):
        x.append((sum(x) - 1) / k - 1e-3)  # just below the threshold of those before it
    with jax.enable_x64(True):
        np.testing.assert_allclose(projection_simplex(jnp.asarray(x)), simplex(np.asarray(x), 1.0), atol=1e-12)


def test_many_entries():
    x = np.random.default_rng(0).normal(size=100_000).astype(np.float32)
    np.testing.assert_allclose(projection_simplex(jnp.asarray(x)), simplex(x.astype(float), 1), atol=LONG_SUM_TOLERANCE)
    got = projection_l1_ball(jnp.asarray(x), 30_000.0)
    np.testing.assert_allclose(got, l1_ball(x.astype(float), 30_000.0), atol=LONG_SUM_TOLERANCE)


def test_second_derivatives_are_those_of_a_linear_piece():
    hessian = jax.hessian(lambda x: jnp.sum(projection_simplex(x) ** 3))(jnp.array([0.5, 0.2, -3.0]))
    # y = (0.65, 0.35, 0) with y' = [[.5, -.5], [-.5, .5]] on the support; sum y^3 has the Hessian y'^T diag(6 y) y'
    np.testing.assert_allclose(hessian, 1.5 * np.array([[1, -1, 0], [-1, 1, 0], [0, 0, 0]]), atol=1e-5)
