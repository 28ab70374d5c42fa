"""Gradients of four micro-batches, a loss that skips what is not finite, moments in bfloat16."""

import jax
import jax.numpy as jnp
import optax


def main():
    x = jax.random.normal(jax.random.key(0), (48, 3))
    y = x @ jnp.array([1.0, -2.0, 0.5])
    tx = optax.MultiSteps(
        optax.adam(0.1, mu_dtype=jnp.float32), every_k_schedule=4, should_skip_update_fn=optax.skip_not_finite
    )
    params = jnp.zeros(3)
    state = tx.init(params)
    seen = []
    for i in range(24):
        rows = slice(8 * (i % 6), 8 * (i % 6) + 8)
        loss, grads = jax.value_and_grad(lambda p, rows=rows: optax.squared_error(x[rows] @ p, y[rows]).mean())(params)
        grads = jnp.where(i == 5, jnp.nan, grads)
        updates, state = tx.update(grads, state, params)
        params = optax.apply_updates(params, updates)
        seen += [float(loss), float(tx.has_updated(state)), float(state.mini_step), float(state.gradient_step)]
    return seen
