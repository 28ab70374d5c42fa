"""Euclidean spheres and balls: the point 0, lengths out of float32's reach, what is inside."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.projections import projection_l2_ball, projection_l2_sphere

TOLERANCE = 1e-6
"""Float32: a root, a division and a product."""


def test_zero_goes_to_a_point_of_the_sphere_with_gradient_zero():
    zero, size = jnp.zeros(3), 3
    assert abs(jnp.linalg.norm(projection_l2_sphere(zero, 2.0)) - 2) <= 2 * TOLERANCE
    jacobian, by_scale = jax.jacobian(projection_l2_sphere, argnums=(0, 1))(zero, 2.0)
    assert jnp.all(jacobian == 0)
    np.testing.assert_allclose(by_scale, size**-0.5, rtol=TOLERANCE)


def test_inside_the_ball_nothing_changes_and_the_derivative_is_the_identity():
    for x in (jnp.zeros(3), jnp.array([0.1, -0.7, 1 / 3])):
        assert np.array_equal(projection_l2_ball(x), x)
        assert np.array_equal(jax.jacobian(projection_l2_ball)(x), np.eye(3))


@pytest.mark.parametrize("factor", [1e-36, 1e-30, 1e30, 1e38])
def test_squares_neither_vanish_nor_overflow(factor):
    x = jnp.float32(factor) * jnp.array([3.0, -2.0, 0.0])
    unit = np.array([3, -2, 0]) / np.sqrt(13)
    np.testing.assert_allclose(projection_l2_sphere(x), unit, atol=TOLERANCE)
    np.testing.assert_allclose(projection_l2_ball(x, x[0] / 3), float(x[0]) / 3 * unit, rtol=TOLERANCE)


def test_many_bfloat16_leaves_are_summed_in_float32():
    tree = [jnp.ones(1, jnp.bfloat16)] * 1024  # a bfloat16 sum of ones sticks at 256
    assert float(projection_l2_sphere(tree, 32.0)[0][0]) == 1.0
