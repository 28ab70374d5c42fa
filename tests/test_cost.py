"""What XLA makes of an update, in counts that do not move: bytes, temporaries, traces."""

import functools

import jax
import jax.numpy as jnp
import pytest

import gradx

PARAMS = {"kernel": jnp.ones((500, 400)), "other": jnp.ones((400, 500)), "bias": jnp.ones(1000)}
SIZE = gradx.tree.size(PARAMS)


def compiled_step(tx):
    """Compile a whole step, parameters and state donated, as a training loop would."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state

    return step.lower(PARAMS, tx.init(PARAMS), PARAMS).compile()


@pytest.mark.parametrize(
    ("tx", "bytes_per_parameter"),
    [
        (gradx.sgd(0.1), 12.1),
        (gradx.sgd(0.1, momentum=0.9), 24.1),
        (gradx.adam(1e-3), 40.5),
        (gradx.adamw(1e-3), 40.5),
        (gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(1e-3)), 46.0),
        (gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 1e-3, 10, 100)), 40.5),
        (gradx.inject_hyperparams(gradx.adamw)(1e-3), 40.5),
    ],
    ids=repr,
)
def test_bytes_and_temporaries(tx, bytes_per_parameter):
    compiled = compiled_step(tx)
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= bytes_per_parameter
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE < 0.1


def test_accumulation_costs_its_accumulator_and_works_in_place():
    """One array read, one written, and the update in the accumulator's place: no temporaries."""
    compiled = compiled_step(gradx.MultiSteps(gradx.adamw(1e-3), 4))
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= 76.1
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE <= 0.1


@pytest.mark.parametrize(("weight_decay", "accessed", "temporaries"), [(None, 56.1, 4.1), (0.01, 68.1, 8.1)])
def test_adadelta_costs_less_than_optax_until_it_decays(weight_decay, accessed, temporaries):
    """Optax: 68 and 8, always."""
    compiled = compiled_step(gradx.adadelta(1.0, weight_decay=weight_decay))
    assert compiled.cost_analysis()["bytes accessed"] / SIZE <= accessed
    assert compiled.memory_analysis().temp_size_in_bytes / SIZE <= temporaries


def test_donated_buffers_are_all_used_again():
    """Every output takes an input's memory: parameters and both moments."""
    memory = compiled_step(gradx.adamw(1e-3)).memory_analysis()
    assert memory.alias_size_in_bytes / SIZE >= 12


def test_a_rule_is_traced_once_for_each_shape():
    params = {f"p{i}": jnp.ones((3, 1 + i % 2)) for i in range(50)}
    tx = gradx.scale_by_adam()
    calls = [eqn for eqn in jax.make_jaxpr(tx.update)(params, tx.init(params)).eqns if "jaxpr" in eqn.params]
    inside = [rule for call in calls for rule in call.params["jaxpr"].eqns]
    rules = [eqn.params["jaxpr"] for eqn in inside if eqn.params.get("name") == "adam_leaf"]
    assert len(calls) == 2 * 5  # of 25 equal leaves 5 go at once
    assert len({id(call.params["jaxpr"]) for call in calls}) == 2
    assert len(rules) == 50
    assert len({id(rule) for rule in rules}) == 2


def test_low_precision_is_rounded_once_at_the_end():
    """bfloat16 parameters: no bfloat16 arithmetic between entry and exit."""
    params = jax.tree.map(lambda x: x.astype(jnp.bfloat16), PARAMS)
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(1e-3))
    jaxpr = str(jax.make_jaxpr(tx.update)(params, tx.init(params), params))
    arithmetic = [
        line for line in jaxpr.splitlines() if ":bf16" in line and any(op in line for op in (" mul ", " add "))
    ]
    assert arithmetic == []
