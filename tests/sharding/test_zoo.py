"""Every row of the zoo on a mesh of 2 x 4 devices trains as on one, its state where the layout says."""

import functools

import jax
import numpy as np
import pytest
from jax.sharding import NamedSharding, PartitionSpec as P

import gradx
from gradx import testing
from gradx.sharding import state_shardings, zero1
from gradx.sharding.layout import plan
from gradx.sharding.specs import names_in
from tests.sharding.devices import AUTO, EXPLICIT, mesh_of
from tests.zoo import ZOO

TOGETHER = 8
"""Rows in a program: what a program costs to start is shared."""
STEPS = 2
SHAPES = {"layer": {"kernel": (4, 8), "bias": (8,)}, "scale": ()}
FSDP = {"layer": {"kernel": P("data", "model"), "bias": P("model")}, "scale": P()}
TENSOR = {"layer": {"kernel": P(None, "model"), "bias": P("model")}, "scale": P()}


def is_shape(x):
    return isinstance(x, tuple)


def classes_in(state):
    """Return the names of the classes of which a state is made."""
    found = {type(state).__name__} if hasattr(state, "_fields") else set()
    below = state.values() if isinstance(state, dict) else state if isinstance(state, tuple | list) else ()
    return found.union(*map(classes_in, below))


def chunked():
    """Return rows side by side, and whether they are of the tail: whose states have no class that no one else has."""
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, np.float32), SHAPES, is_leaf=is_shape)
    seen, parts = set(), ([], [])
    for row in ZOO:
        classes = classes_in(jax.eval_shape(row.tx.init, shapes))
        parts[classes <= seen].append(row)
        seen |= classes
    return [
        (part[i : i + TOGETHER], is_tail) for is_tail, part in enumerate(parts) for i in range(0, len(part), TOGETHER)
    ]


CHUNKED = chunked()
CHUNKS = [chunk for chunk, _ in CHUNKED]
SLOW = pytest.mark.slow


@functools.cache
def problem():
    """Return parameters, and the gradients of each step."""
    rng = np.random.default_rng(0)

    def draw():
        return jax.tree.map(lambda s: rng.normal(size=s).astype(np.float32), SHAPES, is_leaf=is_shape)

    return draw(), [draw() for _ in range(STEPS)]


def step_of(chunk):
    def step(params, states, grads):
        moved = []
        for row, param, state in zip(chunk, params, states, strict=True):
            updates, state = row.tx.update(grads, state, param, **row.extras)
            moved.append((gradx.apply_updates(param, updates), state))
        return tuple(map(list, zip(*moved, strict=True)))

    return step


@functools.cache
def on_one_device(i):
    params, gradients = problem()
    chunk = CHUNKS[i]
    params = [params] * len(chunk)
    states = jax.jit(lambda params: [row.tx.init(x) for row, x in zip(chunk, params, strict=True)])(params)
    step = jax.jit(step_of(chunk))
    for grads in gradients:
        params, states = step(params, states, grads)
    return params


def on_mesh(chunk, kind, layout):
    mesh = mesh_of(kind, (2, 4), ("data", "model"))
    specs = FSDP if layout == "like_params" else TENSOR
    places = jax.tree.map(lambda spec: NamedSharding(mesh, spec), specs)
    if layout == "zero1":
        chunk = [row.__class__(zero1(row.tx, specs=specs), row.skip, row.trains, row.extras) for row in chunk]
    params, gradients = jax.device_put(problem(), (places, [places] * STEPS))
    shardings = [state_shardings(row.tx, params, mesh) for row in chunk]
    wholes = [places] * len(chunk), shardings

    @functools.partial(jax.jit, out_shardings=wholes[1])
    def init(params):
        return [row.tx.init(params) for row in chunk]

    with jax.set_mesh(mesh):
        states, params = init(params), [params] * len(chunk)
        step = jax.jit(step_of(chunk), out_shardings=wholes if kind == AUTO else None)
        for grads in gradients:
            params, states = step(params, states, grads)
    for row, state, wanted in zip(chunk, states, shardings, strict=True):
        assert_lies(row, state, wanted)
    return params


def assert_lies(row, state, wanted):
    for name, x, sharding in zip(gradx.tree.paths(state), jax.tree.leaves(state), jax.tree.leaves(wanted), strict=True):
        assert x.sharding.is_equivalent_to(sharding, x.ndim), f"{row}: {name} lies on {x.sharding}, not {sharding}"
        assert len(x.sharding.device_set) == 8, f"{row}: {name} is not on all devices"


@pytest.mark.parametrize("layout", ["like_params", "zero1"])
@pytest.mark.parametrize("kind", [AUTO, pytest.param(EXPLICIT, marks=SLOW)], ids=str)
@pytest.mark.parametrize("i", [pytest.param(i, marks=SLOW if tail else ()) for i, (_, tail) in enumerate(CHUNKED)])
def test_on_a_mesh_as_on_one_device(i, kind, layout):
    for row, got, wanted in zip(CHUNKS[i], on_mesh(CHUNKS[i], kind, layout), on_one_device(i), strict=True):
        try:
            testing.assert_close(got, wanted, rtol=1e-4, atol=1e-5)
        except AssertionError as error:
            raise AssertionError(f"{row}: {error}") from error


def test_nothing_that_divides_is_left_whole():
    """ZeRO-1: factors, bases, projections and memories are split as moments are."""
    mesh = mesh_of(AUTO, (2, 4), ("data", "model"))
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, np.float32), SHAPES, is_leaf=is_shape)
    for row in ZOO:
        for leaf in plan(row.tx, shapes, TENSOR, mesh, "zero1", "data")[0]:
            whole = [n for n, entry in zip(leaf.value.shape, leaf.kept, strict=True) if entry is None]
            divides = leaf.param is not None and any(n and n % 2 == 0 for n in whole)
            assert not divides or "data" in names_in(leaf.kept), f"{row}: {leaf}"
