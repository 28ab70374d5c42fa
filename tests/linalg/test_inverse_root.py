"""Edges of the inverse p-th root, in both forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradx.linalg import matrix_inverse_pth_root, matrix_inverse_pth_root_eigh
from tests.oracles.linalg import inverse_root, spectrum_matrix

FORMS = [matrix_inverse_pth_root, matrix_inverse_pth_root_eigh]
COMPILED = [jax.jit(form, static_argnames="p") for form in FORMS]
TOLERANCE = 1e-4
"""Float32 and condition numbers up to 100: two of seven digits go."""
CONDITIONED_TOLERANCE = 0.1
"""Float32 and a condition number that only the ridge bounds, by 1e6: one digit is left. Measured: up to 0.04."""
SLOPE_TOLERANCE = 1e-6
"""Float64, central differences with step 1e-6, of roots of size one."""

both = pytest.mark.parametrize("root", COMPILED, ids=lambda f: f.__name__)
MATRIX = spectrum_matrix(np.random.default_rng(0), [1.0, 0.5, 0.1, 0.02]).astype(np.float32)


def relative(got, wanted):
    return np.abs(np.asarray(got, np.float64) - wanted).max() / np.abs(wanted).max()


@both
@pytest.mark.parametrize("p", [1, 7, 8])
def test_any_positive_exponent(root, p):
    got, error = root(MATRIX, p)
    assert relative(got, inverse_root(MATRIX.astype(np.float64), p)) < TOLERANCE
    assert 0 <= error < 1e-3


def test_optax_takes_another_power_for_three():
    """Why `peer` is left out for p = 3 in the table: there log2(3) is rounded to 2, so the iteration is another."""
    wanted = inverse_root(MATRIX.astype(np.float64), 3)
    assert relative(optax.matrix_inverse_pth_root(MATRIX, 3)[0], wanted) > 0.05


@pytest.mark.parametrize("p", [2, 3, 4, 8])
def test_no_early_stop(p):
    """The largest entry of M - I rises in some of these on the way; stopping there leaves roots off by half."""
    rng = np.random.default_rng(0)
    matrices = np.stack([spectrum_matrix(rng, np.geomspace(0.02, 3, 6)) for _ in range(200)]).astype(np.float32)
    got, errors = jax.jit(jax.vmap(lambda a: matrix_inverse_pth_root(a, p)))(matrices)
    wanted = np.stack([inverse_root(matrix, p) for matrix in matrices.astype(np.float64)])
    assert relative(got, wanted) < TOLERANCE
    assert errors.max() < TOLERANCE
    if p == 4:
        peer = jax.jit(jax.vmap(lambda a: optax.matrix_inverse_pth_root(a, p)[0]))(matrices)
        assert relative(peer, wanted) > 0.1


@both
@pytest.mark.parametrize("condition", [1e4, 1e8])
def test_ill_conditioned_matrices(root, condition):
    matrix = spectrum_matrix(np.random.default_rng(1), np.geomspace(1 / condition, 1, 20)).astype(np.float32)
    for p in (2, 4):
        got, _ = root(matrix, p)
        assert relative(got, inverse_root(matrix.astype(np.float64), p)) < CONDITIONED_TOLERANCE


@both
def test_the_scale_comes_out_as_its_own_root(root):
    plain, _ = root(MATRIX, 4)
    for scale in (1e-12, 1e12, 1e36):
        got, _ = root(MATRIX * np.float32(scale), 4)
        assert relative(got, np.asarray(plain, np.float64) * scale**-0.25) < TOLERANCE


@both
@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("p", [1, 4])
def test_the_zero_matrix_is_its_ridge(root, size, p):
    """Its derivative at p = 1 is -1e44, which float32 has not; from p = 2 on it fits."""

    def first(matrix):
        value, error = root(matrix, p, ridge_epsilon=1e-6)
        return value[0, 0], (value, error)

    gradient, (value, error) = jax.jit(jax.grad(first, has_aux=True))(jnp.zeros((size, size)))
    np.testing.assert_allclose(value, 1e-22 ** (-1 / p) * np.eye(size), rtol=1e-4)
    assert np.isfinite(error)
    slope = -1 / p * float(1e-22 ** (-1 / p - 1))
    assert gradient[0, 0] == pytest.approx(slope if p > 1 else -np.inf, rel=1e-3)


@both
def test_a_singular_matrix_is_damped_by_the_ridge(root):
    vector = np.array([1.0, 2.0, 2.0], np.float32) / 3
    got, _ = root(np.outer(vector, vector), 2, ridge_epsilon=1e-3)
    wanted = inverse_root(np.outer(vector, vector).astype(np.float64), 2, 1e-3)
    assert relative(got, wanted) < 1e-3
    assert np.isfinite(root(np.outer(vector, vector), 2)[0]).all()


@both
def test_equal_eigenvalues_have_a_derivative(root):
    """d (a I)^(-1/p) along D is -1/p a^(-1/p - 1) D: where a difference of eigenvalues would be divided by zero."""

    def along(t):
        direction = jnp.array([[1.0, 0.5], [0.5, -1.0]])
        return root(2 * jnp.eye(2) + t * direction, 2, ridge_epsilon=0.0)[0]

    with jax.enable_x64(True):
        slope = jax.jit(jax.jacfwd(along))(0.0)
    np.testing.assert_allclose(slope, -0.5 * 2**-1.5 * np.array([[1, 0.5], [0.5, -1]]), rtol=SLOPE_TOLERANCE)


@both
def test_the_ridge_has_a_derivative(root):
    def trace(ridge):
        return jnp.trace(root(jnp.asarray(MATRIX, jnp.float64), 2, ridge_epsilon=ridge)[0])

    with jax.enable_x64(True):
        slope = jax.jit(jax.grad(trace))(jnp.asarray(0.01))
        step = 1e-6
        wanted = (trace(jnp.asarray(0.01 + step)) - trace(jnp.asarray(0.01 - step))) / (2 * step)
    assert slope == pytest.approx(float(wanted), rel=SLOPE_TOLERANCE)


@both
def test_only_the_symmetric_part_is_read(root):
    skew = np.array([[0, 1, 0, 0], [-1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]], np.float32)
    np.testing.assert_allclose(root(MATRIX + skew, 2)[0], root(MATRIX, 2)[0], rtol=1e-3, atol=1e-5)


@both
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_low_precision_is_computed_in_float32(root, dtype):
    matrix = jnp.asarray(np.diag([16, 4, 1]), dtype)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        got, error = root(matrix, 2)
    assert got.dtype == error.dtype == jnp.float32
    np.testing.assert_allclose(got, np.diag([0.25, 0.5, 1.0]), rtol=TOLERANCE, atol=TOLERANCE)


@both
def test_no_rows(root):
    got, error = root(jnp.zeros((0, 0)), 2)
    assert got.shape == (0, 0)
    assert error == 0


@both
def test_nan_is_not_hidden(root):
    got, error = root(jnp.full((2, 2), jnp.nan), 2)
    assert np.isnan(got).all()
    assert np.isnan(error)


def test_the_error_tells_of_steps_that_ran_out():
    _, early = matrix_inverse_pth_root(MATRIX, 4, num_iters=2)
    _, late = matrix_inverse_pth_root(MATRIX, 4)
    assert late < 1e-4 < early


def test_the_error_tells_of_an_indefinite_matrix():
    got, error = matrix_inverse_pth_root(jnp.diag(jnp.array([1.0, -0.5])), 2)
    assert np.isfinite(got).all()
    assert error > 0.1


@pytest.mark.parametrize("root", FORMS, ids=lambda f: f.__name__)
def test_wrong_arguments_are_refused(root):
    with pytest.raises(ValueError, match=r"matrix must be \(n, n\), got float32\[2,2,2\]; use vmap"):
        root(jnp.ones((2, 2, 2)), 2)
    with pytest.raises(ValueError, match=r"p must be in .*, got 0"):
        root(MATRIX, 0)
    with pytest.raises(TypeError, match=r"p must be an integer.*got 1.5"):
        root(MATRIX, 1.5)
    with pytest.raises(TypeError, match="p must be a Python int"):
        jax.jit(root)(MATRIX, 2)
    with pytest.raises(ValueError, match=r"ridge_epsilon must be in .*, got -1"):
        root(MATRIX, 2, ridge_epsilon=-1.0)
