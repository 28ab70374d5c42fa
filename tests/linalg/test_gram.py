"""The Gram form of Newton-Schulz: the same matrices with fewer operations, in float32."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.linalg import COEFFICIENTS, Coefficients, orthogonalize
from gradx.linalg.newton_schulz import newton_schulz_step

HYBRID = Coefficients(((3.4445, -4.7750, 2.0315),) * 8 + ((2.0, -1.5, 0.5),) * 2)
CUBIC = Coefficients(((1.5, -0.5, 0.0),))
SHARE = 0.6
"""What the Gram form may take of the operations of the plain one, on matrices four times as long as wide."""


def plain(x, coefficients, steps):
    """Step by step, in float64."""
    rows, margin = coefficients
    x = np.asarray(x, np.float64)
    x = x / (margin * np.linalg.norm(x))
    for step in range(steps):
        a, b, c = rows[min(step, len(rows) - 1)]
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x


def operations(f, *shape):
    return jax.jit(f).lower(jnp.ones(shape)).compile().cost_analysis()["flops"]


def step_by_step(x, coefficients, steps):
    rows, margin = coefficients
    x = x / (margin * jnp.linalg.norm(x, axis=(-2, -1), keepdims=True))
    for step in range(steps):
        x = newton_schulz_step(x, *rows[min(step, len(rows) - 1)])
    return x


@pytest.mark.parametrize(("m", "n"), [(64, 256), (256, 1024)])
def test_long_matrices_take_fewer_operations(m, n):
    name = "polar_express"
    gram = operations(lambda x: orthogonalize(x, name), m, n)
    assert gram <= SHARE * operations(lambda x: step_by_step(x, COEFFICIENTS[name], 5), m, n)
    assert gram == operations(lambda x: orthogonalize(x, name), n, m)


@pytest.mark.parametrize(("m", "n"), [(64, 64), (64, 96)])
def test_short_ones_take_no_more(m, n):
    f = orthogonalize
    assert operations(f, m, n) <= 1.01 * operations(lambda x: step_by_step(x, COEFFICIENTS["quintic"], 5), m, n)


SETS = {
    "quintic": (COEFFICIENTS["quintic"], 5),
    "polar_express": (COEFFICIENTS["polar_express"], 5),
    "hybrid": (HYBRID, 10),
    "cubic": (CUBIC, 7),
}


def deviation(x, coefficients, steps, f=orthogonalize, **how):
    """Return the spectral norm of what is wrong."""
    got = np.asarray(f(x.astype(np.float32), coefficients, steps, **how), np.float64)
    return np.linalg.norm(got - plain(x.astype(np.float32), coefficients, steps), 2)


@pytest.mark.parametrize("name", SETS)
def test_gaussian_matrices_are_as_in_the_plain_form(name):
    x = np.random.default_rng(0).normal(size=(64, 256))
    assert deviation(x, *SETS[name]) <= 5e-5  # measured: at most 3e-5, step by step 1e-5


@pytest.mark.parametrize("name", SETS)
def test_small_singular_values_lose_what_their_squares_do(name):
    """From the largest down to 1e-5 of it, and one that is 0; bfloat16 is 20 times further off at least."""
    m, n = 32, 128
    rng = np.random.default_rng(0)
    values = np.append(np.geomspace(1, 1e-5, m - 1), 0.0)
    left, right = np.linalg.qr(rng.normal(size=(m, m)))[0], np.linalg.qr(rng.normal(size=(n, m)))[0]
    x = (left * values) @ right.T
    got = deviation(x, *SETS[name])
    assert got <= 0.015  # measured: 0.008 for Polar Express, else 0.002
    assert name == "cubic" or deviation(x, *SETS[name], dtype=jnp.bfloat16) > 20 * got


def test_bfloat16_products_go_step_by_step():
    """The polynomial of a rounded Gram matrix is not that of the matrix."""
    text = str(jax.make_jaxpr(lambda x: orthogonalize(x, dtype=jnp.bfloat16))(jnp.ones((8, 64))))
    assert text.count("dot_general[") == 5 * 3
    text = str(jax.make_jaxpr(orthogonalize)(jnp.ones((8, 64))))
    assert text.count("dot_general[") == 2 + 5 * 4 - 3


def test_a_batch_of_complex_matrices():
    rng = np.random.default_rng(1)
    x = (rng.normal(size=(3, 4, 20)) + 1j * rng.normal(size=(3, 4, 20))).astype(np.complex64)
    got = orthogonalize(x, CUBIC, steps=15)
    u, _, vt = np.linalg.svd(x.astype(np.complex128), full_matrices=False)
    assert np.abs(got - u @ vt).max() < 2e-5
