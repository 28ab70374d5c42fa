"""What is refused, and in which words: where the fault lies, what was expected, what to do."""

import copy
import pickle
import sys
import types
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from flax import serialization
from flax.core import freeze

import gradx
from gradx.typing import Fraction

W = jnp.ones(3)
PARAMS = {"w": W}
ADAM = gradx.adam(0.1)


def updated(tx, grads=PARAMS, state: Any = None, params: Any = PARAMS, **extras):
    return tx.update(grads, tx.init(params) if state is None else state, params, **extras)


@gradx.transformation
def bounded(share: Fraction = 0.5):
    return gradx.scale(share)


MISTAKES = {
    "lr": (lambda: gradx.adam(lr=0.1), "'lr' is called learning_rate"),
    "betas": (lambda: gradx.adam(0.1, betas=(0.9, 0.99)), "'betas' is called b1 and b2"),
    "beta1": (lambda: gradx.adamw(0.1, beta1=0.9), "'beta1' is called b1"),
    "epsilon": (lambda: gradx.adam(0.1, epsilon=1e-7), "'epsilon' is called eps"),
    "wd": (lambda: gradx.adamw(0.1, wd=0.1), "'wd' is called weight_decay"),
    "misspelt": (lambda: gradx.sgd(0.1, momentun=0.9), "'momentun' is called momentum"),
    "foreign": (lambda: gradx.sgd(0.1, dampening=0.1), "it has learning_rate, momentum"),
    "text": (lambda: gradx.adam("1e-3"), "learning_rate must be a number or a schedule, got '1e-3'"),
    "None": (lambda: gradx.adam(None), "learning_rate must be a number or a schedule, got None"),
    "function for an integer": (
        lambda: gradx.cosine_decay_schedule(0.1, lambda t: 3),
        "decay_steps must be an integer",
    ),
    "out of range": (lambda: gradx.adam(0.1, b1=1.5), r"b1 must be in \[0, 1\), got 1.5"),
    "list": (lambda: gradx.chain([gradx.clip(1.0), ADAM]), "part 0 is a list of transformations: .*without it"),
    "uncalled": (lambda: gradx.chain(gradx.clip(1.0), gradx.adam), "part 1 is the function adam: call it"),
    "uncalled label": (lambda: gradx.partition({"a": gradx.sgd}, "a"), "'a' is the function sgd: call it"),
    "called": (lambda: ADAM(PARAMS), r"call tx.update\(updates, state, params\), or tx.init\(params\)"),
    "missing params": (lambda: updated(gradx.adamw(0.1), params=None, state=ADAM.init(PARAMS)), "params|state"),
    "swapped": (lambda: ADAM.update(ADAM.init(PARAMS), PARAMS, PARAMS), "the gradient at '0/count' is int32"),
    "loss and gradient": (lambda: updated(ADAM, grads=(1.0, PARAMS)), "updates"),
    "another's state": (lambda: updated(ADAM, state=gradx.sgd(0.1, momentum=0.9).init(PARAMS)), "the state"),
    "restored as dicts": (
        lambda: updated(ADAM, state=serialization.to_state_dict(ADAM.init(PARAMS))),
        "adam: the state .*restore a checkpoint into what init returns",
    ),
    "lists for tuples": (lambda: updated(ADAM, state=[ADAM.init(PARAMS)[0]._asdict(), {}]), "adam: the state"),
    "another container": (lambda: updated(ADAM, grads=freeze(PARAMS)), "adam: updates differs in structure"),
    "integer gradient": (lambda: updated(ADAM, grads={"w": jnp.ones(3, int)}), "the gradient at 'w' is int32"),
    "complex gradient": (lambda: updated(ADAM, grads={"w": W * 1j}), "the gradient at 'w' is complex64.*real"),
    "no gradient": (lambda: updated(ADAM, grads=None), "the gradient is None"),
    "stacked without vmap": (
        lambda: updated(
            gradx.sgd(jnp.linspace(0.1, 0.4, 4)), grads={"w": jnp.float32(1)}, params={"w": jnp.float32(1)}
        ),
        r"sgd: its update at 'w' is float32\[4\]",
    ),
    "an update of another shape": (
        lambda: updated(gradx.stateless(lambda u, p: jax.tree.map(jnp.sum, u))),
        r"its update at 'w' is float32\[\]",
    ),
    "updates that broadcast": (
        lambda: gradx.apply_updates(PARAMS, {"w": jnp.ones((2, 3))}),
        r"the update at 'w' is float32\[2,3\], the parameter float32\[3\]",
    ),
    "complex updates": (lambda: gradx.apply_updates(PARAMS, {"w": W * 1j}), "the update at 'w' is complex64"),
    "unknown label": (
        lambda: gradx.partition({"a": ADAM}, {"w": "zzz"}).init(PARAMS),
        "label 'zzz' at 'w'.*known are 'a'",
    ),
    "mask of another structure": (lambda: gradx.masked(ADAM, {"v": True}).init(PARAMS), "masked: mask"),
    "inject a chain": (lambda: gradx.inject_hyperparams(gradx.chain(ADAM)), "no number of its own"),
    "set a scheduled": (
        lambda: gradx.set_hyperparams(
            gradx.inject_hyperparams(gradx.sgd)(gradx.linear_schedule(1.0, 0.0, 9)).init(W), learning_rate=1.0
        ),
        "learning_rate follows a schedule",
    ),
    "set out of range": (
        lambda: gradx.set_hyperparams(gradx.inject_hyperparams(bounded)().init(W), share=1.5),
        r"share must be in \[0, 1\]",
    ),
    "set many": (
        lambda: gradx.set_hyperparams(gradx.inject_hyperparams(gradx.adam)(0.1).init(W), learning_rate=W),
        r"must be one number, got shape \(3,\)",
    ),
    "set unknown": (
        lambda: gradx.set_hyperparams(gradx.inject_hyperparams(gradx.adam)(0.1).init(W), lr=0.1),
        "no injected hyperparameter 'lr'; injected are",
    ),
    "dtype": (lambda: gradx.adam(0.1, mu_dtype="int32"), "mu_dtype must be a dtype of floats, got 'int32'"),
    "an attribute": (lambda: ADAM.learning_rate, r"tx.arguments\['learning_rate'\]"),
    "assignment": (lambda: setattr(ADAM, "learning_rate", 0.2), r"gradx.replace\(tx, learning_rate=...\)"),
}


@pytest.mark.parametrize(("make", "message"), MISTAKES.values(), ids=MISTAKES)
def test_mistakes_are_named_with_the_cure(make, message):
    with pytest.raises((TypeError, ValueError, KeyError, AttributeError), match=message):
        make()


def test_an_extra_that_optax_drops_is_asked_for_with_the_cure():
    @gradx.transformation
    def by_loss():
        return lambda params: (), lambda updates, state, params=None, *, value: (
            gradx.tree.scale(-value, updates),
            state,
        )

    tx = optax.chain(optax.clip(1.0), by_loss())
    with pytest.raises(TypeError, match=r"by_loss needs value.*optax.GradientTransformationExtraArgs\(\*tx\)"):
        tx.update(W, tx.init(W), W, value=2.0)
    handed_on = optax.chain(optax.clip(1.0), optax.GradientTransformationExtraArgs(*by_loss()))
    np.testing.assert_array_equal(handed_on.update(W, handed_on.init(W), W, value=2.0)[0], -2 * W)


# What looks like a mistake and is none


@jax.tree_util.register_dataclass
@dataclass
class Temperature:
    value: Any


def test_a_users_module_with_a_value_is_no_box():
    params = {"temperature": Temperature(jnp.float32(1.0)), "w": W}

    def mask(params):
        return {"temperature": Temperature(params["temperature"].value.ndim > 0), "w": True}

    updates, _ = updated(gradx.masked(gradx.sgd(0.5), mask), grads=params, params=params)
    assert float(updates["temperature"].value) == 1.0
    np.testing.assert_array_equal(updates["w"], -0.5 * W)


@pytest.mark.parametrize("kind", [np.array, jnp.array, np.bool_, bool])
def test_a_mask_may_hold_arrays(kind):
    tx = gradx.freeze({"w": kind(True), "b": kind(False)})
    grads = {"w": W, "b": W}
    updates, _ = updated(tx, grads=grads, params=grads)
    assert float(updates["w"].sum()) == 0
    assert float(updates["b"].sum()) == 3
    assert tx == gradx.freeze({"w": True, "b": False})
    assert hash(tx) == hash(gradx.freeze({"w": True, "b": False}))


def test_a_model_with_functions_among_its_leaves():
    model = {"weight": W, "activation": jax.nn.relu}
    grads = {"weight": W, "activation": None}
    updates, _ = gradx.adamw(0.1).update(grads, gradx.adamw(0.1).init(grads), model)
    assert updates["activation"] is None
    assert gradx.apply_updates(model, updates)["activation"] is jax.nn.relu


def test_parts_of_optax_see_empty_nodes_where_a_mask_is_false():
    params = {"w": jnp.ones((4, 3)), "b": jnp.zeros(3)}
    updates, _ = updated(gradx.masked(optax.contrib.galore(0.01), {"w": True, "b": False}), grads=params, params=params)
    np.testing.assert_array_equal(updates["b"], params["b"])


@pytest.mark.parametrize("labels", [(1, "a"), (None, 2), (("x", 1), frozenset({2})), (True, 1.5)], ids=repr)
def test_any_hashable_may_be_a_label(labels):
    first, second = labels
    tx = gradx.partition({first: gradx.sgd(1.0), second: gradx.sgd(2.0)}, {"a": first, "b": second})
    grads = {"a": W, "b": W}
    updates, state = updated(tx, grads=grads, params=grads)
    jax.jit(tx.update)(grads, state, grads)
    assert [float(updates[name][0]) for name in "ab"] == [-1, -2]
    assert hash(tx) == hash(copy.copy(tx))


# Pickles


def test_pickles_go_by_name():
    module = sys.modules["users_module"] = types.ModuleType("users_module")
    stored = b""
    try:
        for i, signature in enumerate(("a=1.0, b=2.0", "b=2.0, a=1.0", "a=1.0, b=2.0, c=3.0")):
            exec(
                f"import gradx\n@gradx.transformation\ndef mine({signature}):\n    return gradx.scale(a * b)\n",
                vars(module),
            )
            stored = pickle.dumps(module.mine(a=5.0)) if i == 0 else stored
            assert repr(pickle.loads(stored)) == "mine(a=5.0)"
        exec("import gradx\n@gradx.transformation\ndef mine(b=1.0):\n    return gradx.scale(b)\n", vars(module))
        with pytest.raises(TypeError, match="mine: stored with 'a', but it has b"):
            pickle.loads(stored)
    finally:
        del sys.modules["users_module"]


@pytest.mark.parametrize(
    "make",
    [
        lambda: gradx.transformation(optax.lion)(0.1),
        lambda: gradx.inject_hyperparams(optax.adam)(0.1),
        lambda: gradx.chain(gradx.transformation(optax.lion)(0.1), gradx.clip(1.0)),
        lambda: gradx.sgd(gradx.linear_schedule(1.0, 0.0, 9) / 2),
        lambda: gradx.partition({1: ADAM, "a": ADAM}, 1),
    ],
)
def test_equal_calls_make_equal_values_that_pickle(make):
    assert make() == make()
    assert hash(make()) == hash(make())
    assert pickle.loads(pickle.dumps(make())) == make()
