"""Second derivatives beside the whole Hessian and Optax."""

import warnings

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.flatten_util import ravel_pytree

from gradx import second_order

PARAMS = {"kernel": jnp.array([[0.3, -0.7], [1.1, 0.2], [-0.4, 0.9]]), "bias": jnp.array([0.1, -0.2])}
INPUTS = jnp.array([[1.0, 2.0, -1.0], [0.5, -0.3, 0.8]])
TARGETS = jnp.array([0, 1])
V = jax.tree.map(lambda p: jnp.cos(3 * p), PARAMS)


def loss(params, inputs, targets):
    scores = jnp.tanh(inputs @ params["kernel"]) + params["bias"]
    return -jnp.sum(jnp.take_along_axis(jax.nn.log_softmax(scores), targets[:, None], 1))


def whole_hessian():
    flat, unravel = ravel_pytree(PARAMS)
    return jax.hessian(lambda x: loss(unravel(x), INPUTS, TARGETS))(flat)


def test_products_are_those_with_the_whole_hessian():
    product = second_order.hvp(loss, V, PARAMS, INPUTS, TARGETS)
    assert jax.tree.structure(product) == jax.tree.structure(PARAMS)
    np.testing.assert_allclose(ravel_pytree(product)[0], whole_hessian() @ ravel_pytree(V)[0], rtol=1e-5, atol=1e-6)
    from_vector = second_order.hvp(loss, ravel_pytree(V)[0], PARAMS, INPUTS, TARGETS)
    np.testing.assert_array_equal(ravel_pytree(from_vector)[0], ravel_pytree(product)[0])


def test_the_diagonal_is_that_of_the_whole_hessian():
    found = jax.jit(second_order.hessian_diag, static_argnums=0)(loss, PARAMS, INPUTS, TARGETS)
    np.testing.assert_allclose(found, jnp.diag(whole_hessian()), rtol=1e-5, atol=1e-6)


def test_the_fisher_diagonal_is_the_squared_gradient():
    grad = ravel_pytree(jax.grad(loss)(PARAMS, INPUTS, TARGETS))[0]
    np.testing.assert_allclose(second_order.fisher_diag(loss, PARAMS, INPUTS, TARGETS), grad**2, rtol=1e-6)


@pytest.mark.parametrize("name", ["hvp", "hessian_diag", "fisher_diag"])
def test_optax_returns_the_same(name):
    optax = pytest.importorskip("optax")
    first = (loss, ravel_pytree(V)[0]) if name == "hvp" else (loss,)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated there
        theirs = getattr(optax.second_order, name)(*first, PARAMS, INPUTS, TARGETS)
    ours = getattr(second_order, name)(*first, PARAMS, INPUTS, TARGETS)
    assert jax.tree.structure(ours) == jax.tree.structure(theirs)
    for x, y in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True):
        np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)


def test_float64_and_empty_leaves_pass():
    def square(params, scale, _):
        return scale * jnp.sum(params["a"] ** 2)

    with jax.enable_x64(True):
        params = {"a": jnp.ones(2, jnp.float64), "empty": jnp.zeros((0, 3), jnp.float64), "none": None}
        diagonal = second_order.hessian_diag(square, params, 3.0, None)
        assert diagonal.dtype == jnp.float64
        np.testing.assert_allclose(diagonal, [6.0, 6.0])
        product = second_order.hvp(square, params, params, 3.0, None)
        np.testing.assert_allclose(product["a"], [6.0, 6.0])
