"""Arithmetic at its corners: NaN, decay 0, the largest count; and the rules that rest on it."""

import functools
import inspect

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


ESTIMATED = {"hessian_diagonal_fn": gradx.identity()}
DIRECTIONS = [
    *("adam_mini", "adamuon", "dion", "dion2", "kl_shampoo", "kl_soap", "kron", "laprop", "normuon", "polargrad"),
    *("scion", "shampoo", "soap", "soap_muon", "stable_adam"),
]
OPTIMIZERS = [*DIRECTIONS[:-1], "mars_adamw", "stable_adamw"]
KEEPS = {
    ("scale_by_adam", "mu_dtype"): (gradx.scale_by_adam, "mu"),
    ("adam", "mu_dtype"): (lambda **kwargs: gradx.adam(0.1, **kwargs), "mu"),
    ("adamw", "mu_dtype"): (lambda **kwargs: gradx.adamw(0.1, **kwargs), "mu"),
    ("nadam", "mu_dtype"): (lambda **kwargs: gradx.nadam(0.1, **kwargs), "mu"),
    ("nadamw", "mu_dtype"): (lambda **kwargs: gradx.nadamw(0.1, **kwargs), "mu"),
    ("scale_by_nadam", "mu_dtype"): (gradx.scale_by_nadam, "mu"),
    ("scale_by_amsgrad", "mu_dtype"): (gradx.scale_by_amsgrad, "mu"),
    ("amsgrad", "mu_dtype"): (lambda **kwargs: gradx.amsgrad(0.1, **kwargs), "mu"),
    ("scale_by_lion", "mu_dtype"): (gradx.scale_by_lion, "mu"),
    ("lion", "mu_dtype"): (lambda **kwargs: gradx.lion(0.1, **kwargs), "mu"),
    ("scale_by_novograd", "mu_dtype"): (gradx.scale_by_novograd, "mu"),
    ("scale_by_ademamix", "mu_dtype"): (gradx.scale_by_ademamix, "m"),
    ("ademamix", "mu_dtype"): (lambda **kwargs: gradx.ademamix(0.1, **kwargs), "m"),
    ("scale_by_adopt", "mu_dtype"): (gradx.scale_by_adopt, "mu"),
    ("adopt", "mu_dtype"): (lambda **kwargs: gradx.adopt(0.1, **kwargs), "mu"),
    ("sgd", "accumulator_dtype"): (lambda **kwargs: gradx.sgd(0.1, 0.9, **kwargs), "trace"),
    ("momentum", "accumulator_dtype"): (lambda **kwargs: gradx.momentum(0.9, **kwargs), "trace"),
    ("ema", "accumulator_dtype"): (lambda **kwargs: gradx.ema(0.9, **kwargs), "ema"),
    ("signum", "accumulator_dtype"): (lambda **kwargs: gradx.signum(0.1, **kwargs), "ema"),
    ("scale_by_muon", "mu_dtype"): (gradx.scale_by_muon, "mu"),
    ("optimistic_adam_v2", "mu_dtype"): (lambda **kwargs: gradx.optimistic_adam_v2(0.1, **kwargs), "mu"),
    ("scale_by_sophia", "mu_dtype"): (lambda **kwargs: gradx.scale_by_sophia(**ESTIMATED, **kwargs), "mu"),
    ("sophia", "mu_dtype"): (lambda **kwargs: gradx.sophia(0.1, **ESTIMATED, **kwargs), "mu"),
    ("schedule_free", "state_dtype"): (lambda **kwargs: gradx.schedule_free(gradx.sgd(0.1), 0.1, **kwargs), "z"),
    ("schedule_free_sgd", "state_dtype"): (lambda **kwargs: gradx.schedule_free_sgd(0.1, **kwargs), "z"),
    ("schedule_free_adamw", "state_dtype"): (lambda **kwargs: gradx.schedule_free_adamw(0.1, **kwargs), "z"),
    **{(name, "mu_dtype"): (functools.partial(getattr(gradx, name), 0.1), "mu") for name in OPTIMIZERS},
    **{(f"scale_by_{name}", "mu_dtype"): (getattr(gradx, f"scale_by_{name}"), "mu") for name in DIRECTIONS},
    ("adamc", "mu_dtype"): (lambda **kwargs: gradx.adamc(0.1, 0.1, **kwargs), "mu"),
    ("generalized_primal_averaging", "state_dtype"): (
        lambda **kwargs: gradx.generalized_primal_averaging(gradx.sgd(0.1), **kwargs),
        "z",
    ),
    ("MultiSteps", "accumulator_dtype"): (lambda **kwargs: gradx.MultiSteps(gradx.sgd(0.1), 2, **kwargs), "acc_grads"),
}
"""By factory and argument: a value with it, and the field whose dtype it is, or how the fields begin."""


OF_NO_MOMENT = {
    ("inject_hyperparams", "hyperparam_dtype"),
    ("measure_with_ema", "accumulator_dtype"),  # of a measure, below
    ("muon", "mu_dtype"),  # of two parts, below
    ("scale_by_distance_over_gradients", "param_dtype"),  # of a copy of the parameters: tests/test_parameter_free.py
}


def dtypes_kept(tx, params):
    """Return the dtype of each float field, the same before and after an update, and that of the update."""
    state = jax.eval_shape(tx.init, params)
    updates, after = jax.eval_shape(tx.update, params, state, params)
    named = {jax.tree_util.keystr(path): x.dtype for path, x in jax.tree_util.tree_leaves_with_path(state)}
    assert list(named.values()) == [x.dtype for x in jax.tree.leaves(after)]
    return {name: dtype for name, dtype in named.items() if jnp.issubdtype(dtype, jnp.inexact)}, updates.dtype


def test_every_dtype_of_a_moment_is_in_the_table():
    found = {(name, x) for name, f in vars(gradx).items() if callable(f) for x in arguments_of(f)}
    assert found - OF_NO_MOMENT == KEEPS.keys()


def arguments_of(function):
    try:
        return [x for x in inspect.signature(function).parameters if x.endswith("_dtype") and x != "ns_dtype"]
    except ValueError:  # a class of C's
        return []


@pytest.mark.parametrize("key", KEEPS, ids="-".join)
def test_moments_have_the_dtype_they_are_given(key):
    make, field = KEEPS[key]
    for params in (jnp.ones(2), jnp.ones(2, jnp.bfloat16)):
        for given, wanted in ((None, jnp.float32), ("bfloat16", jnp.bfloat16), (jnp.float16, jnp.float16)):
            kept, updated = dtypes_kept(make(**{key[1]: given}), params)
            assert {dtype for name, dtype in kept.items() if f".{field}" in name} == {jnp.dtype(wanted)}
            assert {dtype for name, dtype in kept.items() if f".{field}" not in name} <= {jnp.dtype(jnp.float32)}
            assert updated == params.dtype  # the wider of gradient's and parameter's, whatever is kept


OF_COMPLEX = [key for key in KEEPS if key[0] != "MultiSteps"]


@pytest.mark.parametrize("key", OF_COMPLEX, ids="-".join)
def test_moments_of_complex_parameters_are_complex_in_a_real_dtype(key):
    make, field = KEEPS[key]
    for given in ("bfloat16", "float32", "complex64"):
        kept, updated = dtypes_kept(make(**{key[1]: given}), jnp.ones(2, jnp.complex64))
        assert {dtype for name, dtype in kept.items() if f".{field}" in name} == {updated} == {jnp.dtype(jnp.complex64)}
    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        state = jax.eval_shape(make(**{key[1]: "float64"}).init, jnp.ones(2, jnp.complex128))
        assert jnp.complex128 in [x.dtype for x in jax.tree.leaves(state)]


def test_both_parts_of_muon_and_a_measure_have_the_dtype_they_are_given():
    params = {"w": jnp.ones((2, 3)), "b": jnp.ones(2)}
    kept = dtypes_kept_in(
        gradx.muon(0.1, mu_dtype="bfloat16", muon_weight_dimension_numbers={"w": True, "b": False}), params
    )
    assert {dtype for name, dtype in kept.items() if ".mu" in name} == {jnp.dtype(jnp.bfloat16)}
    measure = gradx.measure_with_ema(gradx.tree.norm, 0.9, accumulator_dtype="bfloat16")
    kept = dtypes_kept_in(gradx.monitor({"norm": measure}), params)
    assert jnp.dtype(jnp.bfloat16) in kept.values()


def dtypes_kept_in(tx, params):
    state = jax.eval_shape(tx.init, params)
    return {jax.tree_util.keystr(path): x.dtype for path, x in jax.tree_util.tree_leaves_with_path(state)}


@pytest.mark.parametrize("key", [("momentum", "accumulator_dtype"), ("scale_by_adam", "mu_dtype")], ids="-".join)
def test_moments_in_a_real_dtype_keep_the_imaginary_part(key):
    make, field = KEEPS[key]
    g = jnp.array([1.0 + 2.0j, -1.0j], jnp.complex64)
    tx, plain = make(**{key[1]: "float32"}), make()
    _, state = tx.update(g, tx.init(g))
    np.testing.assert_array_equal(
        gradx.tree.get(state, field), gradx.tree.get(plain.update(g, plain.init(g))[1], field)
    )


def test_injected_hyperparameters_have_the_dtype_they_are_given():
    tx = gradx.inject_hyperparams(gradx.adam(0.1), hyperparam_dtype="bfloat16")
    _, state = tx.update(jnp.ones(2), tx.init(jnp.ones(2)), jnp.ones(2))
    assert {x.dtype for x in state.hyperparams.values()} == {jnp.dtype(jnp.bfloat16)}


# Integers and steps

WIDTHS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
WITH_INTEGERS = {
    "sgd": lambda n: gradx.sgd(n(1), momentum=n(0)),
    "linear_schedule": lambda n: gradx.linear_schedule(n(1), n(0), n(10), n(2)),
    "exponential_decay": lambda n: gradx.exponential_decay(n(1), n(10), 0.5, n(2)),
    "cosine_restarts_schedule": lambda n: gradx.cosine_restarts_schedule(n(1), n(100), n(3), n(2)),
    "multi_step_schedule": lambda n: gradx.multi_step_schedule(n(1), [n(1), n(100)]),
    "join_schedules": lambda n: gradx.join_schedules([gradx.linear_schedule(1.0, 0.0, n(3))] * 2, [n(100)]),
    "piecewise_constant_schedule": lambda n: gradx.piecewise_constant_schedule(1.0, {n(3): n(2), n(100): 0.5}),
    "piecewise_interpolate": lambda n: gradx.piecewise_interpolate_schedule("linear", 1.0, {n(3): n(2), n(100): 0.5}),
    "warmup_cosine": lambda n: gradx.warmup_cosine_decay_schedule(0.0, n(1), n(10), n(100)),
    "warmup_stable": lambda n: gradx.warmup_stable_decay_schedule(1.0, n(10), n(50), n(100)),
    "onecycle": lambda n: gradx.linear_onecycle_schedule(n(100), n(1)),
    "sgdr": lambda n: gradx.sgdr_schedule(
        [{"init_value": n(0), "peak_value": n(1), "warmup_steps": n(9), "decay_steps": n(100)}] * 2
    ),
    "arithmetic": lambda n: n(2) * gradx.linear_schedule(1.0, 0.0, 10) + n(1),
    "add_noise": lambda n: gradx.add_noise(n(1), n(1), seed=n(3)),
    "adaptive_grad_clip": lambda n: gradx.adaptive_grad_clip(n(1), axis=n(0)),
    "MultiSteps": lambda n: gradx.MultiSteps(gradx.sgd(n(1)), n(2)),
}


@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_integers_of_every_width_are_pythons(name):
    make = WITH_INTEGERS[name]
    plain = make(int)
    with jax.numpy_dtype_promotion("strict"):
        for width in WIDTHS:
            value = make(width)
            assert value == plain
            assert hash(value) == hash(plain)
            assert repr(value) == repr(plain) or "piecewise" in name  # the keys of a dict stay what they are
            assert jax.tree.structure(value) == jax.tree.structure(plain)
            assert [type(x) for x in jax.tree.leaves(value)] == [type(x) for x in jax.tree.leaves(plain)]
        value = make(np.int8)  # narrower than what it is added to and compared with
        if callable(value) and not isinstance(value, gradx.GradientTransformation):
            np.testing.assert_array_equal(value(np.array([0, 5, 150, 60000])), plain(np.array([0, 5, 150, 60000])))
        else:
            g = jnp.ones((2, 2))
            np.testing.assert_array_equal(value.update(g, value.init(g), g)[0], plain.update(g, plain.init(g), g)[0])


LONG = [
    gradx.linear_schedule(1.0, 0.0, 70000, 300),
    gradx.polynomial_schedule(1.0, 0.1, 2.0, 70000),
    gradx.exponential_decay(1.0, 30000, 0.5, 300),
    gradx.exponential_decay(1.0, 300, 0.5, 200, staircase=True, end_value=0.2),
    gradx.inverse_sqrt_schedule(1.0, 300),
    gradx.multi_step_schedule(1.0, [100, 300, 60001]),
    gradx.piecewise_constant_schedule(1.0, {100: 0.5, 300: 0.5, 60001: 0.5}),
    gradx.piecewise_interpolate_schedule("cosine", 1.0, {300: 0.5, 70000: 0.1}),
    gradx.join_schedules([gradx.constant_schedule(1.0), gradx.linear_schedule(1.0, 0.0, 300, 50)], [60000]),
    gradx.cosine_decay_schedule(1.0, 70000),
    gradx.cosine_restarts_schedule(1.0, 300, 3, 10),
    gradx.warmup_constant_schedule(0.0, 1.0, 300),
    gradx.warmup_cosine_decay_schedule(0.0, 1.0, 300, 70000),
    gradx.warmup_linear_decay_schedule(0.0, 1.0, 300, 70000),
    gradx.warmup_exponential_decay_schedule(0.0, 1.0, 300, 30000, 0.5),
    gradx.warmup_stable_decay_schedule(1.0, 300, 300, 70000, shape="sqrt"),
    gradx.linear_onecycle_schedule(70000, 1.0),
    gradx.cosine_onecycle_schedule(70000, 1.0),
    0.5 * gradx.linear_schedule(1.0, 0.0, 70000) + 1.0,
]
"""Schedules that turn where the narrow integers have no room, and reach to where float16 has no integers."""

STEPS = {8: [0, 99, 120], 16: [0, 299, 32000], 32: [0, 299, 60001], 64: [299, 60001, 2**40]}
"""Steps that fit a signed integer of so many bits."""


@pytest.mark.parametrize("schedule", LONG, ids=lambda schedule: str(schedule)[:40])
def test_steps_of_every_width_mean_the_same(schedule):
    with jax.numpy_dtype_promotion("strict"):
        for bits, steps in STEPS.items():
            wanted = schedule(jnp.array([min(step, LARGEST) for step in steps], jnp.int32))
            for kind in (f"int{bits}", f"uint{bits}"):
                np.testing.assert_array_equal(schedule(np.array(steps, kind)), wanted)
                if bits < 64:
                    np.testing.assert_array_equal(schedule(jnp.array(steps, kind)), wanted)
            if bits < 64:
                np.testing.assert_allclose(schedule(np.array(steps, float)), wanted, rtol=1e-6)
        for kind in (jnp.float16, jnp.bfloat16):
            np.testing.assert_array_equal(schedule(jnp.array([0, 64, 128], kind)), schedule(jnp.array([0, 64, 128])))
        np.testing.assert_allclose(schedule(2**40), wanted[-1], rtol=1e-6)
        with jax.enable_x64(True):
            wanted = schedule(np.array([0, 299, 60001]))
            np.testing.assert_array_equal(schedule(np.array([0, 299, 60001], np.uint16)), wanted)
            assert schedule(jnp.array(2**40)).dtype == wanted.dtype == jnp.float64


@pytest.mark.parametrize("schedule", LONG[:-1], ids=lambda schedule: str(schedule)[:40])
def test_values_of_low_precision_are_computed_with_in_the_default_float(schedule):
    leaves, treedef = jax.tree.flatten(schedule)
    for dtype, x64 in ((jnp.bfloat16, False), (jnp.float16, False), (jnp.float32, True)):
        rounded = [np.asarray(x).astype(dtype) for x in leaves]
        if not all(map(np.isfinite, rounded)):
            continue
        with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
            steps = np.array([0, 299, 60001])
            values = treedef.unflatten([jnp.asarray(x) for x in rounded])(steps)
            assert values.dtype == jnp.result_type(float)
            exact = treedef.unflatten([float(x) for x in rounded])(steps)
            np.testing.assert_allclose(values, exact, rtol=1e-14 if x64 else 2e-6)


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
