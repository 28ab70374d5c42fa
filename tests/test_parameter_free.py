"""Optimizers that find their own step size: what their rows in the zoo and their trajectories do not show."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx

PARAMS = {"w": jnp.array([1.0, -2.0, 0.5]), "b": jnp.array(3.0)}


def half_square(params):
    return 0.5 * gradx.tree.norm(params, squared=True)


def train(tx, steps, params=PARAMS, loss=half_square):
    """Return the parameters after some steps, compiled; the loss is handed on."""

    @jax.jit
    def step(params, state):
        value, grads = jax.value_and_grad(loss)(params)
        updates, state = tx.update(grads, state, params, value=value)
        return gradx.apply_updates(params, updates), state

    state = tx.init(params)
    for _ in range(steps):
        params, state = step(params, state)
    return params, state


# Polyak's step


def test_polyaks_step_halves_a_quadratic_at_once():
    params, _ = train(gradx.polyak_sgd(), 1)
    assert gradx.tree.allclose(params, gradx.tree.scale(0.5, PARAMS))


def test_polyaks_longest_step_holds_for_the_shortest_gradients():
    tx = gradx.polyak_sgd(max_learning_rate=0.25)
    for size in (1.0, 1e-4, 1e-19):  # the square of the last is no float32
        updates, _ = tx.update({"w": jnp.float32(size)}, tx.init(PARAMS), value=7.0)
        np.testing.assert_allclose(updates["w"], -0.25 * size, rtol=1e-6)


def test_sps_plus_stays_where_the_loss_is_below_its_bound():
    for variant, expected in (("sps", 0.125), ("sps+", 0.0)):
        tx = gradx.polyak_sgd(f_min=1.0, variant=variant)
        updates, _ = tx.update({"w": jnp.float32(2.0)}, tx.init(PARAMS), value=0.75)
        np.testing.assert_allclose(updates["w"], expected)


def test_polyak_wants_a_variant_that_it_knows():
    with pytest.raises(ValueError, match=r"scale_by_polyak: variant must be 'sps' or 'sps\+', got 'spsm'"):
        gradx.scale_by_polyak(variant="spsm")


@pytest.mark.parametrize("value", [jnp.ones(2), 1j, True], ids=str)
def test_the_loss_must_be_one_number(value):
    tx = gradx.polyak_sgd()
    with pytest.raises(TypeError, match=r"scale_by_polyak: value must be one real number, got (float|complex|bool)"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=value)


def test_the_loss_is_asked_for_by_name():
    tx = gradx.polyak_sgd()
    with pytest.raises(TypeError, match=r"scale_by_polyak needs value: call tx.update\(updates, state, params, value"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)


def test_a_loss_of_low_precision_is_lifted():
    tx = gradx.polyak_sgd(f_min=0.001)
    low, _ = tx.update(PARAMS, tx.init(PARAMS), value=jnp.bfloat16(1.0))
    full, _ = tx.update(PARAMS, tx.init(PARAMS), value=1.0)
    assert gradx.tree.allclose(low, full, rtol=1e-6)


# What a state keeps of the parameters

KEEPS = [gradx.schedule_free_sgd()]


@pytest.mark.parametrize("tx", KEEPS, ids=str)
def test_what_is_kept_is_a_copy_also_where_nothing_is_compiled(tx):
    """Fault 18: a state that shares a buffer with the parameters cannot be donated with them."""
    with jax.disable_jit():
        state = tx.init(PARAMS)
    buffers = [x.unsafe_buffer_pointer() for x in jax.tree.leaves((PARAMS, state))]
    assert len(set(buffers)) == len(buffers)
