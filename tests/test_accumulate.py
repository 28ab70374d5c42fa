"""`MultiSteps`: k small batches do what one large batch does."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec
from jax.tree_util import Partial
from sklearn.datasets import load_diabetes

import gradx
from gradx.testing import assert_close, assert_finite

ROUNDING = {"rtol": 1e-5, "atol": 1e-6}
"""A mean of k means is summed in another order than the mean of all: a few roundings of float32."""

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}
NAN = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), PARAMS)


def gradient(step):
    """Another gradient for each step."""
    return jax.tree.map(lambda p: jnp.cos((step + 1.0) * p), PARAMS)


def run(tx, gradients, params=PARAMS, **extras):
    """Return the updates for a list of gradients, and the last state."""
    state, history = tx.init(params), []
    for grads in gradients:
        updates, state = tx.update(grads, state, params, **extras)
        history.append(updates)
    return history, state


def mean(*gradients):
    return jax.tree.map(lambda *g: sum(g) / len(g), *gradients)


def is_zero(updates):
    return all(not np.any(x) for x in jax.tree.leaves(updates))


INNER = [gradx.sgd(0.1, momentum=0.9), gradx.adamw(0.1), gradx.chain(gradx.clip_by_global_norm(0.1), gradx.sgd(1.0))]


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_pieces_of_a_batch_do_what_the_batch_does(inner):
    inputs, targets = (np.float32(x[:440]) for x in load_diabetes(return_X_y=True))
    targets = (targets - targets.mean()) / targets.std()

    def loss(params, batch):
        return jnp.mean((batch[0] @ params - batch[1]) ** 2)

    def train(tx, batches):
        def step(carry, batch):
            params, state = carry
            updates, state = tx.update(jax.grad(loss)(params, batch), state, params)
            return (gradx.apply_updates(params, updates), state), None

        start = jnp.ones(10)
        return jax.jit(lambda: jax.lax.scan(step, (start, tx.init(start)), batches)[0][0])()

    whole = train(inner, (np.stack([inputs] * 5), np.stack([targets] * 5)))
    pieces = (np.tile(inputs.reshape(4, 110, 10), (5, 1, 1)), np.tile(targets.reshape(4, 110), (5, 1)))
    assert_close(train(gradx.MultiSteps(inner, 4), pieces), whole, **ROUNDING)
    assert not np.allclose(train(inner, pieces), whole, **ROUNDING)


def test_updates_between_are_zero_and_the_sum_may_be_handed_on():
    gradients = [gradient(i) for i in range(3)]
    for use_mean, factor in ((True, -0.1), (False, -0.3)):
        history, _ = run(gradx.MultiSteps(gradx.sgd(0.1), 3, use_grad_mean=use_mean), gradients)
        assert is_zero(history[:2])
        assert_close(history[2], gradx.tree.scale(factor, mean(*gradients)), **ROUNDING)


def two_then_three(gradient_step):
    return jnp.where(gradient_step < 1, 2, 3)


@pytest.mark.parametrize(
    "k", [two_then_three, gradx.piecewise_constant_schedule(2.0, {1: 1.5})], ids=["function", "schedule"]
)
def test_k_may_be_a_schedule_of_the_updates_done(k):
    gradients = [gradient(i) for i in range(8)]
    history, state = run(gradx.MultiSteps(gradx.sgd(1.0), k), gradients)
    assert [i for i, updates in enumerate(history) if not is_zero(updates)] == [1, 4, 7]
    assert int(state.gradient_step) == 3
    assert_close(history[4], gradx.tree.scale(-1.0, mean(*gradients[2:5])), **ROUNDING)


def test_schedules_inside_count_updates_not_mini_steps():
    inner = gradx.sgd(gradx.piecewise_constant_schedule(1.0, {1: 10.0}))
    history, _ = run(gradx.MultiSteps(inner, 2), [gradient(0)] * 4)
    assert_close(history[3], gradx.tree.scale(10.0, history[1]))


def test_k_is_checked():
    with pytest.raises(ValueError, match=r"MultiSteps: every_k_schedule must be in \[1, inf\], got 0"):
        gradx.MultiSteps(gradx.sgd(0.1), 0)
    with pytest.raises(TypeError, match=r"MultiSteps: every_k_schedule must be an integer, got 1\.5"):
        gradx.MultiSteps(gradx.sgd(0.1), 1.5)


# Gradients left out


@pytest.mark.parametrize("use_mean", [True, False])
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_skipped_gradient_poisons_nothing(bad, use_mean):
    tx = gradx.MultiSteps(gradx.adam(0.1), 2, use_mean, should_skip_update_fn=gradx.skip_not_finite)
    worst = jax.tree.map(lambda p: p.at[...].set(bad), PARAMS)
    one_bad = gradient(7) | {"b": jnp.float32(bad)}
    clean, expected = run(tx, [gradient(i) for i in range(4)])
    history, state = run(tx, [worst, gradient(0), one_bad, gradient(1), worst, gradient(2), gradient(3), worst])
    assert_close([history[3], history[6]], [clean[1], clean[3]])
    assert is_zero([history[i] for i in (0, 1, 2, 4, 5, 7)])
    assert_close(state._replace(skip_state=None), expected._replace(skip_state=None))
    assert int(state.skip_state["num_not_finite"]) == 4
    assert bool(state.skip_state["should_skip"])


def test_without_skipping_one_nan_spoils_one_update_only():
    # What keeps no memory recovers as soon as the next k are gathered; the accumulator is set anew, not scaled by 0.
    history, state = run(gradx.MultiSteps(gradx.sgd(0.1), 2), [NAN, gradient(0), gradient(1), gradient(2)])
    assert all(np.isnan(x).all() for x in jax.tree.leaves(history[1]))
    assert_close(history[3], gradx.tree.scale(-0.1, mean(gradient(1), gradient(2))))
    assert is_zero([history[0], history[2]])
    assert_finite(state, "the state")


def test_large_updates_are_skipped():
    skip = Partial(gradx.skip_large_updates, max_squared_norm=100.0)
    tx = gradx.MultiSteps(gradx.sgd(1.0), 2, should_skip_update_fn=skip)
    large = gradx.tree.scale(1e3, gradient(0))
    history, state = run(tx, [gradient(0), large, NAN, gradient(1)])
    assert [is_zero(updates) for updates in history] == [True, True, True, False]
    assert_close(history[3], gradx.tree.scale(-1.0, mean(gradient(0), gradient(1))))
    assert_close(state.skip_state["norm_squared"], gradx.tree.norm(gradient(1), squared=True))
    assert not state.skip_state["should_skip"]


@pytest.mark.parametrize(("size", "skipped"), [(1.9, False), (2.0, True), (np.nan, True)])
def test_an_update_that_reaches_the_bound_is_large(size, skipped):
    assert bool(gradx.skip_large_updates({"w": jnp.float32(size)}, 0, None, max_squared_norm=4.0)[0]) == skipped


def test_bound_on_large_updates_is_part_of_the_value():
    def value(bound):
        skip = Partial(gradx.skip_large_updates, max_squared_norm=bound)
        return gradx.MultiSteps(gradx.sgd(1.0), 2, should_skip_update_fn=skip)

    assert value(2.0) == value(2.0) != value(3.0)
    assert hash(value(2.0)) == hash(value(2.0))
    assert jax.tree.leaves(value(2.0)) == [1.0, 2.0]  # so that another bound traces nothing anew


def test_bound_on_large_updates_prints_as_it_is_made():
    tx = gradx.MultiSteps(
        gradx.sgd(1.0), 2, should_skip_update_fn=Partial(gradx.skip_large_updates, max_squared_norm=2.0)
    )
    assert eval(repr(tx), vars(gradx) | {"Partial": Partial}) == tx


# What reaches the inside


def test_extras_reach_the_inner_transformation():
    def update(updates, state, params=None, *, value):
        return gradx.tree.scale(value, updates), state

    tx = gradx.MultiSteps(gradx.GradientTransformation(lambda params: gradx.EmptyState(), update), 2)
    history, _ = run(tx, [gradient(0)] * 2, value=jnp.float32(3.0), grad=gradient(0))
    assert_close(history[1], gradx.tree.scale(3.0, gradient(0)))
    with pytest.raises(TypeError, match=r"needs value: call tx.update\(updates, state, params, value=...\)"):
        run(tx, [gradient(0)] * 2)


@pytest.mark.parametrize("inner", INNER, ids=str)
def test_leaves_without_gradient_stay_so(inner):
    tx, with_none = gradx.MultiSteps(inner, 2), [gradient(i) | {"none": None} for i in range(2)]
    history, state = run(tx, with_none, PARAMS | {"none": None})
    expected, _ = run(tx, [gradient(0), gradient(1)])
    assert_close(history, [updates | {"none": None} for updates in expected])
    assert state.acc_grads["none"] is None


def test_integer_parameters_pass():
    params = PARAMS | {"seen": jnp.arange(3)}

    def loss(params):
        return jnp.sum(params["w"] ** 2) + params["b"]

    grads = jax.grad(loss, allow_int=True)(params)
    history, _ = run(gradx.MultiSteps(gradx.sgd(0.1), 2), [grads] * 2, params)
    moved = gradx.apply_updates(params, history[1])
    assert np.array_equal(moved["seen"], params["seen"])
    assert_close(moved["w"], 0.8 * PARAMS["w"])


# Precision


def sum_of_512_pieces(accumulator_dtype):
    """Return what is handed on in the end, and the accumulator's history; each piece is about 1/700."""
    tx = gradx.MultiSteps(gradx.identity(), 512, use_grad_mean=False, accumulator_dtype=accumulator_dtype)
    grads = {"w": jnp.full((), 1 / 700, jnp.bfloat16)}

    def step(state, _):
        updates, new = tx.update(grads, state)
        return new, (updates["w"], state.acc_grads["w"])

    _, (updates, gathered) = jax.jit(lambda: jax.lax.scan(step, tx.init(grads), length=512))()
    assert updates.dtype == jnp.bfloat16
    return updates[-1].astype(jnp.float32), gathered


def test_small_gradients_in_bfloat16_add_up():
    piece = float(jnp.bfloat16(1 / 700))
    handed_on, gathered = sum_of_512_pieces(None)
    assert gathered.dtype == jnp.float32
    np.testing.assert_allclose(gathered, piece * np.arange(512), rtol=1e-4)
    np.testing.assert_allclose(handed_on, 512 * piece, rtol=float(jnp.finfo(jnp.bfloat16).eps))


def test_accumulator_in_bfloat16_is_there_for_those_who_ask():
    # It stands still where the next piece is less than half of the sum's last digit.
    handed_on, gathered = sum_of_512_pieces(jnp.bfloat16)
    assert gathered.dtype == jnp.bfloat16
    assert handed_on == 0.5  # and not 0.73


def test_mean_of_bfloat16_pieces_is_not_rounded():
    # Pieces of 1 and of 1 + 1/128, the next number of bfloat16: their mean lies between, and float32 keeps it there.
    low, high = jnp.bfloat16(1), jnp.bfloat16(1 + 1 / 128)
    tx = gradx.MultiSteps(gradx.scale(64.0), 5)
    _, state = run(tx, [{"w": low}, {"w": high}] * 2, {"w": low})
    np.testing.assert_allclose(state.acc_grads["w"], 1 + 1 / 256, rtol=1e-6)


# Where it runs


def test_the_inner_update_runs_at_the_last_mini_step_alone():
    calls = []

    def update(updates, state, params=None):
        calls.append(float(updates["w"][0]))  # ordinary Python: there is no jit
        return updates, state

    tx = gradx.MultiSteps(gradx.GradientTransformation(lambda params: (), update), 3)
    run(tx, [gradient(0)] * 7)
    assert len(calls) == 2


def test_the_conditional_carries_what_it_returns():
    """XLA works in place then; what comes out of it and never went in costs a copy of the whole."""
    tx = gradx.MultiSteps(gradx.adam(0.1), two_then_three, should_skip_update_fn=gradx.skip_not_finite)
    program = jax.make_jaxpr(tx.update)(PARAMS, tx.init(PARAMS), PARAMS)
    (cond,) = [eqn for eqn in program.eqns if eqn.primitive.name == "cond"]
    _, untouched = sorted((branch.jaxpr for branch in cond.params["branches"]), key=lambda x: -len(x.eqns))
    assert not untouched.eqns
    assert set(untouched.outvars) <= set(untouched.invars)


def test_methods_of_optax_are_there():
    tx = gradx.MultiSteps(gradx.sgd(1.0), 2)
    assert tx.gradient_transformation() is tx
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    assert not tx.has_updated(state)
    updates, state = tx.flush(state, PARAMS)
    assert tx.has_updated(state)
    assert_close(updates, gradx.tree.scale(-1.0, PARAMS))


def test_complex_gradients_keep_their_imaginary_part_in_a_real_accumulator():
    tx = gradx.MultiSteps(gradx.sgd(1.0), 2, accumulator_dtype="float32")
    g = jnp.array([1.0 + 2.0j])
    _, state = tx.update(g, tx.init(g), g)
    assert_close(tx.update(g, state, g)[0], -g)


TX = gradx.MultiSteps(gradx.adam(0.1), 3, should_skip_update_fn=gradx.skip_not_finite)
STACKED = jax.tree.map(lambda *g: jnp.stack(g), *(gradient(i) for i in range(7)))


def scan(tx, gradients, params):
    """Return the updates for stacked gradients."""

    def step(state, grads):
        updates, state = tx.update(grads, state, params)
        return state, updates

    return jax.lax.scan(step, tx.init(params), gradients)[1]


@functools.cache
def expected_history():
    history, _ = run(TX, [gradient(i) for i in range(7)])
    return jax.tree.map(lambda *u: jnp.stack(u), *history)


def test_scan():
    assert_close(jax.jit(scan)(TX, STACKED, PARAMS), expected_history())


def test_vmap_over_gradients_that_skip_at_different_steps():
    other = jax.tree.map(lambda g: g.at[1].set(jnp.nan), STACKED)
    both = jax.tree.map(lambda a, b: jnp.stack([a, b]), STACKED, other)
    batched = jax.vmap(scan, in_axes=(None, 0, None))(TX, both, PARAMS)
    assert_close(jax.tree.map(lambda u: u[0], batched), expected_history())
    assert_close(jax.tree.map(lambda u: u[1], batched), scan(TX, other, PARAMS))


def test_shard_map_over_batches():
    # Each device has its own piece of every gradient; k and the verdict are the same on all.
    mesh = jax.make_mesh((8,), ("batch",), axis_types=(jax.sharding.AxisType.Auto,))
    noise = jnp.arange(8.0) - 3.5
    pieces = jax.tree.map(lambda g: g + noise.reshape((8,) + (1,) * g.ndim), STACKED)

    def local(pieces, params):
        own = jax.tree.map(lambda g: jax.lax.pmean(g[0], "batch"), pieces)
        return scan(TX, own, params)

    spread, whole = PartitionSpec("batch"), PartitionSpec()
    on_all = jax.shard_map(local, mesh=mesh, in_specs=(spread, whole), out_specs=whole)
    assert_close(jax.jit(on_all)(pieces, PARAMS), expected_history(), **ROUNDING)


def test_shard_map_over_parameters():
    # Each device holds a part of the parameters and of the state.
    mesh = jax.make_mesh((8,), ("part",), axis_types=(jax.sharding.AxisType.Auto,))
    params = jnp.arange(16.0).reshape(8, 2)
    gradients = jnp.cos(jnp.arange(7 * 16.0)).reshape(7, 8, 2)
    tx = gradx.MultiSteps(gradx.adam(0.1), 3)
    parts = (PartitionSpec(None, "part"), PartitionSpec("part"))
    on_parts = jax.shard_map(functools.partial(scan, tx), mesh=mesh, in_specs=parts, out_specs=parts[0])
    assert_close(jax.jit(on_parts)(gradients, params), scan(tx, gradients, params))


def test_has_updated():
    tx = gradx.MultiSteps(gradx.sgd(0.1), 2, should_skip_update_fn=gradx.skip_not_finite)
    state, seen = tx.init(PARAMS), []
    for grads in (NAN, gradient(0), gradient(1), NAN, gradient(2), gradient(3)):
        seen.append(bool(gradx.has_updated(state)))
        _, state = tx.update(grads, state)
    assert seen == [False, False, False, True, True, False]
    assert gradx.has_updated(state)


def test_verdicts_are_given_the_updates_done_and_the_parameters():
    def at_the_second(updates, gradient_step, params):
        return (gradient_step == 1) & (params["b"] > 0), gradient_step

    tx = gradx.MultiSteps(gradx.sgd(1.0), 2, should_skip_update_fn=at_the_second)
    history, state = run(tx, [gradient(i) for i in range(4)])
    assert [is_zero(updates) for updates in history] == [True, False, True, True]
    assert int(state.skip_state) == 1
    history, _ = run(tx, [gradient(i) for i in range(4)], jax.tree.map(lambda p: -jnp.abs(p), PARAMS))
    assert [is_zero(updates) for updates in history] == [True, False, True, False]


def test_more_bad_entries_than_an_int32_holds_are_skipped():
    def verdict(x):
        return gradx.skip_not_finite({"w": jnp.broadcast_to(x, (2**16, 2**15 + 1))}, 0, None)  # never in memory

    skipped, kept = jax.jit(verdict)(jnp.float32(jnp.nan))
    assert skipped
    assert int(kept["num_not_finite"]) == 2**31 - 128


def test_flush_updates_with_what_is_gathered():
    tx = gradx.MultiSteps(gradx.adamw(0.1, weight_decay=0.5), 3)
    start = tx.init(PARAMS)
    same, state = gradx.flush(tx, start, PARAMS)
    assert is_zero(same)
    assert_close(state, start)
    _, state = run(tx, [gradient(i) for i in range(5)])
    updates, flushed = jax.jit(lambda s: gradx.flush(tx, s, PARAMS))(state)
    inner = gradx.adamw(0.1, weight_decay=0.5)
    expected, _ = inner.update(mean(gradient(3), gradient(4)), state.inner_opt_state, PARAMS)
    assert_close(updates, expected, **ROUNDING)
    assert (int(flushed.mini_step), int(flushed.gradient_step)) == (0, 2)
    assert is_zero(flushed.acc_grads)
    largest = state._replace(gradient_step=jnp.int32(2**31 - 1))
    assert int(gradx.flush(tx, largest, PARAMS)[1].gradient_step) == 2**31 - 1
