"""Where one transformation is another: with this argument, around that one, for this gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import Subject, assert_close
from tests.zoo import OPTIMIZERS, decays, warmup

ROUNDING = {"rtol": 2e-6, "atol": 1e-7}
"""Two programs of the same formula in float32; where both are the same program they agree to the bit."""
OTHER_FORMULA = {"rtol": 2e-5, "atol": 1e-6}
"""Two formulas of the same number, such as 1 / (1 - decay) outside a sum instead of inside."""


def negative_sign(updates, params):
    return jax.tree.map(lambda g: -jnp.sign(g), updates)


def nothing(params):
    return False


FALLING = gradx.linear_schedule(0.5, 0.1, 4)

SAME = {
    # an argument at its neutral value
    "adamw without decay": (gradx.adamw(0.1, weight_decay=0.0), gradx.adam(0.1)),
    "adamw that decays nowhere": (gradx.adamw(0.1, weight_decay=0.5, mask=nothing), gradx.adam(0.1)),
    "nadamw without decay": (gradx.nadamw(0.1, weight_decay=0.0), gradx.nadam(0.1)),
    "nadam": (gradx.nadam(0.1, 0.8, 0.99), gradx.adam(0.1, 0.8, 0.99, nesterov=True)),
    "nadamw": (gradx.nadamw(0.1, mask=decays), gradx.adamw(0.1, mask=decays, nesterov=True)),
    "nadam without momentum": (gradx.nadam(0.1, b1=0.0), gradx.adam(0.1, b1=0.0)),
    "sgd with momentum 0": (gradx.sgd(0.1, momentum=0.0), gradx.sgd(0.1)),
    "sgd with Nesterov's momentum 0": (gradx.sgd(0.1, momentum=0.0, nesterov=True), gradx.sgd(0.1)),
    "rmsprop with momentum 0": (gradx.rmsprop(0.1, momentum=0.0), gradx.rmsprop(0.1)),
    "adadelta without decay": (gradx.adadelta(0.1, weight_decay=0.0), gradx.adadelta(0.1)),
    "momentum(0)": (gradx.momentum(0.0), gradx.identity()),
    "ema(0)": (gradx.ema(0.0), gradx.identity()),
    "ema(0) without debiasing": (gradx.ema(0.0, debias=False), gradx.identity()),
    "scale(1)": (gradx.scale(1.0), gradx.identity()),
    "scale(0)": (gradx.scale(0.0), gradx.set_to_zero()),
    "clip(inf)": (gradx.clip(np.inf), gradx.identity()),
    "clip_by_global_norm(inf)": (gradx.clip_by_global_norm(np.inf), gradx.identity()),
    "clip_by_block_rms(inf)": (gradx.clip_by_block_rms(np.inf), gradx.identity()),
    "adaptive_grad_clip(inf)": (gradx.adaptive_grad_clip(np.inf), gradx.identity()),
    "add_decayed_weights(0)": (gradx.add_decayed_weights(0.0), gradx.identity()),
    "add_noise(0)": (gradx.add_noise(0.0, 0.5, seed=0), gradx.identity()),
    "zero_nans where there are none": (gradx.zero_nans(), gradx.identity()),
    # one family is a case of another
    "sgd": (gradx.sgd(0.1), gradx.scale(-0.1)),
    "sgd with momentum": (gradx.sgd(0.1, 0.9), gradx.chain(gradx.momentum(0.9), gradx.scale(-0.1))),
    "rmsprop is adam without momentum": (
        gradx.rmsprop(0.1, decay=0.99, eps_in_sqrt=False, bias_correction=True),
        gradx.adam(0.1, b1=0.0, b2=0.99),
    ),
    "rmsprop without memory": (gradx.rmsprop(1.0, decay=0.0, eps=0.0), gradx.stateless(negative_sign)),
    "adam without memory": (gradx.adam(1.0, b1=0.0, b2=0.0, eps=0.0), gradx.stateless(negative_sign)),
    "clip_by_block_rms(0)": (gradx.clip_by_block_rms(0.0), gradx.set_to_zero()),
    "L2 regularisation": (
        gradx.chain(gradx.add_decayed_weights(0.1, decays), gradx.sgd(0.1)),
        gradx.chain(gradx.masked(gradx.add_decayed_weights(0.1), decays), gradx.sgd(0.1)),
    ),
    # numbers, schedules, injected values
    "constant schedule": (gradx.adamw(gradx.constant_schedule(0.1)), gradx.adamw(0.1)),
    "function as schedule": (gradx.sgd(lambda step: 0.5 - 0.1 * step), gradx.sgd(FALLING)),
    "schedule outside": (gradx.chain(gradx.scale(-1.0), gradx.scale_by_schedule(FALLING)), gradx.sgd(FALLING)),
    "injected adamw": (gradx.inject_hyperparams(gradx.adamw)(0.1, mask=decays), gradx.adamw(0.1, mask=decays)),
    "injected schedule": (gradx.inject_hyperparams(gradx.sgd(FALLING, 0.9)), gradx.sgd(FALLING, 0.9)),
    # combinations
    "empty chain": (gradx.chain(), gradx.identity()),
    "named chain": (
        gradx.named_chain(("clip", gradx.clip(0.1)), ("step", gradx.adam(0.1))),
        gradx.chain(gradx.clip(0.1), gradx.adam(0.1)),
    ),
    "chain to the left": (
        gradx.chain(gradx.chain(gradx.clip(0.3), gradx.momentum(0.9)), gradx.adamw(0.1)),
        gradx.chain(gradx.clip(0.3), gradx.momentum(0.9), gradx.adamw(0.1)),
    ),
    "chain to the right": (
        gradx.chain(gradx.clip(0.3), gradx.chain(gradx.momentum(0.9), gradx.adamw(0.1))),
        gradx.chain(gradx.clip(0.3), gradx.momentum(0.9), gradx.adamw(0.1)),
    ),
    "masked nowhere": (gradx.masked(gradx.adamw(0.1), False), gradx.identity()),
    "freeze(False)": (gradx.freeze(False), gradx.identity()),
    "freeze(True)": (gradx.freeze(True), gradx.set_to_zero()),
    "partition with the same parts": (
        gradx.partition({True: gradx.adam(0.1), False: gradx.adam(0.1)}, decays),
        gradx.adam(0.1),
    ),
    "partition of everything else frozen": (
        gradx.partition({True: gradx.adam(0.1), False: gradx.set_to_zero()}, decays),
        gradx.chain(gradx.adam(0.1), gradx.freeze(lambda p: jax.tree.map(lambda x: not x, decays(p)))),
    ),
    "partition of everything else left": (
        gradx.partition({True: gradx.sgd(0.1), False: gradx.identity()}, decays),
        gradx.masked(gradx.sgd(0.1), decays),
    ),
}


@pytest.mark.parametrize("name", SAME)
def test_same(name):
    left, right = (Subject(tx).run(3)[0] for tx in SAME[name])
    assert_close(left, right, **ROUNDING)


@pytest.mark.parametrize(
    ("name", "argument", "value"),
    [
        ("adamw without decay", "weight_decay", 0.01),
        ("nadam", "b1", 0.81),
        ("ema(0)", "decay", 0.01),
        ("sgd with momentum 0", "momentum", 0.01),
        ("injected schedule", "learning_rate", 0.5),
        ("freeze(True)", "mask", decays),
    ],
)
def test_neighbours_differ(name, argument, value):
    # Else the runs would be too short, or the tolerance too wide, to tell anything.
    left, right = SAME[name]
    with pytest.raises(AssertionError, match="Not equal"):
        assert_close(Subject(gradx.replace(left, **{argument: value})).run(3)[0], Subject(right).run(3)[0], **ROUNDING)


SIMILAR = {
    "momentum is a mean that grew": (
        gradx.momentum(0.9),
        gradx.chain(gradx.ema(0.9, debias=False), gradx.scale(1 / (1 - 0.9))),
    ),
    "factors multiply": (gradx.chain(gradx.scale(2.0), gradx.scale(-0.3)), gradx.scale(-0.6)),
}


@pytest.mark.parametrize("name", SIMILAR)
def test_similar(name):
    left, right = (Subject(tx).run(3)[0] for tx in SIMILAR[name])
    assert_close(left, right, **OTHER_FORMULA)


WRAPPERS = {
    "chain": gradx.chain,
    "named_chain": lambda tx: gradx.named_chain(("alone", tx)),
    "chain with identity": lambda tx: gradx.chain(gradx.identity(), tx, gradx.scale(1.0)),
    "masked": lambda tx: gradx.masked(tx, True),
    "partition": lambda tx: gradx.partition({"all": tx}, "all"),
    "MultiSteps": lambda tx: gradx.MultiSteps(tx, 1),
    "inject_hyperparams": gradx.inject_hyperparams,
}
"""Around a transformation, and nothing changes."""

INNER = [
    gradx.sgd(0.1, momentum=0.9),
    gradx.adamw(warmup, weight_decay=0.1, mask=decays),
    gradx.chain(gradx.clip_by_global_norm(0.5), gradx.rmsprop(0.01, centered=True)),
]


@pytest.mark.parametrize("inner", INNER, ids=str)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_neutral_wrapper(wrapper, inner):
    if wrapper == "inject_hyperparams" and inner.name == "chain":
        pytest.skip("a chain has no number of its own, and injecting it is refused")
    assert_close(Subject(WRAPPERS[wrapper](inner)).run(3)[0], Subject(inner).run(3)[0], **ROUNDING)


@pytest.mark.parametrize("row", OPTIMIZERS, ids=str)
def test_recipe_is_what_it_expands_to(row):
    assert_close(Subject(row.tx.expand()).run(2)[0], Subject(row.tx).run(2)[0], **ROUNDING)


def test_multi_steps_is_descent_on_the_mean():
    pieces = Subject(gradx.identity()).run(4)[0]
    mean = jax.tree.map(lambda *g: sum(g) / 4, *pieces)
    subject = Subject(gradx.MultiSteps(gradx.sgd(0.1), 4))
    assert_close(subject.run(4)[0][-1], gradx.tree.scale(-0.1, mean), **OTHER_FORMULA)


@pytest.mark.parametrize("step", range(1, 5))
def test_adagrad_of_a_constant_gradient_steps_as_one_over_root_t(step):
    tx = gradx.adagrad(1.0, initial_accumulator_value=0.0, eps=0.0)
    grads = {"w": jnp.array([3.0, -0.01, 1e5])}
    state = tx.init(grads)
    for _ in range(step):
        updates, state = tx.update(grads, state)
    np.testing.assert_allclose(updates["w"], [-(step**-0.5), step**-0.5, -(step**-0.5)], rtol=1e-6)


@pytest.mark.parametrize(
    "tx",
    [gradx.adam(1.0, eps=0.0), gradx.nadam(1.0, b1=0.5, eps=0.0), gradx.rmsprop(1.0, eps=0.0, bias_correction=True)],
    ids=str,
)
def test_first_step_of_the_adaptive_is_the_sign(tx):
    # NAdam's look-ahead: b1 mu / (1 - b1²) + g with mu = (1 - b1) g.
    size = 0.5 / 1.5 + 1 if tx.name == "nadam" else 1.0
    grads = {"w": jnp.array([3.0, -0.01, 1e5])}
    updates, _ = tx.update(grads, tx.init(grads))
    np.testing.assert_allclose(updates["w"], [-size, size, -size], rtol=1e-5)


def test_adam_of_a_constant_gradient_steps_as_its_sign_for_ever():
    # Both means are freed of their start at zero, and so are g and g² from the first step on.
    grads, tx = {"w": jnp.array([3.0, -0.01, 1e5])}, gradx.adam(0.1, b2=0.99, eps=0.0)
    state = tx.init(grads)
    for _ in range(5):
        updates, state = tx.update(grads, state)
        np.testing.assert_allclose(updates["w"], [-0.1, 0.1, -0.1], rtol=1e-5)
