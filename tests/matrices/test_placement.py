"""On a mesh: whole matrices on each device, so that a longer iteration communicates no more."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import optax.contrib
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx.matrices import Layout, map_matrices

COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")
ROUNDING = 1e-5
"""Float32, singular values near 1: the products of another batch add up in another order."""
every_kind = pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto], ids=str)

THREE = {name: ((16, 8), P("x", "y")) for name in "abc"}
COPIES = {name: ((16, 8), P()) for name in "abcdefgh"}
CASES = {
    "one": ({"a": ((16, 8), P("x", "y"))}, {"all-gather": 2}),
    "three": (THREE, {"all-to-all": 4}),
    "rows": ({name: ((16, 8), P("x")) for name in "abc"}, None),
    "rows of five": ({name: ((16, 8), P("x")) for name in "abcde"}, {"all-gather": 1, "all-to-all": 2}),
    "mixed": (
        {"a": ((16, 8), P("x", "y")), "b": ((16, 8), P("y", "x")), "turned": ((8, 16), P()), "v": ((8,), P())},
        None,
    ),
    "few": ({name: ((16, 8), P()) for name in "abc"}, None),
    "few in columns": ({name: ((16, 8), P(None, "y")) for name in "abc"}, None),
    "stacked": ({"a": ((8, 16, 8), P("x", "y")), "b": ((3, 8, 4), P(None, "x"))}, None),
}
"""Shapes and shardings, and the collectives, where they do not depend on the compiler: one for each mesh axis, in and
out; a single matrix is gathered, and its result is there already."""


def mesh_of(kind):
    return jax.make_mesh((4, 2), ("x", "y"), axis_types=(kind, kind))


def draw(case, mesh=None):
    rng = np.random.default_rng(0)
    drawn = {name: rng.normal(size=shape).astype(np.float32) for name, (shape, _) in case.items()}
    place = {name: None if mesh is None else NamedSharding(mesh, spec) for name, (_, spec) in case.items()}
    return {name: jnp.asarray(x) if mesh is None else jax.device_put(x, place[name]) for name, x in drawn.items()}


def collectives(compiled):
    text = compiled.as_text()
    counts = {name: text.count(f" {name}(") + text.count(f" {name}-start(") for name in COLLECTIVES}
    return {name: count for name, count in counts.items() if count}


def matrices(params):
    return {name: x.ndim > 1 for name, x in params.items()}


@pytest.mark.parametrize("name", CASES)
@every_kind
def test_collectives_do_not_depend_on_the_steps(kind, name):
    case, wanted = CASES[name]
    mesh, counts = mesh_of(kind), []
    with jax.set_mesh(mesh):
        grads = draw(case, mesh)
        for steps in (1, 5):
            tx = gradx.scale_by_muon(ns_steps=steps, weight_dimension_numbers=matrices)
            compiled = jax.jit(tx.update).lower(grads, tx.init(grads)).compile()
            counts.append(collectives(compiled))
        updates, _ = compiled(grads, tx.init(grads))
    assert counts[0] == counts[1]
    assert wanted in (None, counts[0])
    plain = draw(case)
    expected, _ = tx.update(plain, tx.init(plain))
    for leaf, x in updates.items():
        np.testing.assert_allclose(x, expected[leaf], rtol=ROUNDING, atol=ROUNDING)
        may_differ = kind is AxisType.Auto and name in ("mixed", "stacked")  # the compiler chooses
        assert may_differ or x.sharding.is_equivalent_to(grads[leaf].sharding, x.ndim)


def test_left_to_the_compiler_every_step_communicates():
    """Optax's, counted."""
    mesh, counts = mesh_of(AxisType.Auto), []
    numbers = {name: optax.contrib.MuonDimensionNumbers() for name in THREE}
    with jax.set_mesh(mesh):
        grads = draw(THREE, mesh)
        for steps in (1, 5):
            tx = optax.contrib.scale_by_muon(ns_steps=steps, weight_dimension_numbers=numbers)
            compiled = jax.jit(tx.update).lower(grads, tx.init(grads)).compile()
            counts.append(sum(collectives(compiled).values()))
    assert counts[1] > 4 * counts[0]
    assert counts[0] > 4


@every_kind
def test_each_device_works_on_its_share(kind):
    """Of 8 matrices, and of 3 filled up to 8, each device multiplies one, and does little else."""

    def cubed(grads):
        return map_matrices(lambda x: x @ x.mT @ x, [Layout((0,), (1,))] * len(grads), [grads])

    def operations(grads):
        return jax.jit(cubed).lower(grads).compile().cost_analysis()["flops"]

    mesh, alone = mesh_of(kind), operations({"a": draw(THREE)["a"]})
    for case in (THREE, COPIES):
        with jax.set_mesh(mesh):
            grads = draw(case, mesh)
            assert operations(grads) <= 1.01 * alone + sum(x.size for x in grads.values())


@pytest.mark.parametrize(
    ("name", "counts"),
    [("few", {"all-reduce": 1}), *((name, {"all-reduce": 1, "all-to-all": 2}) for name in ("few in columns", "rows"))],
)
def test_copies_of_few_matrices_are_not_sent_back(name, counts):
    """Three matrices on eight devices: each works on one, and no device ever holds eight."""
    case, _ = CASES[name]

    def multiplied(grads):
        return map_matrices(lambda x: x @ x.mT @ x, [Layout((0,), (1,))] * len(grads), [grads])

    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        grads = draw(case, mesh)
        compiled = jax.jit(multiplied).lower(grads).compile()
    assert collectives(compiled) == counts
    assert not re.search(r"f32\[8,\d+,", compiled.as_text())
    assert re.search(r"f32\[3,\d+,", compiled.as_text())
    for leaf, x in compiled(grads).items():
        np.testing.assert_allclose(x, multiplied(draw(case))[leaf], rtol=ROUNDING, atol=ROUNDING)


def test_a_matrix_that_is_not_finite_stays_alone_among_few():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        grads = draw(CASES["few"][0], mesh)
        grads["b"] = grads["b"] * jnp.nan
        found = jax.jit(lambda x: map_matrices(lambda y: y @ y.mT @ y, [Layout((0,), (1,))] * 3, [x]))(grads)
    assert {name: bool(jnp.isnan(x).any()) for name, x in found.items()} == {"a": False, "b": True, "c": False}


@every_kind
def test_matrices_that_fill_up_a_batch_make_no_nan(kind):
    """They are copies: a rule that divides by its matrices has finite derivatives there too."""
    mesh = mesh_of(kind)

    def loss(scale, grads):
        layouts = [Layout((0,), (1,))] * len(grads)
        inverse = map_matrices(lambda x, scale: scale / x, layouts, [grads], scale=scale)
        return gradx.tree.norm(inverse, squared=True)

    with jax.set_mesh(mesh):
        slope = jax.jit(jax.grad(loss))(jnp.float32(2.0), draw(THREE, mesh))
    np.testing.assert_allclose(slope, jax.grad(loss)(jnp.float32(2.0), draw(THREE)), rtol=1e-4)


@every_kind
def test_under_vmap_and_in_a_scan(kind):
    mesh, tx = mesh_of(kind), gradx.scale_by_muon()

    def scanned(grads):
        def step(state, _):
            updates, state = tx.update(grads, state)
            return state, updates

        return jax.tree.map(lambda x: x[-1], jax.lax.scan(step, tx.init(grads), length=2)[1])

    def mapped(grads):
        return jax.vmap(lambda scale: tx.update(gradx.tree.scale(scale, grads), tx.init(grads))[0])(jnp.ones(2))

    for f in (scanned, mapped):
        with jax.set_mesh(mesh):
            got = jax.jit(f)(draw(THREE, mesh))
        for name, x in f(draw(THREE)).items():
            np.testing.assert_allclose(got[name], x, rtol=ROUNDING, atol=ROUNDING)


def test_inside_a_shard_map_nothing_moves():
    mesh, tx = mesh_of(AxisType.Auto), gradx.scale_by_muon()
    with jax.set_mesh(mesh):
        update = jax.shard_map(lambda g: tx.update(g, tx.init(g))[0], in_specs=P(), out_specs=P())
        compiled = jax.jit(update).lower(draw(COPIES, mesh)).compile()
    assert collectives(compiled) == {}


@every_kind
def test_without_jit(kind):
    mesh, tx = mesh_of(kind), gradx.scale_by_muon()
    with jax.set_mesh(mesh):
        grads = draw(THREE, mesh)
        updates, _ = tx.update(grads, tx.init(grads))
        slow = updates
        if kind is AxisType.Explicit:  # where no product communicates: so many small collectives would starve threads
            with jax.disable_jit():
                slow, _ = tx.update(grads, tx.init(grads))
    for name, x in updates.items():
        assert x.sharding.is_equivalent_to(grads[name].sharding, 2)
        np.testing.assert_allclose(slow[name], x, rtol=ROUNDING, atol=ROUNDING)
