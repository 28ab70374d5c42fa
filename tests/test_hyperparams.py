"""Read, replace and set hyperparameters, for every kind of optimizer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx

PARAMS = {"w": jnp.ones(3), "count": jnp.ones(2), "learning_rate": jnp.ones(())}
"""Names that the states have too: they must never be taken for the state's own."""
GRADS = jax.tree.map(lambda x: 0.1 * x, PARAMS)
FALL = gradx.linear_schedule(1.0, 0.0, 10)


def after(tx, steps):
    state = tx.init(PARAMS)
    for _ in range(steps):
        _, state = tx.update(GRADS, state, PARAMS)
    return state


def floats(values):
    return {name: round(float(x), 6) for name, x in values.items()}


@pytest.mark.parametrize(
    ("tx", "steps", "expected"),
    [
        (gradx.sgd(0.1), 0, {"sgd/learning_rate": 0.1}),
        (gradx.sgd(0.1, momentum=0.9), 2, {"sgd/learning_rate": 0.1, "sgd/momentum": 0.9}),
        (gradx.sgd(FALL), 3, {"sgd/learning_rate": 0.7}),
        (gradx.sgd(lambda step: 1.0 / (1.0 + step)), 3, {"sgd/learning_rate": 0.25}),
        (gradx.scale_by_learning_rate(FALL), 2, {"scale_by_learning_rate/learning_rate": 0.8}),
        (
            gradx.chain(gradx.clip(2.0), gradx.scale(FALL), gradx.scale(3.0)),
            5,
            {"clip/max_delta": 2.0, "scale/step_size": 0.5, "scale_1/step_size": 3.0},
        ),
        (
            gradx.named_chain(("cut", gradx.clip(2.0)), ("step", gradx.sgd(FALL))),
            1,
            {"cut/clip/max_delta": 2.0, "step/sgd/learning_rate": 0.9},
        ),
        (
            gradx.partition(
                {"a": gradx.sgd(FALL), "b": gradx.sgd(0.5)}, {"w": "a", "count": "b", "learning_rate": "b"}
            ),
            4,
            {"a/sgd/learning_rate": 0.6, "b/sgd/learning_rate": 0.5},
        ),
        (gradx.partition({"only": gradx.sgd(FALL)}, "only"), 4, {"only/sgd/learning_rate": 0.6}),
        (gradx.masked(gradx.sgd(FALL), True), 4, {"sgd/learning_rate": 0.6}),
        (gradx.MultiSteps(gradx.sgd(FALL), 2), 4, {"MultiSteps/sgd/learning_rate": 0.8}),
        (gradx.inject_hyperparams(gradx.sgd)(0.3), 1, {"sgd/learning_rate": 0.3}),
        (gradx.inject_hyperparams(gradx.sgd)(FALL), 3, {"sgd/learning_rate": 0.7}),  # that of the next update
        (gradx.chain(gradx.clip(1.0), optax.sgd(0.1)), 1, {"clip/max_delta": 1.0}),
        (gradx.identity(), 1, {}),
    ],
)
def test_current_values(tx, steps, expected):
    assert floats(gradx.hyperparams(tx, after(tx, steps))) == expected


def test_adamw_shows_all_its_numbers():
    names = gradx.hyperparams(gradx.adamw(FALL), after(gradx.adamw(FALL), 1))
    assert list(names) == [f"adamw/{x}" for x in ("learning_rate", "b1", "b2", "eps", "eps_root", "weight_decay")]


def test_the_learning_rate_of_a_jitted_step_in_one_line():
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(FALL))

    @jax.jit
    def step(params, state):
        rate = gradx.hyperparams(tx, state)["adamw/learning_rate"]
        updates, state = tx.update(GRADS, state, params)
        return gradx.apply_updates(params, updates), state, rate

    params, state, rates = PARAMS, tx.init(PARAMS), []
    for _ in range(3):
        params, state, rate = step(params, state)
        rates.append(float(rate))
    np.testing.assert_allclose(rates, [1.0, 0.9, 0.8], rtol=1e-6)


def test_replace():
    tx = gradx.chain(gradx.clip(1.0), gradx.MultiSteps(gradx.adamw(0.1), 2))
    assert gradx.replace(tx, learning_rate=0.5) == gradx.chain(gradx.clip(1.0), gradx.MultiSteps(gradx.adamw(0.5), 2))
    assert gradx.replace(gradx.adam(0.1), learning_rate=FALL, b1=0.5) == gradx.adam(FALL, b1=0.5)
    named = gradx.named_chain(("a", gradx.adam(0.1)), ("b", gradx.adam(0.2)))
    changed = gradx.replace(named, **{"b/adam/b1": 0.5})
    assert changed == gradx.named_chain(("a", gradx.adam(0.1)), ("b", gradx.adam(0.2, b1=0.5)))
    labels = gradx.partition({"a": gradx.sgd(0.1), "b": gradx.adam(0.1)}, {"w": "a"})
    assert gradx.replace(labels, momentum=0.9).arguments["transforms"]["a"] == gradx.sgd(0.1, momentum=0.9)
    twins = gradx.chain(gradx.scale(1.0), gradx.scale(2.0))
    assert gradx.replace(twins, **{"scale_1/step_size": 3.0}) == gradx.chain(gradx.scale(1.0), gradx.scale(3.0))
    inner = doubled(gradx.sgd(0.1))
    assert gradx.replace(doubled(inner, 3.0), factor=5.0) == doubled(inner, 5.0)  # its own before its parts'


def test_a_replaced_optimizer_goes_on_with_the_state():
    tx = gradx.adam(0.1)
    state = after(tx, 3)
    updates, _ = tx.update(GRADS, state, PARAMS)
    doubled, _ = gradx.replace(tx, learning_rate=0.2).update(GRADS, state, PARAMS)
    np.testing.assert_allclose(doubled["w"], 2 * updates["w"], rtol=1e-6)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"rate": 1.0}, r"no part has 'rate'; there are .*adam/learning_rate"),
        ({"learning_rate": 1.0}, r"'learning_rate' is in more than one part: adam/learning_rate, sgd/learning_rate"),
        ({"b1": 2.0}, r"adam: b1 must be in \[0, 1\), got 2.0"),
    ],
)
def test_replace_refuses(change, message):
    with pytest.raises((TypeError, ValueError), match=message):
        gradx.replace(gradx.chain(gradx.adam(0.1), gradx.sgd(0.1)), **change)


def test_set_hyperparams_reaches_injected_states_only():
    tx = gradx.chain(gradx.clip(1.0), gradx.inject_hyperparams(gradx.sgd)(0.1, momentum=0.9))
    state = gradx.set_hyperparams(after(tx, 2), learning_rate=0.7)
    assert floats(gradx.hyperparams(tx, state))["sgd/learning_rate"] == 0.7
    held = state[1].inner_state[0].trace
    assert set(held) == set(PARAMS)
    np.testing.assert_array_equal(held["learning_rate"], after(tx, 2)[1].inner_state[0].trace["learning_rate"])
    assert jax.tree.structure(state) == jax.tree.structure(after(tx, 2))
    with pytest.raises(KeyError, match=r"no injected hyperparameter 'b1'; injected are learning_rate, momentum"):
        gradx.set_hyperparams(state, b1=0.5)
    with pytest.raises(KeyError, match=r"make the optimizer with gradx.inject_hyperparams"):
        gradx.set_hyperparams(gradx.sgd(0.1).init(PARAMS), learning_rate=0.5)


def test_injected_values_are_used_and_traced_once():
    tx = gradx.inject_hyperparams(gradx.adamw)(0.1)
    traces = []

    @jax.jit
    def step(state):
        traces.append(1)
        return tx.update(GRADS, state, PARAMS)

    state = tx.init(PARAMS)
    for rate in (0.1, 0.2, 0.4):
        state = gradx.set_hyperparams(state, learning_rate=rate, weight_decay=0.0)
        updates, after_step = step(state)
        expected, _ = gradx.adamw(rate, weight_decay=0.0).update(GRADS, gradx.adamw(rate).init(PARAMS), PARAMS)
        np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-6)
        assert float(after_step.hyperparams["learning_rate"]) == pytest.approx(rate)
    assert len(traces) == 1


def test_injection_leaves_static_arguments_and_takes_optax():
    tx = gradx.inject_hyperparams(gradx.adam, static_args=("eps",))(0.1, mu_dtype="bfloat16")
    assert sorted(tx.init(PARAMS).hyperparams) == ["b1", "b2", "eps_root", "learning_rate"]
    foreign = gradx.inject_hyperparams(optax.adam)(0.1)
    state = gradx.set_hyperparams(foreign.init(PARAMS), learning_rate=0.2)
    updates, _ = foreign.update(GRADS, state, PARAMS)
    expected, _ = gradx.adam(0.2).update(GRADS, gradx.adam(0.2).init(PARAMS), PARAMS)
    np.testing.assert_allclose(updates["w"], expected["w"], rtol=1e-5)
    with pytest.raises(TypeError, match=r"adam has no argument 'epsilon'"):
        gradx.inject_hyperparams(gradx.adam, static_args="epsilon")(0.1)


# Schedules in the factories of users


@gradx.transformation
def starts_there(rate=1.0):
    return lambda params: jnp.asarray(rate, jnp.float32), lambda updates, state: (updates, state)


@gradx.transformation
def around(first, second):
    return gradx.chain(first, gradx.MultiSteps(second, 2))


def test_equal_parts_of_a_recipe_are_shown_at_the_count_of_each():
    tx = around(gradx.scale(FALL), gradx.scale(gradx.linear_schedule(1.0, 0.0, 10)))
    assert floats(gradx.hyperparams(tx, after(tx, 4))) == {
        "around/scale/step_size": 0.6,
        "around/scale_1/step_size": 0.8,
    }


def test_init_sees_a_schedule_at_step_0():
    tx = starts_there(FALL)
    assert float(tx.init(PARAMS).inner_state) == 1.0
    assert float(gradx.chain(tx).init(PARAMS)[0].inner_state) == 1.0


def test_a_schedule_is_not_read_from_the_state_of_another():
    with pytest.raises(ValueError, match="scale counts its updates, and the state is another's: EmptyState"):
        gradx.hyperparams(gradx.scale(FALL), gradx.EmptyState())


def test_arrays_are_no_hyperparameters():
    tx = gradx.chain(gradx.scale(jnp.arange(3.0)), gradx.sgd(0.5))
    assert floats(gradx.hyperparams(tx, tx.init(PARAMS["w"]))) == {"sgd/learning_rate": 0.5}


# Injected states


@gradx.transformation
def doubled(inner, factor=2.0):
    return gradx.chain(inner, gradx.scale(factor))


def test_set_hyperparams_reaches_injected_states_inside_injected_ones():
    tx = gradx.inject_hyperparams(doubled)(gradx.inject_hyperparams(gradx.sgd)(0.1))
    state = gradx.set_hyperparams(tx.init(PARAMS), learning_rate=0.5, factor=3.0)
    updates, state = tx.update(GRADS, state, PARAMS)
    np.testing.assert_allclose(updates["w"], -1.5 * GRADS["w"], rtol=1e-6)


@pytest.mark.parametrize("value", [1, np.float64(1), jnp.bfloat16(1), np.int8(1)], ids=lambda x: type(x).__name__)
def test_set_values_keep_the_dtype_of_the_state(value):
    state = gradx.inject_hyperparams(gradx.sgd)(0.1).init(PARAMS)
    changed = gradx.set_hyperparams(state, learning_rate=value)
    assert changed.hyperparams["learning_rate"].dtype == jnp.float32
    assert not changed.hyperparams["learning_rate"].weak_type
    with jax.enable_x64(True):
        assert gradx.set_hyperparams(state, learning_rate=value).hyperparams["learning_rate"].dtype == jnp.float32
