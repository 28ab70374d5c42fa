"""Perturbed functions: known expectations within their standard errors, Optax draw by draw, every order, dtypes."""

import jax
import jax.numpy as jnp
import numpy as np
import optax.perturbations
import pytest
from jax.test_util import check_grads

from gradx.perturbations import Gumbel, Normal, make_perturbed_fun
from tests.oracles import perturbations as oracle

ERRORS = 4.5
"""Standard errors: a mean of draws is further from its expectation once in 150,000 numbers, and the keys are fixed."""
PEER_TOLERANCE = 1e-5
"""Float32: the same draws, averaged in another order; relative to the largest entry."""
KEY, X, SIGMA = jax.random.key(0), np.array([0.3, -0.2, 0.8]), 0.5


def assert_expected(estimates, expected):
    """Check the mean of independent estimates, stacked along axis 0, against its expectation."""
    estimates = np.asarray(estimates, np.float64)
    error = estimates.std(axis=0, ddof=1) / np.sqrt(len(estimates))
    assert np.all(np.abs(estimates.mean(axis=0) - expected) <= ERRORS * error + 1e-6)
    assert np.all(error <= 0.1 * (1 + np.abs(expected)))  # the check says something


def over_keys(f, n=400):
    return jax.jit(jax.vmap(f))(jax.random.split(KEY, n))


@pytest.mark.parametrize("case", oracle.CASES, ids=str)
def test_log_densities(case):
    (z,) = case.arguments(np.random.default_rng(0))
    with jax.enable_x64(True):
        np.testing.assert_allclose(case.ours(jnp.asarray(z)), case.reference(z), rtol=case.tolerance)
        check_grads(case.ours, (jnp.asarray(z),), order=2, modes=["rev"], atol=1e-6, rtol=1e-6)
    single = z.astype(np.float32)
    np.testing.assert_allclose(case.ours(single), case.reference(single), rtol=case.tolerance32)


@pytest.mark.parametrize("noise", [Gumbel(), Normal()], ids=repr)
def test_samples_have_the_density(noise):
    draws = np.asarray(noise.sample(KEY, (20_000,), jnp.float32))
    assert draws.dtype == np.float32
    edges = np.linspace(-6, 10, 2001)
    density = np.exp(np.asarray(noise.log_prob(jnp.asarray(edges)), np.float64))
    cumulative = np.concatenate([[0], np.cumsum((density[1:] + density[:-1]) / 2)])
    cumulative /= cumulative[-1]
    empirical = np.searchsorted(np.sort(draws), edges) / len(draws)
    assert np.abs(empirical - cumulative).max() <= 1.95 / np.sqrt(len(draws))  # Kolmogorov's test at the level 0.001


def test_noises_are_values():
    assert Gumbel() == Gumbel() != Normal()
    assert hash(Normal()) == hash(Normal())
    assert repr(Gumbel()) == "Gumbel()"


def test_the_perturbed_winner_is_the_softmax():
    soft = make_perturbed_fun(oracle.winner, 100, SIGMA)
    x = jnp.asarray(X, jnp.float32)
    assert_expected(over_keys(lambda key: soft(key, x)), oracle.softmax(X, SIGMA))
    assert_expected(over_keys(lambda key: jax.jacrev(soft, argnums=1)(key, x)), oracle.softmax_jacobian(X, SIGMA))


@pytest.mark.parametrize("use_baseline", [True, False])
def test_derivatives_of_a_count_in_both_arguments_and_of_second_order(use_baseline):
    def steps(key, x, sigma):
        return make_perturbed_fun(oracle.step_count, 200, sigma, Normal(), use_baseline)(key, x)

    arguments = jnp.asarray(X, jnp.float32), jnp.float32(SIGMA)
    assert_expected(over_keys(lambda key: steps(key, *arguments)), oracle.expected_steps(X, SIGMA))
    gradients = over_keys(lambda key: jax.grad(steps, argnums=(1, 2))(key, *arguments))
    for got, expected in zip(gradients, oracle.expected_steps_gradient(X, SIGMA), strict=True):
        assert_expected(got, expected)
    hessians = over_keys(lambda key: jax.hessian(steps, argnums=1)(key, *arguments), 3000)
    assert_expected(hessians, oracle.expected_steps_hessian(X, SIGMA))


def test_the_baseline_lowers_the_variance():
    x = jnp.asarray(X, jnp.float32)

    def spread(use_baseline):
        perturbed = make_perturbed_fun(lambda x: 100 + jnp.sum(x), 50, SIGMA, Normal(), use_baseline)
        return np.std(over_keys(lambda key: jax.grad(perturbed, argnums=1)(key, x)), axis=0)

    assert np.all(10 * spread(True) < spread(False))


@pytest.mark.parametrize(("noise", "use_baseline"), [("Gumbel", True), ("Normal", False)])
def test_the_draws_are_those_of_optax(noise, use_baseline):
    def f(tree):
        return jnp.sum(jnp.maximum(tree["a"], 0)) * jnp.sign(tree["b"])

    x = {"a": jnp.asarray(X, jnp.float32), "b": jnp.float32(0.1)}

    def results(module):
        perturbed = module.make_perturbed_fun(f, 300, 0.1, getattr(module, noise)(), use_baseline)
        return jax.jit(lambda: (perturbed(KEY, x), jax.grad(perturbed, 1)(KEY, x), jax.hessian(perturbed, 1)(KEY, x)))()

    from gradx import perturbations

    for got, wanted in zip(*map(jax.tree.leaves, map(results, (perturbations, optax.perturbations))), strict=True):
        np.testing.assert_allclose(got, wanted, atol=PEER_TOLERANCE * np.abs(wanted).max())


def test_jit_vmap_and_strict_promotion():
    perturbed = make_perturbed_fun(lambda tree: {"n": jnp.sum(tree["w"] > 0), "w": tree["w"] ** 2}, 20, SIGMA)
    batch = {"w": jnp.asarray(np.random.default_rng(0).normal(size=(4, 2, 3)), jnp.float32), "empty": jnp.zeros((4, 0))}
    keys = jax.random.split(KEY, 4)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        batched = jax.jit(jax.vmap(perturbed))(keys, batch)
        one = jax.jit(perturbed)(keys[1], jax.tree.map(lambda leaf: leaf[1], batch))
    assert jax.tree.map(jnp.shape, one) == {"n": (), "w": (2, 3)}
    for got, wanted in zip(jax.tree.leaves(batched), jax.tree.leaves(one), strict=True):
        np.testing.assert_allclose(got[1], wanted, rtol=1e-6)


def test_raw_keys_are_keys():
    perturbed = make_perturbed_fun(jnp.sum, 20, SIGMA)
    assert perturbed(jax.random.PRNGKey(3), jnp.ones(2)) == perturbed(jax.random.key(3), jnp.ones(2))


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=str)
def test_low_precision_is_rounded_for_the_function_alone(dtype):
    seen = []

    def f(x):
        seen.append(x.dtype)
        return jnp.sum(x)

    perturbed = make_perturbed_fun(f, 500, 0.01, Normal())
    x = jnp.full(3, 1.0, dtype)
    value, gradient = jax.jit(jax.value_and_grad(perturbed, argnums=1))(KEY, x)
    assert set(seen) == {jnp.dtype(dtype)}
    assert (value.dtype, gradient.dtype) == (jnp.float32, dtype)
    assert abs(value - 3) <= ERRORS * 0.01 * np.sqrt(3 / 500) + 1e-4
    # noise of 0.01 rounded to bfloat16's 2^-7 loses a little of its slope on average over the draws: about 1 is left
    assert jnp.all(jnp.abs(gradient - 1) < 0.5)


def test_float64_stays():
    with jax.enable_x64(True):
        perturbed = make_perturbed_fun(jnp.sum, 10)
        value, gradient = jax.eval_shape(jax.value_and_grad(perturbed, argnums=1), KEY, jnp.ones(2))
        assert value.dtype == gradient.dtype == jnp.float64


def test_extreme_inputs_give_finite_values_and_gradients():
    run = jax.jit(jax.value_and_grad(make_perturbed_fun(jax.nn.logsumexp, 50, 1e-3), argnums=1))
    for entry in (0.0, 1e4, -1e4):
        value, gradient = run(KEY, jnp.full(3, entry))
        assert jnp.isfinite(value)
        assert jnp.all(jnp.isfinite(gradient))


@pytest.mark.parametrize("num_samples", [0, -3, 2.5, "many"])
def test_impossible_numbers_of_samples_are_refused(num_samples):
    with pytest.raises((ValueError, TypeError), match="make_perturbed_fun: num_samples must be"):
        make_perturbed_fun(jnp.sum, num_samples)


@pytest.mark.parametrize("sigma", [0.0, -1.0, float("nan"), float("inf")])
def test_a_scale_that_is_not_positive_is_refused(sigma):
    with pytest.raises(ValueError, match=r"make_perturbed_fun: sigma must be in \(0, inf\)"):
        make_perturbed_fun(jnp.sum, sigma=sigma)


def test_inputs_without_derivatives_are_refused_with_their_place():
    perturbed = make_perturbed_fun(lambda tree: tree["w"])
    with pytest.raises(TypeError, match=r"input must be real and floating, got int32\[2\] at 'n'"):
        perturbed(KEY, {"w": jnp.ones(2), "n": jnp.arange(2)})
    with pytest.raises(TypeError, match="got complex64"):
        perturbed(KEY, {"w": jnp.ones(2, jnp.complex64)})


def test_a_derivative_of_the_function_is_never_asked():
    @jax.custom_jvp
    def step(x):
        return jnp.sign(x)

    @step.defjvp
    def refuse(primals, tangents):
        raise AssertionError("its derivative was asked")

    assert jnp.isfinite(jax.grad(make_perturbed_fun(step, 10), argnums=1)(KEY, jnp.float32(0.1)))
