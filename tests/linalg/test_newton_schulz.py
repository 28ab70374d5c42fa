"""The bands that the docstring of `orthogonalize` states, and its edges."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.linalg import COEFFICIENTS, Coefficients, orthogonalize
from tests.oracles.linalg import scalar_recurrence

BANDS = {"quintic": (0.003, 0.68, 1.21), "polar_express": (0.001, 0.84, 1.15)}
"""From this share of the Frobenius norm on, five steps end between these, as stated."""
BFLOAT16_BANDS = {"quintic": (0.003, 0.65, 1.21), "polar_express": (0.003, 0.76, 1.17)}
"""The same in bfloat16. Measured over 350,000 random matrices a set: [0.656, 1.208] and [0.769, 1.165]. Nearly all of
them were 16 x 16 or smaller, where rounding errors average least; up to 256 x 256 none was worse."""
FLOAT32_ROUNDING = 0.01
"""Five steps let a share of 0.001 grow 970 times, and its rounding error: 0.8374 was measured, 0.8466 in float64."""
SHAPES = [(2, 2), (5, 3), (3, 8), (16, 16), (32, 128), (64, 64)]
ORTHOGONAL_TOLERANCE = 2e-5
"""Float32: an exact iteration ends some ulps from orthonormal, a sum over 96 entries away."""


def with_shares(rng, count, shape, least):
    """Random matrices of Frobenius norm 1 whose least singular value is `least`, the others log-uniform above it."""
    m, n = shape
    k = min(m, n)
    shares = np.exp(rng.uniform(np.log(least), 0, size=(count, k)))
    shares[:, 0], shares[:, -1] = 0, 1
    # The least is set after the others are normalised, and their norm leaves just enough room for it.
    shares *= np.sqrt(1 - least**2) / np.linalg.norm(shares, axis=1, keepdims=True)
    shares = np.maximum(shares, least)
    shares /= np.linalg.norm(shares, axis=1, keepdims=True)
    left = np.linalg.qr(rng.normal(size=(count, m, k)))[0]
    right = np.linalg.qr(rng.normal(size=(count, n, k)))[0]
    return (left * shares[:, None, :]) @ right.swapaxes(1, 2), shares


def singular_values(x):
    return np.linalg.svd(np.asarray(x, np.float64), compute_uv=False)


@pytest.mark.parametrize("name", COEFFICIENTS)
def test_the_scalar_recurrence_stays_in_the_band(name):
    start, low, high = BANDS[name]
    ends = scalar_recurrence(np.geomspace(start, 1, 400_001), COEFFICIENTS[name])
    assert low <= ends.min() < low + 0.01  # the stated bound is no looser than it need be
    assert high - 0.01 < ends.max() <= high
    half = scalar_recurrence(np.array([start / 4]), COEFFICIENTS[name])
    assert half[0] < low  # and the start matters


@pytest.mark.parametrize(("name", "growth"), [("quintic", 485), ("polar_express", 970)])
def test_growth_from_nothing_is_the_product_of_the_leading_coefficients(name, growth):
    polynomials, margin = COEFFICIENTS[name]
    rows = [polynomials[min(step, len(polynomials) - 1)] for step in range(5)]
    assert np.prod([row[0] for row in rows]) / margin == pytest.approx(growth, rel=1e-3)
    x = np.diag([1.0, 1e-6]).astype(np.float32)
    assert float(orthogonalize(x, name)[1, 1]) == pytest.approx(growth * 1e-6, rel=1e-3)


@pytest.mark.parametrize("dtype", [None, jnp.bfloat16], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", COEFFICIENTS)
def test_singular_values_end_in_the_band(name, shape, dtype):
    start, low, high = (BANDS if dtype is None else BFLOAT16_BANDS)[name]
    count = 200 if min(shape) < 10 else 10
    x, shares = with_shares(np.random.default_rng(0), count, shape, start)
    assert shares.min() == pytest.approx(start, rel=1e-3)
    got = orthogonalize(x.astype(np.float32), name, dtype=dtype)
    assert got.dtype == jnp.float32
    ends = singular_values(got)
    assert ends.shape[-1] == min(shape)
    rounding = FLOAT32_ROUNDING if dtype is None else 0
    assert ends.min() >= low - rounding
    assert ends.max() <= high + rounding


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("name", COEFFICIENTS)
def test_gaussian_matrices_end_near_their_polar_factor(name, shape):
    x = np.random.default_rng(1).normal(size=(8, *shape))
    u, s, vt = np.linalg.svd(x, full_matrices=False)
    start, low, high = BANDS[name]
    seen = s / np.linalg.norm(s, axis=-1, keepdims=True) >= start
    got = np.asarray(orthogonalize(x.astype(np.float32), name), np.float64)
    ends = np.einsum("bik,bij,bkj->bk", u, got, vt)  # along the singular vectors of x itself
    assert ends[seen].min() >= low
    assert ends[seen].max() <= high
    assert np.abs(got - (u * ends[:, None, :]) @ vt).max() < 1e-3  # the vectors are kept


def test_other_coefficients_converge_to_the_polar_factor():
    x = np.random.default_rng(2).normal(size=(4, 6, 3)).astype(np.float32)
    u, _, vt = np.linalg.svd(x.astype(np.float64), full_matrices=False)
    got = orthogonalize(x, Coefficients(((1.5, -0.5, 0.0),)), steps=30)
    assert np.abs(np.asarray(got) - u @ vt).max() < ORTHOGONAL_TOLERANCE


def test_polar_express_repeats_its_last_row():
    x = np.random.default_rng(3).normal(size=(8, 8)).astype(np.float32)
    for steps in range(6, 40, 8):
        ends = singular_values(orthogonalize(x, "polar_express", steps))
        assert ends.min() >= 0.84
        assert ends.max() <= 1.15
    assert np.abs(ends - 1.035).max() < 1e-3


def test_a_batch_is_its_matrices():
    x = np.random.default_rng(4).normal(size=(2, 3, 5, 4)).astype(np.float32)
    x *= 10.0 ** np.arange(-6, 6, 2, dtype=np.float32).reshape(2, 3, 1, 1)  # each has a norm of its own
    batched = np.asarray(orthogonalize(x))
    for i, j in np.ndindex(2, 3):
        assert np.abs(batched[i, j] - orthogonalize(x[i, j])).max() < ORTHOGONAL_TOLERANCE


def test_tall_and_wide_are_transposes():
    x = np.random.default_rng(5).normal(size=(7, 3)).astype(np.float32)
    np.testing.assert_array_equal(orthogonalize(x).T, orthogonalize(x.T))


@pytest.mark.parametrize("shape", [(0, 3, 4), (2, 0, 3, 4), (0, 3), (3, 0), (0, 0), (2, 3, 0)], ids=str)
def test_empty_arrays_come_back(shape):
    got = orthogonalize(jnp.zeros(shape, jnp.bfloat16), "polar_express")
    assert got.shape == shape
    assert got.dtype == jnp.float32


@pytest.mark.parametrize("name", COEFFICIENTS)
@pytest.mark.parametrize("shape", [(3, 5), (5, 3), (1, 4), (4, 1), (1, 1)], ids=str)
def test_zero_matrices_give_zero_and_a_zero_derivative(shape, name):
    value, gradient = jax.jit(jax.value_and_grad(lambda x: jnp.sum(orthogonalize(x, name))))(jnp.zeros(shape))
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros(shape))


@pytest.mark.parametrize("shape", [(1, 6), (6, 1), (1, 1)], ids=str)
def test_a_row_is_normalised(shape):
    x = np.random.default_rng(6).normal(size=shape).astype(np.float32)
    got = np.asarray(orthogonalize(x))
    end = scalar_recurrence(1.0, COEFFICIENTS["quintic"])
    np.testing.assert_allclose(got, end * x / np.linalg.norm(x), rtol=1e-5)


@pytest.mark.parametrize("scale", [1e-35, 1e-10, 1e10, 1e37])
def test_the_scale_cancels(scale):
    x = np.random.default_rng(7).normal(size=(4, 6)).astype(np.float32)
    got, gradient = jax.jit(jax.value_and_grad(lambda x: jnp.sum(orthogonalize(x)[0])))(x * np.float32(scale))
    assert got == pytest.approx(float(jnp.sum(orthogonalize(x)[0])), rel=1e-4)
    assert np.isfinite(gradient).all()


def test_a_matrix_with_nan_spoils_no_other():
    x = np.random.default_rng(8).normal(size=(3, 4, 4)).astype(np.float32)
    spoilt = x.copy()
    spoilt[1, 0, 0], spoilt[2, 0, 0] = np.nan, np.inf
    got = np.asarray(orthogonalize(spoilt))
    np.testing.assert_array_equal(got[0], np.asarray(orthogonalize(x))[0])
    assert np.isnan(got[1:]).all()


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float8_e4m3fn])
def test_low_precision_input_is_computed_in_float32(dtype):
    x = jnp.asarray(np.random.default_rng(9).normal(size=(4, 6)), dtype)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        got = orthogonalize(x)
        narrow = orthogonalize(x, dtype=jnp.bfloat16)
    assert got.dtype == narrow.dtype == jnp.float32
    np.testing.assert_array_equal(got, orthogonalize(x.astype(jnp.float32)))
    assert 0 < np.abs(got - narrow).max() < 0.1  # bfloat16 products, not float32 ones


def test_complex_matrices():
    rng = np.random.default_rng(10)
    x = (rng.normal(size=(3, 5)) + 1j * rng.normal(size=(3, 5))).astype(np.complex64)
    u, s, vt = np.linalg.svd(x.astype(np.complex128), full_matrices=False)
    wanted = (u * scalar_recurrence(s / np.linalg.norm(s), COEFFICIENTS["quintic"])) @ vt
    for matrix, polar in ((x, wanted), (x.T, wanted.T)):
        assert np.abs(orthogonalize(matrix) - polar).max() < ORTHOGONAL_TOLERANCE


def test_wrong_arguments_are_refused():
    x = jnp.ones((2, 3))
    with pytest.raises(ValueError, match=r"x must have at least 2 axes, got float32\[3\]"):
        orthogonalize(x[0])
    with pytest.raises(ValueError, match="one of 'quintic', 'polar_express' or a Coefficients, got 'cubic'"):
        orthogonalize(x, "cubic")
    with pytest.raises(ValueError, match=r"steps must be in .*, got 0"):
        orthogonalize(x, steps=0)
    with pytest.raises(TypeError, match="steps must be an integer"):
        orthogonalize(x, steps=2.5)
    with pytest.raises(TypeError, match=r"dtype must be a real float .* got int32"):
        orthogonalize(x, dtype=jnp.int32)
