"""The functions of `gradx.tree` against NumPy in float64, and against Optax where the definition is the same."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradx import tree

FLOAT32 = 1e-6
"""Relative; a few roundings of float32, each 6e-8."""

rng = np.random.default_rng(0)
X = {"a": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32), "b": (jnp.float32(-1.5), None)}
Y = {"a": jnp.asarray(rng.normal(size=(3, 4)), jnp.float32), "b": (jnp.float32(0.5), None)}
Z = {"z": jnp.array([3.0 + 4.0j, -1.0j]), "e": jnp.zeros((0, 2), jnp.complex64)}
LOW = {"w": jnp.array([1.0, -3.0], jnp.bfloat16), "v": jnp.ones((), jnp.bfloat16)}

SAME_AS_OPTAX = {
    "add": lambda m: m.add(X, Y, X),
    "sub": lambda m: m.sub(X, Y),
    "mul": lambda m: m.mul(X, Y),
    "div": lambda m: m.div(X, Y),
    "scale": lambda m: m.scale(3.0, X),
    "add_scale": lambda m: m.add_scale(X, -0.3, Y),
    "clip": lambda m: m.clip(X, -0.5, 0.7),
    "clip below": lambda m: m.clip(X, min_value=0.1),
    "clip above": lambda m: m.clip(X, max_value=jnp.float32(0.1)),
    "clip nothing": lambda m: m.clip(X),
    "conj": lambda m: m.conj(Z),
    "real": lambda m: m.real(Z),
    "where": lambda m: m.where(jnp.array(False), X, Y),
    "max": lambda m: m.max(X),
    "min": lambda m: m.min(X),
    "sum": lambda m: m.sum(X),
    "vdot": lambda m: m.vdot(X, Y),
    "size": lambda m: jnp.float32(m.size(X)),
    "norm 1": lambda m: m.norm(X, ord=1),
    "norm 2": lambda m: m.norm(X, 2),
    "norm inf": lambda m: m.norm(X, ord="inf"),
    "norm inf squared": lambda m: m.norm(X, jnp.inf, squared=True),
    "norm 2 squared": lambda m: m.norm(Z, squared=True),
    "allclose": lambda m: m.allclose(X, m.scale(1 + 1e-7, X)).astype(jnp.float32),
    "not allclose": lambda m: m.allclose(X, Y).astype(jnp.float32),
    "ones_like": lambda m: m.ones_like(X),
    "zeros_like": lambda m: m.zeros_like(X, jnp.float16),
    "full_like": lambda m: m.full_like(X, 2.0),
    "batch_shape": lambda m: m.batch_shape(X, (5, 2)),
    "split_key_like": lambda m: m.unwrap_random_key_data(m.split_key_like(jax.random.key(1), X)),
    "random_like": lambda m: m.random_like(jax.random.key(1), X),
    "random_like uniform": lambda m: m.random_like(jax.random.key(1), X, jax.random.uniform, jnp.float16),
    "update_moment": lambda m: m.update_moment(X, Y, 0.9, 1),
    "update_moment 3": lambda m: m.update_moment(X, Y, 0.9, 3),
    "update_moment_per_elem_norm": lambda m: m.update_moment_per_elem_norm(X, Y, 0.9, 2),
    "update_moment_per_elem_norm of complex": lambda m: m.update_moment_per_elem_norm(Z, m.real(Z), 0.9, 2),
    "update_infinity_moment": lambda m: m.update_infinity_moment(X, Y, 0.9, 1e-3),
    "cast": lambda m: m.cast(X, jnp.float16),
    "cast_like": lambda m: m.cast_like(X, m.cast(Y, jnp.bfloat16)),
}


@pytest.mark.parametrize("name", SAME_AS_OPTAX)
@pytest.mark.parametrize("compile_it", [False, True], ids=["eager", "jit"])
def test_same_as_optax(name, compile_it):
    ours, theirs = (lambda m=m: SAME_AS_OPTAX[name](m) for m in (tree, optax.tree))
    if compile_it and name != "size":
        ours = jax.jit(ours)
    ours, theirs = ours(), theirs()
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        assert (x.shape, x.dtype) == (y.shape, y.dtype)
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), rtol=FLOAT32, atol=FLOAT32)


def test_every_name_of_optax_is_there():
    theirs = {name for name in dir(optax.tree) if not name.startswith("_")}
    assert theirs - set(dir(tree)) == set()


# Arithmetic


def test_arithmetic_in_low_precision_keeps_the_dtype():
    third = tree.add_scale(LOW, 1 / 3, tree.ones_like(LOW))
    assert third["w"].dtype == jnp.bfloat16
    assert third["w"][0] == jnp.bfloat16(4 / 3)
    assert tree.clip(LOW, -2.0, 2.0)["w"].tolist() == [1.0, -2.0]
    assert tree.clip(LOW, jnp.float32(-2.0))["w"].dtype == jnp.bfloat16
    assert tree.clip({"n": jnp.array([1, 5])}, 2)["n"].tolist() == [2, 5]


def test_real_and_conj_of_complex():
    assert tree.real(Z)["z"].tolist() == [3.0, 0.0]
    assert tree.real(Z)["e"].dtype == jnp.float32
    assert tree.conj(Z)["z"].tolist() == [3.0 - 4.0j, 1.0j]


# Reductions


def test_norms_against_their_definition():
    flat = np.concatenate([np.ravel(x) for x in jax.tree.leaves(X)]).astype(np.float64)
    for ord, expected in ((None, 2), (2, 2), (1, 1), ("inf", np.inf), (math.inf, np.inf)):
        np.testing.assert_allclose(tree.norm(X, ord), np.linalg.norm(flat, expected), rtol=FLOAT32)
        np.testing.assert_allclose(tree.norm(X, ord, squared=True), np.linalg.norm(flat, expected) ** 2, rtol=FLOAT32)
    assert tree.norm(Z, 1) == 6.0
    assert tree.norm(Z, "inf") == 5.0
    with pytest.raises(ValueError, match=r"tree.norm: ord must be None, 1, 2 or 'inf', got 3"):
        tree.norm(X, 3)


@pytest.mark.parametrize("ord", [None, 1, "inf"])
def test_norm_of_nothing_and_of_low_precision(ord):
    assert tree.norm({}, ord) == tree.norm({"e": jnp.zeros((0, 2)), "n": None}, ord) == 0.0
    assert tree.norm(LOW, ord).dtype == jnp.float32
    for zero in (jnp.zeros(3), jnp.zeros(1, jnp.complex64)):
        derivative = jax.grad(lambda x: tree.norm(x, ord))({"w": zero})["w"]
        assert jnp.all(jnp.isfinite(derivative))
        assert ord or not jnp.any(derivative)


def test_largest_and_smallest():
    assert (tree.max({}), tree.min({"e": jnp.zeros(0), "n": None})) == (-math.inf, math.inf)
    whole = {"a": jnp.array([2, 7]), "b": jnp.int8(-3)}
    assert (tree.max(whole), tree.min(whole)) == (7, -3)
    assert tree.max(whole).dtype == jnp.int32
    assert math.isnan(tree.max({"a": jnp.nan, "b": 1.0}))
    assert math.isnan(tree.min({"a": 1.0, "b": jnp.nan}))
    assert tree.max(LOW) == 1.0
    assert tree.max(LOW).dtype == jnp.bfloat16


def test_allclose():
    assert tree.allclose({}, {})
    assert not tree.allclose({"w": jnp.nan}, {"w": jnp.nan})
    assert tree.allclose({"w": jnp.nan}, {"w": jnp.nan}, equal_nan=True)
    assert tree.allclose({"w": 1.0}, {"w": 1.1}, rtol=0.2)
    with pytest.raises(ValueError, match=r"tree.allclose: a has a leaf at 'w' that b lacks"):
        tree.allclose({"w": 1.0}, {"v": 1.0})
    with pytest.raises(ValueError, match=r"a at 'w' is float32\[2\], but b says float32\[1\]"):
        tree.allclose({"w": jnp.ones(2)}, {"w": jnp.ones(1)})


# Dtypes and keys


def test_dtype():
    mixed = {"a": jnp.ones((), jnp.bfloat16), "b": jnp.ones((), jnp.float32), "c": jnp.arange(3)}
    assert tree.dtype(X) == jnp.float32
    assert tree.dtype({}) == jnp.float32
    assert tree.dtype(mixed, "promote") == tree.dtype(mixed, "highest") == jnp.float32
    assert tree.dtype(mixed, "lowest") == jnp.int32
    halves = {"a": jnp.ones((), jnp.bfloat16), "b": jnp.ones((), jnp.float16)}
    assert tree.dtype(halves, "promote") == jnp.float32
    with pytest.raises(ValueError, match="none of bfloat16, float16 is the highest"):
        tree.dtype(halves, "highest")
    with pytest.raises(ValueError, match="'a' is bfloat16, 'b' is float16; give mixed_dtype_handler"):
        tree.dtype(halves)
    with pytest.raises(ValueError, match="mixed_dtype_handler must be promote, lowest, highest or None, got 'widest'"):
        tree.dtype(mixed, "widest")
    for handler in ("promote", "lowest", "highest"):
        assert tree.dtype(mixed, handler) == optax.tree.dtype(mixed, handler)


def test_keys():
    keys = {"old": jax.random.PRNGKey(3), "new": jax.random.key(3), "x": 1.0}
    bare = tree.unwrap_random_key_data(keys)
    assert np.array_equal(bare["old"], bare["new"])
    assert bare["x"] == 1.0
    drawn = tree.random_like(jax.random.key(0), {"a": jnp.zeros(4), "b": jnp.zeros(4)})
    assert not np.array_equal(drawn["a"], drawn["b"])
    with pytest.raises((TypeError, ValueError), match="dtype"):
        tree.random_like(jax.random.key(0), {"n": jnp.arange(3)})


@pytest.mark.parametrize("kind", [AxisType.Auto, AxisType.Explicit], ids=["auto", "explicit"])
def test_new_trees_keep_the_sharding(kind):
    mesh = jax.make_mesh((4,), ("x",), axis_types=(kind,), devices=jax.devices()[:4])
    sharding = NamedSharding(mesh, PartitionSpec("x"))
    params = {"w": jax.device_put(jnp.ones((8, 3)), sharding)}
    with jax.set_mesh(mesh):
        for made in (
            tree.random_like(jax.random.key(0), params),
            jax.jit(lambda p: tree.random_like(jax.random.key(0), p))(params) if kind == AxisType.Explicit else params,
            tree.ones_like(params),
        ):
            assert made["w"].sharding.is_equivalent_to(sharding, 2)
        expected = tree.random_like(jax.random.key(0), {"w": jnp.ones((8, 3))})
    assert np.array_equal(tree.random_like(jax.random.key(0), params)["w"], expected["w"])


# Moments


def test_moments_keep_their_dtype_and_skip_what_has_no_gradient():
    g, m = {"w": LOW["w"], "v": None}, {"w": jnp.ones(2), "v": jnp.float32(7.0)}
    for new in (
        tree.update_moment(g, m, 0.999, 2),
        tree.update_moment_per_elem_norm(g, m, 0.999, 2),
        tree.update_infinity_moment(g, m, 0.999, 0.0),
    ):
        assert new["v"] == 7.0
        assert new["w"].dtype == jnp.float32
    np.testing.assert_allclose(tree.update_moment(g, m, 0.999, 2)["w"], [1.0, 0.999 + 0.009], rtol=FLOAT32)


def test_odd_orders_of_the_norm():
    g = {"z": jnp.array([3.0 + 4.0j, 0.0])}
    m = tree.update_moment_per_elem_norm(g, tree.real_full_like(g, 0), 0.5, 3)
    np.testing.assert_allclose(m["z"], [62.5, 0.0], rtol=FLOAT32)
    one = jax.grad(lambda x: tree.update_moment_per_elem_norm({"w": x}, {"w": 0.0}, 0.5, 1)["w"])
    assert one(0.0) == 0.0


def test_bias_correction():
    for decay, count in ((0.9, 1), (0.999, 2), (0.0, 1), (0.99999, 100_000)):
        stored = np.float64(np.float32(decay))  # what the program holds
        got = tree.bias_correction({"m": jnp.float32(1.0)}, decay, jnp.int32(count))["m"]
        np.testing.assert_allclose(got, 1 / (1 - stored**count), rtol=FLOAT32)
        exact = 1 / (1 - np.float64(decay) ** count)
        with jax.enable_x64(True):
            np.testing.assert_allclose(tree.bias_correction(1.0, decay, count), exact, rtol=1e-10)
    assert tree.bias_correction(LOW, 0.9, 1)["w"].dtype == jnp.bfloat16
    traced = jax.jit(lambda decay, count: tree.bias_correction(X, decay, count))(0.9, 3)
    theirs = optax.tree.bias_correction(X, 0.9, 3)
    np.testing.assert_allclose(traced["a"], theirs["a"], rtol=FLOAT32)
