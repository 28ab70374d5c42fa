"""Arithmetic at its corners: NaN, decay 0, the largest count; and the rules that rest on it."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import numerics

LARGEST = 2**31 - 1
CLIPS = [gradx.clip_by_global_norm(1.0), gradx.clip_by_block_rms(1.0), gradx.adaptive_grad_clip(0.1)]


@pytest.mark.parametrize("tx", CLIPS, ids=str)
def test_nothing_passes_a_clip_beside_a_nan(tx):
    g = jnp.array([jnp.nan, 1e6, 1.0])
    updates, _ = tx.update(g, tx.init(g), jnp.ones(3))
    assert np.all(np.isnan(updates))


def test_clip_bounds_each_part_of_a_complex_update():
    u = jnp.array([3.0 + 4.0j, -0.5 - 2.0j])
    np.testing.assert_array_equal(gradx.clip(1.0).update(u, gradx.EmptyState())[0], [1.0 + 1.0j, -0.5 - 1.0j])


@pytest.mark.parametrize("shape", [(1, 3), (3, 1), (1, 3, 1), (3,)])
def test_adaptive_clipping_takes_a_squeezed_vector_as_one_unit(shape):
    g, p = jnp.array([4.0, 0.0, 3.0]).reshape(shape), jnp.full(shape, 2.0)
    updates, _ = gradx.adaptive_grad_clip(0.5).update(g, gradx.EmptyState(), p)
    np.testing.assert_allclose(updates, g * (0.5 * np.sqrt(12) / 5), rtol=1e-6)


def test_updates_are_never_weakly_typed():
    tx = gradx.stateless(lambda updates, params: jax.tree.map(lambda u: jnp.asarray(0.5), updates))
    for run in (tx.update, jax.jit(tx.update)):
        assert not run(jnp.float32(1), gradx.EmptyState())[0].weak_type


@pytest.mark.parametrize("tx", [gradx.scale_by_rss(), gradx.scale_by_rms(), gradx.scale_by_stddev()], ids=str)
def test_nan_stays_nan_where_it_is(tx):
    g = jnp.array([jnp.nan, 1.0])
    updates, _ = tx.update(g, tx.init(g), g)
    assert np.isnan(updates[0])
    assert np.isfinite(updates[1])


def test_adagrad_without_eps_does_not_divide_by_zero():
    tx, g = gradx.scale_by_rss(0.0, eps=0.0), jnp.zeros(2)
    np.testing.assert_array_equal(tx.update(g, tx.init(g))[0], 0)


@pytest.mark.parametrize("count", [1, 2, 5])
@pytest.mark.parametrize("decay", [0.0, 0.5, 0.999])
def test_bias_correction_has_its_value_and_derivatives(decay, count):
    f = numerics.bias_correction
    np.testing.assert_allclose(f(decay, count), 1 - np.float64(np.float32(decay)) ** count, rtol=1e-6)
    for derivative in (jax.grad(f), jax.jacfwd(f)):
        np.testing.assert_allclose(derivative(decay, count), -count * decay ** (count - 1), rtol=1e-5)
    second = -count * (count - 1) * decay ** max(count - 2, 0)
    np.testing.assert_allclose(jax.grad(jax.grad(f))(decay, count), second, rtol=1e-5)


def test_bias_correction_of_nothing_is_nothing():
    assert float(numerics.bias_correction(0.0, 0)) == 0


def test_bias_correction_computes_in_float32():
    assert numerics.bias_correction(jnp.bfloat16(0.9), 2).dtype == jnp.float32


COUNTING = [
    gradx.adam(1.0),
    gradx.nadam(1.0),
    gradx.rmsprop(1.0, bias_correction=True),
    gradx.ema(0.9),
    gradx.add_noise(0.1, 0.5, seed=0),
]


@pytest.mark.parametrize("tx", COUNTING, ids=str)
def test_counts_stay_at_the_largest(tx):
    g = jnp.full(2, 0.5)
    updates, state = tx.update(g, gradx.tree.set(tx.init(g), count=LARGEST), g)
    assert gradx.tree.get(state, "count") == LARGEST
    assert np.all(np.isfinite(updates))


def test_nadam_looks_no_further_than_the_largest_count():
    g, tx = jnp.full(1, 0.5), gradx.nadam(1.0)
    state = gradx.tree.set(tx.init(g), mu=g, nu=g * g, count=LARGEST - 1)
    np.testing.assert_allclose(tx.update(g, state)[0], -1.0, rtol=1e-5)


def test_zero_nans_finds_one_among_many_in_its_own_leaf():
    g = {"a": jnp.array([jnp.nan, 1.0]), "b": jnp.ones(2)}
    _, state = gradx.zero_nans().update(g, gradx.zero_nans().init(g))
    assert state.found_nan == {"a": True, "b": False}


@pytest.mark.parametrize("seed", [np.int64(3), np.uint32(3), np.array(3), jnp.int32(3)], ids=lambda s: type(s).__name__)
def test_every_kind_of_integer_is_a_seed(seed):
    plain = gradx.add_noise(0.1, 0.5, seed=3).init(jnp.ones(2)).rng_key
    np.testing.assert_array_equal(gradx.add_noise(0.1, 0.5, seed=seed).init(jnp.ones(2)).rng_key, plain)


def test_the_key_of_noise_outlives_a_donated_state():
    key = jax.random.key(3)
    tx = gradx.add_noise(0.1, 0.5, key)
    with jax.disable_jit():  # a compiled program has results of its own
        state = tx.init(jnp.ones(2))
    state.rng_key.delete()
    np.testing.assert_array_equal(tx.init(jnp.ones(2)).rng_key, jax.random.key_data(key))


def test_noise_of_no_variance_has_a_derivative_of_0():
    def total(eta):
        tx = gradx.add_noise(eta, 0.5, seed=0)
        return tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0].sum()

    assert jax.grad(total)(0.0) == 0
    assert np.isfinite(jax.grad(total)(0.5))


def test_kernels_without_entries_have_no_mean():
    with jax.debug_nans(True), jax.disable_jit():
        assert gradx.centralize().update(jnp.zeros((0, 3)), gradx.EmptyState())[0].shape == (0, 3)


def test_numpy_integers_are_steps():
    tx = gradx.sgd(gradx.multi_step_schedule(0.1, np.array([1, 2])))
    assert np.all(np.isfinite(tx.update(jnp.ones(2), tx.init(jnp.ones(2)))[0]))
    assert float(gradx.piecewise_constant_schedule(0.1, {np.int64(1): 0.5})(1)) == pytest.approx(0.05)
    with pytest.raises(TypeError, match=r"join_schedules: schedules\[0\] must be a schedule"):
        gradx.join_schedules([0.1, gradx.constant_schedule(1.0)], [1])


# Helpers


def test_safe_divide():
    f = numerics.safe_divide
    np.testing.assert_array_equal(f(jnp.array([1.0, -1.0, 0.0, 6.0]), jnp.array([0.0, 0.0, 0.0, 2.0])), [0, 0, 0, 3])
    for pair in ((np.nan, 1.0), (1.0, np.nan), (np.nan, np.nan)):
        assert np.isnan(f(*map(jnp.float32, pair)))
    with jax.debug_nans(True), jax.debug_infs(True), jax.disable_jit():
        for by in (0, 1):
            assert jax.grad(f, by)(jnp.float32(2.0), jnp.float32(0.0)) == 0
    np.testing.assert_allclose(jax.grad(f, (0, 1))(6.0, 2.0), [0.5, -1.5])


@pytest.mark.parametrize("x", [0.0, -0.0, 4.0, np.nan, np.inf, -1.0])
def test_safe_sqrt_is_the_root(x):
    np.testing.assert_array_equal(numerics.safe_sqrt(jnp.float32(x)), np.emath.sqrt(x) if x >= 0 else np.nan)


def test_safe_sqrt_has_no_derivative_at_0_and_none_of_nan():
    derive = jax.grad(numerics.safe_sqrt)
    assert derive(0.0) == 0
    assert derive(4.0) == 0.25
    assert np.isnan(derive(jnp.nan))


def test_safe_root_mean_squares():
    f = numerics.safe_root_mean_squares
    np.testing.assert_allclose(f(jnp.array([3.0, 4.0]), 0.0), np.sqrt(12.5), rtol=1e-6)
    np.testing.assert_allclose(f(jnp.array([3.0 + 4.0j]), 0.0), 5.0, rtol=1e-6)
    assert f(jnp.array([3.0, 4.0]), 9.0) == 9
    assert f(jnp.zeros(0), 0.0) == 0
    assert np.isnan(f(jnp.array([jnp.nan, 4.0]), 9.0))
    np.testing.assert_array_equal(jax.grad(f)(jnp.zeros(2), 0.0), 0)


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("axis", [None, 0, (0, 1)], ids=str)
def test_safe_norm(axis, keepdims):
    x = jnp.array([[3.0, 0.0], [4.0, 0.0]])

    def f(x):
        return numerics.safe_norm(x, 0.5, axis=axis, keepdims=keepdims)

    wanted = np.maximum(np.linalg.norm(x, axis=axis, keepdims=keepdims), 0.5)
    np.testing.assert_allclose(f(x), wanted, rtol=1e-6)
    assert f(x).shape == wanted.shape
    np.testing.assert_allclose(jax.grad(lambda x: f(x).sum())(x), [[0.6, 0], [0.8, 0]], rtol=1e-6)
    np.testing.assert_array_equal(jax.grad(lambda x: f(x).sum())(0 * x), 0)


def test_sgdr_takes_a_generator():
    cycle = {"init_value": 0.0, "peak_value": 0.1, "warmup_steps": 1, "decay_steps": 5}
    tx = gradx.sgd(gradx.sgdr_schedule(cycle for _ in range(2)))
    assert tx == gradx.sgd(gradx.sgdr_schedule([cycle, cycle]))
    assert np.all(np.isfinite(tx.update(jnp.ones(3), tx.init(jnp.ones(3)))[0]))


def test_zero_nans_runs_in_a_loop_of_a_shard():
    mesh = jax.make_mesh((4,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    tx = gradx.chain(gradx.zero_nans(), gradx.sgd(0.5))

    def train(x):
        def step(carry, _):
            params, state = carry
            updates, state = tx.update(params - x, state, params)
            return (params + updates, state), None

        return jax.lax.scan(step, (0 * x, tx.init(0 * x)), length=2)[0][0]

    spec = jax.sharding.PartitionSpec("data")
    run = jax.jit(jax.shard_map(train, mesh=mesh, in_specs=spec, out_specs=spec))
    np.testing.assert_allclose(run(jnp.arange(8.0)), 0.75 * np.arange(8), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["int8", "uint8", "int16", "uint16", "int32", "uint32"])
def test_counts_of_any_integer_are_held_at_the_largest(dtype):
    largest = np.iinfo(dtype).max
    counts = jnp.array([3, largest - 1, largest], dtype)
    np.testing.assert_array_equal(jax.jit(gradx.safe_increment)(counts), np.array([4, largest, largest], dtype))
    assert gradx.safe_increment(counts).dtype == dtype
