"""State in the host's memory: where it lies, what moves, and that the numbers stay."""

import functools

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

import gradx
from gradx.sharding import init, offload, state_shardings, zero1
from tests.sharding import devices
from tests.sharding.devices import AUTO, KINDS, mesh_of, put


def kinds(state):
    return {x.sharding.memory_kind for x in jax.tree.leaves(state) if x.ndim}


def assert_lies(x, sharding):
    assert x.sharding.is_equivalent_to(sharding, x.ndim)
    assert x.sharding.memory_kind == (sharding.memory_kind or "device")


def stepper(tx):
    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, batch):
        updates, state = tx.update(jax.grad(devices.loss)(params, batch), state, params)
        return gradx.apply_updates(params, updates), state

    return step


def test_on_one_device():
    plain, tx = gradx.adamw(0.05), offload(gradx.adamw(0.05))
    wanted, params = devices.params(), devices.params()
    plain_state, state = plain.init(wanted), tx.init(params)
    for i in range(3):
        wanted, plain_state = stepper(plain)(wanted, plain_state, devices.batch(i))
        params, state = stepper(tx)(params, state, devices.batch(i))
        assert kinds(state) == {"pinned_host"}
        assert kinds(params) == {"device"}
    devices.assert_close(params, wanted, rtol=1e-6)
    with_jit = jax.jit(tx.init)(params)
    updates, state = tx.update(params, with_jit, params)  # without jit
    assert kinds(with_jit) == kinds(state) == {"pinned_host"}
    assert kinds(updates) == {"device"}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_on_a_mesh_with_zero1(kind):
    mesh = mesh_of(kind)
    params, x = put(mesh, devices.params()), put(mesh, devices.batch(0), P("data"))
    tx = offload(zero1(gradx.adam(0.05)))
    layout = state_shardings(tx, params, memory_kind="pinned_host")
    for state in (init(tx, params, memory_kind="pinned_host"), tx.init(params), jax.jit(tx.init)(params)):
        jax.tree.map(assert_lies, state, layout)
    gradient = gradx.sharding.data_parallel(jax.value_and_grad(devices.loss))

    @jax.jit
    def step(params, state, batch):
        updates, state = tx.update(gradient(params, batch)[1], state, params)
        return gradx.apply_updates(params, updates), state

    moved, state = step(params, state, x)
    assert kinds(state) == {"pinned_host"}
    assert state[0].mu["hidden"]["kernel"].addressable_shards[0].data.shape == (12, 2)
    alone = gradx.adam(0.05)
    whole = devices.params()
    updates, _ = alone.update(jax.grad(devices.loss)(whole, devices.batch(0)), alone.init(whole), whole)
    devices.assert_close(moved, gradx.apply_updates(whole, updates))


@pytest.mark.parametrize("platform", ["tpu", "cuda"])
def test_each_leaf_comes_and_goes_for_itself(platform):
    """Lowered for accelerators, where the CPU's compiler would make nothing of it."""
    mesh = mesh_of(AUTO)
    shapes = jax.tree.map(
        lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, P())), devices.params()
    )
    tx = offload(zero1(gradx.adam(0.05)))
    layout = state_shardings(tx, shapes, memory_kind="pinned_host")
    state = jax.tree.map(
        lambda x, sharding: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding),
        jax.eval_shape(tx.init, shapes),
        layout,
    )
    text = jax.jit(tx.update).trace(shapes, state, shapes).lower(lowering_platforms=(platform,)).as_text()
    moments = 2 * len(jax.tree.leaves(shapes))
    assert text.count('_xla_buffer_placement = "device"') == moments
    assert text.count('_xla_buffer_placement = "pinned_host"') == moments


def test_devices_without_such_memory(monkeypatch):
    import importlib

    module = importlib.import_module("gradx.sharding.offload")
    monkeypatch.setattr(module, "HOST", "attic")
    with pytest.raises(ValueError, match=r"offload: the memories of a cpu device here are \[.*\], no 'attic'"):
        offload(gradx.adam(0.1)).init({"w": jnp.ones(2)})
