"""Plain functions beside the transformations: targets, counts, scaled gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.testing import assert_close

OLD = {"w": jnp.array([1.0, -2.0]), "b": jnp.array(0.5)}
NEW = {"w": jnp.array([3.0, 5.0]), "b": jnp.array(-1.5)}


@pytest.mark.parametrize("step_size", [0.0, 0.3, 1.0])
def test_incremental_update_is_that_of_optax(step_size):
    assert_close(gradx.incremental_update(NEW, OLD, step_size), optax.incremental_update(NEW, OLD, step_size))


def test_incremental_update_keeps_the_dtypes_of_the_old():
    low = gradx.tree.cast(NEW, jnp.bfloat16)
    assert gradx.incremental_update(low, OLD, 0.5)["w"].dtype == jnp.float32
    assert gradx.incremental_update(OLD, low, 0.5)["w"].dtype == jnp.bfloat16
    np.testing.assert_allclose(gradx.incremental_update(low, OLD, 1e-3)["w"], [1.002, -1.993], rtol=1e-6)


def test_incremental_update_leaves_none_out():
    for new, old in ((NEW | {"b": None}, OLD), (NEW, OLD | {"b": None})):
        got = gradx.incremental_update(new, old, 0.5)
        assert got["b"] is None
        np.testing.assert_allclose(got["w"], [2.0, 1.5])


@pytest.mark.parametrize("compiled", [True, False])
def test_periodic_update_is_that_of_optax(compiled):
    ours = jax.jit(gradx.periodic_update) if compiled else gradx.periodic_update
    for step in range(5):
        assert_close(ours(NEW, OLD, step, 3), optax.periodic_update(NEW, OLD, jnp.int32(step), 3))
    assert ours(NEW, gradx.tree.cast(OLD, jnp.bfloat16), 0, 3)["w"].dtype == jnp.bfloat16


@pytest.mark.parametrize("count", [0, 2**31 - 2, 2**31 - 1, np.int8(126), np.int8(127), np.float32(1.0)])
def test_safe_increment_is_that_of_optax(count):
    ours, theirs = gradx.safe_increment(count), optax.safe_increment(count)
    assert ours == theirs
    assert ours.dtype == theirs.dtype


def test_float_counts_stay_where_they_cannot_grow():
    assert float(gradx.safe_increment(jnp.float32(2.0**24))) == 2.0**24
    assert np.isfinite(gradx.safe_increment(jnp.finfo(jnp.float32).max))


@pytest.mark.parametrize("scale", [0.0, 1.0, -2.5])
def test_scale_gradient_scales_both_modes(scale):
    def f(params):
        scaled = gradx.scale_gradient(params, scale)
        return jnp.sum(scaled["w"] ** 3) + scaled["b"] ** 2

    plain = {"w": 3 * OLD["w"] ** 2, "b": 2 * OLD["b"]}
    assert_close(jax.grad(f)(OLD), gradx.tree.scale(scale, plain))
    _, tangent = jax.jvp(f, (OLD,), (NEW,))
    np.testing.assert_allclose(tangent, scale * gradx.tree.vdot(plain, NEW), rtol=1e-6)


def test_scale_gradient_takes_a_traced_scale_and_hides_nan_with_0():
    def f(x, scale):
        return jnp.sum(jnp.sqrt(gradx.scale_gradient(x, scale)))

    gradient = jax.jit(jax.grad(f, argnums=(0, 1)))
    by_x, by_scale = gradient(jnp.array([-1.0, 4.0]), 0.0)
    np.testing.assert_array_equal(by_x, [0.0, 0.0])
    assert by_scale == 0
    np.testing.assert_allclose(gradient(jnp.array([4.0]), 2.0)[0], [0.5])


def test_scale_gradient_keeps_precision():
    x = jnp.ones(3, jnp.bfloat16)
    grad = jax.grad(lambda x: jnp.sum(gradx.scale_gradient(x, 0.5)).astype(jnp.float32))(x)
    assert grad.dtype == jnp.bfloat16


def test_global_norm_of_bfloat16_is_float32():
    leaves = [jnp.ones((), jnp.bfloat16)] * 1000
    np.testing.assert_allclose(gradx.global_norm(leaves), np.sqrt(1000), rtol=1e-6)
