"""Edges of power iteration: functions over trees, zero matrices, scales, stopping, mistakes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.linalg import power_iteration
from tests.oracles.linalg import dominant_pair, fix_sign, spectrum_matrix

TOLERANCE = 1e-5
"""Float32, an eigenvalue gap of a third: the iteration reaches its rounding floor within 100 steps."""

MATRIX = spectrum_matrix(np.random.default_rng(0), [3.0, 2.0, 1.0, 0.5]).astype(np.float32)


def test_a_function_of_a_tree():
    def product(tree):
        flat = jnp.concatenate([tree["a"], tree["b"].reshape(-1)])
        result = jnp.asarray(MATRIX) @ flat
        return {"a": result[:1], "b": result[1:].reshape(3, 1)}

    start = {"a": jnp.ones(1), "b": jnp.ones((3, 1))}
    value, vector = power_iteration(product, v0=start)
    wanted, direction = dominant_pair(MATRIX.astype(np.float64))
    assert jax.tree.structure(vector) == jax.tree.structure(start)
    assert abs(value - wanted) < TOLERANCE
    flat = np.concatenate([vector["a"], vector["b"][:, 0]])
    assert np.abs(fix_sign(flat) - direction).max() < 100 * TOLERANCE  # an eigenvector is known to the root only


def test_the_largest_hessian_eigenvalue_and_its_derivative():
    def loss(x, sharpness):
        return sharpness * x[0] ** 4 / 12 + jnp.sum(x**2) / 2

    def largest(sharpness):
        x = jnp.array([2.0, 1.0, 1.0])
        gradient = functools.partial(jax.grad(loss), sharpness=sharpness)
        return power_iteration(lambda v: jax.jvp(gradient, (x,), (v,))[1], v0=jnp.ones(3))[0]

    value, slope = jax.jit(jax.value_and_grad(largest))(1.5)
    assert value == pytest.approx(1.5 * 4 + 1, rel=TOLERANCE)  # sharpness x² + 1
    assert slope == pytest.approx(4, rel=TOLERANCE)


@pytest.mark.parametrize("shape", [(3, 3), (1, 1)], ids=str)
def test_the_zero_matrix(shape):
    def value(matrix):
        return power_iteration(matrix)[0]

    zero = jnp.zeros(shape)
    eigenvalue, vector = power_iteration(zero)
    assert eigenvalue == 0
    assert np.linalg.norm(vector) == pytest.approx(1, rel=TOLERANCE)
    assert np.isfinite(jax.grad(value)(zero)).all()


def test_a_zero_start_stays():
    value, vector = power_iteration(MATRIX, v0=jnp.zeros(4))
    assert value == 0
    np.testing.assert_array_equal(vector, np.zeros(4))


def test_no_rows():
    value, vector = power_iteration(jnp.zeros((0, 0)))
    assert value == 0
    assert vector.shape == (0,)


@pytest.mark.parametrize("scale", [1e-36, 1e-20, 1e20, 1e36])
def test_scales_that_squares_would_overflow(scale):
    value, vector = power_iteration(MATRIX * np.float32(scale))
    assert value == pytest.approx(3 * scale, rel=TOLERANCE)
    assert np.linalg.norm(vector) == pytest.approx(1, rel=TOLERANCE)


def test_a_negative_eigenvalue_keeps_its_sign():
    value, _ = power_iteration(-MATRIX)
    assert value == pytest.approx(-3, rel=TOLERANCE)


def test_a_matrix_that_is_not_symmetric():
    matrix = np.array([[4.0, 1.0], [2.0, 3.0]], np.float32)  # eigenvalues 5 and 2
    value, vector = power_iteration(matrix)
    assert value == pytest.approx(5, rel=TOLERANCE)
    assert np.abs(matrix @ vector - value * vector).max() < 5 * TOLERANCE


def test_a_hermitian_matrix():
    matrix = np.array([[2.0, 1j], [-1j, 2.0]], np.complex64)  # eigenvalues 3 and 1
    value, vector = power_iteration(matrix)
    assert abs(value - 3) < TOLERANCE
    assert np.abs(matrix @ vector - 3 * vector).max() < 10 * TOLERANCE


def test_it_stops_at_the_tolerance_or_the_number_of_products():
    coarse = power_iteration(MATRIX, v0=jnp.ones(4), num_iters=1)[0]
    loose = power_iteration(MATRIX, v0=jnp.ones(4), error_tolerance=0.5)[0]
    exact = power_iteration(MATRIX, v0=jnp.ones(4))[0]
    assert abs(exact - 3) < TOLERANCE < abs(coarse - 3)
    assert TOLERANCE < abs(loose - 3) < 1.5


def test_the_key_draws_the_start():
    first = power_iteration(MATRIX, num_iters=0)[1]
    np.testing.assert_array_equal(first, power_iteration(MATRIX, num_iters=0, key=jax.random.key(0))[1])
    other = power_iteration(MATRIX, num_iters=0, key=jax.random.key(1))[1]
    assert np.abs(first - other).max() > 0.01


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_low_precision_is_computed_in_float32(dtype):
    matrix = jnp.asarray(np.diag([2, 1, 1]), dtype)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        value, vector = power_iteration(matrix, v0=jnp.ones(3, jnp.bfloat16))
        of_function, tree = power_iteration(lambda v: matrix.astype(v.dtype) @ v, v0=jnp.ones(3, jnp.bfloat16))
    assert value.dtype == vector.dtype == of_function.dtype == tree.dtype == jnp.float32
    assert value == pytest.approx(2, rel=TOLERANCE)
    assert of_function == pytest.approx(2, rel=TOLERANCE)


def test_nan_is_not_hidden():
    value, _ = power_iteration(jnp.full((2, 2), jnp.nan))
    assert np.isnan(value)


def test_wrong_arguments_are_refused():
    with pytest.raises(ValueError, match=r"matrix must be \(n, n\), got float32\[2,3\]"):
        power_iteration(jnp.ones((2, 3)))
    with pytest.raises(ValueError, match=r"v0 must be \(4,\) as matrix is, got float32\[3\]"):
        power_iteration(MATRIX, v0=jnp.ones(3))
    with pytest.raises(ValueError, match="given as a function needs v0"):
        power_iteration(lambda v: v)
    with pytest.raises(ValueError, match="error_tolerance must be in"):
        power_iteration(MATRIX, error_tolerance=-1.0)
    with pytest.raises(ValueError, match="num_iters must be in"):
        power_iteration(MATRIX, num_iters=-1)
