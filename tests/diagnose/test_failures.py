"""`explain` on runs that were made to fail, in one way each."""

import jax
import jax.numpy as jnp
import pytest

import gradx
from gradx import diagnose
from tests.diagnose.runs import (
    DIGITS,
    DIGITS_MLP,
    IRIS,
    IRIS_MLP,
    classify,
    kinds,
    mlp,
    noisy_regression,
    quadratic,
    train,
)


@pytest.mark.parametrize(
    ("tx", "params", "loss"),
    [
        (gradx.sgd(0.8), {"w": jnp.array([1.0, 2.0])}, quadratic),
        (gradx.sgd(5.0, momentum=0.9), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(3.0), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.sgd(30.0), mlp(IRIS_MLP), classify(IRIS, batch=None)),
    ],
    ids=["quadratic", "sgd digits", "adamw digits", "sgd iris"],
)
def test_a_too_high_learning_rate_diverges(tx, params, loss):
    findings = train(tx, params, loss, 200)
    assert "diverging" in kinds(findings), findings
    assert not {"slow", "stuck", "noisy", "vanishing gradients"} & set(kinds(findings)), findings
    found = findings[kinds(findings).index("diverging")]
    assert "Lower the learning rate" in str(found)
    assert found.numbers["after"] > found.numbers["before"]
    assert found.step < 100


def test_a_run_that_diverges_late_is_dated():
    rate = gradx.piecewise_constant_schedule(0.1, {100: 20.0})
    (found,) = train(gradx.sgd(rate), {"w": jnp.array([1.0, 2.0])}, quadratic, 130)
    assert found.kind == "diverging"
    assert 100 <= found.step < 130


@pytest.mark.parametrize(
    ("tx", "params", "loss"),
    [
        (gradx.sgd(1e-6), {"w": jnp.array([1.0, 2.0])}, quadratic),
        (gradx.sgd(1e-6), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(1e-8), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(1e-8), mlp(IRIS_MLP), classify(IRIS, batch=8)),
        (gradx.sgd(1e-7), jax.tree.map(jnp.zeros_like, mlp((64, 10))), classify(DIGITS)),
    ],
    ids=["quadratic", "sgd digits", "adamw digits", "adamw iris", "from zero"],
)
def test_a_too_low_learning_rate_is_stuck(tx, params, loss):
    (found,) = train(tx, params, loss, 200)
    assert found.kind == "stuck"
    assert "Raise the learning rate" in str(found)


@pytest.mark.parametrize(
    ("tx", "params", "loss"),
    [
        (gradx.sgd(3e-5), {"w": jnp.array([1.0, 2.0])}, quadratic),
        (gradx.sgd(3e-4), mlp(DIGITS_MLP), classify(DIGITS)),
        (gradx.adamw(1e-5), mlp(DIGITS_MLP), classify(DIGITS)),
    ],
    ids=["quadratic", "sgd digits", "adamw digits"],
)
def test_a_low_learning_rate_is_slow(tx, params, loss):
    (found,) = train(tx, params, loss, 200)
    assert found.kind == "slow"
    assert found.numbers["update_ratio"] < 1e-4


@pytest.mark.parametrize(("activation", "gain"), [("sigmoid", 1.0), ("tanh", 0.1)])
def test_gradients_vanish_in_the_first_layers(activation, gain):
    findings = train(gradx.sgd(0.1), mlp((64, *(32,) * 9, 10), gain), classify(DIGITS, activation), 200)
    assert "vanishing gradients" in kinds(findings)
    assert "exploding gradients" not in kinds(findings)
    found = findings[kinds(findings).index("vanishing gradients")]
    assert "layers/0" in found.layers
    assert "layers/9" not in found.layers
    assert "layers/0" in str(found)


def recurrent(params, key):
    """Return the squared end of 60 steps of a linear map whose radius is above 1."""
    h = jnp.ones(8)
    for _ in range(60):
        h = params["cell"]["kernel"] @ h
    return jnp.mean(jnp.square(params["out"]["kernel"] @ h - 1.0))


def test_gradients_explode_through_time():
    params = {"cell": {"kernel": 1.5 * jnp.eye(8)}, "out": {"kernel": jnp.eye(8)}}
    findings = train(gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(1e-4)), params, recurrent, 100)
    assert kinds(findings)[0] == "exploding gradients"
    assert findings[0].layers == ("cell",)
    assert "vanishing gradients" not in kinds(findings)


def test_gradients_explode_through_depth():
    params = mlp((64, *(32,) * 11, 10), gain=5.0)
    findings = train(gradx.sgd(1e-9), params, classify(DIGITS, "tanh"), 100)
    assert "exploding gradients" in kinds(findings)
    assert "layers/0" in findings[0].layers
    assert "layers/11" not in findings[0].layers


def test_first_steps_that_throw_the_weights_away_are_an_explosion():
    params = mlp((64, *(32,) * 16, 10), gain=8.0)  # so deep that half of the steps see gradients of usual size
    found, *_ = findings = train(gradx.sgd(0.1), params, classify(DIGITS, "tanh"), 300)
    assert (found.kind, found.step) == ("exploding gradients", 0)
    assert "layers/0" in found.layers
    assert "layers/16" not in found.layers
    assert "vanishing gradients" not in kinds(findings)  # they do later, in what the first steps left


def test_a_sudden_gradient_is_dated():
    def spoil(step, grads):
        return jax.tree.map(lambda g: jnp.where(step == 70, 1e4 * g, g), grads)

    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(0.05))
    (found,) = train(tx, mlp(DIGITS_MLP), classify(DIGITS), 100, spoil=spoil)
    assert (found.kind, found.step) == ("exploding gradients", 70)


@pytest.mark.parametrize("scale", [3.0, 10.0])
def test_noise_that_hides_the_progress_is_named(scale):
    (found,) = train(gradx.sgd(3e-3), {"w": jnp.zeros(4)}, noisy_regression(scale), 300)
    assert found.kind == "noisy"
    assert found.numbers["noise"] > found.numbers["start"] - found.numbers["end"]


def test_units_that_never_fire_are_dead():
    params = mlp(DIGITS_MLP)
    params["layers"][1]["bias"] -= 100.0
    findings = train(gradx.sgd(0.05), params, classify(DIGITS), 100)
    (found,) = [finding for finding in findings if finding.kind == "dead"]
    assert found.layers == ("layers/0", "layers/1")  # nothing flows back through the dead layer either
    assert found.numbers["fraction"] == 1.0
    assert set(kinds(findings)) == {"dead"}


@pytest.mark.parametrize("bad", [jnp.nan, jnp.inf])
def test_a_bad_entry_is_found_with_its_layer_and_step(bad):
    def spoil(step, grads):
        kernel = grads["layers"][1]["kernel"]
        grads["layers"][1]["kernel"] = kernel.at[3, 4].set(jnp.where(step == 40, bad, kernel[3, 4]))
        return grads

    (found,) = train(gradx.sgd(0.05), mlp(DIGITS_MLP), classify(DIGITS), 100, spoil=spoil)
    assert (found.kind, found.step) == ("non-finite", 40)
    assert found.layers == ("layers/1/kernel",)
    assert "gradient" in str(found)


def test_a_loss_that_breaks_alone_is_told_from_the_layers():
    ones = jnp.ones((3, 1))
    loss = jnp.array([1.0, jnp.nan, 1.0])
    history = diagnose.StepStatistics(ones, ones, ones, ones, 0 * ones, 0 * ones, loss)
    (found,) = diagnose.explain(history)
    assert (found.kind, found.layers, found.step) == ("non-finite", (), 1)


def test_bad_entries_that_no_norm_shows_are_told_without_a_gap():
    ones = jnp.ones((3, 1))
    history = diagnose.StepStatistics(ones, ones, ones, ones, 0 * ones, ones / 4, None)
    (found,) = diagnose.explain(history, ["kernel"])
    assert "first in kernel (up to 25% of a layer)" in str(found)


def test_one_step_that_destroys_the_weights_is_a_learning_rate():
    findings = train(gradx.sgd(1e30), {"w": jnp.array([1.0, 2.0])}, quadratic, 5)
    assert kinds(findings) == ["non-finite", "diverging"]
