"""Averages of parameters, look-ahead, and `eval_params`, which finds them wherever they stand."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.testing import assert_close
from tests.oracles.averages import mean_of

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}


def gradient(params, step):
    """Another gradient at each step, which depends on the parameters."""
    return jax.tree.map(lambda p: jnp.cos((step + 1.0) * p), params)


def train(tx, steps, params=PARAMS, jit=False):
    """Return the parameters after each step, those to evaluate after each, and the last state."""
    state, path, evaluated = tx.init(params), [], []
    update = jax.jit(tx.update) if jit else tx.update
    for step in range(steps):
        updates, state = update(gradient(params, step), state, params)
        params = gradx.apply_updates(params, updates)
        path.append(params)
        evaluated.append(gradx.eval_params(state, params))
    return path, evaluated, state


def expected_mean(path, decay, debias=True):
    history = path if debias else [PARAMS, *path]
    return jax.tree.map(lambda *p: mean_of([np.float64(x) for x in p], decay, debias), *history)


# Averages


@pytest.mark.parametrize(("decay", "debias"), [(0.9, True), (0.9, False), (0.0, True), (None, True)])
def test_the_average_is_the_weighted_mean_of_the_parameters(decay, debias):
    path, evaluated, state = train(gradx.average_params(gradx.sgd(0.1), decay, debias), 12)
    for n in range(12):
        assert_close(evaluated[n], expected_mean(path[: n + 1], decay, debias))
    assert int(state.averaged) == int(state.count) == 12


def test_training_goes_on_as_without_the_average():
    path, _, _ = train(gradx.average_params(gradx.adam(0.1)), 5)
    assert_close(path, train(gradx.adam(0.1), 5)[0])


@pytest.mark.parametrize(
    ("start", "every", "taken"), [(3, 4, [3, 7, 11]), (0, 4, [4, 8, 12]), (1, 1, range(1, 13)), (5, 1, range(5, 13))]
)
def test_stochastic_weight_averaging_takes_some_in(start, every, taken):
    path, evaluated, state = train(gradx.average_params(gradx.sgd(0.1), None, start=start, every=every), 12)
    assert int(state.averaged) == len(taken)
    for n in range(1, 13):
        some = [path[t - 1] for t in taken if t <= n]
        assert_close(evaluated[n - 1], expected_mean(some, None) if some else path[n - 1])


def test_parameters_are_evaluated_before_the_first_is_taken_in():
    tx = gradx.average_params(gradx.sgd(0.1), start=100)
    path, evaluated, state = train(tx, 2)
    assert_close(evaluated, path)
    assert_close(gradx.eval_params(tx.init(PARAMS), PARAMS), PARAMS)
    assert_close(state.average, PARAMS)


def test_the_average_overwrites_the_parameters():
    path, evaluated, _ = train(gradx.average_params(gradx.sgd(0.1), 0.5, overwrite_every=3), 6)
    apart = [not np.allclose(p["w"], e["w"], rtol=1e-6) for p, e in zip(path, evaluated, strict=True)]
    assert apart == [False, True, False, True, True, False]


def test_nothing_overwrites_before_there_is_an_average():
    tx = gradx.average_params(gradx.sgd(0.1), None, start=5, overwrite_every=2)
    assert_close(train(tx, 4)[0], train(gradx.sgd(0.1), 4)[0])


def test_the_average_of_bfloat16_parameters_is_float32_and_comes_back_in_theirs():
    params = gradx.tree.cast(PARAMS, jnp.bfloat16)
    tx = gradx.average_params(gradx.identity(), 0.999, debias=False)
    state = tx.init(params)
    ones = gradx.tree.ones_like(params, jnp.bfloat16)
    _, state = tx.update(ones, state, params)
    # A thousandth is less than half of the last digit of bfloat16.
    assert_close(state.average, gradx.tree.add_scale(PARAMS, 1e-3, gradx.tree.ones_like(PARAMS)), rtol=1e-6)
    assert {str(x.dtype) for x in jax.tree.leaves(gradx.eval_params(state, params))} == {"bfloat16"}


def test_what_has_no_gradient_is_averaged_as_it_is():
    tx = gradx.average_params(gradx.sgd(1.0), None)
    updates, state = tx.update(PARAMS | {"b": None}, tx.init(PARAMS), PARAMS)
    assert updates["b"] is None
    assert_close(gradx.eval_params(state, PARAMS), {"w": 0 * PARAMS["w"], "b": PARAMS["b"]})


def test_the_decay_may_be_a_schedule():
    tx = gradx.average_params(gradx.sgd(0.1), gradx.piecewise_constant_schedule(0.5, {2: 1.5}), debias=False)
    path, evaluated, _ = train(tx, 3)
    expected = PARAMS
    for p, decay in zip(path, (0.5, 0.5, 0.75), strict=True):
        expected = jax.tree.map(lambda mean, p, d=decay: d * mean + (1 - d) * p, expected, p)
    assert_close(evaluated[-1], expected)


# Look-ahead


@pytest.mark.parametrize("reset_state", [False, True])
def test_pairs_are_moved_as_optax_moves_them(reset_state):
    tx = gradx.lookahead(gradx.sgd(0.1, momentum=0.9), 3, 0.6, reset_state)
    peer = optax.lookahead(optax.sgd(0.1, momentum=0.9), 3, 0.6, reset_state)
    params, theirs = gradx.LookaheadParams.init_synced(PARAMS), optax.LookaheadParams.init_synced(PARAMS)
    state, their_state = tx.init(params), peer.init(theirs)
    for step in range(8):
        updates, state = tx.update(gradient(params.fast, step), state, params)
        params = gradx.apply_updates(params, updates)
        updates, their_state = peer.update(gradient(theirs.fast, step), their_state, theirs)
        theirs = optax.apply_updates(theirs, updates)
        assert_close(params._asdict(), theirs._asdict())
        assert int(state.steps_since_sync) == int(their_state.steps_since_sync)
    assert_close(jax.tree.leaves(state.fast_state), jax.tree.leaves(their_state.fast_state))
    assert gradx.eval_params(state, params) is params.slow


@pytest.mark.parametrize("reset_state", [False, True])
@pytest.mark.parametrize("step_size", [0.6, gradx.linear_schedule(0.9, 0.1, 8)], ids=["number", "schedule"])
def test_plain_parameters_are_the_fast_half_of_a_pair(reset_state, step_size):
    tx = gradx.lookahead(gradx.sgd(0.1, momentum=0.9), 3, step_size, reset_state)
    path, evaluated, _ = train(tx, 8)
    params = gradx.LookaheadParams.init_synced(PARAMS)
    state = jax.jit(tx.init)(params)
    for step in range(8):
        updates, state = jax.jit(tx.update)(gradient(params.fast, step), state, params)
        params = gradx.apply_updates(params, updates)
        assert_close({"fast": path[step], "slow": evaluated[step]}, params._asdict())


def test_a_pair_starts_in_buffers_of_its_own():
    pair = gradx.LookaheadParams.init_synced(PARAMS)
    assert pair.fast["w"].unsafe_buffer_pointer() != pair.slow["w"].unsafe_buffer_pointer()


def test_a_step_of_one_is_the_inner_optimizer():
    assert_close(train(gradx.lookahead(gradx.adam(0.1), 2, 1.0), 5)[0], train(gradx.adam(0.1), 5)[0])


def test_a_nan_in_the_inner_state_does_not_outlive_a_reset():
    tx = gradx.lookahead(gradx.sgd(0.1, momentum=0.9), 2, 0.5, reset_state=True)
    state = tx.init(PARAMS)
    for grads in (PARAMS, jax.tree.map(lambda p: p * jnp.nan, PARAMS)):
        _, state = tx.update(grads, state, PARAMS)
    assert all(not np.any(x) for x in jax.tree.leaves(state.fast_state))
