"""Gradients of examples: clipped one by one, summed, with noise."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.testing import assert_close

EXAMPLES = 6
GRADS = {
    "w": jax.random.normal(jax.random.key(0), (EXAMPLES, 3, 4)),
    "b": jnp.zeros((EXAMPLES, 4)).at[:3].set(1.0),
    "s": jnp.arange(6.0) / 4,
}
PARAMS = jax.tree.map(lambda g: jnp.zeros(g.shape[1:]), GRADS)


def test_clipped_sums_follow_optax():
    for bound in (0.5, 3.5, 100.0):
        assert_close(gradx.per_example_global_norm_clip(GRADS, bound), optax.per_example_global_norm_clip(GRADS, bound))


@pytest.mark.parametrize("uniform", [True, False])
def test_clipped_layers_follow_optax(uniform):
    for bound in (0.5, 3.5, 100.0):
        ours = gradx.per_example_layer_norm_clip(GRADS, bound, uniform)
        assert_close(ours, optax.per_example_layer_norm_clip(GRADS, bound, uniform))


def test_nothing_sums_to_nothing():
    total, clipped = gradx.per_example_global_norm_clip({"none": None}, 1.0)
    assert total == {"none": None}
    assert int(clipped) == 0


def test_a_nan_stays_one_and_low_precision_is_summed_in_float32():
    total, clipped = gradx.per_example_global_norm_clip(jnp.array([[1.0, jnp.nan], [1.0, 1.0]]), 1.0)
    assert np.all(np.isnan(total))
    assert int(clipped) == 1
    low, _ = gradx.per_example_global_norm_clip(jnp.full((1000, 1), 0.25, jnp.bfloat16), 1.0)
    assert low.dtype == jnp.bfloat16
    assert float(low[0]) == 250.0


@pytest.mark.parametrize("jit", [True, False])
def test_the_update_is_like_the_parameters(jit):
    tx = gradx.dpsgd(0.1, 1.0, 0.0, seed=0, momentum=0.9)
    update = jax.jit(tx.update) if jit else tx.update
    total, _ = gradx.per_example_global_norm_clip(GRADS, 1.0)
    expected = gradx.tree.scale(-0.1 / EXAMPLES, total)
    state = tx.init(PARAMS)
    first, state = update(GRADS, state, PARAMS)
    assert_close(first, expected)
    second, state = update(GRADS, state)
    assert_close(second, gradx.tree.scale(1.9, expected))


def test_noise_has_the_deviation_of_its_docstring():
    zeros = {"a": jnp.zeros((4, 20_000)), "b": jnp.zeros((4, 20_000))}
    tx = gradx.differentially_private_aggregate(2.0, 1.5, seed=1)
    state = tx.init(jax.tree.map(lambda x: x[0], zeros))
    first, state = tx.update(zeros, state)
    second, _ = tx.update(zeros, state)
    for noise in (first["a"], first["b"], second["a"]):
        assert abs(float(jnp.std(noise)) - 2.0 * 1.5 / 4) < 0.02
    assert abs(float(jnp.mean(first["a"] * first["b"]))) < 0.03
    assert abs(float(jnp.mean(first["a"] * second["a"]))) < 0.03


def test_noise_follows_its_key():
    def updates(**start):
        tx = gradx.dpsgd(0.1, 1.0, 1.0, **start)
        return tx.update(GRADS, tx.init(PARAMS), PARAMS)[0]

    assert_close(updates(seed=3), updates(key=jax.random.key(3)))
    assert not np.allclose(updates(seed=3)["w"], updates(seed=4)["w"])
    with pytest.raises(TypeError, match="either key or seed"):
        updates()


def test_gradients_without_examples_are_refused():
    tx = gradx.dpsgd(0.1, 1.0, 0.0, seed=0)
    with pytest.raises(ValueError, match="updates"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    with pytest.raises(ValueError, match="that of the examples"):
        gradx.per_example_global_norm_clip({"a": jnp.ones((2, 3)), "b": jnp.ones((3, 3))}, 1.0)
    with pytest.raises(ValueError, match="updates"):
        gradx.sgd(0.1).update(GRADS, (gradx.EmptyState(),), PARAMS)


def test_gradients_of_integers_are_numbers():
    total, _ = gradx.per_example_global_norm_clip(jnp.array([[3, 4], [0, 0]]), 1.0)
    np.testing.assert_allclose(total, [0.6, 0.8], rtol=1e-6)
