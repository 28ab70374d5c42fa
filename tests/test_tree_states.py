"""`tree.get`, `tree.set` and `tree.map_params`: a state's own names, never the user's (faults 22 and 23)."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
import pytest

import gradx
from gradx import tree
from tests.zoo import ZOO


class Layer(NamedTuple):
    """Parameters named like fields of states, in a class of their own."""

    count: Any
    mu: Any


PARAMS = {
    "count": jnp.ones((2, 3)),
    "mu": jnp.ones(3),
    "layer": Layer(count=jnp.ones(2), mu=jnp.ones(())),
    "inner_state": [jnp.ones(4)],
    "bias": jnp.ones(1),
}


def train(tx: Any, steps: int = 1) -> Any:
    state = tx.init(PARAMS)
    for _ in range(steps):
        _, state = tx.update(PARAMS, state, PARAMS)
    return state


CHAINED = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(gradx.linear_schedule(0.1, 0.0, 10)))


def test_get_finds_fields_and_no_parameters():
    state = train(gradx.adam(0.1))
    assert tree.get(state, "count") == 1
    assert jax.tree.structure(tree.get(state, "mu")) == jax.tree.structure(PARAMS)
    assert tree.get(state, "ScaleByAdamState") is state[0]
    assert tree.get(state, "layer") is None
    assert tree.get(state, "bias", default="none") == "none"


def test_get_says_where_several_are():
    state = train(gradx.chain(gradx.ema(0.9), gradx.adam(0.1)))
    with pytest.raises(KeyError, match="'count' is in more than one place: '0/count', '1/0/count'"):
        tree.get(state, "count")
    found = tree.get_all_with_path(state, "count")
    assert [tree_path(path) for path, _ in found] == ["0/count", "1/0/count"]
    chosen = tree.get(state, "count", filtering=lambda path, value: tree_path(path).startswith("1"))
    assert chosen is state[1][0].count


def tree_path(path: tuple) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def test_get_reads_injected_values_and_labels():
    injected = gradx.inject_hyperparams(gradx.adamw)(gradx.linear_schedule(0.1, 0.0, 10))
    assert tree.get(train(injected), "learning_rate") == jnp.float32(0.1)
    named = gradx.named_chain(("clip", gradx.clip(1.0)), ("count", gradx.adam(0.1)))
    assert tree.get(train(named), "count", filtering=lambda path, value: len(path) == 1) is not None
    assert tree.get(train(named), "clip") == gradx.EmptyState()
    parts = gradx.partition({"a": gradx.adam(0.1), "b": gradx.sgd(0.1)}, "a")
    assert tree.get(train(parts), "a").__class__ is tuple
    assert tree.get(train(parts), "count") == 1
    assert tree.get(train(gradx.MultiSteps(gradx.adam(0.1), 1)), "count") == 1


def test_set_leaves_parameters_alone():
    """Fault 22: the moments of a parameter called `count` were overwritten with the count."""
    state = train(gradx.adam(0.1))
    changed = tree.set(state, count=0)
    assert changed[0].count == 0
    assert changed[0].count.dtype == jnp.int32
    assert changed[0].mu is state[0].mu
    assert changed[0].nu is state[0].nu
    assert state[0].count == 1
    theirs = optax.tree.set(optax.adam(0.1).init({"count": jnp.ones(2)}), count=5)
    assert theirs[0].mu["count"] == 5  # the fault, still there


def test_set_reaches_every_place_or_those_chosen():
    state = train(gradx.chain(gradx.ema(0.9), gradx.adam(0.1)))
    assert [x for _, x in tree.get_all_with_path(tree.set(state, count=7), "count")] == [7, 7]
    first = tree.set(state, lambda path, value: tree_path(path) == "0/count", count=7)
    assert [x for _, x in tree.get_all_with_path(first, "count")] == [7, 1]


def test_set_keeps_structure_shapes_and_dtypes():
    state = train(gradx.adam(0.1))
    zeros = tree.cast(tree.zeros_like(PARAMS), jnp.bfloat16)
    changed = tree.set(state, mu=zeros, count=3)
    assert jax.tree.structure(changed) == jax.tree.structure(state)
    assert [x.dtype for x in jax.tree.leaves(changed)] == [x.dtype for x in jax.tree.leaves(state)]
    assert tree.norm(tree.get(changed, "mu")) == 0.0
    with pytest.raises(
        ValueError, match=r"tree.set: the new mu at 'count' is .*\[1\], but the state says float32\[2,3\]"
    ):
        tree.set(state, mu=PARAMS | {"count": jnp.ones(1)})
    with pytest.raises(ValueError, match="the new mu has a leaf at 'other'"):
        tree.set(state, mu={"other": 1.0})
    with pytest.raises(KeyError, match="the state keeps nothing under 'learning_rate'"):
        tree.set(state, learning_rate=1.0)
    with pytest.raises(KeyError, match="nothing under 'layer'"):
        tree.set(state, layer=1.0)


def test_set_works_inside_a_program():
    tx = gradx.inject_hyperparams(gradx.sgd)(0.1)
    state = jax.jit(lambda state, x: tree.set(state, learning_rate=x))(tx.init(PARAMS), 0.5)
    assert tree.get(state, "learning_rate") == 0.5


def test_states_of_optax_inside_a_chain():
    state = train(gradx.chain(optax.adam(0.1), gradx.clip(1.0)))
    flat = optax.adam(0.1).init({"count": 1.0, "hyperparams": {"mu": 2.0}})
    assert tree.get(state, "nu")["bias"].shape == (1,)
    assert tree.get(flat, "count") == 0
    assert tree.set(flat, count=4)[0].nu == {"count": 0, "hyperparams": {"mu": 0}}
    theirs = optax.inject_hyperparams(optax.adam)(learning_rate=0.5).init({"learning_rate": 1.0})
    assert tree.get(theirs, "learning_rate") == 0.5


OF_NO_PARAMETER = ("monitor", "flatten")
"""Measures of a whole tree, and moments of one long vector."""


@pytest.mark.parametrize("row", ZOO, ids=str)
def test_map_params_reaches_what_belongs_to_parameters(row):
    """Fault 23: which leaves those are is known, not guessed; the fields' annotations say the same."""
    params = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "count": jnp.ones(())}
    state = row.tx.init(params)
    names = tree.map_with_path(lambda name, _: name, params)

    def name_of(leaf, param, name):
        return name

    named = tree.map_params(row.tx, name_of, state, params, names, transform_non_params=lambda leaf: None)
    expected = [] if row.tx.name in OF_NO_PARAMETER else jax.tree.leaves(_names_by_annotation(state, names))
    assert jax.tree.leaves(named) == expected


def _names_by_annotation(node, names):
    """Put the parameter's name in place of each leaf in the fields that are annotated as trees of parameters."""
    if hasattr(node, "_fields"):
        hints = type(node).__annotations__
        user = {field for field in node._fields if hints[field] in (gradx.Updates, gradx.Params)}
        pick = lambda name, kept: jax.tree.map(lambda leaf: name, kept)  # noqa: E731
        return [
            jax.tree.map(pick, names, x) if f in user else _names_by_annotation(x, names)
            for f, x in zip(node._fields, node, strict=True)
        ]
    if isinstance(node, tuple):
        return [_names_by_annotation(x, names) for x in node]
    return {k: _names_by_annotation(x, names) for k, x in node.items()} if isinstance(node, dict) else None


def test_map_params_for_shardings():
    tx = gradx.chain(optax.adam(0.1), CHAINED)
    params = {"w": jnp.ones((4, 2)), "count": jnp.ones(2)}
    specs = {"w": jax.P("x", None), "count": jax.P()}
    placed = tree.map_params(
        tx, lambda leaf, param, spec: spec, jax.eval_shape(tx.init, params), params, specs,
        transform_non_params=lambda leaf: "replicated",
    )  # fmt: skip
    for found in tree.get_all_with_path(placed, "mu"):
        assert found[1] == specs
    assert {x for _, x in tree.get_all_with_path(placed, "count")} == {"replicated"}


def test_map_params_leaves_the_rest_and_the_structure():
    tx = gradx.partition({"a": gradx.adam(0.1), "b": gradx.MultiSteps(gradx.sgd(0.1, 0.9), 2)}, {
        "count": "a", "mu": "b", "layer": "a", "inner_state": "b", "bias": "b",
    })  # fmt: skip
    state = train(tx)
    doubled = tree.map_params(tx, lambda leaf, param: 2 * leaf, state, PARAMS)
    assert jax.tree.structure(doubled) == jax.tree.structure(state)
    assert tree.get(doubled, "count") == tree.get(state, "count") == 1
    assert tree.allclose(tree.get(doubled, "mu"), tree.scale(2.0, tree.get(state, "mu")))
    assert tree.allclose(tree.get(doubled, "acc_grads"), tree.scale(2.0, tree.get(state, "acc_grads")))


def test_map_params_knows_leaves_that_only_come_from_parameters():
    """A state may keep pairs, rows or stacks for a parameter; whatever was made from it belongs to it."""

    def init(params):
        pairs = jax.tree.map(lambda p: (jnp.zeros((5, *p.shape)), jnp.zeros(())), params)
        return {"pairs": pairs, "steps": jnp.zeros((2, 3))}  # the shape of a parameter, and no parameter's

    tx = gradx.GradientTransformation(init, lambda updates, state, params=None: (updates, state))
    params = {"w": jnp.ones((2, 3)), "v": jnp.ones(3)}
    seen = tree.map_params(tx, lambda leaf, param: param.shape, tx.init(params), params, transform_non_params=str)
    assert seen["pairs"] == {"w": ((2, 3), (2, 3)), "v": ((3,), (3,))}
    assert isinstance(seen["steps"], str)
