"""`explain` on healthy runs, of which it has nothing to say."""

import jax
import jax.numpy as jnp
import pytest

import gradx
from tests.diagnose.runs import (
    DIGITS,
    DIGITS_MLP,
    IRIS,
    IRIS_MLP,
    classify,
    mlp,
    noisy_regression,
    quadratic,
    run,
    train,
)

HEALTHY = {
    "quadratic": (gradx.sgd(0.1), {"w": jnp.array([1.0, 2.0])}, quadratic, 100),
    "quadratic to zero": (gradx.sgd(0.3), {"w": jnp.array([1.0, 2.0])}, quadratic, 500),
    "sgd digits": (gradx.sgd(0.1), mlp(DIGITS_MLP), classify(DIGITS), 300),
    "momentum digits": (gradx.sgd(0.05, momentum=0.9), mlp(DIGITS_MLP), classify(DIGITS), 300),
    "adamw digits": (gradx.adamw(1e-3), mlp(DIGITS_MLP), classify(DIGITS), 300),
    "adamw digits, high": (gradx.adamw(1e-2), mlp(DIGITS_MLP), classify(DIGITS), 1000),
    "adamw digits, batches of 4": (gradx.adamw(1e-3), mlp(DIGITS_MLP), classify(DIGITS, batch=4), 500),
    "adamw digits, tanh": (gradx.adamw(1e-3), mlp((64, *(32,) * 5, 10)), classify(DIGITS, "tanh"), 300),
    "sgd iris": (gradx.sgd(0.1), mlp(IRIS_MLP), classify(IRIS, batch=None), 300),
    "adamw iris": (gradx.adamw(1e-2), mlp(IRIS_MLP), classify(IRIS, batch=None), 300),
    "adamw iris, until flat": (gradx.adamw(3e-2), mlp(IRIS_MLP), classify(IRIS, batch=None), 2000),
    "softmax regression from zero": (
        gradx.sgd(0.1),
        jax.tree.map(jnp.zeros_like, mlp((64, 10))),
        classify(DIGITS),
        200,
    ),
    "warmup and cosine": (
        gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 5e-3, 50, 400)),
        mlp(DIGITS_MLP),
        classify(DIGITS),
        400,
    ),
    "noise around a fit": (gradx.sgd(1e-2), {"w": jnp.full(4, 9.0)}, noisy_regression(0.5), 400),
}


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.slow)])
@pytest.mark.parametrize("run", HEALTHY)
def test_healthy_runs_are_left_in_peace(run, seed):
    assert train(*HEALTHY[run], seed=seed) == []


def test_a_run_that_starts_at_its_minimum_is_not_slow():
    x, y = jax.random.normal(jax.random.key(0), (2, 64))

    def loss(params, key):
        return jnp.mean(jnp.square(x * params["w"] - y))

    best = {"w": jnp.vdot(x, y) / jnp.vdot(x, x)}
    assert train(gradx.sgd(1e-3), best, loss, 100) == []


def test_an_idle_bias_is_no_vanishing_layer_and_rare_rows_are_not_dead():
    def loss(params, key):
        rows = params["embedding"]["table"][jax.random.choice(key, 500, (4,))]
        h = rows @ params["dense"]["kernel"] + params["dense"]["bias"]
        h = h - jnp.mean(h, 0)  # as a normalization does: the bias gets rounding errors alone
        return jnp.mean(jnp.square(h - rows))

    keys = jax.random.split(jax.random.key(0))
    params = {
        "embedding": {"table": jax.random.normal(keys[0], (500, 8))},
        "dense": {"kernel": jax.random.normal(keys[1], (8, 8)) / 3, "bias": jnp.zeros(8)},
    }
    assert train(gradx.sgd(0.05), params, loss, 200) == []


@pytest.mark.parametrize("steps", [300, 1000, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("tx", [gradx.sgd(0.1), gradx.sgd(0.01), gradx.adamw(1e-3)], ids=["0.1", "0.01", "adamw"])
def test_a_run_that_goes_on_from_a_good_fit_is_left_in_peace(tx, steps):
    """The loss is near zero, its gradient is not yet, and both scatter from batch to batch."""
    params, _ = run(gradx.adamw(2e-3), mlp(DIGITS_MLP), classify(DIGITS), steps)
    assert train(tx, params, classify(DIGITS), 300, seed=1) == []
