"""Where Optax goes another way than gradx, the shim goes Optax's: what its own test suite asks for."""

import contextlib
import inspect
import io

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.losses import _classification

from gradx.compat import optax as shim
from gradx.compat.optax import contrib, microbatching
from gradx.compat.optax._src import base, linear_algebra, linesearch, transform, utils
from gradx.compat.optax.contrib import _muon
from gradx.compat.optax.transforms import _masking
from gradx.testing import assert_close

# Line searches

SEARCHES = {
    "backtracking": lambda lib, **options: lib.scale_by_backtracking_linesearch(10, **options),
    "zoom": lambda lib, **options: lib.scale_by_zoom_linesearch(10, **options),
}


def bowl(x):
    return jnp.sum(jnp.abs(x) ** 2)


def searched(tx, x, u, fun=bowl, grad=None, **extras):
    grad = jax.grad(fun)(x) if grad is None else grad
    return tx.update(u, tx.init(x), x, value=fun(x), grad=grad, value_fn=fun, **extras)


@pytest.mark.parametrize("name", SEARCHES)
def test_an_extra_that_nothing_takes_is_refused(name):
    tx, x = SEARCHES[name](shim), jnp.array([3.0, 1.0])
    with pytest.raises(TypeError, match=r"Unexpected keyword arguments .*\['unused'\]"):
        searched(tx, x, -x, unused=1)
    searched(tx, x, -x, fun=lambda x, batch=2.0: batch * bowl(x), batch=3.0)
    searched(tx, x, -x, fun=lambda x, **rest: bowl(x), anything=3.0)


def test_two_searches_in_a_state_are_a_key_error():
    tx = shim.chain(SEARCHES["zoom"](shim), SEARCHES["backtracking"](shim))
    with pytest.raises(KeyError, match="multiple values"):
        shim.value_and_grad_from_state(bowl)(jnp.ones(2), state=tx.init(jnp.ones(2)))


@pytest.mark.parametrize("name", SEARCHES)
def test_complex_gradients_are_taken_as_optax_takes_them(name):
    """Of its two searches, one wants what `jax.grad` gives, the other the conjugate."""
    x, found = jnp.array([1.0 + 2.0j, -0.5j]), []
    given = jax.grad(bowl)(x) if name == "backtracking" else jnp.conj(jax.grad(bowl)(x))
    for lib in (optax, shim):
        updates, _ = searched(SEARCHES[name](lib), x, -jnp.conj(jax.grad(bowl)(x)), grad=given)
        found.append(bowl(x + updates))
    assert found[1] < 0.9 * bowl(x)
    assert (found[0] < 0.9 * bowl(x)) == (found[1] < 0.9 * bowl(x))


TOLD = {
    "uphill": (jnp.array([3.0]), jnp.array([1.0]), {}, ["NO_STEPSIZE_FOUND", "NOT_A_DESCENT_DIRECTION"]),
    "bounded": (
        jnp.array([-60.0]),
        jnp.array([1.0]),
        {"curv_rtol": 0.5, "max_learning_rate": 10.0},
        ["INTERVAL_NOT_FOUND", "CURVATURE_COND_NOT_SATISFIED"],
    ),
    "good": (jnp.array([-3.0]), jnp.array([3.0]), {}, []),
}


@pytest.mark.parametrize("name", TOLD)
def test_failures_are_told_by_optax_flags(name):
    x, u, options, flags = TOLD[name]
    with contextlib.redirect_stdout(io.StringIO()) as said:
        searched(shim.scale_by_zoom_linesearch(10, verbose=True, **options), x, u)
        jax.effects_barrier()
    known = {name: text for name, text in vars(linesearch).items() if name.startswith("FLAG_")}
    assert len(known) == 5
    assert sorted(name for name, text in known.items() if text in said.getvalue()) == sorted(f"FLAG_{x}" for x in flags)


# Optimizers


@pytest.mark.parametrize("scaled", [True, False])
def test_lbfgs_takes_pairs_as_they_are(scaled):
    """Also where the function bends down, and s·y is negative."""

    def himmelblau(x):
        return (x[0] ** 2 + x[1] - 11.0) ** 2 + (x[0] + x[1] ** 2 - 7.0) ** 2

    paths = []
    for lib in (optax, shim):
        tx = lib.lbfgs(1e-3, memory_size=3, scale_init_precond=scaled, linesearch=None)
        params = jnp.array([0.1, 0.1])
        state = tx.init(params)
        path = []
        for _ in range(6):
            updates, state = tx.update(jax.grad(himmelblau)(params), state, params)
            params = lib.apply_updates(params, updates)
            path.append(params)
        paths.append(path)
        assert bool(jnp.any(state[0].weights_memory < 0))
    np.testing.assert_allclose(paths[1], paths[0], rtol=1e-4)
    with pytest.raises(ValueError, match=r"memory_size must be (>=|in)"):
        shim.scale_by_lbfgs(0)


def test_muon_marks_what_is_no_matrix():
    params = {"w": jnp.ones((3, 2)), "b": jnp.ones(2), "k": {"a": jnp.ones((2, 3, 4)), "z": jnp.ones((2, 3))}}
    axes = {"w": _muon.MuonDimensionNumbers(), "b": None, "k": {"a": _muon.MuonDimensionNumbers(1, 2), "z": None}}
    found = []
    for lib in (optax.contrib, contrib):
        tx = lib.muon(0.1, muon_weight_dimension_numbers=axes if lib is contrib else _theirs(axes))
        updates, state = tx.update(params, tx.init(params), params)
        mu = state[0]["muon"][0][0][1]
        masked = jax.tree.map(lambda x: type(x).__name__ == "MaskedNode", mu, is_leaf=_is_masked)
        assert masked == {"w": False, "b": True, "k": {"a": False, "z": True}}
        found.append(updates)
    assert_close(found[1], found[0], rtol=1e-4)


def _theirs(axes):
    return jax.tree.map(lambda x: optax.contrib.MuonDimensionNumbers(*x), axes, is_leaf=lambda x: isinstance(x, tuple))


def _is_masked(x):
    return type(x).__name__ == "MaskedNode"


def test_muon_steps_once_for_each_row_of_coefficients():
    rows = ((3.0, -3.2, 1.2), (2.0, -1.5, 0.5))
    x = jnp.array([[3.0, 1.0], [0.5, 1.0]])
    theirs = optax.contrib.scale_by_muon(rows, 9, weight_dimension_numbers=optax.contrib.MuonDimensionNumbers())
    found = [tx.update(x, tx.init(x))[0] for tx in (theirs, contrib.scale_by_muon(rows, 9))]
    assert_close(found[1], found[0], rtol=1e-4)


def test_arrays_are_made_matrices_and_back():
    x = jax.random.normal(jax.random.key(0), (2, 3, 4, 5))
    axes = _muon.MuonDimensionNumbers(reduction_axis=2, output_axis=(0, -1))
    there, back = _muon._compute_muon_reshape(x, axes)
    assert there(x).shape == (3, 4, 10)
    np.testing.assert_array_equal(back(there(x)), x)
    y = _muon.orthogonalize_via_newton_schulz(x, jnp.array([1.5, -0.5, 0.0]), 40, dimension_numbers=axes)
    gram = there(y) @ there(y).mT
    np.testing.assert_allclose(gram, jnp.broadcast_to(jnp.eye(4), gram.shape), atol=1e-4)
    with pytest.raises(ValueError, match="must be disjoint"):
        _muon._compute_muon_reshape(x, _muon.MuonDimensionNumbers(1, (0, 1)))
    with pytest.raises(ValueError, match="rank >= 2"):
        _muon._compute_muon_reshape(jnp.ones(3), axes)
    with pytest.raises(ValueError, match="dimension numbers must be provided"):
        _muon.orthogonalize_via_newton_schulz(x, jnp.ones(3))
    with pytest.raises(ValueError, match=r"shape \(3,\) or \(n, 3\)"):
        _muon.orthogonalize_via_newton_schulz(x[0, 0], jnp.ones(4))


def test_a_mode_of_lion_is_refused_at_its_update():
    tx = shim.scale_by_lion(mode="soft")
    with pytest.raises(ValueError, match="Unsupported mode: soft"):
        tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


@pytest.mark.parametrize("make", [lambda **k: shim.add_noise(0.1, 0.5, **k), lambda **k: shim.noisy_sgd(0.1, **k)])
def test_noise_without_a_key_is_that_of_0(make):
    with pytest.warns(UserWarning, match="give key="):
        tx = make()
    assert_close(*(t.update(jnp.ones(3), t.init(jnp.ones(3)))[0] for t in (tx, make(key=0))))
    with pytest.raises(ValueError, match="Only one of seed or key"):
        make(key=0, seed=1)


def test_a_rate_is_annotated_as_optax_annotates_it():
    for name in ("adam", "sgd", "lbfgs", "adafactor", "rmsprop"):
        assert inspect.signature(getattr(shim, name)).parameters["learning_rate"].annotation in (
            base.ScalarOrSchedule, base.Schedule, "float | Schedule | None", "float | None",
        )  # fmt: skip
    annotation = inspect.signature(shim.adam).parameters["learning_rate"].annotation
    assert annotation == base.ScalarOrSchedule
    assert repr(annotation) == "float | Schedule"
    assert annotation != base.Schedule


# Plain functions


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16, jnp.float32])
@pytest.mark.parametrize("kind", [microbatching.AccumulationType.SUM, microbatching.AccumulationType.MEAN])
def test_microbatches_give_the_functions_own_dtype(dtype, kind):
    x = jnp.arange(1024).astype(dtype)[:, None] / 512
    total = shim.microbatch(lambda x: jnp.sum(x, axis=0), 0, 2, kind)(x)
    assert total.dtype == dtype
    exact = np.asarray(x, np.float64).sum()
    np.testing.assert_allclose(total[0], exact if kind is kind.SUM else exact / 512, rtol=1e-2)
    rows = microbatching.micro_vmap(lambda x: x.sum(), microbatch_size=4, accumulator=kind)(x)
    assert rows.dtype == dtype
    grad, _ = microbatching.micro_grad(lambda w, x: jnp.sum(w * x), microbatch_size=4, accumulator=kind)(dtype(1), x)
    assert grad.dtype == dtype


def test_microbatches_must_divide_the_batch():
    x = jnp.arange(10.0)
    for call in (
        lambda: shim.microbatch(jnp.sum, 0, 3)(x),
        lambda: shim.microbatch(lambda x: x, (), 3, argnames="x", accumulator=microbatching.AccumulationType.CONCAT)(
            x=x
        ),
        lambda: microbatching.micro_vmap(jnp.sum, microbatch_size=3)(x),
        lambda: microbatching.micro_grad(lambda w, x: jnp.sum(w * x), microbatch_size=3)(1.0, x),
    ):
        with pytest.raises(ValueError, match="batch_size=10 must be divisible by microbatch_size=3"):
            call()


def test_counts_of_rows_stay_integers():
    counts = shim.microbatch(lambda x: jnp.sum(x > 0, dtype=jnp.int8), 0, 2)(jnp.ones(8))
    assert (counts.dtype, int(counts)) == (jnp.int8, 8)
    largest = microbatching.Accumulator(
        lambda shape: jnp.full(shape.shape, -1.0), lambda c, x, i: jnp.maximum(c, x), lambda c: (c, c), jnp.max
    )
    assert [float(x) for x in shim.microbatch(jnp.max, 0, 2, largest)(jnp.arange(4.0))] == [3.0, 3.0]


def test_the_last_frame_of_ctc_counts_the_label_among_the_blanks():
    rng = np.random.default_rng(0)
    logits = jnp.asarray(rng.normal(size=(2, 5, 4)), jnp.float32)
    arguments = (logits, jnp.zeros((2, 5)), jnp.array([[1, 2], [3, 3]]), jnp.zeros((2, 2)))
    ours, theirs = (lib.ctc_loss_with_forward_probs(*arguments) for lib in (shim, optax))
    for got, wanted in zip(ours, theirs, strict=True):
        likely = np.asarray(wanted) > -1e4
        np.testing.assert_allclose(np.asarray(got)[likely], np.asarray(wanted)[likely], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("axis", [(1, 3), (3, 2), (-4, -3, -1)])
def test_several_axes_of_classes_are_summed_as_one(axis):
    logits = jax.random.uniform(jax.random.key(0), (2, 3, 4, 5))
    positive = tuple(i % 4 for i in axis)
    rest = tuple(i for i in range(4) if i not in positive)
    labels = jnp.ones([logits.shape[i] for i in rest], jnp.int32)
    ours = shim.softmax_cross_entropy_with_integer_labels(logits, labels, axis)
    flat = jnp.transpose(logits, rest + positive).reshape(*labels.shape, -1)
    np.testing.assert_array_equal(ours, shim.softmax_cross_entropy_with_integer_labels(flat, labels))
    theirs = _classification.softmax_cross_entropy_with_integer_labels(logits, labels, axis)
    np.testing.assert_allclose(ours, theirs, rtol=1e-6)


def test_dice_takes_what_optax_takes():
    logits, targets = jnp.array([[[1.0], [-1.0]]]), jnp.array([[1.0, 0.0]])
    full = shim.losses.dice_loss(logits, targets[..., None])
    np.testing.assert_array_equal(shim.losses.dice_loss(logits, targets), full)
    np.testing.assert_array_equal(shim.losses.dice_loss(logits[..., 0], targets[..., None]), full)
    np.testing.assert_array_equal(shim.losses.dice_loss(logits, targets, ignore_background=True), full)
    with pytest.raises(ValueError, match="valid probability distributions"):
        shim.losses.dice_loss(jnp.ones((1, 2, 2)), jnp.ones((1, 2, 2)), apply_softmax=False)
    jax.jit(lambda x: shim.losses.dice_loss(x, x, apply_softmax=False))(jnp.full((1, 2, 2), 0.5))


def test_a_parameter_that_is_none_stays_so():
    assert shim.apply_updates(None, jnp.ones(3)) is None
    assert shim.apply_updates({"a": 1.0, "b": None}, {"a": 1.0, "b": jnp.ones(3)}) == {"a": 2.0, "b": None}
    assert shim.apply_updates({"a": 1.0}, {"a": None}) == {"a": 1.0}


def test_private_helpers():
    with pytest.raises(ValueError, match="Expected `a` to be a 3D tensor"):
        utils.set_diags(jnp.ones((2, 2)), jnp.ones(2))
    assert not _masking._mask_callable({"a": True})
    assert _masking._mask_callable(lambda params: params)
    matrix = jnp.diag(jnp.array([3.0, 1.0]))
    v = jnp.array([1.0, 0.0])
    assert not linear_algebra._power_iteration_cond_fun(100, 1e-3, (v, matrix @ v, 3.0, 5))
    assert linear_algebra._power_iteration_cond_fun(100, 1e-3, (v, matrix @ v, 2.0, 5))
    assert not linear_algebra._power_iteration_cond_fun(5, 1e-3, (v, matrix @ v, 2.0, 5))
    s, y = jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.array([[2.0, 0.0], [0.0, -4.0]])
    found = transform._precondition_by_lbfgs(jnp.ones(2), s, y, 1 / jnp.sum(s * y, axis=1), 1.0, 0)
    np.testing.assert_allclose(found, [0.5, -0.5])  # the inverse of the Hessian that both pairs tell, bend and all
    with pytest.warns(DeprecationWarning, match="use `optimistic_adam_v2` instead"):
        shim.optimistic_adam(0.1)


# Trees, clipping, states


def test_galore_states_lie_as_optax_lays_them():
    params = {"tall": jnp.ones((5, 3)), "wide": jnp.ones((3, 5)), "b": jnp.ones(4)}
    grads = jax.tree.map(lambda p: jax.random.normal(jax.random.key(p.size), p.shape), params)
    shapes, found = [], []
    for lib in (optax.contrib, contrib):
        tx = lib.scale_by_galore(rank=2)
        state = tx.init(params)
        updates, state = tx.update(grads, state, params)
        shapes.append(jax.tree.map(jnp.shape, (state.base_optimizer_state.mu, state.base_optimizer_state.nu)))
        found.append(updates)
    assert shapes[0] == shapes[1]
    assert shapes[1][0] == {"tall": (2, 3), "wide": (3, 2), "b": (4,)}
    assert_close(found[1], found[0], rtol=1e-4, atol=1e-5)


def test_one_galore_number_is_for_all_that_may_be_matrices():
    axes = contrib.GaLoreDimensionNumbers(0, (1, 2))
    tx = contrib.galore(0.1, rank=2, weight_dimension_numbers=axes)
    params = {"w": jnp.ones((4, 2, 3)), "b": jnp.ones(3)}
    updates, state = tx.update(params, tx.init(params), params)
    assert jax.tree.map(jnp.shape, updates) == jax.tree.map(jnp.shape, params)
    assert state[0].base_optimizer_state.mu["w"].shape == (4, 2)


def test_integers_that_shapes_go_by_are_not_injected():
    tx = shim.inject_hyperparams(contrib.sophia)(0.1, update_interval=3)
    state = jax.jit(tx.init)(jnp.ones(2))
    assert "update_interval" not in state.hyperparams
    assert {"learning_rate", "b1"} <= state.hyperparams.keys()


def test_an_array_that_says_its_dtype_is_injected_in_it():
    tx = shim.inject_hyperparams(shim.scale_by_adam)(b1=jnp.array(0.9, jnp.float32), b2=jnp.asarray(0.95), eps=1e-8)
    state = tx.init(jnp.ones(2, jnp.bfloat16))
    assert {k: x.dtype.name for k, x in state.hyperparams.items()} == {
        "b1": "float32", "b2": "bfloat16", "eps": "bfloat16", "eps_root": "bfloat16",
    }  # fmt: skip


def test_trees_are_computed_with_as_optax_does():
    assert float(shim.tree.add_scale(3, 0.1, 2)) == pytest.approx(3.2)
    assert shim.tree.add_scale(jnp.bfloat16(3), 0.1, 2.0).dtype == jnp.bfloat16
    x = {"a": np.random.default_rng(0).normal(size=9) + 1j, "b": np.float64(2.0)}
    y = {"a": np.random.default_rng(1).normal(size=9) - 1j, "b": np.float64(3.0)}
    np.testing.assert_array_equal(shim.tree.div(x, y)["a"], x["a"] / y["a"])
    np.testing.assert_allclose(shim.tree.vdot(x, y), np.vdot(x["a"], y["a"]) + 6, rtol=1e-6)


def test_blocks_are_clipped_by_one_division():
    for dtype in (jnp.float32, jnp.bfloat16):
        u = jnp.array([3.0, 4.0], dtype) * 7
        tx = shim.clip_by_block_rms(0.1)
        clipped, _ = tx.update(u, tx.init(u))
        assert clipped.dtype == dtype
        np.testing.assert_allclose(jnp.sqrt(jnp.mean(clipped.astype(float) ** 2)), 0.1, rtol=1e-2)
    bad, _ = shim.clip_by_block_rms(1.0).update(jnp.array([jnp.nan, 1.0]), ())
    assert np.isnan(bad).all()
    assert not shim.clip_by_block_rms(0.0).update(jnp.ones(2), ())[0].any()
    assert not shim.clip_by_block_rms(0.0).update(jnp.zeros(2), ())[0].any()


def test_parameters_that_are_missing_are_a_value_error():
    for tx in (shim.keep_params_nonnegative(), shim.chain(shim.scale(1.0), shim.add_decayed_weights(0.1))):
        with pytest.raises(ValueError, match=r"needs params: call tx\.update\(updates, state, params\)"):
            tx.update(jnp.ones(2), tx.init(jnp.ones(2)))


def test_units_of_more_than_five_axes_need_axes():
    x = jnp.ones((1,) * 4 + (2, 2))
    with pytest.raises(ValueError, match="give axis"):
        shim.transforms.unitwise_norm(x)
    assert shim.transforms.unitwise_norm(x, axis=(0, 1)).shape == x.shape


def test_examples_may_be_integers():
    total, clipped = shim.per_example_global_norm_clip({"a": jnp.array([[3, 4], [0, 0]])}, 1.0)
    np.testing.assert_allclose(total["a"], [0.6, 0.8], rtol=1e-6)
    assert int(clipped) == 1


@pytest.mark.parametrize("name", ["adam", "lbfgs", "novograd", "lamb", "sm3"])
def test_shapes_stand_for_parameters_that_are_not_there_yet(name):
    tx = getattr(shim, name)(0.1)
    state = tx.init({"w": jax.ShapeDtypeStruct((2, 3), jnp.float32)})
    assert_close(state, tx.init({"w": jnp.zeros((2, 3))}))


# Schedules


@pytest.mark.parametrize("steps", [0, -1])
def test_schedules_without_steps_stand_still(steps):
    for made in (
        shim.polynomial_schedule(0.5, 0.0, 2, steps),
        shim.linear_schedule(0.5, 0.0, steps, transition_begin=-3),
        shim.exponential_decay(0.5, steps, 0.5),
        shim.exponential_decay(0.5, 10, 0.0),
    ):
        np.testing.assert_array_equal([made(i) for i in (0, 5, 100)], 0.5)
    np.testing.assert_allclose(shim.linear_schedule(1.0, 0.0, 4, transition_begin=-3)(2), 0.5)


def test_values_of_schedules_are_optax_where_gradx_asks_for_others():
    for lib in (optax, shim):
        schedule = lib.warmup_cosine_decay_schedule(0.2, 0.0, 50, 100, end_value=-3.0, exponent=2)
        np.testing.assert_allclose(schedule(np.array([0, 10, 75, 100])), [0.2, 0.16, 0.0, 0.0], atol=1e-7)
        pieces = lib.piecewise_interpolate_schedule("linear", 13.0, {0: 2.0, 5: 3.0})
        np.testing.assert_allclose([pieces(i) for i in (0, 5, 9)], [26.0, 78.0, 78.0])
        with pytest.raises(ValueError, match="non-negative scale factors"):
            lib.piecewise_interpolate_schedule("linear", 13.0, {5: -3})
        with pytest.raises(ValueError, match="non-negative scale factors"):
            lib.piecewise_constant_schedule(13.0, {5: -3})


def test_spans_longer_than_int32():
    schedule = jax.jit(shim.cosine_decay_schedule(1000.0, int(1e10)))
    np.testing.assert_allclose(schedule(int(1e9)), 975.52826, rtol=1e-6)
