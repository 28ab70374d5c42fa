"""Edges of non-negative least squares."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from gradx.linalg import nnls

RATE_SLACK = 1.001
"""Rounding in float64 of objectives of size one; the bound itself is never reached."""


def problem(seed=0, shape=(8, 4)):
    rng = np.random.default_rng(seed)
    return rng.uniform(size=shape), rng.normal(size=shape[0])


@pytest.mark.parametrize("iters", [1, 3, 10, 100])
def test_the_objective_falls_at_the_stated_rate(iters):
    A, b = problem()
    best, _ = scipy.optimize.nnls(A, b)
    bound = np.linalg.norm(A.T @ A)
    with jax.enable_x64(True):
        x = np.asarray(nnls(A, b, iters, L=bound))

    def half_square(x):
        return np.sum((A @ x - b) ** 2) / 2

    gap = half_square(x) - half_square(best)
    assert -1e-12 < gap <= RATE_SLACK * 2 * bound * np.sum(best**2) / iters**2
    assert (x >= 0).all()


def test_flat_directions_fall_at_the_stated_rate_too():
    """Where the step without momentum is several times above the bound: curvatures of 1 / (2 iters)."""
    iters = 100
    curvatures = np.array([1.0] + 9 * [0.5 / iters])
    A = np.diag(np.sqrt(curvatures))
    bound = 2 * 10 / iters**2
    with jax.enable_x64(True):
        x = np.asarray(nnls(A, A @ np.ones(10), iters, L=1.0))
    plain = np.sum(curvatures * (1 - curvatures) ** (2 * iters)) / 2
    assert np.sum(curvatures * (x - 1) ** 2) / 2 <= bound < plain / 2


@pytest.mark.parametrize("shape", [(3, 7), (7, 3), (1, 1), (1, 5), (5, 1)], ids=str)
def test_wide_and_tall_satisfy_the_optimality_conditions(shape):
    """x >= 0, gradient >= 0, and one of them 0 in each entry: the solution, also where it is not unique."""
    A, b = problem(1, shape)
    with jax.enable_x64(True):
        x = np.asarray(nnls(A, b, 20_000))
    gradient = A.T @ (A @ x - b)
    assert (x >= 0).all()
    assert gradient.min() > -1e-6
    assert np.abs(x * gradient).max() < 1e-6


def test_no_steps_and_zero_matrices_give_zero():
    A, b = problem()
    np.testing.assert_array_equal(nnls(A, b, 0), np.zeros(4, np.float32))
    zero = jnp.zeros((3, 2))
    value, gradient = jax.value_and_grad(lambda A: jnp.sum(nnls(A, jnp.ones(3), 10)))(zero)
    assert value == 0
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("shape", "columns"), [((0, 3), ()), ((3, 0), ()), ((3, 2), (0,)), ((0, 0), (2,))])
def test_empty_problems(shape, columns):
    got = nnls(jnp.zeros(shape), jnp.zeros((shape[0], *columns)), 5)
    assert got.shape == (shape[1], *columns)
    np.testing.assert_array_equal(got, np.zeros(got.shape))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.int32])
def test_low_precision_is_computed_in_float32(dtype):
    A, b = jnp.asarray([[1, 2], [3, 4]], dtype), jnp.asarray([5, 6], dtype)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        got = nnls(A, b, 500)
        mixed = nnls(A, b.astype(jnp.float32), 500)
    assert got.dtype == mixed.dtype == jnp.float32
    np.testing.assert_allclose(got, [0, 1.7], atol=1e-4)
    np.testing.assert_array_equal(got, mixed)


@pytest.mark.parametrize("scale", [1e-4, 1e4])
def test_scales(scale):
    A, b = problem()
    plain = nnls(A, b, 500)
    np.testing.assert_allclose(nnls(scale * A, scale * b, 500), plain, rtol=1e-3, atol=1e-5)


def test_unrolling_changes_nothing():
    A, b = problem()
    for unroll in (3, True):
        np.testing.assert_allclose(nnls(A, b, 20, unroll=unroll), nnls(A, b, 20), rtol=1e-5, atol=1e-6)


def test_nan_is_not_hidden():
    assert np.isnan(nnls(jnp.full((2, 2), jnp.nan), jnp.ones(2), 3)).all()


def test_wrong_arguments_are_refused():
    A, b = map(jnp.asarray, problem())
    with pytest.raises(ValueError, match=r"A is float32\[8,4\] and b is float32\[7\]"):
        nnls(A, b[:7], 5)
    with pytest.raises(ValueError, match=r"A is float32\[8\]"):
        nnls(b, b, 5)
    with pytest.raises(ValueError, match=r"iters must be in .*, got -1"):
        nnls(A, b, -1)
    with pytest.raises(ValueError, match=r"L must be in .*, got 0"):
        nnls(A, b, 5, L=0.0)
