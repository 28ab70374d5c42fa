"""Every row of the zoo: saved on one mesh, restored onto another, it goes on as if carried over in memory."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx import checkpoint
from gradx.checkpoint.places import places_of
from gradx.checkpoint.plan import sort_of
from tests.checkpoint.survives import SCHEDULE, same_bits
from tests.checkpoint.test_survives import trained
from tests.zoo import ZOO

SHAPES = {"layer": {"kernel": (4, 8), "bias": (8,)}, "scale": ()}
SPECS = {"layer": {"kernel": P("data", "model"), "bias": P("model")}, "scale": P()}
FIRST, SECOND = (4, 2), (2, 4)
TOGETHER = 10
"""Rows in one program, and one checkpoint: what they cost to start is shared."""


@functools.cache
def drawn(seed):
    rng = np.random.default_rng(seed)
    is_shape = lambda x: isinstance(x, tuple)  # noqa: E731
    return jax.tree.map(lambda shape: rng.normal(size=shape).astype(np.float32), SHAPES, is_leaf=is_shape)


def kind_of_state(row):
    """Return what sorts of leaves the state has, and how their shapes follow from the parameters'."""
    params = drawn(0)
    places = places_of(row.tx, jax.eval_shape(row.tx.init, params), params)

    def follows(place):
        if place.parameter is None:
            return "a number" if not place.shape else "of all"
        if place.shape == places.parameters[place.parameter]:
            return "like it"
        return "of its own shape" if place.shape else "its number"

    return frozenset((sort_of(x.dtype), follows(x), bool(x.inside)) for x in places.places)


def first_of_a_kind_of_state():
    return list({kind_of_state(row): row for row in reversed(ZOO)}.values())


def places_on(shape, kind):
    mesh = jax.make_mesh(shape, ("data", "model"), axis_types=(kind, kind))
    return mesh, jax.tree.map(lambda spec: NamedSharding(mesh, spec), SPECS, is_leaf=lambda x: isinstance(x, P))


def step_of(rows):
    """Return one step of all rows; each has parameters of its own."""

    def step(params, states, grads):
        moved = {}
        for i, row in enumerate(rows):
            updates, state = row.tx.update(grads, states[f"row {i}"], params[f"row {i}"], **row.extras)
            moved[f"row {i}"] = gradx.apply_updates(params[f"row {i}"], updates), state
        return {name: x for name, (x, _) in moved.items()}, {name: x for name, (_, x) in moved.items()}

    return jax.jit(step)


def assert_same(got, wanted, rows):
    for i, row in enumerate(rows):
        try:
            same_bits(*(jax.tree.map(np.asarray, x[f"row {i}"]) for x in (got, wanted)))
        except AssertionError as error:
            raise AssertionError(f"{row}: {error}") from error


def check(rows, kind, directory):
    tx = gradx.named_chain(*((f"row {i}", row.tx) for i, row in enumerate(rows)))
    mesh, places = places_on(FIRST, kind)
    step = step_of(rows)
    with jax.set_mesh(mesh):
        params = jax.device_put(drawn(0), places)
        states = tx.init(params)
        _, states = step(dict.fromkeys(states, params), states, jax.device_put(drawn(1), places))
        checkpoint.save(directory, 1, tx, states, params, asynchronous=True).wait()
    mesh, places = places_on(SECOND, kind)
    like = lambda x, place: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=place)  # noqa: E731
    with jax.set_mesh(mesh):
        restored = checkpoint.restore(directory, tx, jax.tree.map(like, drawn(0), places))
        assert restored.report.is_complete
        assert_same(restored.state, states, rows)
        for x, place in zip(jax.tree.leaves(restored.params), jax.tree.leaves(places), strict=True):
            assert x.sharding.is_equivalent_to(place, x.ndim)
        fresh = tx.init(restored.params)
        for x, y in zip(jax.tree.leaves(restored.state), jax.tree.leaves(fresh), strict=True):
            assert x.sharding.is_equivalent_to(y.sharding, x.ndim)
        assert any(not x.is_fully_replicated for x in jax.tree.leaves(restored.state))
        # Carried over in memory, as if nothing had stopped
        carried = jax.tree.map(lambda x, y: jax.device_put(np.asarray(x), y.sharding), states, restored.state)
        grads = jax.device_put(drawn(2), places)
        wanted = step(dict.fromkeys(states, jax.device_put(drawn(0), places)), carried, grads)
        got = step(dict.fromkeys(states, restored.params), restored.state, grads)
        for x, y in zip(got, wanted, strict=True):
            assert_same(x, y, rows)


def data_mesh(devices):
    mesh = jax.make_mesh((devices,), ("data",), axis_types=(AxisType.Auto,), devices=jax.devices()[:devices])
    return mesh, NamedSharding(mesh, P())


def test_parts_of_zero1_go_to_fewer_devices_and_come_together_on_one(tmp_path):
    """What one device keeps alone never stands whole on another."""
    adamw = gradx.adamw(SCHEDULE)
    tx, host = gradx.sharding.zero1(adamw), {"w": drawn(0)["layer"]["kernel"], "b": drawn(0)["layer"]["bias"]}
    _, whole = data_mesh(8)
    params = jax.device_put(host, whole)
    state = trained(tx, params)
    checkpoint.save(tmp_path, 3, tx, state, params)
    wanted = jax.tree.map(np.asarray, state)
    mesh, whole = data_mesh(4)
    like = {name: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=whole) for name, x in host.items()}
    layout = gradx.sharding.state_shardings(adamw, like, mesh, "zero1")
    for changed, shardings in ((tx, None), (adamw, layout)):
        restored = checkpoint.restore(tmp_path, changed, like, shardings=shardings)
        assert restored.report.is_complete
        same_bits(jax.tree.map(np.asarray, restored.state), wanted)
        for name, x in host.items():
            for moment in (restored.state[0].mu[name], restored.state[0].nu[name]):
                assert {shard.data.size for shard in moment.addressable_shards} == {x.size // 4}
    alone = checkpoint.restore(tmp_path, adamw, host)
    assert alone.report.is_complete
    same_bits(jax.tree.map(np.asarray, alone.state), wanted)
    assert all(len(x.sharding.device_set) == 1 for x in jax.tree.leaves(alone.state))


def test_a_row_of_each_kind_of_state(tmp_path):
    rows = first_of_a_kind_of_state()
    assert len(rows) > 10
    check(rows, AxisType.Auto, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=str)
@pytest.mark.parametrize("i", range(0, len(ZOO), TOGETHER))
def test_every_row(tmp_path, i, kind):
    check(ZOO[i : i + TOGETHER], kind, tmp_path)
