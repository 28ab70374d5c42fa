"""Transformations around another: what they leave out, when they run it, and what they show of it."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx.testing import assert_close

PARAMS = {"w": jnp.array([1.0, -2.0, 3.0]), "b": jnp.array(0.5)}
NAN = jax.tree.map(lambda p: jnp.full_like(p, jnp.nan), PARAMS)
ONE_INF = PARAMS | {"b": jnp.float32(-jnp.inf)}


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


def is_zero(updates):
    return all(not np.any(x) for x in jax.tree.leaves(updates))


def assert_same_bits(got, expected):
    assert jax.tree.structure(got) == jax.tree.structure(expected)
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        assert np.asarray(x).tobytes() == np.asarray(y).tobytes()


# Steps left out

MIXED = [gradient(0), NAN, ONE_INF, gradient(1), NAN, NAN, NAN, NAN, gradient(2)]


def test_apply_if_finite_does_what_optax_does():
    inner, peer = gradx.sgd(0.1, momentum=0.9), optax.sgd(0.1, momentum=0.9)
    tx, other = gradx.apply_if_finite(inner, 2), optax.apply_if_finite(peer, 2)
    state, theirs = tx.init(PARAMS), other.init(PARAMS)
    for grads in MIXED:
        updates, state = tx.update(grads, state, PARAMS)
        expected, theirs = other.update(grads, theirs, PARAMS)
        assert_close(updates, expected)
        for name in ("notfinite_count", "last_finite", "total_notfinite"):
            assert getattr(state, name) == getattr(theirs, name), name


@pytest.mark.parametrize("bad", [NAN, ONE_INF], ids=["nan", "inf"])
@pytest.mark.parametrize("compiled", [True, False])
@pytest.mark.parametrize(
    "make", [lambda x: gradx.apply_if_finite(x, 5), gradx.skip_outliers], ids=["finite", "outlier"]
)
def test_a_skipped_step_leaves_the_inner_state_bit_for_bit(make, compiled, bad):
    tx = make(gradx.adamw(0.1))
    update = jax.jit(tx.update) if compiled else tx.update
    _, state = run(tx, [gradient(0)])
    updates, after = update(bad, state, PARAMS)
    assert is_zero(updates)
    assert_same_bits(after.inner_state, state.inner_state)


def test_complex_gradients_are_finite_in_both_parts():
    tx = gradx.apply_if_finite(gradx.sgd(1.0), 5)
    params = jnp.zeros(2, complex)
    for bad in (complex(np.nan, 0), complex(0, np.nan), complex(0, np.inf)):
        updates, _ = tx.update(params.at[1].set(bad), tx.init(params))
        assert is_zero(updates)
    assert not is_zero(tx.update(params.at[1].set(3e38 + 3e38j), tx.init(params))[0])


def test_what_follows_a_skip_is_as_if_it_had_not_been():
    tx = gradx.apply_if_finite(gradx.adam(0.1), 5)
    history, _ = run(tx, MIXED)
    clean, _ = run(gradx.adam(0.1), [gradient(i) for i in range(3)])
    assert_close([history[0], history[3], history[8]], clean)


def norms(*sizes):
    return [jnp.array([size, 0.0]) for size in sizes]


def skipped(tx, *sizes):
    history, state = run(tx, norms(*sizes), jnp.zeros(2))
    return [i for i, updates in enumerate(history) if is_zero(updates)], state


def test_outliers_are_skipped_after_the_warmup():
    tx = gradx.skip_outliers(gradx.sgd(1.0), max_deviations=3.0, warmup_steps=4)
    found, state = skipped(tx, 1.0, 1.2, 0.8, 50.0, 1.0, 1.1, 500.0, 1.0, np.inf)
    assert found == [6, 8]
    assert (int(state.passed), int(state.total_skipped), int(state.skipped_in_row)) == (7, 2, 1)
    found, _ = skipped(tx, np.nan, 1.0)
    assert found == [0]


@pytest.mark.parametrize("decay", [0.9, 0.0])
def test_mean_and_deviation_are_those_of_the_norms_that_passed(decay):
    sizes = np.random.default_rng(0).uniform(0.5, 1.5, 40)
    tx = gradx.skip_outliers(gradx.sgd(1.0), max_deviations=100.0, decay=decay, warmup_steps=0)
    _, state = skipped(tx, *sizes[:20], 1e6, *sizes[20:])
    weights = decay ** np.arange(39, -1, -1.0)
    mean = np.average(sizes, weights=weights)
    deviation = np.sqrt(np.average((sizes - mean) ** 2, weights=weights))
    np.testing.assert_allclose([state.mean, state.deviation], [mean, deviation], rtol=1e-5, atol=1e-6)


def test_the_bound_lies_at_its_multiple_of_the_deviation():
    def verdict(size, **options):
        tx = gradx.skip_outliers(gradx.sgd(1.0), warmup_steps=0, **options)
        state = tx.init(jnp.zeros(2))._replace(passed=jnp.int32(9), mean=jnp.float32(10.0), deviation=jnp.float32(2.0))
        return is_zero(tx.update(jnp.array([size, 0.0]), state)[0])

    assert [verdict(x, max_deviations=3.0) for x in (15.9, 16.1)] == [False, True]
    assert [verdict(x) for x in (21.9, 22.1)] == [False, True]


def test_a_quiet_run_skips_no_small_rise():
    tx = gradx.skip_outliers(gradx.sgd(1.0), warmup_steps=2)
    assert skipped(tx, 1.0, 1.0, 1.0, 1.55, 1.0)[0] == []
    assert skipped(tx, 1.0, 1.0, 1.0, 1.65, 1.0)[0] == [3]


def test_norms_that_stay_large_pass_in_the_end():
    tx = gradx.skip_outliers(gradx.sgd(1.0), warmup_steps=2, max_consecutive_skips=3)
    found, state = skipped(tx, 1.0, 1.0, 1.0, *[100.0] * 6)
    assert found == [3, 4, 5]
    assert float(state.mean) > 20.0
    found, _ = skipped(tx, 1.0, 1.0, 1.0, *[np.nan] * 6)
    assert found == [3, 4, 5, 6, 7, 8]


def test_statistics_of_huge_norms_stay_finite():
    _, state = skipped(gradx.skip_outliers(gradx.sgd(1.0), warmup_steps=9), 1e-15, 9e18, 1e18)
    assert np.isfinite(state.deviation)
    assert float(state.deviation) > 1e18


# At some steps only


def at_odd_steps(step):
    return step % 2 == 1


@pytest.mark.parametrize("name", ["conditionally_transform", "conditionally_mask"])
def test_conditional_steps_are_those_of_optax(name):
    tx = getattr(gradx, name)(gradx.adam(0.1), at_odd_steps)
    peer = getattr(optax, name)(optax.adam(0.1), at_odd_steps)
    state, theirs = tx.init(PARAMS), peer.init(PARAMS)
    for i in range(5):
        updates, state = tx.update(gradient(i), state, PARAMS)
        expected, theirs = peer.update(gradient(i), theirs, PARAMS)
        assert_close(updates, expected)
    assert state._fields == theirs._fields
    assert int(state.step) == int(theirs.step) == 5


@pytest.mark.parametrize("wrap", [gradx.conditionally_transform, gradx.conditionally_mask])
def test_the_condition_sees_extras_only_where_they_are_forwarded(wrap):
    def small(step, *, value, **rest):
        return value < 1.0

    tx = wrap(gradx.scale(2.0), small, forward_extra_args=True)
    for value, expected in ((0.5, 2.0), (1.5, 1.0 if wrap is gradx.conditionally_transform else 0.0)):
        updates, _ = tx.update(PARAMS, tx.init(PARAMS), value=jnp.float32(value), grad=PARAMS)
        assert_close(updates, gradx.tree.scale(expected, PARAMS))
    with pytest.raises(TypeError, match="value"):
        wrap(gradx.scale(2.0), small).update(PARAMS, tx.init(PARAMS), value=jnp.float32(0.5))


def test_the_condition_may_be_python_without_jit():
    def later(step):
        return True if int(step) > 0 else False  # noqa: SIM210

    history, _ = run(gradx.conditionally_mask(gradx.identity(), later), [PARAMS] * 2)
    assert is_zero(history[0])
    assert_close(history[1], PARAMS)


def test_a_condition_of_many_bools_is_refused():
    tx = gradx.conditionally_mask(gradx.identity(), lambda step: jnp.array([True, False]))
    with pytest.raises(ValueError, match=r"one bool, got shape \(2,\)"):
        tx.update(PARAMS, tx.init(PARAMS))


def test_one_nan_leaves_apply_every_with_the_next_sum():
    history, _ = run(gradx.apply_every(2), [NAN, gradient(0), gradient(1), gradient(2)])
    assert all(np.isnan(x).all() for x in jax.tree.leaves(history[1]))
    assert_close(history[3], gradx.tree.add(gradient(1), gradient(2)))


# All in one vector


def test_flatten_shows_one_vector_in_the_widest_precision():
    seen = []

    def update(updates, state, params=None):
        seen.append((updates, params))
        return updates, state

    tx = gradx.flatten(gradx.GradientTransformation(lambda params: params, update))
    params = {"a": jnp.ones((2, 2), jnp.bfloat16), "b": jnp.float32(3.0), "c": None}
    state = tx.init(params)
    updates, _ = tx.update(params, state, params)
    np.testing.assert_array_equal(state, [1, 1, 1, 1, 3])
    for vector in seen[0]:
        np.testing.assert_array_equal(vector, [1, 1, 1, 1, 3])
    assert jax.tree.map(lambda x: (x.shape, str(x.dtype)), updates) == {
        "a": ((2, 2), "bfloat16"),
        "b": ((), "float32"),
        "c": None,
    }


def test_flatten_clips_by_the_norm_of_all():
    # A block is what Optax calls an array; in one vector there is one.
    inside, _ = run(gradx.flatten(gradx.clip_by_block_rms(0.1)), [PARAMS])
    length = gradx.tree.norm(PARAMS) / jnp.sqrt(gradx.tree.size(PARAMS))
    assert_close(inside[0], gradx.tree.scale(0.1 / length, PARAMS))


def test_flatten_takes_real_beside_complex():
    params = {"real": jnp.array([1.0, 2.0]), "complex": jnp.array([1.0 + 2.0j])}
    history, _ = run(gradx.flatten(gradx.sgd(1.0)), [params], params)
    assert_close(history[0], gradx.tree.scale(-1.0, params))


def test_flatten_leaves_out_what_has_no_gradient():
    tx = gradx.flatten(gradx.chain(gradx.add_decayed_weights(0.5), gradx.momentum(0.9)))
    updates, state = tx.update(PARAMS | {"b": None}, tx.init(PARAMS), PARAMS)
    assert_close(updates, {"w": 1.5 * PARAMS["w"], "b": None})
    updates, _ = tx.update(PARAMS, state, PARAMS)
    assert_close(updates["w"], 1.9 * 1.5 * PARAMS["w"])


# Frozen parts


def test_selective_transform_freezes_where_the_mask_says():
    mask = {"w": False, "b": True}
    peer = optax.selective_transform(optax.adam(0.1), freeze_mask=mask)
    expected, theirs = peer.update(gradient(0), peer.init(PARAMS), PARAMS)
    for given in (mask, lambda params: mask):
        tx = gradx.selective_transform(gradx.adam(0.1), freeze_mask=given)
        updates, state = tx.update(gradient(0), tx.init(PARAMS), PARAMS)
        assert_close(updates, expected)
        assert state.inner_states.keys() == theirs.inner_states.keys()
    everything = gradx.selective_transform(gradx.adam(0.1), freeze_mask=True)
    assert is_zero(everything.update(gradient(0), everything.init(PARAMS), PARAMS)[0])


def test_flatten_spreads_its_pieces_as_their_leaves_are_on_explicit_axes():
    mesh = jax.make_mesh((2, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2, devices=jax.devices()[:4])
    with jax.set_mesh(mesh):
        params = {
            "w": jax.device_put(jnp.arange(16.0).reshape(4, 4), NamedSharding(mesh, P("x", "y"))),
            "b": jax.device_put(jnp.arange(4.0), NamedSharding(mesh, P("y"))),
        }
        tx = gradx.flatten(gradx.adam(0.1))
        updates, _ = jax.jit(tx.update)(params, tx.init(params), params)
        assert jax.tree.map(lambda x: x.sharding, updates) == jax.tree.map(lambda x: x.sharding, params)


# Measurements


def largest(updates):
    return gradx.tree.max(jax.tree.map(jnp.abs, updates))


def are_large(updates):
    return jax.tree.map(lambda u: jnp.mean(jnp.abs(u)) > 0.7, updates)


def test_measurements_are_those_of_optax():
    def of(library):
        measures = {"largest": largest, "mean": library.measure_with_ema(largest, 0.9)}
        measures["biased"] = library.measure_with_ema(largest, 0.9, debias=False)
        return library.chain(library.snapshot("seen", largest), library.scale(0.5), library.monitor(measures))

    ours, theirs = of(gradx), of(optax)
    state, their_state = ours.init(PARAMS), theirs.init(PARAMS)
    assert_close(state[0].measurement, their_state[0].measurement)
    for i in range(4):
        updates, state = ours.update(gradient(i), state, PARAMS)
        expected, their_state = theirs.update(gradient(i), their_state, PARAMS)
        assert_close(updates, expected)
        assert_close(state[0].measurement, their_state[0].measurement)
        assert_close(state[2].measurements, their_state[2].measurements)
    assert float(gradx.tree.get(state, "seen")) == 2 * float(gradx.tree.get(state, "largest"))


def test_a_monitor_is_the_same_tree_before_and_after_the_first_update():
    tx = gradx.monitor({"flags": are_large, "how_often": gradx.measure_with_ema(are_large, 0.5), "weak": lambda u: 1.0})

    def step(state, _):
        return tx.update(PARAMS, state)[1], None

    state, _ = jax.lax.scan(step, tx.init(PARAMS), length=3)
    assert jax.tree.map(bool, state.measurements["flags"]) == {"w": True, "b": False}
    assert jax.tree.map(float, state.measurements["how_often"]) == {"w": 1.0, "b": 0.0}
    assert float(state.measurements["weak"]) == 1.0


def test_the_mean_of_a_flag_is_how_often():
    tx = gradx.monitor({"how_often": gradx.measure_with_ema(lambda u: largest(u) > 1.0, 0.5)})
    _, state = run(tx, [PARAMS, gradx.tree.scale(0.1, PARAMS)])
    np.testing.assert_allclose(state.measurements["how_often"], 1 / 3, rtol=1e-6)


def test_a_snapshot_of_the_whole_shares_no_buffer_with_the_parameters():
    params = gradx.tree.copy(PARAMS)
    state = gradx.snapshot("all", lambda updates: updates).init(params)
    assert state.measurement["all"]["w"].unsafe_buffer_pointer() != params["w"].unsafe_buffer_pointer()


def test_a_measure_sees_parameters_and_optional_extras():
    def update(updates, state, params, *, value=0.0):
        return value + params["b"], state

    tx = gradx.monitor({"sum": gradx.GradientTransformation(lambda params: gradx.EmptyState(), update)})
    _, state = tx.update(PARAMS, tx.init(PARAMS), PARAMS, value=jnp.float32(2.0))
    assert float(state.measurements["sum"]) == 2.5
