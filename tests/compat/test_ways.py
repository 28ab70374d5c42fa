"""Where Optax goes another way than gradx, the shim goes Optax's: what its own test suite asks for."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from optax.losses import _classification

from gradx.compat import optax as shim
from gradx.compat.optax import contrib, microbatching
from gradx.compat.optax._src import linear_algebra, transform, utils
from gradx.compat.optax.transforms import _masking
from gradx.testing import assert_close

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
