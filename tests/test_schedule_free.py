"""Schedule-free learning: the mean that is evaluated, in chains and partitions, and low precision."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx

PARAMS = {"w": jnp.array([4.0, -2.0]), "b": jnp.array(1.0)}
STEPS = 12
RATE, B1 = 0.2, 0.8


def rows(steps=STEPS):
    """Return the gradients of some steps."""
    drawn = np.random.default_rng(0).normal(size=(steps, 3)).astype(np.float32)
    return [{"w": jnp.asarray(x[:2]), "b": jnp.asarray(x[2])} for x in drawn]


def run(tx, params=PARAMS):
    """Return parameters and state after all steps."""
    state = tx.init(params)
    for grads in rows():
        updates, state = tx.update(grads, state, params)
        params = gradx.apply_updates(params, updates)
    return params, state


def mean_of_iterates(params=PARAMS):
    """Return the mean of z_1, ..., z_t of gradient descent, which x is where all steps weigh alike."""
    iterates, z = [], params
    for grads in rows():
        z = jax.tree.map(lambda z, g: z - RATE * g, z, grads)
        iterates.append(z)
    return jax.tree.map(lambda *zs: np.mean(np.stack(zs), axis=0), *iterates)


TX = gradx.schedule_free_sgd(RATE, b1=B1)
HOMES = {
    "alone": TX,
    "chain": gradx.chain(gradx.clip_by_global_norm(100.0), gradx.named_chain(("step", TX))),
    "inject": gradx.inject_hyperparams(TX),
    "scheduled": gradx.schedule_free_sgd(gradx.constant_schedule(RATE), b1=gradx.constant_schedule(B1)),
    "moving b1": gradx.schedule_free_sgd(RATE, b1=gradx.linear_schedule(0.5, 0.9, STEPS)),
}


@pytest.mark.parametrize("name", HOMES)
def test_the_mean_is_that_of_the_iterates_wherever_it_stands(name):
    params, state = run(HOMES[name])
    for evaluate in (gradx.eval_params, gradx.schedule_free_eval_params):
        found = evaluate(state, params)
        assert gradx.tree.allclose(found, mean_of_iterates(), rtol=1e-5, atol=1e-6)


def test_in_a_partition_the_other_parameters_are_those_that_are_trained():
    tx = gradx.partition({"free": TX, "plain": gradx.sgd(RATE)}, {"w": "free", "b": "plain"})
    params, state = run(tx)
    found = gradx.eval_params(state, params)
    np.testing.assert_allclose(found["w"], mean_of_iterates()["w"], rtol=1e-5)
    assert found["b"] is params["b"]


def test_under_accumulation_the_mean_is_found():
    params, state = run(gradx.MultiSteps(TX, STEPS))
    grads = jax.tree.map(lambda *g: sum(g) / STEPS, *rows())
    expected = jax.tree.map(lambda p, g: p - RATE * g, PARAMS, grads)
    assert gradx.tree.allclose(gradx.eval_params(state, params), expected, rtol=1e-5)


def test_without_such_a_state_there_is_no_mean():
    tx = gradx.chain(gradx.adam(0.1), gradx.clip(1.0))
    with pytest.raises(ValueError, match="schedule_free_eval_params: no ScheduleFreeState in the state"):
        gradx.schedule_free_eval_params(tx.init(PARAMS), PARAMS)
    assert gradx.eval_params(tx.init(PARAMS), PARAMS) is PARAMS


def test_a_later_and_larger_rate_weighs_more():
    rates = gradx.multi_step_schedule(0.1, [1], 3.0)  # 0.1, then 0.3
    z = [4.0 - 0.1, 4.0 - 0.1 - 0.3]
    for power, weights in ((2.0, [1, 9]), (1.0, [1, 3]), (0.0, [1, 1])):
        tx, params = gradx.schedule_free(gradx.sgd(rates), rates, weight_lr_power=power), jnp.float32(4.0)
        state = tx.init(params)
        for _ in range(2):
            updates, state = tx.update(jnp.float32(1.0), state, params)
            params = gradx.apply_updates(params, updates)
        np.testing.assert_allclose(gradx.eval_params(state, params), np.average(z, weights=weights), rtol=1e-6)


def test_the_weights_count_on_in_low_precision():
    """Fault 8: in bfloat16 the sum of weights stuck at 256."""
    tx, params = gradx.schedule_free_sgd(1.0), {"w": jnp.ones(2, jnp.bfloat16)}

    def step(state, _):
        return tx.update(params, state, params)[1], None

    state, _ = jax.lax.scan(step, tx.init(params), length=300)
    assert (float(state.weight_sum), int(state.step_count)) == (300.0, 300)


def test_z_is_kept_in_the_dtype_asked_for():
    for given, kept in ((None, jnp.float32), (jnp.bfloat16, jnp.bfloat16)):
        tx = gradx.schedule_free_adamw(state_dtype=given)
        for dtype in (jnp.bfloat16, jnp.float32):
            params = gradx.tree.cast(PARAMS, dtype)
            params, state = run(tx, params)
            assert {x.dtype for x in jax.tree.leaves(state.z)} == {jnp.dtype(kept)}
            assert gradx.tree.dtype(gradx.eval_params(state, params)) == dtype


def test_with_b1_of_1_the_parameters_are_the_mean():
    params, state = run(gradx.schedule_free_sgd(RATE, b1=1.0))
    assert gradx.tree.allclose(params, mean_of_iterates(), rtol=1e-5, atol=1e-6)
    assert gradx.tree.allclose(gradx.eval_params(state, params), params)


def test_b1_of_0_is_refused():
    with pytest.raises(ValueError, match=r"schedule_free: b1 must be in \(0, 1\], got 0"):
        gradx.schedule_free(gradx.sgd(0.1), 0.1, b1=0.0)


def test_the_base_is_handed_extras():
    tx = gradx.schedule_free(gradx.polyak_sgd(0.5), 0.5)
    updates, _ = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=1e9)
    assert gradx.tree.allclose(updates, gradx.tree.scale(-0.5, PARAMS))


def test_it_costs_one_array_more_than_descent_and_no_temporary():
    from tests.test_cost import SIZE, compiled_step

    compiled = compiled_step(gradx.schedule_free_sgd(0.1))
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= 28.1
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE <= 0.1
    compiled = compiled_step(gradx.schedule_free_adamw())
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= 52.1
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE <= 4.1


@pytest.mark.parametrize("make", [gradx.schedule_free_sgd, gradx.schedule_free_adamw])
def test_the_recipes_hand_their_arguments_on(make):
    tx = make(0.3, None, 0.7, weight_decay=0.2, weight_lr_power=1.5, state_dtype="bfloat16")
    given = tx.expand().arguments
    kept = (given["learning_rate"], given["b1"], given["weight_lr_power"], given["state_dtype"])
    assert kept == (0.3, 0.7, 1.5, jnp.bfloat16)
    assert "weight_decay=0.2" in repr(given["base_optimizer"])
    warm = make(0.3, 10).expand().arguments["learning_rate"]
    assert warm == gradx.warmup_constant_schedule(0.0, 0.3, 10)
