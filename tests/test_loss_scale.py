"""Losses that are scaled up for float16, by a fixed number or one that finds itself."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradx
from gradx.testing import assert_close

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}
INFINITE = PARAMS | {"b": jnp.float32(jnp.inf)}


def run(tx, gradients):
    """Return the states after each gradient."""
    state, states = tx.init(PARAMS), []
    for grads in gradients:
        _, state = tx.update(grads, state, PARAMS)
        states.append(state)
    return states


@pytest.mark.parametrize("wrap", [gradx.static_loss_scale, gradx.dynamic_loss_scale])
@pytest.mark.parametrize("scale", [1024.0, 3.0])
def test_the_scale_makes_no_difference(wrap, scale):
    inner = gradx.sgd(0.1, momentum=0.9)  # Adam would hide a gradient that is too large
    tx = wrap(inner, scale)
    state, plain = tx.init(PARAMS), inner.init(PARAMS)
    for step in range(3):

        def loss(params, step=step):
            return jnp.sum(jnp.sin((step + 1) * params["w"])) + params["b"] ** 2

        grads = jax.grad(lambda p, s=state: gradx.scale_loss(loss(p), s))(PARAMS)
        updates, state = tx.update(grads, state, PARAMS)
        expected, plain = inner.update(jax.grad(loss)(PARAMS), plain, PARAMS)
        assert_close(updates, expected)


def test_the_scale_halves_at_overflow_and_doubles_after_good_steps():
    tx = gradx.dynamic_loss_scale(gradx.sgd(0.1), 16.0, growth_steps=2)
    gradients = [PARAMS, INFINITE, PARAMS, PARAMS, PARAMS, INFINITE, INFINITE, PARAMS, PARAMS, PARAMS, PARAMS]
    states = run(tx, gradients)
    assert [float(s.loss_scale) for s in states] == [16, 8, 8, 16, 16, 8, 4, 4, 8, 8, 16]
    assert [int(s.good_steps) for s in states] == [1, 0, 1, 0, 1, 0, 0, 1, 0, 1, 0]
    assert int(states[-1].total_skipped) == 3


def test_the_scale_moves_as_that_of_keras():
    """`keras.optimizers.LossScaleOptimizer`, written after its source; gradx's stops at 1, Keras's does not."""
    finite, scale, counter, expected = np.random.default_rng(0).random(100) < 0.86, 2.0**15, 0, []
    for good in finite:
        if not good:
            scale, counter = scale / 2, 0
        elif counter == 3 - 1:
            scale, counter = 2 * scale, 0
        else:
            counter += 1
        expected.append(scale)
    tx = gradx.dynamic_loss_scale(gradx.sgd(0.1), growth_steps=3)
    states = run(tx, [PARAMS if good else INFINITE for good in finite])
    assert min(expected) > 1
    assert [float(s.loss_scale) for s in states] == expected
    defaults = inspect.signature(gradx.dynamic_loss_scale).parameters
    assert [defaults[name].default for name in ("initial_scale", "growth_steps")] == [2.0**15, 2000]


def test_a_fixed_scale_is_kerass_loss_scale_factor():
    """`keras.optimizers.SGD(loss_scale_factor=8.0)`: the loss times 8 is differentiated, and the gradient over 8."""
    tx = gradx.static_loss_scale(gradx.sgd(0.1), 8.0)
    state = tx.init(PARAMS)
    assert float(gradx.scale_loss(3.0, state)) == 24.0
    updates, _ = tx.update(PARAMS, state, PARAMS)
    assert_close(updates, jax.tree.map(lambda g: -0.1 * g / 8.0, PARAMS))


@pytest.mark.parametrize(
    ("argument", "factory"),
    [
        ("use_ema", gradx.average_params),
        ("ema_overwrite_frequency", gradx.average_params),
        ("loss_scale_factor", gradx.static_loss_scale),
        ("LossScaleOptimizer", gradx.dynamic_loss_scale),
    ],
)
def test_docstrings_name_what_keras_calls_it(argument, factory):
    assert argument in factory.__doc__


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_skipped_step_leaves_the_inner_state_bit_for_bit(bad):
    tx = gradx.dynamic_loss_scale(gradx.adamw(0.1))
    (state,) = run(tx, [PARAMS])
    updates, after = jax.jit(tx.update)(PARAMS | {"b": jnp.float32(bad)}, state, PARAMS)
    assert all(not np.any(x) for x in jax.tree.leaves(updates))
    for x, y in zip(jax.tree.leaves(after.inner_state), jax.tree.leaves(state.inner_state), strict=True):
        assert x.tobytes() == y.tobytes()


def test_the_scale_stays_where_it_can_come_back_from():
    lowest = run(gradx.dynamic_loss_scale(gradx.sgd(0.1), 2.0), [INFINITE] * 3)[-1]
    highest = run(gradx.dynamic_loss_scale(gradx.sgd(0.1), 2.0**126, growth_steps=1), [PARAMS] * 3)[-1]
    assert float(lowest.loss_scale) == 1.0
    assert float(highest.loss_scale) == 2.0**127


def test_small_gradients_survive_in_float16():
    params = jnp.float16(1.0)

    def train(tx):
        state = tx.init(params)

        def loss(p):
            return gradx.scale_loss((p * jnp.float16(2e-4) * jnp.float16(2e-4)).astype(jnp.float32), state)

        return tx.update(jax.grad(loss)(params).astype(jnp.float32), state)[0]

    assert train(gradx.sgd(1.0)) == pytest.approx(-4e-8, rel=0.6)  # one or two of float16's smallest steps, 6e-8
    assert train(gradx.dynamic_loss_scale(gradx.sgd(1.0))) == pytest.approx(-4e-8, rel=2e-3)


def test_the_scale_is_found_wherever_it_stands():
    inside = gradx.static_loss_scale(gradx.adam(0.1), 4.0)
    for tx in (inside, gradx.chain(gradx.identity(), inside), gradx.MultiSteps(inside, 2)):
        assert float(gradx.scale_loss(0.5, tx.init(PARAMS))) == 2.0
    assert float(gradx.scale_loss(0.5, gradx.adam(0.1).init(PARAMS))) == 0.5
    with pytest.raises(ValueError, match="2 scales"):
        gradx.scale_loss(0.5, gradx.chain(inside, inside).init(PARAMS))


def test_the_scale_is_found_in_nnx():
    tx = gradx.dynamic_loss_scale(gradx.adam(0.1), 4.0)
    optimizer = nnx.Optimizer(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), tx, wrt=nnx.Param)
    assert float(gradx.scale_loss(0.5, optimizer.opt_state)) == 2.0


def test_a_float16_loss_is_scaled_in_float32():
    tx = gradx.static_loss_scale(gradx.adam(0.1), 2.0**15)
    scaled = gradx.scale_loss(jnp.float16(4.0), tx.init(PARAMS))
    assert scaled.dtype == jnp.float32
    assert float(scaled) == 2.0**17
