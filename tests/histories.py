"""Runs of transformations on rows of gradients, compiled once for each transformation and shape."""

import functools

import jax
import jax.numpy as jnp
import numpy as np


def normal(seed, *shape):
    return jax.random.normal(jax.random.key(seed), shape)


def rotation(seed, n):
    return jnp.asarray(np.linalg.qr(np.random.default_rng(seed).normal(size=(n, n)))[0], jnp.float32)


def kronecker(seed, steps, m=4, n=3):
    """Return gradients A z Bᵀ, z standard normal, and A, B."""
    a = rotation(seed, m) * jnp.geomspace(0.1, 10.0, m)
    b = rotation(seed + 1, n) * jnp.geomspace(1.0, 5.0, n)
    return a @ normal(seed, steps, m, n) @ b.T, a, b


@functools.partial(jax.jit, static_argnums=0)
def history(tx, grads):
    """Return the updates for a row of gradients."""

    def step(state, g):
        updates, state = tx.update(g, state, jax.tree.map(jnp.zeros_like, g))
        return state, updates

    return jax.lax.scan(step, tx.init(jax.tree.map(lambda g: g[0], grads)), grads)[1]


@functools.partial(jax.jit, static_argnums=0)
def last_state(tx, grads):
    """Return the state behind a row of gradients."""
    return jax.lax.scan(lambda state, g: (tx.update(g, state)[1], None), tx.init(grads[0]), grads)[0]


def covariance(updates):
    """Return E[u uᵀ] of the entries."""
    flat = np.asarray(updates).reshape(len(updates), -1)
    return flat.T @ flat / len(flat)


def departs(found):
    """Return how far a covariance is from the identity."""
    return float(np.max(np.abs(found - np.eye(len(found)))))
