"""`eval_params`: the weights to evaluate, wherever in the optimizer the state stands that knows them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx
from flax.training.train_state import TrainState

import gradx
from gradx.testing import assert_close

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}
STEPS = 7
AVERAGE = gradx.average_params(gradx.sgd(0.1), decay=0.5)
LOOKAHEAD = gradx.lookahead(gradx.sgd(0.1), sync_period=3, slow_step_size=0.5)
KNOWING = pytest.mark.parametrize("tx", [AVERAGE, LOOKAHEAD], ids=lambda tx: tx.name)


def gradient(params, step):
    return jax.tree.map(lambda p: jnp.cos((step + 1.0) * p), params)


def train(tx, params=PARAMS, steps=STEPS, spoilt=()):
    """Return the last parameters and state; at the steps `spoilt` the gradient is NaN."""
    state = tx.init(params)
    for step in range(steps):
        grads = gradient(params, step)
        grads = jax.tree.map(lambda g: g * jnp.nan, grads) if step in spoilt else grads
        updates, state = tx.update(grads, state, params)
        params = gradx.apply_updates(params, updates)
    return params, state


def evaluated(tx, **options):
    params, state = train(tx, **options)
    return gradx.eval_params(state, params)


def test_others_evaluate_what_they_train():
    for tx in (gradx.adamw(0.1), gradx.chain(gradx.clip(1.0), gradx.sgd(0.1)), gradx.MultiSteps(gradx.adam(0.1), 2)):
        params, state = train(tx)
        assert gradx.eval_params(state, params) is params


@KNOWING
def test_knowing_states_evaluate_something_else(tx):
    params, state = train(tx)
    assert not np.allclose(gradx.eval_params(state, params)["w"], params["w"], rtol=1e-3)


AROUND = {
    "chain": lambda tx: gradx.chain(gradx.clip(10.0), tx),
    "named_chain": lambda tx: gradx.named_chain(("clip", gradx.clip(10.0)), ("inner", tx)),
    "chain in chain": lambda tx: gradx.chain(gradx.chain(gradx.identity(), tx), gradx.identity()),
    "masked": lambda tx: gradx.masked(tx, True),
    "partition": lambda tx: gradx.partition({"all": tx}, "all"),
    "inject_hyperparams": lambda tx: gradx.inject_hyperparams(injected)(0.1, tx),
    "apply_if_finite": lambda tx: gradx.apply_if_finite(tx, 3),
    "skip_outliers": gradx.skip_outliers,
    "dynamic_loss_scale": lambda tx: gradx.dynamic_loss_scale(tx, 1.0),
    "conditionally_mask": lambda tx: gradx.conditionally_mask(tx, lambda step: True),
    "MultiSteps": lambda tx: gradx.MultiSteps(tx, 1),
}


def injected(unused, inner):
    return inner


@KNOWING
@pytest.mark.parametrize("around", AROUND.values(), ids=AROUND)
def test_the_state_is_found_inside(around, tx):
    assert_close(evaluated(around(tx)), evaluated(tx))


@KNOWING
def test_parameters_that_a_mask_leaves_out_are_evaluated_as_they_are(tx):
    mask = {"w": True, "b": False}
    params, state = train(gradx.chain(gradx.masked(tx, mask), gradx.freeze({"w": False, "b": True})))
    alone, of_alone = train(tx, {"w": PARAMS["w"]})
    expected = gradx.eval_params(of_alone, alone)
    assert_close(gradx.eval_params(state, params), {"w": expected["w"], "b": PARAMS["b"]})


def test_each_label_evaluates_its_own():
    tx = gradx.partition({"mean": AVERAGE, "slow": LOOKAHEAD}, {"w": "mean", "b": "slow"})
    found = evaluated(tx)
    assert_close(found["w"], evaluated(AVERAGE)["w"])
    assert_close(found["b"], evaluated(LOOKAHEAD)["b"])


def test_accumulation_averages_updates_not_mini_steps():
    inner = gradx.average_params(gradx.sgd(0.1), decay=None)
    params, state = train(gradx.MultiSteps(inner, 3), steps=8)
    assert int(state.inner_opt_state.averaged) == 2
    assert_close(gradx.eval_params(state, params), state.inner_opt_state.average)


@KNOWING
def test_skipped_steps_are_not_averaged(tx):
    whole = evaluated(gradx.apply_if_finite(tx, 3), steps=4)
    params, state = train(gradx.apply_if_finite(tx, 3), steps=4, spoilt=())
    _, after = gradx.apply_if_finite(tx, 3).update(jax.tree.map(lambda p: p * jnp.nan, params), state, params)
    assert_close(gradx.eval_params(after, params), whole)


def test_of_one_inside_another_the_outer_counts():
    tx = gradx.average_params(LOOKAHEAD, decay=0.5)
    params, state = train(tx)
    assert_close(gradx.eval_params(state, params), state.average)


@KNOWING
def test_under_jit(tx):
    params, state = train(tx)
    assert_close(jax.jit(gradx.eval_params)(state, params), gradx.eval_params(state, params))


@KNOWING
def test_in_a_scan(tx):
    def step(carry, i):
        params, state = carry
        updates, state = tx.update(gradient(params, i), state, params)
        params = gradx.apply_updates(params, updates)
        return (params, state), gradx.eval_params(state, params)

    _, history = jax.lax.scan(step, (PARAMS, tx.init(PARAMS)), jnp.arange(float(STEPS)))
    assert_close(jax.tree.map(lambda x: x[-1], history), evaluated(tx))


@KNOWING
def test_bfloat16_parameters_come_back_in_bfloat16(tx):
    low = gradx.tree.cast(PARAMS, jnp.bfloat16)
    found = evaluated(tx, params=low)
    assert {str(x.dtype) for x in jax.tree.leaves(found)} == {"bfloat16"}
    assert_close(gradx.tree.cast(found, jnp.float32), evaluated(tx), rtol=0.02, atol=0.02)


@KNOWING
def test_in_a_train_state(tx):
    model = linen.Dense(2)
    params = model.init(jax.random.key(0), jnp.ones((1, 3)))["params"]
    state = TrainState.create(apply_fn=model.apply, params=params, tx=gradx.chain(gradx.clip(10.0), tx))
    for i in range(STEPS):
        state = state.apply_gradients(grads=gradient(state.params, i))
    found = gradx.eval_params(state.opt_state, state.params)
    assert_close(found, evaluated(tx, params=params))
    assert model.apply({"params": found}, jnp.ones((1, 3))).shape == (1, 2)


@KNOWING
def test_in_nnx(tx):
    model = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
    start = nnx.to_pure_dict(nnx.state(model, nnx.Param))
    start = jax.tree.map(jnp.copy, start)
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)
    for i in range(STEPS):
        grads = jax.tree.map(lambda p, i=i: jnp.cos((i + 1.0) * p), nnx.state(model, nnx.Param))
        optimizer.update(model, grads)
    params = nnx.state(model, nnx.Param)
    found = gradx.eval_params(optimizer.opt_state, params)
    assert_close(nnx.to_pure_dict(found), evaluated(tx, params=start))


@KNOWING
def test_one_array_that_a_mask_leaves_out_is_evaluated_as_it_is(tx):
    params, state = train(gradx.masked(tx, False), PARAMS["w"], steps=1)
    assert_close(gradx.eval_params(state, params), params)


def test_other_parameters_are_refused():
    with pytest.raises(ValueError, match="the state keeps 2 arrays, the parameters are 1"):
        gradx.eval_params(AVERAGE.init(PARAMS), {"w": PARAMS["w"]})
