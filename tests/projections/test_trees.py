"""Projections of trees: all leaves are one vector, each keeps its shape, dtype and sharding."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradx import projections

TOLERANCE = 1e-6
"""Float32, the same operations in another order: a few ulps of numbers of order one."""

OF_TREE = {
    "non_negative": (),
    "hypercube": (0.5,),
    "linf_ball": (0.5,),
    "box": (-0.25, 0.5),
    "l2_sphere": (1.5,),
    "l2_ball": (1.5,),
    "simplex": (2.0,),
    "l1_sphere": (2.0,),
    "l1_ball": (2.0,),
}
WITH_NORMAL = {"vector": (), "hyperplane": (0.5,), "halfspace": (-4.0,)}


def call(name, x, a):
    function = getattr(projections, f"projection_{name}")
    return function(x, *OF_TREE[name]) if name in OF_TREE else function(x, a, *WITH_NORMAL[name])


def flat(tree):
    return np.concatenate([np.ravel(leaf) for leaf in jax.tree.leaves(tree)]).astype(np.float64)


def draw(seed):
    rng = np.random.default_rng(seed)
    shapes = {"w": (4, 3), "b": {"c": (5,), "empty": (0, 2)}, "s": ()}
    tree = jax.tree.map(lambda shape: jnp.asarray(rng.normal(size=shape), jnp.float32), shapes, is_leaf=is_shape)
    return tree | {"none": None}


def is_shape(x):
    return isinstance(x, tuple)


@pytest.mark.parametrize("name", [*OF_TREE, *WITH_NORMAL])
def test_a_tree_is_one_vector(name):
    x, a = draw(0), draw(1)
    run = jax.jit(functools.partial(call, name))
    got = run(x, a)
    assert jax.tree.structure(got) == jax.tree.structure(x)
    assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, x)
    wanted = run(jnp.asarray(flat(x), jnp.float32), jnp.asarray(flat(a), jnp.float32))
    np.testing.assert_allclose(flat(got), wanted, atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("name", [*OF_TREE, *WITH_NORMAL])
def test_each_leaf_keeps_its_dtype_and_a_number_counts_as_one(name):
    x = {"w": jnp.ones(3, jnp.bfloat16), "b": jnp.arange(2, dtype=jnp.float32), "n": 2.0, "i": jnp.array([3])}
    with jax.numpy_dtype_promotion("strict"):
        got = jax.eval_shape(functools.partial(call, name), x, jax.tree.map(lambda leaf: jnp.ones(jnp.shape(leaf)), x))
    assert [got[key].dtype for key in "wbni"] == [jnp.bfloat16, jnp.float32, jnp.float32, jnp.float32]


def test_an_integer_counts_as_the_float_that_it_is():
    assert np.array_equal(projections.projection_simplex(jnp.array([3, 1, -2]), 4.0), np.array([3.0, 1.0, 0.0]))


@pytest.mark.parametrize("name", [*OF_TREE, *WITH_NORMAL])
def test_explicit_sharding_is_kept(name):
    mesh = jax.make_mesh((4, 2), ("x", "y"), axis_types=(AxisType.Explicit,) * 2)
    specs = {"w": PartitionSpec("x", "y"), "b": PartitionSpec("x")}
    rng = np.random.default_rng(0)
    x, a = ({"w": rng.normal(size=(8, 4)).astype(np.float32), "b": rng.normal(size=4).astype(np.float32)} for _ in "xa")
    wanted = jax.jit(call, static_argnums=0)(name, x, a)
    with jax.set_mesh(mesh):
        place = lambda tree: {key: jax.device_put(tree[key], NamedSharding(mesh, specs[key])) for key in tree}  # noqa: E731
        got = jax.jit(lambda x, a: call(name, x, a))(place(x), place(a))
        assert {key: jax.typeof(got[key]).sharding.spec for key in got} == specs
    for key in got:
        np.testing.assert_allclose(got[key], wanted[key], atol=TOLERANCE, rtol=TOLERANCE)


@pytest.mark.parametrize("name", [*OF_TREE, *WITH_NORMAL])
def test_complex_points_are_refused_with_their_place(name):
    x = {"w": jnp.ones(3), "b": jnp.ones(3, jnp.complex64)}
    with pytest.raises(TypeError, match=f"projection_{name}: .*complex64\\[3\\].*b'"):
        call(name, x, x)


@pytest.mark.parametrize("name", ["simplex", "l1_sphere", "l2_sphere"])
@pytest.mark.parametrize("tree", [{}, {"w": np.zeros((0, 3), np.float32)}], ids=str)
def test_sets_without_a_point_of_no_entries_are_refused(name, tree):
    with pytest.raises(ValueError, match=f"projection_{name}: the tree has no entries"):
        call(name, tree, None)


@pytest.mark.parametrize("name", ["non_negative", "hypercube", "linf_ball", "box", "l2_ball", "l1_ball", *WITH_NORMAL])
def test_no_entries_stay_no_entries(name):
    for tree in ({}, {"w": jnp.zeros((0, 3))}):
        got = jax.eval_shape(functools.partial(call, name), tree, tree)
        assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, tree)


@pytest.mark.parametrize("name", ["hypercube", "linf_ball", "l2_sphere", "l2_ball", "simplex", "l1_sphere", "l1_ball"])
@pytest.mark.parametrize("scale", [-1, -0.5, float("nan"), np.float32(-2)])
def test_a_negative_scale_is_refused(name, scale):
    with pytest.raises(ValueError, match=rf"projection_{name}: scale must be at least 0, got .*{scale:g}"):
        getattr(projections, f"projection_{name}")(jnp.ones(3), scale)


@pytest.mark.parametrize("name", ["l2_sphere", "l2_ball", "simplex", "l1_sphere", "l1_ball"])
def test_a_scale_that_is_no_scalar_is_refused(name):
    with pytest.raises(ValueError, match=rf"projection_{name}: scale must be a scalar, got float32\[3\]"):
        getattr(projections, f"projection_{name}")(jnp.ones(3), jnp.ones(3))


@pytest.mark.parametrize("name", ["hypercube", "linf_ball", "l2_sphere", "l2_ball", "simplex", "l1_sphere", "l1_ball"])
def test_scale_zero_gives_zeros_with_finite_gradients(name):
    project = getattr(projections, f"projection_{name}")
    x = jnp.array([0.5, -1.0, 0.0])
    y, pullback = jax.vjp(jax.jit(project), x, jnp.zeros(()))
    assert jnp.all(y == 0)
    assert all(jnp.all(jnp.isfinite(gradient)) for gradient in pullback(jnp.ones(3)))
