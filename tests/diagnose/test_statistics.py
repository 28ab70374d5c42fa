"""The statistics of a step against NumPy; odd histories and wrong arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import diagnose
from tests.diagnose.runs import IRIS_MLP, mlp

RTOL = 1e-6
"""Of float32 sums of a few entries."""


def test_statistics_are_those_of_the_formulas():
    params = {"a": jnp.array([[3.0, 4.0]]), "b": {"w": jnp.array([2.0, 0.0, 1.0])}}
    grads = {"a": jnp.array([[0.0, 2.0]]), "b": {"w": jnp.array([jnp.nan, 0.0, 0.0])}}
    updates = {"a": jnp.array([[0.5, 0.0]]), "b": {"w": jnp.array([1.0, jnp.inf, 0.0])}}
    seen = diagnose.step_statistics(grads, updates, params, 7)
    assert gradx.tree.paths(params) == ["a", "b/w"]
    np.testing.assert_allclose(seen.gradient_norm, [2.0, np.nan], RTOL)
    np.testing.assert_allclose(seen.update_norm, [0.5, np.inf], RTOL)
    np.testing.assert_allclose(seen.weight_norm, [5.0, np.sqrt(5.0)], RTOL)
    np.testing.assert_allclose(seen.update_ratio, [0.1, np.inf], RTOL)
    np.testing.assert_allclose(seen.dead, [0.5, 2 / 3], RTOL)
    np.testing.assert_allclose(seen.non_finite, [0.0, 2 / 3], RTOL)
    assert seen.loss == 7.0
    assert {x.dtype for x in jax.tree.leaves(seen)} == {jnp.dtype(jnp.float32)}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16", "float32", "complex64"])
def test_norms_keep_their_range_in_every_dtype(dtype):
    largest = float(jnp.finfo(dtype).max) / 64
    leaf = jnp.full(1000, largest, dtype)
    seen = jax.jit(diagnose.step_statistics)({"w": leaf}, {"w": 0 * leaf}, {"w": leaf})
    expected = np.sqrt(1000.0) * float(jnp.abs(leaf[0]))
    np.testing.assert_allclose(seen.gradient_norm, [expected], 1e-5)
    assert seen.gradient_norm.dtype == jnp.float32
    assert float(seen.non_finite[0]) == 0.0
    assert float(seen.dead[0]) == 0.0


def test_tiny_and_zero_leaves():
    tree = {"empty": jnp.zeros((0, 3)), "tiny": jnp.full(4, 1e-30), "zero": jnp.zeros(2)}
    seen = diagnose.step_statistics(tree, tree, tree)
    np.testing.assert_allclose(seen.gradient_norm, [0.0, 2e-30, 0.0], RTOL)
    np.testing.assert_allclose(seen.update_ratio, [0.0, 1.0, 0.0], RTOL)
    np.testing.assert_allclose(seen.dead, [0.0, 0.0, 1.0], RTOL)
    moved = diagnose.step_statistics(tree, jax.tree.map(jnp.ones_like, tree), tree)
    assert moved.update_ratio[2] == jnp.inf


def test_leaves_without_a_gradient_are_absent():
    params = {"frozen": jnp.ones(2), "index": jnp.arange(3), "w": jnp.array([1.0, 1.0])}
    grads = {"frozen": None, "index": np.zeros(3, jax.dtypes.float0), "w": jnp.array([1.0, 0.0])}
    seen = diagnose.step_statistics(grads, {**grads, "w": jnp.zeros(2)}, params)
    np.testing.assert_allclose(seen.gradient_norm, [0.0, 0.0, 1.0])
    np.testing.assert_allclose(seen.dead, [0.0, 0.0, 0.5])
    np.testing.assert_allclose(seen.weight_norm, [np.sqrt(2.0), np.sqrt(5.0), np.sqrt(2.0)], RTOL)
    assert diagnose.explain(diagnose.stack([seen] * 30), gradx.tree.paths(params)) == []


def test_jit_vmap_scan_and_strict_promotion_agree():
    params = mlp(IRIS_MLP)
    grads = jax.tree.map(lambda x: 0.1 * x, params)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        one = diagnose.step_statistics(grads, grads, params, jnp.bfloat16(2.0))
        many = [jax.tree.map(lambda x: jnp.stack([x] * 3), tree) for tree in (grads, grads, params)]
        batched = jax.jit(jax.vmap(diagnose.step_statistics))(*many, jnp.full(3, 2.0, jnp.bfloat16))
        _, scanned = jax.lax.scan(
            lambda c, _: (c, diagnose.step_statistics(grads, grads, params, jnp.bfloat16(2.0))), 0, length=3
        )
    for other in (batched, scanned, diagnose.stack([one] * 3)):
        for name, x, y in zip(one._fields, one, other, strict=True):
            np.testing.assert_allclose(y, np.stack([x] * 3), RTOL, err_msg=name)


def test_flax_models_and_a_history_without_losses():
    from flax import nnx

    params = nnx.state(nnx.Linear(3, 2, rngs=nnx.Rngs(0)), nnx.Param)
    grads = jax.tree.map(jnp.ones_like, params)
    updates, _ = gradx.sgd(1e-3).update(grads, gradx.sgd(1e-3).init(params), params)
    seen = diagnose.step_statistics(grads, updates, params)
    assert seen.loss is None
    assert seen.gradient_norm.shape == (2,)
    assert diagnose.explain(diagnose.stack([seen] * 30), gradx.tree.paths(params)) == []


def test_wrong_arguments_are_named():
    w = {"w": jnp.ones(2)}
    with pytest.raises(ValueError, match="grads at 'w'"):
        diagnose.step_statistics({"w": jnp.ones(3)}, w, w)
    with pytest.raises(ValueError, match="updates"):
        diagnose.step_statistics(w, {"v": jnp.ones(2)}, w)
    seen = diagnose.step_statistics(w, w, w, 1.0)
    with pytest.raises(ValueError, match="stack the steps"):
        diagnose.explain(seen)
    with pytest.raises(ValueError, match="3 names for 1 layers"):
        diagnose.explain(diagnose.stack([seen]), ["a", "b", "c"])
    with pytest.raises(ValueError, match="loss must be"):
        diagnose.explain(diagnose.stack([seen])._replace(loss=jnp.ones(2)))
    with pytest.raises(ValueError, match="no statistics"):
        diagnose.stack([])


def test_short_and_empty_histories_are_quiet():
    seen = diagnose.step_statistics({"w": jnp.ones(2)}, {"w": 1e-3 * jnp.ones(2)}, {"w": jnp.ones(2)}, 1.0)
    assert diagnose.explain(diagnose.stack([seen])) == []
    empty = jax.tree.map(lambda x: x[:0], diagnose.stack([seen]))
    assert diagnose.explain(empty) == []
    nothing = diagnose.step_statistics({}, {}, {}, 1.0)
    assert diagnose.explain(diagnose.stack([nothing] * 30), []) == []
