"""The engine: layouts, batches of matrices, and what stays as it is."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.matrices import Layout, map_matrices

PLAIN = Layout((0,), (1,))
LAYOUTS = {
    "plain": (PLAIN, (4, 3)),
    "turned": (Layout((1,), (0,)), (4, 3)),
    "stacked": (Layout((1,), (2,)), (5, 4, 3)),
    "heads": (Layout((0,), (2,)), (4, 2, 3)),
    "conv": (Layout((0, 1, 2), (3,)), (3, 3, 2, 4)),
    "stacked heads": (Layout((1,), (2, 3)), (2, 6, 3, 4)),
    "fused": (Layout((0,), (1,), 3), (4, 9)),
    "stacked fused": (Layout((1,), (2,), 3), (2, 4, 9)),
}
every_layout = pytest.mark.parametrize("name", LAYOUTS)


def draw(shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


@every_layout
def test_there_and_back(name):
    layout, shape = LAYOUTS[name]
    x = draw(shape)
    batch = layout.batch_of(x)
    assert batch.shape == (layout.count(shape), *layout.fans(shape))
    np.testing.assert_array_equal(layout.array_of(batch, x), x)


@every_layout
def test_totals_are_sums_over_each_matrix(name):
    layout, shape = LAYOUTS[name]
    x = draw(shape)
    wanted = jnp.broadcast_to(layout.batch_of(x).sum(axis=(1, 2), keepdims=True), layout.batch_of(x).shape)
    np.testing.assert_allclose(layout.batch_of(layout.total(x) + jnp.zeros_like(x)), wanted, rtol=1e-5, atol=1e-5)


def test_fused_kernels_are_split_along_the_columns():
    x = draw((4, 9))
    np.testing.assert_array_equal(Layout((0,), (1,), 3).batch_of(x), jnp.stack(jnp.split(x, 3, axis=1)))


@pytest.mark.parametrize("wide", [False, True])
def test_a_batch_is_what_the_matrices_are_one_by_one(wide):
    def rule(x, *, power):
        return x @ x.mT @ x * power if x.shape[1] <= x.shape[2] else x @ (x.mT @ x) * power

    tree = {name: draw(shape, i) for i, (name, (_, shape)) in enumerate(LAYOUTS.items())}
    layouts = [LAYOUTS[name][0] for name in sorted(tree)]
    got = map_matrices(rule, layouts, [tree], wide=wide, power=2.0)
    for name, (layout, _) in LAYOUTS.items():
        alone = [2 * m @ m.T @ m for m in layout.batch_of(tree[name])]
        np.testing.assert_allclose(layout.batch_of(got[name]), jnp.stack(alone), rtol=1e-4, atol=1e-4)


def test_matrices_of_one_size_come_together_and_turned_ones_if_asked():
    tree = {"a": draw((4, 3)), "b": draw((3, 4)), "c": draw((2, 4, 3)), "d": draw((3, 3))}
    layouts = [PLAIN, PLAIN, Layout((1,), (2,)), PLAIN]
    for wide, wanted in ((False, [(3, 4, 3), (1, 3, 4), (1, 3, 3)]), (True, [(4, 3, 4), (1, 3, 3)])):
        seen = []
        map_matrices(lambda x, seen=seen: seen.append(x.shape) or x, layouts, [tree], wide=wide)
        assert seen == wanted


def test_factors_belong_to_their_matrices():
    tree = {"a": draw((3, 2)), "b": draw((2, 3, 2)), "bias": draw((2,))}
    layouts = [PLAIN, Layout((1,), (2,)), None]
    left = {"a": jnp.ones((1, 3, 3)), "b": jnp.full((2, 3, 3), 2.0), "bias": None}
    right = {"a": jnp.ones((1, 2)), "b": jnp.full((2, 2), 5.0), "bias": None}

    def rule(x, y, left, right):
        return left @ x, y, left + 1, right * 2

    x, y, left, right = map_matrices(rule, layouts, [tree, tree], [left, right])
    np.testing.assert_allclose(x["b"], jnp.full((3, 3), 2.0) @ tree["b"], rtol=1e-6)
    np.testing.assert_array_equal(y["a"], tree["a"])
    np.testing.assert_array_equal(left["b"], jnp.full((2, 3, 3), 3.0))
    np.testing.assert_array_equal(right["a"], jnp.full((1, 2), 2.0))
    assert left["bias"] is None
    np.testing.assert_array_equal(x["bias"], tree["bias"])


def test_other_factors_make_another_batch():
    tree, seen = {"a": draw((3, 2)), "b": draw((3, 2))}, []
    factors = {"a": jnp.ones((1, 1)), "b": jnp.ones((1, 2))}
    map_matrices(lambda x, f: seen.append(f.shape) or (x, f), [PLAIN, PLAIN], [tree], [factors])
    assert seen == [(1, 1), (1, 2)]


def test_where_there_is_no_gradient_the_others_keep_what_they_hold():
    grads = {"a": None, "b": draw((3, 2)), "bias": None}
    kept = {"a": draw((3, 2), 1), "b": draw((3, 2), 2), "bias": draw((2,), 3)}
    got, after = map_matrices(lambda g, m: (g + m, 2 * m), [PLAIN], [grads, kept])
    assert got["a"] is None
    assert got["bias"] is None
    np.testing.assert_array_equal(got["b"], grads["b"] + kept["b"])
    np.testing.assert_array_equal(after["a"], kept["a"])
    np.testing.assert_array_equal(after["b"], 2 * kept["b"])


@pytest.mark.parametrize("tree", [{}, {"none": None}, {"v": jnp.ones(3)}, {"empty": jnp.ones((0, 3))}], ids=str)
def test_a_tree_without_matrices_comes_back(tree):
    layouts = [PLAIN if x.ndim == 2 else None for x in jax.tree.leaves(tree)]
    one = map_matrices(lambda x: 2 * x, layouts, [tree])
    two = map_matrices(lambda x, y: (2 * x, y), layouts, [tree, tree], renews=2)
    for got in (one, *two):
        assert jax.tree.structure(got) == jax.tree.structure(tree)
        jax.tree.map(np.testing.assert_array_equal, got, tree)


def test_the_number_of_results_is_checked():
    with pytest.raises(ValueError, match="the rule returns 1 values where renews=2"):
        map_matrices(lambda x, y: x, [PLAIN], [draw((3, 2)), draw((3, 2))], renews=2)


def test_concrete_arrays_on_other_devices_stay_apart():
    x = [jax.device_put(draw((3, 2)), device) for device in jax.devices()[:2]]
    got = map_matrices(lambda x: 2 * x, [PLAIN, PLAIN], [x])
    assert [y.devices() for y in got] == [y.devices() for y in x]
