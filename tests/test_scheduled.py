"""Schedules can be computed with, also inside a recipe, and `hyperparams` tells what the next update uses."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import nnx

import gradx

W = jnp.ones(3)
FALL = gradx.linear_schedule(1.0, 0.0, 10)

COMPUTED = {
    "half": (FALL / 2, lambda t: t / 2),
    "negative": (-FALL, lambda t: -t),
    "itself": (+FALL, lambda t: t),
    "sum": (FALL + 0.5, lambda t: t + 0.5),
    "number first": (3 - FALL, lambda t: 3 - t),
    "inverse": (1 / (1 + FALL), lambda t: 1 / (1 + t)),
    "product": (FALL * FALL, lambda t: t * t),
    "power": (FALL**0.5, lambda t: t**0.5),
    "exponent": (2**FALL, lambda t: 2**t),
    "of an array": (FALL * jnp.float32(0.25), lambda t: 0.25 * t),
    "of low precision": (FALL * jnp.bfloat16(0.25), lambda t: 0.25 * t),
    "of NumPy": (np.float64(0.25) * FALL, lambda t: 0.25 * t),
    "of a plain function": (FALL + (lambda step: 0.1 * step), lambda t: t + (1 - t)),
}


@pytest.mark.parametrize(("schedule", "expected"), COMPUTED.values(), ids=COMPUTED)
@pytest.mark.parametrize("promotion", ["standard", "strict"])
def test_a_schedule_can_be_computed_with(schedule, expected, promotion):
    with jax.numpy_dtype_promotion(promotion):
        for step in (0, 3, 10):
            np.testing.assert_allclose(schedule(step), expected(1 - step / 10), rtol=1e-6)
            np.testing.assert_allclose(jax.jit(schedule)(step), expected(1 - step / 10), rtol=1e-6)


def test_a_computed_schedule_is_a_value():
    assert gradx.linear_schedule(1.0, 0.0, 10) / 2 == FALL / 2
    assert FALL / 2 != FALL / 3
    assert [float(x) for x in jax.tree.leaves(FALL / 2)] == [1.0, 0.0, 2.0]
    with pytest.raises(TypeError):
        FALL / "2"
    with pytest.raises(TypeError):
        FALL * None
    with pytest.raises(TypeError):
        True - FALL


def test_a_computed_schedule_prints_as_it_is_computed():
    tx = gradx.sgd(0.5 * (2.0 - FALL) ** FALL)
    assert repr(tx) == f"sgd(learning_rate=(0.5 * ((2.0 - {FALL!r}) ** {FALL!r})))"
    assert eval(repr(tx), vars(gradx)) == tx


@gradx.transformation
def coupled(learning_rate=0.1, weight_decay=0.01):
    """A recipe that computes with its arguments."""
    return gradx.chain(gradx.add_decayed_weights(learning_rate * weight_decay), gradx.sgd(learning_rate / 2))


@gradx.transformation
def closing(learning_rate=0.1):
    """A recipe whose functions close over its argument."""
    return gradx.stateless(lambda updates, params: jax.tree.map(lambda g: -learning_rate * g, updates))


@gradx.transformation
def rooted(b2=0.99):
    """A recipe that needs numbers."""
    return gradx.scale(jnp.sqrt(1 - b2))


@gradx.transformation
def around_optax(learning_rate=0.1):
    return gradx.chain(gradx.clip(5.0), optax.sgd(learning_rate))


@gradx.transformation
def two_counts(learning_rate=0.1, factor=1.0):
    return gradx.chain(gradx.MultiSteps(gradx.scale(factor), 4), gradx.sgd(learning_rate))


RECIPES = {
    "coupled": (coupled, {"learning_rate": FALL}, lambda t: -(1 + 0.01 * t) * t / 2, ["learning_rate"]),
    "closing": (closing, {"learning_rate": FALL}, lambda t: -t, ["learning_rate"]),
    "rooted": (rooted, {"b2": FALL / 2}, lambda t: np.sqrt(1 - t / 2), []),
    "around optax": (around_optax, {"learning_rate": FALL}, lambda t: -t, []),
}


def run(tx, steps, step=None):
    state, update = tx.init(W), None
    for _ in range(steps):
        update, state = (step or tx.update)(W, state, W)
    return update, state


@pytest.mark.parametrize("jitted", [False, True])
@pytest.mark.parametrize(("recipe", "arguments", "expected", "shown"), RECIPES.values(), ids=RECIPES)
def test_any_float_argument_of_a_recipe_may_be_a_schedule(recipe, arguments, expected, shown, jitted):
    tx = recipe(**arguments)
    update, state = run(tx, 4, jax.jit(tx.update) if jitted else None)
    np.testing.assert_allclose(update, expected(0.7) * W, rtol=1e-5)
    values = gradx.hyperparams(tx, state)
    for name in shown:
        np.testing.assert_allclose(values[f"{tx.name}/{name}"], 0.6, rtol=1e-6)  # of the next update


@pytest.mark.parametrize(
    "factor", [FALL, gradx.linear_schedule(1.0, 0.0, 10), 1.0 * FALL], ids=["the same", "equal", "inside"]
)
def test_schedules_that_count_apart_are_told_apart(factor):
    tx = two_counts(FALL, factor)
    values = gradx.hyperparams(tx, run(tx, 4)[1])
    np.testing.assert_allclose(values["two_counts/learning_rate"], 0.6, rtol=1e-6)
    np.testing.assert_allclose(values["two_counts/factor"], 0.9, rtol=1e-6)


@pytest.mark.parametrize("rate", [1, np.int64(1), np.int8(1), jnp.int32(1), np.array(1)], ids=repr)
def test_an_integer_where_a_float_is_meant_is_data(rate):
    @gradx.transformation
    def mine(step_size=0.1):
        return gradx.scale(step_size)

    for factory in (mine, gradx.sgd):
        tx = factory(rate)
        leaf = jax.tree.leaves(tx)[0]
        assert leaf == 1.0
        assert jnp.issubdtype(jnp.result_type(leaf), jnp.floating)
        assert jax.tree.structure(tx) == jax.tree.structure(factory(0.5))


# Injected


def optimizer(learning_rate, weight_decay=0.01):
    return gradx.chain(
        gradx.clip_by_global_norm(100.0), gradx.add_decayed_weights(weight_decay), gradx.sgd(learning_rate)
    )


def test_a_function_that_returns_a_chain_is_injected():
    tx = gradx.inject_hyperparams(optimizer)(learning_rate=0.5)
    state = tx.init(W)
    assert set(state.hyperparams) == {"learning_rate", "weight_decay"}
    state = gradx.set_hyperparams(state, learning_rate=0.25, weight_decay=1.0)
    np.testing.assert_allclose(tx.update(W, state, W)[0], -0.25 * (W + W))


def test_an_injected_schedule_is_read_and_computed_anew():
    tx = gradx.inject_hyperparams(optimizer)(learning_rate=FALL, weight_decay=0.0)
    update, state = run(tx, 3)
    np.testing.assert_allclose(update, -0.8 * W, rtol=1e-6)
    np.testing.assert_allclose(state.hyperparams["learning_rate"], 0.8, rtol=1e-6)
    assert list(state.hyperparams_states) == ["learning_rate"]
    assert int(state.hyperparams_states["learning_rate"].count) == 3


def test_one_name_with_two_ranges_takes_what_either_allows():
    @gradx.transformation
    def free(b1=0.5):
        return gradx.scale(b1)

    state = gradx.inject_hyperparams(free)(0.5).init(W)
    gradx.inject_hyperparams(gradx.adam)(0.1)  # the last to name a range of b1
    assert float(gradx.set_hyperparams(state, b1=7.0).hyperparams["b1"]) == 7.0


# Back to plain numbers


def test_concrete_gives_numbers_for_arrays():
    doubled = jax.jit(lambda tx: jax.tree.map(lambda x: 2 * x, tx))(gradx.adamw(0.25, b1=0.25))
    assert any(isinstance(x, jax.Array) for x in jax.tree.leaves(doubled))
    tx = gradx.concrete(doubled)
    assert all(isinstance(x, float) for x in jax.tree.leaves(tx))
    assert repr(tx).startswith("adamw(learning_rate=0.5, b1=0.5")
    stacked = gradx.sgd(jnp.array([0.1, 0.2]))
    assert gradx.concrete(stacked) == stacked


def test_concrete_passes_over_keys_and_takes_every_dtype():
    key = jax.random.key(0)
    tx = gradx.chain(
        gradx.sgd(jnp.float32(0.5)), gradx.scale(np.arange(3.0)), gradx.add_noise(np.float32(0.25), 1.0, key)
    )
    made = gradx.concrete(tx)
    kinds = [type(x) for x in jax.tree.leaves(made)]
    assert kinds == [float, np.ndarray, float, float, type(key)]
    assert made == tx
    assert jax.tree.leaves(gradx.concrete(gradx.sgd(jnp.bfloat16(0.5)))) == [0.5]
    assert type(jax.tree.leaves(gradx.concrete(gradx.sgd(jnp.bfloat16(0.5))))[0]) is float
    assert jax.jit(lambda rate: gradx.concrete(gradx.sgd(rate)))(0.5) == gradx.sgd(0.5)


def test_a_concrete_value_enters_nnx():
    model = nnx.Linear(2, 3, rngs=nnx.Rngs(0))
    tx = gradx.concrete(jax.jit(lambda tx: tx)(gradx.sgd(0.1)))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    @nnx.jit
    def step(model, optimizer):
        optimizer.update(model, nnx.grad(lambda m: jnp.sum(m(jnp.ones((1, 2)))))(model))

    step(model, optimizer)
    assert int(optimizer.step[...]) == 1


# The precision of what comes back


@pytest.mark.parametrize(
    ("gradient", "param", "expected"),
    [
        ("bfloat16", "float32", "float32"),
        ("float32", "bfloat16", "float32"),
        ("bfloat16", "bfloat16", "bfloat16"),
        ("float16", "bfloat16", "float32"),
        ("float32", "float32", "float32"),
        ("complex64", "complex64", "complex64"),
    ],
)
@pytest.mark.parametrize("jitted", [False, True])
def test_updates_come_back_in_the_wider_dtype(gradient, param, expected, jitted):
    tx = gradx.sgd(1e-3)
    g, p = jnp.ones(3, gradient), jnp.ones(3, param)
    update = jax.jit(tx.update) if jitted else tx.update
    assert update(g, tx.init(p), p)[0].dtype == expected
    assert update(g, tx.init(p))[0].dtype == gradient


def test_float32_parameters_lose_nothing_to_bfloat16_gradients():
    tx, g, p = gradx.sgd(1 / 3), jnp.ones(3, "bfloat16"), jnp.ones(3)
    np.testing.assert_allclose(tx.update(g, tx.init(p), p)[0], -1 / 3, rtol=1e-6)
