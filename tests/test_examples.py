"""Gradients of single examples: their mean, and the variance between them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import assert_close

EXAMPLES = 5
GRADS = [
    {
        "w": np.random.default_rng(i).normal(size=(EXAMPLES, 3, 2)).astype(np.float32),
        "z": np.random.default_rng(i + 9)
        .normal(size=(EXAMPLES, 2, 2))
        .view(np.complex128)[..., 0]
        .astype(np.complex64),
        "s": np.arange(EXAMPLES, dtype=np.float32) * i,
    }
    for i in range(4)
]
PARAMS = jax.tree.map(lambda g: jnp.zeros(g.shape[1:], g.dtype), GRADS[0])


def means(grads):
    return jax.tree.map(lambda g: np.mean(g, axis=0), grads)


def variances(grads):
    return jax.tree.map(lambda g: np.var(g, axis=0, ddof=1), grads)


@pytest.mark.parametrize("make", [gradx.average_examples, gradx.track_examples])
@pytest.mark.parametrize("jit", [True, False])
def test_the_update_is_the_mean_whatever_stands_behind(make, jit):
    tx = gradx.chain(make(), gradx.sgd(1.0))
    update = jax.jit(tx.update) if jit else tx.update
    updates, _ = update(GRADS[0], tx.init(PARAMS), PARAMS)
    assert_close(updates, jax.tree.map(lambda x: -x, means(GRADS[0])))


@pytest.mark.parametrize("decay", [0.0, 0.9, gradx.linear_schedule(0.2, 0.8, 3)])
def test_moments_are_weighted_means_over_the_batches(decay):
    tx = gradx.chain(gradx.track_examples(decay), gradx.adam(0.1))
    state = tx.init(PARAMS)
    weights = np.zeros(len(GRADS))
    for i, grads in enumerate(GRADS):
        _, state = tx.update(grads, state, PARAMS)
        now = float(decay(i)) if callable(decay) else decay
        weights *= now
        weights[i] = 1 - now
        shares = weights / weights.sum()
        found = gradx.example_moments(state)
        for of_batch, got in ((means, found.mean), (variances, found.variance)):
            batches = [of_batch(g) for g in GRADS]
            assert_close(got, jax.tree.map(lambda *x, w=shares: np.tensordot(w, np.stack(x), 1), *batches))
    assert found.variance["z"].dtype == np.float32


def test_the_variance_is_not_biased_by_the_size_of_the_batch():
    draws = np.random.default_rng(0).normal(size=(4000, 2)).astype(np.float32)
    tx = gradx.track_examples(0.999)
    _, state = jax.lax.scan(lambda s, g: tx.update(g, s)[::-1], tx.init(0.0), draws)[::-1]
    np.testing.assert_allclose(gradx.example_moments(state).variance, 1.0, atol=0.1)


def test_several_batches_are_gathered_behind_it():
    tx = gradx.chain(gradx.average_examples(), gradx.MultiSteps(gradx.sgd(1.0), 2))
    state = tx.init(PARAMS)
    first, state = tx.update(GRADS[0], state, PARAMS)
    second, _ = tx.update(GRADS[1], state, PARAMS)
    assert all(not np.any(x) for x in jax.tree.leaves(first))
    assert_close(second, jax.tree.map(lambda x, y: -(x + y) / 2, means(GRADS[0]), means(GRADS[1])))


def test_low_precision_is_averaged_in_float32():
    many = jnp.full((1000, 1), 0.3, jnp.bfloat16)
    tx = gradx.track_examples()
    updates, state = tx.update(many, tx.init(jnp.zeros(1, jnp.bfloat16)))
    assert updates.dtype == jnp.bfloat16
    assert float(updates[0]) == float(jnp.bfloat16(0.3))
    assert state.mean.dtype == jnp.float32


def test_what_has_no_examples_is_refused():
    tx = gradx.track_examples()
    with pytest.raises(ValueError, match="at least 2 examples, got 1; "):
        tx.update(jnp.ones((1, 2)), tx.init(jnp.ones(2)))
    tx = gradx.average_examples()
    with pytest.raises(ValueError, match="one first axis"):
        tx.update({"a": jnp.ones((3, 2)), "b": jnp.ones((2, 2))}, tx.init({"a": jnp.ones(2), "b": jnp.ones(2)}))
    with pytest.raises(ValueError, match="must hold one track_examples, it holds 0"):
        gradx.example_moments(tx.init(jnp.ones(2)))
    assert float(tx.update(jnp.ones((0, 2)), tx.init(jnp.ones(2)))[0].sum()) == 0.0


def test_an_absent_gradient_leaves_the_moments():
    tx = gradx.track_examples(0.5)
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    updates, state = tx.update({"a": jnp.ones((3, 2)), "b": None}, tx.init(params), params)
    assert updates["b"] is None
    np.testing.assert_array_equal(state.mean["b"], 0.0)
