"""Transformations made of others: what they pass on, and what they refuse."""

from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.testing import assert_close

PARAMS = {"l1": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "l2": {"kernel": jnp.full((3, 1), 2.0)}}
GRADS = jax.tree.map(lambda p: 10 * p, PARAMS)
SGD = gradx.sgd(0.1)
STEP = jax.tree.map(lambda g: -0.1 * g, GRADS)


@jax.tree_util.register_dataclass
@dataclass
class Layer:
    """A module as equinox and nnx have them: a pytree that can be called."""

    kernel: Any
    bias: Any

    def __call__(self, *args: Any) -> Any:
        raise AssertionError("data was called")


def is_kernel(params: gradx.Params) -> Any:
    return gradx.tree.map_with_path(lambda name, _: name.endswith("kernel"), params)


def by_layer(params: gradx.Params) -> Any:
    return gradx.tree.map_with_path(lambda name, _: name.split("/")[0], params)


def first_update(tx: Any, params: Any = PARAMS, grads: Any = GRADS) -> Any:
    return tx.update(grads, tx.init(params), params)[0]


# Chains


def test_chain_applies_its_parts_in_order():
    tx = gradx.chain(gradx.scale(2.0), gradx.clip(5.0))
    assert_close(first_update(tx), jax.tree.map(lambda g: jnp.full_like(g, 5.0), GRADS))
    assert_close(first_update(gradx.chain()), GRADS)


def test_chain_of_names_keeps_its_states_by_name():
    tx = gradx.named_chain(("mean", gradx.ema(0.5)), ("step", SGD))
    state = tx.init(PARAMS)
    assert list(state) == ["mean", "step"]
    _, state = tx.update(GRADS, state)
    assert int(state["mean"].count) == 1


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
@pytest.mark.parametrize("scale", [gradx.scale, optax.scale])
def test_part_of_optax_keeps_float32_for_low_precision_params(dtype, scale):
    tx = gradx.chain(optax.scale_by_adam(b2=0.999), scale(-0.1))
    params, exact = gradx.tree.cast(PARAMS, dtype), PARAMS
    state, exact_state = tx.init(params), tx.init(exact)
    types = jax.tree.map(jnp.dtype, jax.tree.map(jnp.result_type, exact_state))
    for step in range(3):
        grads = jax.tree.map(lambda g, step=step: jnp.full_like(g, 1.0 + step), params)
        updates, state = tx.update(grads, state, params)
        assert jax.tree.map(jnp.result_type, state) == types
        assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(dtype)}
        _, exact_state = tx.update(gradx.tree.cast(grads, jnp.float32), exact_state, exact)
    assert_close(state, exact_state)


def test_recipe_of_optax_keeps_float32_for_low_precision_params():
    tx, params = gradx.transformation(optax.adam)(0.1), gradx.tree.cast(PARAMS, jnp.bfloat16)
    state = tx.init(params)
    for _ in range(2):
        _, state = tx.update(params, state, params)
    assert {x.dtype for x in jax.tree.leaves(state[0].mu)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("mask", [{"l1": True, "l2": False}, is_kernel])
def test_a_part_behind_one_of_optax_sees_none_where_the_mask_is_false(mask):
    ours, theirs = gradx.scale(2.0), optax.scale(2.0)
    tx, plain = (gradx.masked(gradx.chain(x, gradx.add_decayed_weights(0.5)), mask) for x in (theirs, ours))
    assert_close(first_update(tx), first_update(plain))


def test_extras_reach_the_part_that_names_them():
    def update(updates: Any, state: Any, params: Any = None, *, value: Any) -> tuple:
        return gradx.tree.scale(value, updates), state

    def init(params: Any) -> gradx.EmptyState:
        return gradx.EmptyState()

    by_value = gradx.GradientTransformation(init, update)
    foreign = optax.GradientTransformationExtraArgs(init, update)
    tx = gradx.named_chain(
        ("plain", gradx.chain(gradx.clip(100.0), optax.scale(1.0))),
        ("foreign", foreign),
        ("masked", gradx.masked(by_value, is_kernel)),
        ("parts", gradx.partition({"l1": by_value, "l2": SGD}, by_layer)),
    )
    updates, _ = tx.update(GRADS, tx.init(PARAMS), PARAMS, value=2.0, grad=GRADS)
    expected = {
        "l1": {"kernel": 8 * GRADS["l1"]["kernel"], "bias": 4 * GRADS["l1"]["bias"]},
        "l2": {"kernel": -0.4 * GRADS["l2"]["kernel"]},
    }
    assert_close(updates, expected)


# Masks and labels


@pytest.mark.parametrize(
    "tx",
    [
        gradx.adamw(0.1, mask=lambda params: False),
        gradx.chain(gradx.masked(gradx.add_decayed_weights(0.1), False), gradx.adam(0.1)),
        gradx.partition({"a": gradx.adam(0.1), "b": gradx.adamw(0.1)}, lambda params: "a"),
    ],
    ids=str,
)
def test_parameters_that_are_one_masked_array_are_still_given(tx):
    params = jnp.ones(3)
    updates, state = tx.update(jnp.ones(3), tx.init(params), params)
    expected, _ = gradx.adam(0.1).update(jnp.ones(3), gradx.adam(0.1).init(params), params)
    np.testing.assert_array_equal(updates, expected)
    assert jax.tree.structure(state) == jax.tree.structure(tx.init(params))


def test_masked_passes_the_raw_gradient_where_the_mask_is_false():
    # On purpose, and so it climbs there: what is not chosen is left alone, not stopped.
    updates = first_update(gradx.masked(SGD, {"l1": True, "l2": False}))
    assert_close(updates, {"l1": STEP["l1"], "l2": GRADS["l2"]})


@pytest.mark.parametrize(
    "tx",
    [
        gradx.partition({"l1": SGD, "l2": gradx.set_to_zero()}, by_layer),
        gradx.chain(SGD, gradx.freeze({"l1": False, "l2": True})),
        gradx.chain(gradx.masked(SGD, {"l1": True, "l2": False}), gradx.freeze({"l1": False, "l2": True})),
    ],
    ids=str,
)
def test_what_is_frozen_does_not_move(tx):
    hopeless = {"l1": GRADS["l1"], "l2": jax.tree.map(lambda g: jnp.nan * g, GRADS["l2"])}
    for grads in (GRADS, hopeless):
        updates = first_update(tx, grads=grads)
        assert_close(updates, {"l1": STEP["l1"], "l2": jax.tree.map(jnp.zeros_like, GRADS["l2"])})
        moved = gradx.apply_updates(PARAMS, updates)
        assert np.array_equal(moved["l2"]["kernel"], PARAMS["l2"]["kernel"])


@pytest.mark.parametrize(
    ("mask", "expected"),
    [
        (True, STEP),
        (False, GRADS),
        ({"l1": True, "l2": False}, {"l1": STEP["l1"], "l2": GRADS["l2"]}),
        (
            {"l1": {"kernel": np.True_, "bias": 0}, "l2": 1},
            {"l1": {"kernel": STEP["l1"]["kernel"], "bias": GRADS["l1"]["bias"]}, "l2": STEP["l2"]},
        ),
        (
            is_kernel,
            {"l1": {"kernel": STEP["l1"]["kernel"], "bias": GRADS["l1"]["bias"]}, "l2": STEP["l2"]},
        ),
        (lambda params: {"l1": False, "l2": True}, {"l1": GRADS["l1"], "l2": STEP["l2"]}),
    ],
)
def test_mask_may_be_a_prefix_or_a_function(mask, expected):
    tx = gradx.masked(SGD, mask)
    assert_close(first_update(tx), expected)
    without_params, _ = tx.update(GRADS, tx.init(PARAMS))
    assert_close(without_params, expected)


def test_labels_may_be_a_prefix_or_a_function():
    parts = {"l1": SGD, "l2": gradx.scale(3.0)}
    expected = {"l1": STEP["l1"], "l2": gradx.tree.scale(3.0, GRADS["l2"])}
    for labels in ({"l1": "l1", "l2": "l2"}, by_layer, lambda params: {"l1": "l1", "l2": {"kernel": "l2"}}):
        assert_close(first_update(gradx.partition(parts, labels)), expected)
    assert_close(first_update(gradx.partition(parts, "l1")), STEP)


def test_nodes_that_cannot_be_hashed_are_no_labels():
    """A tuple is hashed by what is in it: lists and modules of arrays cannot be."""
    params = ([1.0], {"w": 2.0})
    tx = gradx.partition({"a": gradx.scale(2.0)}, (["a"], {"w": "a"}))
    assert_close(first_update(tx, params, params), ([2.0], {"w": 4.0}))


def test_states_hold_nothing_for_leaves_of_others():
    tx = gradx.partition({"l1": gradx.momentum(0.9), "l2": gradx.adam(0.1)}, by_layer)
    state = tx.init(PARAMS)
    assert gradx.tree.size(state.inner_states["l1"]) == 9
    assert gradx.tree.size(state.inner_states["l2"]) == 3 + 3 + 1
    masked = gradx.masked(gradx.momentum(0.9), is_kernel).init(PARAMS)
    assert masked.inner_state.trace["l1"]["bias"] is None


def test_a_part_sees_only_its_leaves():
    # The norm of the layer's own gradient decides, not that of all.
    tx = gradx.partition({"l1": gradx.clip_by_global_norm(1.0), "l2": gradx.identity()}, by_layer)
    updates = first_update(tx)
    np.testing.assert_allclose(gradx.tree.norm(updates["l1"]), 1.0, rtol=1e-6)
    assert_close(updates["l2"], GRADS["l2"])


def test_leaves_without_gradient_stay_so():
    params, grads = PARAMS | {"none": None}, GRADS | {"none": None}
    for tx in (gradx.partition({"l1": SGD, "l2": SGD}, by_layer), gradx.masked(SGD, is_kernel), gradx.freeze(True)):
        assert first_update(tx, params, grads)["none"] is None


def test_a_callable_pytree_is_data():
    params = Layer(kernel=jnp.ones((2, 2)), bias=jnp.ones(2))
    stepped = jax.tree.map(lambda g: -0.1 * g, params)
    mask = Layer(kernel=True, bias=False)
    expected = Layer(kernel=stepped.kernel, bias=params.bias)
    assert_close(first_update(gradx.masked(SGD, mask), params, params), expected)
    frozen = first_update(gradx.chain(SGD, gradx.freeze(mask)), params, params)
    assert_close(frozen, Layer(kernel=jnp.zeros((2, 2)), bias=stepped.bias))
    decayed = first_update(gradx.add_decayed_weights(1.0, mask), params, params)
    assert_close(decayed, Layer(kernel=2 * params.kernel, bias=params.bias))
    labels = Layer(kernel="step", bias="stay")
    parted = gradx.partition({"step": SGD, "stay": gradx.identity()}, labels)
    assert_close(first_update(parted, params, params), expected)


@pytest.mark.parametrize("node", [{}, gradx.EmptyState(), {"deep": ()}], ids=repr)
def test_a_node_without_leaves_may_be_left_out(node):
    updates = first_update(SGD, PARAMS | {"l3": node}, GRADS | {"l3": None})
    assert_close(updates, STEP | {"l3": None})
    assert first_update(SGD, {"l3": node}, {"l3": None}) == {"l3": None}
    assert SGD.update(None, SGD.init(node), node)[0] is None


# What is refused, and in which words


def test_no_transformation_is_refused_by_position_or_name():
    with pytest.raises(TypeError, match="chain: part 1 is the function adam: call it"):
        gradx.chain(SGD, gradx.adam)  # the factory, not called
    with pytest.raises(TypeError, match=r"chain: part 0 is a list of transformations: give them without it"):
        gradx.chain([SGD])
    with pytest.raises(TypeError, match=r"chain: part 0 must be .* got <class"):
        gradx.chain(gradx.GradientTransformation)
    with pytest.raises(TypeError, match=r"masked: inner must be .* got 0\.1"):
        gradx.masked(0.1, True)
    with pytest.raises(TypeError, match=r"partition: 'b' must be .* got None"):
        gradx.partition({"a": SGD, "b": None}, "a")
    with pytest.raises(TypeError, match="named_chain: 'step' is the function adam: call it"):
        gradx.named_chain(("step", gradx.adam))


def test_names_of_a_chain_are_checked():
    with pytest.raises(TypeError, match=r"named_chain: each part must be a pair \(name, transformation\), got sgd"):
        gradx.named_chain(SGD)
    with pytest.raises(TypeError, match=r"pair \(name, transformation\), got \(1, sgd"):
        gradx.named_chain((1, SGD))
    with pytest.raises(ValueError, match="named_chain: names must differ, got 'step' more than once"):
        gradx.named_chain(("step", SGD), ("clip", gradx.clip(1.0)), ("step", SGD))


def test_unknown_label_is_named_with_its_leaf():
    tx = gradx.partition({"l1": SGD, "rest": gradx.set_to_zero()}, by_layer)
    message = "partition: the label 'l2' at 'l2/kernel' has no transformation; known are 'l1', 'rest'"
    with pytest.raises(ValueError, match=message):
        tx.init(PARAMS)


@pytest.mark.parametrize("mask", [{"l1": True}, {"l1": True, "l3": True}, [True, False]], ids=str)
def test_mask_that_is_no_prefix_is_refused(mask):
    for tx, owner in ((gradx.masked(SGD, mask), "masked: mask"), (gradx.freeze(lambda params: mask), "masked: mask")):
        with pytest.raises(ValueError, match=rf"{owner}: no prefix of the parameters.*l1/bias"):
            tx.init(PARAMS)
    with pytest.raises(ValueError, match="partition: param_labels: no prefix of the parameters"):
        gradx.partition({True: SGD, False: SGD}, mask).init(PARAMS)


def test_mask_decides_structure_and_so_is_no_array():
    with pytest.raises(TypeError, match="the mask at 'l1' must be a Python bool"):
        gradx.masked(SGD, {"l1": np.array([True, False]), "l2": True}).init(PARAMS)
    with pytest.raises(TypeError, match="the mask at 'l1' must be a Python bool"):
        jax.jit(lambda m: gradx.masked(SGD, {"l1": m, "l2": True}).init(PARAMS))(True)


def test_labels_are_no_mask():
    with pytest.raises(TypeError, match="the mask at 'l1' must be a Python bool"):
        gradx.masked(SGD, {"l1": "train", "l2": "freeze"}).init(PARAMS)


# Parts and masks of users


def keep(params: gradx.Params) -> gradx.EmptyState:
    return gradx.EmptyState()


def third_is_called_p(updates: Any, state: Any, p: Any) -> tuple:
    return jax.tree.map(lambda u, x: u + x, updates, p), state


def by_keyword(updates: Any, state: Any, *, params: Any) -> tuple:
    return jax.tree.map(lambda u, x: u + x, updates, params), state


@pytest.mark.parametrize("update", [third_is_called_p, by_keyword])
def test_a_pair_gets_the_parameters_as_it_asks_for_them(update):
    tx = gradx.GradientTransformation(keep, update)
    for whole in (tx, gradx.chain(tx), gradx.masked(tx, True)):
        assert_close(first_update(whole), jax.tree.map(lambda g, p: g + p, GRADS, PARAMS))
        with pytest.raises(TypeError, match="GradientTransformation needs params"):
            whole.update(GRADS, whole.init(PARAMS))


@pytest.mark.parametrize("make", [lambda pair: pair, gradx.chain, lambda pair: gradx.masked(pair, True)])
def test_a_pair_sees_low_precision_as_float32(make):
    seen = []

    def init(params: Any) -> Any:
        return jax.tree.map(jnp.zeros_like, params)

    def update(updates: Any, state: Any, params: Any) -> tuple:
        seen.extend(x.dtype for x in jax.tree.leaves((updates, state, params)))
        return updates, jax.tree.map(lambda s, u: s + u, state, updates)

    params = {"w": jnp.ones(3, jnp.bfloat16)}
    tx = make(gradx.GradientTransformation(init, update))
    state = tx.init(params)
    for _ in range(2):
        updates, state = tx.update(params, state, params)
    assert {x.dtype for x in jax.tree.leaves(state)} == set(seen) == {jnp.dtype(jnp.float32)}
    assert updates["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("run", [lambda f: f, jax.jit], ids=["without jit", "jit"])
def test_masks_and_labels_are_asked_about_the_parameters(run):
    def both(params: gradx.Params) -> Any:
        return jax.tree.map(lambda x: params["b"] is not None, params)

    def labels(params: gradx.Params) -> Any:
        return jax.tree.map(str, both(params))

    params, grads = {"w": jnp.ones(3), "b": jnp.ones(3)}, {"w": jnp.ones(3), "b": None}
    for tx in (gradx.masked(SGD, both), gradx.partition({"True": SGD, "False": gradx.identity()}, labels)):
        updates, _ = run(tx.update)(grads, tx.init(params), params)
        np.testing.assert_allclose(updates["w"], -0.1, rtol=1e-6)
        assert updates["b"] is None


def test_a_state_is_checked_without_parameters_as_far_as_the_gradients_tell():
    tx = gradx.momentum(0.9)
    state = tx.init(PARAMS)
    with pytest.raises(ValueError, match=r"momentum: .*the state"):
        tx.update(GRADS | {"l3": jnp.ones(3)}, state)
    with pytest.raises(
        ValueError, match=r"the state at 'trace/l2/kernel' is float32\[3,1\], but init says float32\[1\]"
    ):
        tx.update(GRADS | {"l2": {"kernel": jnp.ones(1)}}, state)
    updates, _ = tx.update(GRADS | {"l2": {"kernel": None}}, state)  # a leaf left out tells nothing
    assert updates["l2"]["kernel"] is None
    assert_close(updates["l1"], GRADS["l1"])
