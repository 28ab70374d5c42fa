"""States that came back as dicts and lists: mended, or refused by the leaf's name."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import serialization

import gradx
from gradx import checkpoint, tree
from tests.checkpoint.survives import GROUPS, PARAMS, SCHEDULE, same_bits
from tests.checkpoint.test_survives import trained

TX = gradx.chain(
    gradx.clip(1.0),
    gradx.partition({"one": gradx.adamw(SCHEDULE), "two": gradx.sgd(0.1, momentum=0.9)}, GROUPS),
    gradx.lookahead(gradx.ema(0.9), 2, 0.5),
)
LISTED = {"layers": [jnp.ones(2), (jnp.ones(3),)]}


def plain(node, fields="dict", sequence=list):
    """Return a state in the containers of a store that was not told what it reads."""
    if hasattr(node, "_fields"):
        children = {name: plain(x, fields, sequence) for name, x in zip(node._fields, node, strict=True)}
        return (children if fields == "dict" else list(children.values())) or None
    if isinstance(node, list | tuple):
        children = [plain(x, fields, sequence) for x in node]
        return {str(i): x for i, x in enumerate(children)} if sequence is dict else sequence(children)
    return {str(key): plain(x, fields, sequence) for key, x in node.items()} if isinstance(node, dict) else node


@pytest.mark.parametrize("fields", ["dict", "list"])
@pytest.mark.parametrize("sequence", [list, tuple, dict])
@pytest.mark.parametrize("params", [PARAMS, LISTED], ids=["dicts", "lists"])
def test_containers_are_put_back(fields, sequence, params):
    tx = TX if params is PARAMS else gradx.adamw(SCHEDULE)
    state = trained(tx, params)
    same_bits(checkpoint.mend(tx, plain(state, fields, sequence), params), state)
    same_bits(checkpoint.mend(tx, state, params), state)


@pytest.mark.filterwarnings("ignore:Sharding info not provided when restoring")
def test_what_orbax_gives_without_a_target(tmp_path):
    import orbax.checkpoint as ocp

    state = trained(TX, PARAMS)
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(tmp_path / "state", state)
        checkpointer.wait_until_finished()
        restored = checkpointer.restore(tmp_path / "state")
    assert isinstance(restored, list)
    with pytest.raises(ValueError, match="restore a checkpoint into what init returns"):
        TX.update(PARAMS, restored, PARAMS)
    same_bits(checkpoint.mend(TX, restored, PARAMS), state)


def test_what_flax_gives(tmp_path):
    tx = gradx.chain(gradx.ema(0.9), gradx.adamw(SCHEDULE))
    state = trained(tx, PARAMS)
    stored = serialization.msgpack_serialize(serialization.to_state_dict(state))
    same_bits(checkpoint.mend(tx, serialization.msgpack_restore(stored), PARAMS), state)


def test_what_json_gives():
    """Its numbers are Python's: for one number that will do, an array must be one."""
    tx, params = gradx.add_noise(0.1, 0.5, seed=0), {"w": 1.0}
    state = trained(tx, params)
    stored = json.loads(json.dumps({"count": int(state.count), "rng_key": np.asarray(state.rng_key).tolist()}))
    with pytest.raises(ValueError, match=r"'rng_key' that the restored state lacks|has a list at 'rng_key'"):
        checkpoint.mend(tx, stored, params)
    stored["rng_key"] = np.asarray(stored["rng_key"], np.uint32)
    same_bits(checkpoint.mend(tx, stored, params), state)
    with pytest.raises(ValueError, match="has a float at 'count'"):
        checkpoint.mend(tx, stored | {"count": 3.0}, params)


def adam_state(**changes):
    return [
        {"count": np.int32(3), "mu": {"w": np.ones(2, np.float32)}, "nu": {"w": np.ones(2, np.float32)}} | changes,
        None,
    ]


def test_refusals_name_the_leaf():
    tx, params = gradx.adam(0.1), {"w": jnp.ones(2)}
    same_bits(checkpoint.mend(tx, adam_state(), params), checkpoint.mend(tx, adam_state(), params))
    with pytest.raises(ValueError, match=r"init has a leaf at '0/mu/w', float32\[2\], that the restored state lacks"):
        checkpoint.mend(tx, adam_state(mu={}), params)
    with pytest.raises(ValueError, match="lacks; it has a NoneType at '0/nu'"):
        checkpoint.mend(tx, adam_state(nu=None), params)
    with pytest.raises(ValueError, match="the restored state has a leaf at '0/other' that init lacks"):
        checkpoint.mend(tx, adam_state(other=np.ones(1)), params)
    with pytest.raises(ValueError, match=r"has float32\[3\] at '0/mu/w', init says float32\[2\]"):
        checkpoint.mend(tx, adam_state(mu={"w": np.ones(3, np.float32)}), params)
    with pytest.raises(ValueError, match=r"has float16\[2\] at '0/mu/w', init says float32\[2\]"):
        checkpoint.mend(tx, adam_state(mu={"w": np.ones(2, np.float16)}), params)
    with pytest.raises(ValueError, match="has a list at '0/mu/w'"):
        checkpoint.mend(tx, adam_state(mu={"w": [1.0, 1.0]}), params)


@pytest.mark.parametrize(
    "other", [gradx.sgd(0.1, momentum=0.9), gradx.chain(gradx.ema(0.9), gradx.adam(0.1)), gradx.lion(0.1)], ids=str
)
def test_a_state_of_another_optimizer_is_refused(other):
    restored = plain(trained(other, PARAMS))
    with pytest.raises(ValueError, match=r"that (the restored state|init) lacks"):
        checkpoint.mend(gradx.adam(0.1), restored, PARAMS)


def test_boxes_of_nnx_may_be_gone():
    from flax import nnx

    params = nnx.state(nnx.Linear(2, 3, rngs=nnx.Rngs(0)), nnx.Param)
    tx = gradx.adam(0.1)
    state = tx.init(params)
    bare = jax.tree.map(lambda x: x, plain(tree.unbox(state)))
    pure = [bare[0] | {field: dict(bare[0][field].items()) for field in ("mu", "nu")}, None]
    mended = checkpoint.mend(tx, pure, params)
    assert jax.tree.structure(mended) == jax.tree.structure(state)
