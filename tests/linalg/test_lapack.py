"""LAPACK on batches: jaxlib before 0.11.2 never came back from two calls on batches side by side on two threads."""

import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.linalg import lapack

MATRICES = jax.random.normal(jax.random.key(0), (3, 2, 4, 4))


def orthonormal(x):
    return jnp.linalg.qr(x)[0]


def of_each(x):
    return lapack.of_each(orthonormal, x)


def batches(f, *arguments):
    """Return the LAPACK calls of a compiled program that have a batch."""
    calls = re.findall(
        r"= \(?\w+\[([\d,]*)\].* custom-call\(.*lapack_", jax.jit(f).lower(*arguments).compile().as_text()
    )
    assert calls
    return [shape for shape in calls if shape.count(",") > 1 and not shape.startswith("1,")]


METHODS = {
    "soap": gradx.soap(0.1),
    "kl_soap": gradx.kl_soap(0.1),
    "shampoo": gradx.shampoo(0.1, update_interval=1),
    "kl_shampoo": gradx.kl_shampoo(0.1),
    "kron": gradx.kron(0.1),
    "dion": gradx.dion(0.1, rank=2),
    "galore": gradx.galore(0.1, rank=2),
}


@pytest.mark.skipif(not lapack.IN_TURN, reason="this jaxlib takes the matrices of a batch in turn itself")
@pytest.mark.parametrize("name", METHODS)
def test_no_call_waits_for_the_threads_it_runs_on(name):
    params = {"a": {"kernel": jnp.ones((4, 6))}, "b": {"kernel": jnp.ones((4, 6))}, "c": {"kernel": jnp.ones((8, 3))}}

    def step(scale):
        grads = gradx.tree.scale(scale, params)
        return METHODS[name].update(grads, METHODS[name].init(params), params)

    assert not batches(jax.vmap(step), jnp.array([1.0, 2.0]))


@pytest.mark.parametrize("levels", [0, 1, 2])
def test_batches_and_vmap_give_what_one_call_gives(levels):
    f = of_each
    for _ in range(levels):
        f = jax.vmap(f)
    np.testing.assert_allclose(jax.jit(f)(MATRICES), orthonormal(MATRICES), atol=1e-6)  # rounding, of entries up to 1


def test_derivatives_are_those_of_one_call():
    def size(f):
        return lambda x: jnp.sum(jnp.sin(f(x)))

    expected = jax.grad(size(orthonormal))(MATRICES)
    np.testing.assert_allclose(jax.grad(size(of_each))(MATRICES), expected, rtol=1e-4, atol=1e-4)


def test_no_matrices_and_several_arrays():
    assert of_each(jnp.zeros((0, 3, 3))).shape == (0, 3, 3)
    x, y = jnp.ones((2, 3, 3)), jnp.arange(12.0).reshape(2, 3, 2)
    solved = lapack.of_each(jnp.linalg.solve, x + jnp.eye(3), y)
    np.testing.assert_allclose(jnp.matmul(x + jnp.eye(3), solved), y, atol=1e-5)  # rounding, of entries up to 11
