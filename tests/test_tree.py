"""Arithmetic on trees, the names of their leaves, and the rules of `map_leaves`."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

from gradx import tree
from gradx.testing import assert_close

FLOAT32 = 1e-6
"""Relative; a few roundings of float32, each 6e-8."""

TREE = {"b": jnp.array([3.0, 4.0]), "a": (jnp.float32(12.0), None)}


def same(x: Any, y: Any) -> bool:
    """Whether two trees hold the same numbers in the same dtypes."""
    same_leaf = lambda a, b: a.dtype == b.dtype and np.array_equal(a, b)  # noqa: E731
    return jax.tree.structure(x) == jax.tree.structure(y) and jax.tree.all(jax.tree.map(same_leaf, x, y))


# Reductions


def test_norm():
    assert tree.norm(TREE) == 13.0
    assert tree.norm(TREE, squared=True) == 169.0
    assert tree.norm({"z": jnp.array([3.0 + 4.0j])}) == 5.0
    assert not jnp.iscomplexobj(tree.norm({"z": jnp.array([3.0 + 4.0j])}))
    assert tree.norm({}) == tree.norm({"a": None, "b": jnp.zeros((0, 3))}) == 0.0


def test_norm_of_many_small_bfloat16_leaves():
    # Summed in bfloat16 the square stands still at 256, and the norm is 16.
    ones = [jnp.ones(1, jnp.bfloat16)] * 1000
    assert tree.norm(ones).dtype == jnp.float32
    np.testing.assert_allclose(tree.norm(ones), np.sqrt(1000), rtol=FLOAT32)


def test_norm_of_float16_beyond_its_range():
    # The sum of squares, 409,600, is infinite in float16.
    np.testing.assert_allclose(tree.norm({"w": jnp.full(4096, 10, jnp.float16)}), 640.0, rtol=FLOAT32)


def test_norm_keeps_float64_and_has_a_derivative_at_zero():
    with jax.enable_x64(True):
        mixed = {"a": np.float64(1e-9), "b": np.float32(1.0)}
        assert tree.norm(mixed).dtype == np.float64
        assert tree.norm(mixed, squared=True) - 1 == pytest.approx(1e-18, abs=1e-15)
    assert jax.grad(tree.norm)({"w": jnp.zeros(2)})["w"].tolist() == [0.0, 0.0]


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_sum_and_vdot_accumulate_in_float32(dtype):
    ones = {"w": jnp.ones(5000, dtype), "v": jnp.ones((), dtype)}
    assert tree.sum(ones) == tree.vdot(ones, ones) == 5001.0  # not a number of either dtype
    assert tree.sum(ones).dtype == tree.vdot(ones, ones).dtype == jnp.float32


def test_sum_and_vdot():
    assert tree.sum(TREE) == 19.0
    assert tree.vdot(TREE, TREE) == 169.0
    x, y = {"z": jnp.array([1.0j, 2.0])}, {"z": jnp.array([1.0 + 0.0j, 1.0j])}
    assert tree.vdot(x, y) == np.vdot(x["z"], y["z"]) == 1.0j
    assert tree.sum({}) == tree.vdot({}, {}) == 0.0


def test_size():
    assert tree.size(TREE) == 3
    assert tree.size({"w": np.zeros((0, 5)), "n": None}) == 0
    assert tree.size({"w": np.broadcast_to(0.0, (30_000, 100_000))}) == 3_000_000_000  # beyond int32


# New trees


def test_fills_are_at_least_float32():
    params = {"low": jnp.ones(2, jnp.bfloat16), "count": jnp.arange(3), "z": jnp.ones((), jnp.complex64), "n": None}
    assert same(
        tree.full_like(params, 2),
        {"low": jnp.full(2, 2.0), "count": jnp.full(3, 2.0), "z": jnp.complex64(2), "n": None},
    )
    assert same(tree.zeros_like(params), tree.full_like(params, 0))
    assert tree.real_full_like(params, 0.0)["z"].dtype == jnp.float32
    assert tree.zeros_like(params, jnp.bfloat16)["count"].dtype == jnp.bfloat16
    with jax.enable_x64(True):
        assert tree.zeros_like({"w": np.ones(2)})["w"].dtype == np.float64
        assert tree.real_full_like({"w": np.ones(2, complex)}, 0.0)["w"].dtype == np.float64


def test_fill_may_be_traced():
    filled = jax.jit(lambda x: tree.real_full_like({"w": jnp.ones(2)}, x))(3.0)
    assert same(filled, {"w": jnp.full(2, 3.0)})


def test_copy_has_buffers_of_its_own():
    copied = tree.copy(TREE)
    assert same(copied, TREE)
    assert copied["b"].unsafe_buffer_pointer() != TREE["b"].unsafe_buffer_pointer()


def test_casts():
    mixed = {"w": jnp.array([1.5], jnp.bfloat16), "n": jnp.array([2]), "none": None}
    assert tree.cast(mixed, None) is mixed
    assert same(tree.cast(mixed, jnp.float16), {"w": jnp.array([1.5], jnp.float16), "n": mixed["n"], "none": None})
    assert same(tree.lift(mixed), {"w": jnp.array([1.5]), "n": mixed["n"], "none": None})
    assert same(tree.cast_like(tree.lift(mixed), mixed), mixed)
    assert tree.lift({"e": jnp.ones(1, jnp.float8_e4m3fn)})["e"].dtype == jnp.float32
    with jax.enable_x64(True):
        assert tree.lift({"w": np.ones(1)})["w"].dtype == np.float64


def test_arithmetic():
    assert same(tree.sub(tree.add(TREE, TREE), TREE), TREE)
    assert same(tree.scale(2.0, TREE), tree.add(TREE, TREE))
    low = {"w": jnp.array([3.0], jnp.bfloat16)}
    assert same(tree.scale(jnp.float32(1 / 3), low), {"w": jnp.array([1.0], jnp.bfloat16)})


def test_where_lets_no_nan_through():
    bad = {"w": jnp.array([jnp.nan, jnp.inf]), "n": None}
    good = {"w": jnp.array([1.0, 2.0]), "n": None}
    assert same(tree.where(False, bad, good), good)
    assert same(tree.where(jnp.array(True), good, bad), good)
    complex_tree = {"z": jnp.array([1.0 + 2.0j])}
    assert same(tree.where(True, complex_tree, tree.scale(0.0, complex_tree)), complex_tree)


# Names, boxes, prefixes


class Pair(NamedTuple):
    left: Any
    right: Any


class Net(nnx.Module):
    def __init__(self):
        self.l1 = nnx.Linear(3, 2, rngs=nnx.Rngs(0))
        self.value = nnx.Param(jnp.ones(2))


BOXED = {"dense": {"kernel": linen.Partitioned(jnp.ones((2, 3)), names=("in", None)), "bias": jnp.ones(3)}}
BARE = {"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}


def test_paths():
    assert tree.paths({"a": [1.0, {"b": 2.0}], "p": Pair(left=3.0, right=None)}) == ["a/0", "a/1/b", "p/left"]
    assert tree.paths(1.0) == [""]
    assert tree.paths({"value": 1.0}) == ["value"]  # a dict's key is a name, an attribute's is flax's box
    assert tree.paths(BOXED) == tree.paths(BARE) == ["dense/bias", "dense/kernel"]


def test_paths_of_nnx_are_the_same_with_and_without_boxes():
    state = nnx.state(Net(), nnx.Param)
    assert tree.paths(state) == tree.paths(nnx.as_pure(state)) == ["l1/bias", "l1/kernel", "value"]


def test_unbox():
    assert same(tree.unbox(BOXED), BARE)
    assert same(tree.unbox(BARE), BARE)
    state = nnx.state(Net(), nnx.Param)
    bare = tree.unbox(state)
    assert jax.tree.structure(bare) == jax.tree.structure(nnx.as_pure(state))
    assert isinstance(bare["l1"]["kernel"], jax.Array)


def test_map_with_path():
    named = tree.map_with_path(lambda name, x, y: f"{name}: {x.ndim} {y}", BARE, {"dense": {"kernel": 1, "bias": 2}})
    assert named == {"dense": {"kernel": "dense/kernel: 2 1", "bias": "dense/bias: 1 2"}}


def test_broadcast():
    wide = {"a": (1.0, 2.0), "b": 3.0, "n": None}
    assert tree.broadcast(True, wide, "mask") == {"a": (True, True), "b": True, "n": None}
    assert tree.broadcast({"a": "x", "b": "y", "n": None}, wide, "m") == {"a": ("x", "x"), "b": "y", "n": None}
    with pytest.raises(ValueError, match=r"labels: no prefix.*labels at \['c'\].*parameters at \['a/0', 'a/1', 'b'\]"):
        tree.broadcast({"c": "x"}, wide, "labels")


# map_leaves. Rules live in the module: a closure is compiled anew at each call.

SEEN: list[Any] = []
"""What the rules below were traced with."""


@pytest.fixture(autouse=True)
def forget():
    SEEN.clear()


def decay_rule(g, m, *, decay):
    SEEN.append((g.dtype, m.dtype, getattr(decay, "dtype", None)))
    m = decay * m + g
    return 2 * m, m


def shape_rule(x, *, factor=1.0):
    SEEN.append(x.shape)
    return factor * x


def read_only_rule(g, m, p):
    return g + p, m + p


def square_rule(g, nu, *, decay):
    SEEN.append((g.dtype, nu.dtype, decay.dtype))
    return 2 * g, decay * nu + (g * g.conj()).real


def node_rule(x, pair):
    return x + pair[0] * pair[1]


def branch_rule(x, *, double, how):
    SEEN.append((double, how))
    return 2 * x if double else x


def test_one_result_gives_one_tree_and_two_give_two():
    assert same(tree.map_leaves(shape_rule, TREE, factor=2.0), tree.add(TREE, TREE))
    doubled, kept = tree.map_leaves(decay_rule, TREE, TREE, decay=0.0)
    assert same(kept, TREE)
    assert same(doubled, tree.add(TREE, TREE))


def test_rule_computes_in_the_widest_precision_and_stores_in_each_trees_own():
    g, m = {"w": jnp.ones(2, jnp.bfloat16)}, {"w": jnp.ones(2, jnp.float16)}
    doubled, new = tree.map_leaves(decay_rule, g, m, decay=0.999)
    assert [(jnp.float32,) * 3] == SEEN
    assert (doubled["w"].dtype, new["w"].dtype) == (jnp.bfloat16, jnp.float16)
    assert new["w"][0] == jnp.float16(1.999)
    with jax.enable_x64(True):
        _, new = tree.map_leaves(decay_rule, g, {"w": np.ones(2)}, decay=jnp.float32(0.5))
    assert SEEN[1:] == [(np.float64,) * 3]
    assert new["w"].dtype == np.float64


def test_trees_that_are_only_read_come_last():
    g, m, p = (jnp.ones(1, dtype) for dtype in (jnp.bfloat16, jnp.float32, jnp.float16))
    u, m = tree.map_leaves(read_only_rule, g, m, p)
    assert (u.dtype, m.dtype) == (jnp.bfloat16, jnp.float32)


def test_complex_leaves_stay_complex_and_hyperparameters_real():
    z = {"z": jnp.array([1.0 + 1.0j])}
    doubled, nu = tree.map_leaves(square_rule, z, tree.real_full_like(z, 0.0), decay=0.9)
    assert [(jnp.complex64, jnp.float32, jnp.float32)] == SEEN
    assert same((doubled, nu), ({"z": jnp.array([2.0 + 2.0j])}, {"z": jnp.array([2.0])}))


def test_a_rule_computes_complex_leaves_in_the_precision_of_the_real_ones():
    def leaf(z, r):
        assert (z.dtype, r.dtype) == (jnp.complex128, jnp.float64)
        return z * r

    with jax.enable_x64(True), jax.numpy_dtype_promotion("strict"):
        for z, r in ((jnp.complex128(1 + 1e-12j), jnp.float32(1)), (jnp.complex64(1j), jnp.float64(1 + 1e-12))):
            product = tree.map_leaves(leaf, z, r)
            assert product.dtype == z.dtype
            np.testing.assert_allclose(
                product, np.complex128(z) * np.float64(r), rtol=1e-15 if z.dtype.itemsize == 16 else 1e-7
            )


def test_leaves_on_several_devices_stay_where_they_are():
    devices = jax.devices()[:2]
    leaves = [jax.device_put(jnp.ones(3), devices[i % 2]) for i in range(4)]
    doubled = tree.scale(2.0, leaves)
    assert [x.devices() for x in doubled] == [x.devices() for x in leaves]


def test_no_gradient_no_update_and_the_rest_is_kept():
    g, m = {"a": None, "b": jnp.float32(1.0)}, {"a": jnp.float32(5.0), "b": jnp.float32(1.0)}
    doubled, new = tree.map_leaves(decay_rule, g, m, decay=1.0)
    assert same(doubled, {"a": None, "b": jnp.float32(4.0)})
    assert same(new, {"a": jnp.float32(5.0), "b": jnp.float32(2.0)})


@pytest.mark.parametrize("empty", [{}, None, {"a": None, "b": (None,)}], ids=str)
def test_tree_without_leaves_has_as_many_results(empty):
    assert tree.map_leaves(decay_rule, empty, empty, decay=0.5) == (empty, empty)
    assert tree.map_leaves(shape_rule, empty) == empty


def test_leaves_of_size_zero_pass():
    assert same(tree.map_leaves(shape_rule, {"w": jnp.zeros((0, 7))}), {"w": jnp.zeros((0, 7))})


def test_rule_is_traced_once_for_each_shape():
    many = {i: jnp.ones((11, 1 + i % 2)) for i in range(20)}
    tree.map_leaves(shape_rule, many, factor=3.0)
    assert sorted(SEEN) == [(11, 1), (11, 2)]
    tree.map_leaves(shape_rule, many, factor=3.0)
    assert len(SEEN) == 2
    # Inside a program too, and with another hyperparameter that is an array.
    step = jax.jit(lambda trees, factor: tree.map_leaves(shape_rule, trees, factor=factor))
    for factor in (1.0, 2.0):
        step({i: jnp.ones((13, 1 + i % 2)) for i in range(20)}, factor)
    assert sorted(SEEN[2:]) == [(13, 1), (13, 2)]


def test_what_is_no_array_is_a_constant_of_the_rule():
    for double, expected in ((True, 2.0), (False, 1.0)):
        assert tree.map_leaves(branch_rule, jnp.float32(1), double=double, how="a") == expected
    assert SEEN == [(True, "a"), (False, "a")]


def test_hyperparameter_may_be_traced():
    derivative = jax.grad(lambda factor: tree.sum(tree.map_leaves(shape_rule, TREE, factor=factor)))(2.0)
    assert derivative == 19.0


def test_closure_may_hold_a_tracer():
    # Compiled once and kept, the rule would bring the first trace's factor into the second.
    factor = None

    def rule(leaf):
        return factor * leaf

    @jax.jit
    def through_closure(x, new_factor):
        nonlocal factor
        factor = new_factor
        return tree.map_leaves(rule, x)

    assert same(through_closure({"w": jnp.ones(2)}, 2.0), {"w": jnp.full(2, 2.0)})
    two = through_closure({"w": jnp.ones(2), "v": jnp.ones(3)}, 3.0)
    assert same(two, {"w": jnp.full(2, 3.0), "v": jnp.full(3, 3.0)})


def test_rule_gets_a_node_whole():
    pairs = {"w": (jnp.array([2.0]), jnp.array([3.0], jnp.bfloat16))}
    assert same(tree.map_leaves(node_rule, {"w": jnp.array([1.0])}, pairs), {"w": jnp.array([7.0])})


def test_trees_of_other_structure_are_refused():
    with pytest.raises(ValueError, match="decay_rule: the trees differ in structure"):
        tree.map_leaves(decay_rule, {"a": jnp.ones(1)}, {"b": jnp.ones(1)}, decay=0.5)


def test_strict_promotion():
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        mixed = {"w": jnp.ones((2, 3), jnp.bfloat16), "v": jnp.ones(3, jnp.float16)}
        tree.map_leaves(decay_rule, mixed, tree.zeros_like(mixed), decay=0.9)
        tree.norm(mixed), tree.vdot(mixed, mixed), tree.scale(0.5, mixed)


@pytest.mark.parametrize("dtype", ["bfloat16", "float32", "float64", "complex64", "complex128"])
def test_rules_decide_on_precision_where_promotion_is_strict(dtype):
    with jax.enable_x64(True):
        g = jnp.ones(3, dtype)
        with jax.numpy_dtype_promotion("strict"):
            result, mean = tree.map_leaves(decay_rule, g, jnp.zeros(3, dtype), decay=jnp.float32(0.5))
        assert result.dtype == mean.dtype == g.dtype


def test_a_rule_may_ask_for_the_path():
    def by_name(g, m, *, path, factor):
        return (g * factor if path.endswith("kernel") else g), m + len(path)

    grads = {"layer": {"kernel": 1.0, "bias": 2.0, "none": None}}
    zeros = {"layer": {"kernel": 0.0, "bias": 0.0, "none": 5.0}}
    for run in (tree.map_leaves, jax.jit(tree.map_leaves, static_argnums=0)):
        result, lengths = run(by_name, grads, zeros, factor=3.0)
        assert_close(result, {"layer": {"kernel": 3.0, "bias": 2.0, "none": None}})
        assert_close(lengths, {"layer": {"kernel": 12.0, "bias": 10.0, "none": 5.0}})
    assert tree.map_leaves(by_name, {"a": None}, {"a": 1.0}, factor=1.0) == ({"a": None}, {"a": 1.0})


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 30])
def test_every_leaf_of_many_equal_ones_gets_its_own(n):
    grads = {f"p{i:02d}": jnp.full(2 + i % 2, float(i)) for i in range(n)} | {"none": None}
    ones = {name: None if x is None else jnp.ones_like(x) for name, x in grads.items()}
    result, mean = jax.jit(lambda g, m: tree.map_leaves(decay_rule, g, m, decay=0.5))(grads, ones)
    expected = {
        name: tree.map_leaves(decay_rule, x, ones[name], decay=0.5) for name, x in grads.items() if x is not None
    }
    assert result["none"] is None
    for name, (x, m) in expected.items():
        assert_close((result[name], mean[name]), (x, m))
