"""A user's own transformations: NamedTuple state, EmptyState, extras by name, a wrapper around another."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax


class CountState(NamedTuple):
    count: jnp.ndarray


def warm(steps):
    def init_fn(params):
        del params
        return CountState(jnp.zeros([], jnp.int32))

    def update_fn(updates, state, params=None):
        del params
        factor = jnp.minimum(1.0, (state.count + 1) / steps)
        return jax.tree.map(lambda u: u * factor, updates), CountState(optax.safe_int32_increment(state.count))

    return optax.GradientTransformation(init_fn, update_fn)


def by_loss():
    def update_fn(updates, state, params=None, *, value, **extra_args):
        del params, extra_args
        return jax.tree.map(lambda u: u / (1.0 + value), updates), state

    return optax.GradientTransformationExtraArgs(lambda params: optax.EmptyState(), update_fn)


def doubled(inner):
    inner = optax.with_extra_args_support(inner)

    def update_fn(updates, state, params=None, **extra_args):
        updates, state = inner.update(updates, state, params, **extra_args)
        return jax.tree.map(lambda u: 2 * u, updates), state

    return optax.GradientTransformationExtraArgs(inner.init, update_fn)


def main():
    tx = optax.chain(by_loss(), doubled(optax.chain(warm(4), optax.add_decayed_weights(1e-2))), optax.scale(-0.1))
    params = {"w": jnp.array([1.0, -2.0])}
    state = tx.init(params)
    losses = []
    for _ in range(12):
        loss, grads = jax.value_and_grad(lambda p: jnp.sum((p["w"] - 0.5) ** 2))(params)
        updates, state = tx.update(grads, state, params, value=loss, unused="text")
        params = optax.apply_updates(params, updates)
        losses.append(float(loss))
    return losses
