"""Line, hyperplane, halfspace and affine set: the normal 0, normals of every length, shapes that do not fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.projections import (
    projection_affine_set,
    projection_halfspace,
    projection_hyperplane,
    projection_vector,
)

TOLERANCE = 1e-6
"""Float32: two inner products of a few numbers."""
X, NORMAL = jnp.array([1.0, -2.0, 0.5]), jnp.array([3.0, 1.0, -1.0])


@pytest.mark.parametrize("project", [projection_hyperplane, projection_halfspace])
def test_the_normal_zero_changes_nothing(project):
    assert np.array_equal(project(X, jnp.zeros(3), 1.0), X)
    gradients = jax.grad(lambda *a: jnp.sum(project(*a)), argnums=(0, 1, 2))(X, jnp.zeros(3), 1.0)
    assert all(jnp.all(jnp.isfinite(gradient)) for gradient in gradients)


def test_the_line_of_a_zero_vector_is_zero():
    assert jnp.all(projection_vector(X, jnp.zeros(3)) == 0)
    gradients = jax.grad(lambda *a: jnp.sum(projection_vector(*a)), argnums=(0, 1))(X, jnp.zeros(3))
    assert all(jnp.all(jnp.isfinite(gradient)) for gradient in gradients)


@pytest.mark.parametrize("length", [1e-30, 1e-20, 1e20, 1e30])
def test_only_the_direction_of_the_normal_counts(length):
    length = jnp.float32(length)
    close = lambda got, wanted: np.testing.assert_allclose(got, wanted, atol=TOLERANCE)  # noqa: E731
    close(projection_vector(X, length * NORMAL), projection_vector(X, NORMAL))
    close(projection_hyperplane(X, length * NORMAL, length * 2), projection_hyperplane(X, NORMAL, 2))
    close(projection_halfspace(X, length * NORMAL, -length), projection_halfspace(X, NORMAL, -1))


def test_inside_the_halfspace_nothing_changes():
    assert np.array_equal(projection_halfspace(X, NORMAL, 10.0), X)
    assert np.array_equal(jax.jacobian(projection_halfspace)(X, NORMAL, 10.0), np.eye(3))


@pytest.mark.parametrize("project", [projection_vector, projection_hyperplane, projection_halfspace])
def test_a_normal_of_another_shape_is_refused(project):
    b = () if project is projection_vector else (0.0,)
    with pytest.raises(ValueError, match=r"a at 'w' is float32\[4\], but x says float32\[3\]"):
        project({"w": X}, {"w": jnp.ones(4)}, *b)
    with pytest.raises(ValueError, match="a has a leaf at 'v' that x lacks"):
        project({"w": X}, {"v": X}, *b)


def test_an_offset_that_is_no_scalar_is_refused():
    with pytest.raises(ValueError, match=r"projection_hyperplane: b must be a scalar, got float32\[2\]"):
        projection_hyperplane(X, NORMAL, jnp.ones(2))


@pytest.mark.parametrize(("m", "n", "k"), [(2, 4, 2), (2, 3, 3), (3, 3, 2)])
def test_shapes_of_the_affine_set_are_checked(m, n, k):
    with pytest.raises(ValueError, match=rf"got x \(3,\), A \({m}, {n}\) and b \({k},\)"):
        projection_affine_set(X, jnp.ones((m, n)), jnp.ones(k))


def test_an_affine_set_without_equations_is_everything():
    assert np.array_equal(projection_affine_set(X, jnp.zeros((0, 3)), jnp.zeros(0)), X)


def test_contradictory_equations_are_met_by_least_squares():
    A, b = jnp.array([[1.0, 0.0, 0.0], [1.0, 0.0, 0.0]]), jnp.array([0.0, 1.0])
    np.testing.assert_allclose(projection_affine_set(X, A, b), [0.5, -2.0, 0.5], atol=TOLERANCE)
