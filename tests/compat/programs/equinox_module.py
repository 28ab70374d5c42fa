"""Equinox: the model is a pytree that holds functions too, `eqx.filter` shows the optimizer what is trained."""

import equinox as eqx
import jax
import jax.numpy as jnp
import optax


def main():
    x = jax.random.normal(jax.random.key(0), (64, 3))
    y = jnp.sin(x.sum(1))
    model = eqx.nn.MLP(3, 1, 8, 2, activation=jnp.tanh, key=jax.random.key(1))
    schedule = optax.warmup_cosine_decay_schedule(0.0, 2e-2, 5, 40)
    is_matrix = jax.tree.map(lambda p: p.ndim == 2, eqx.filter(model, eqx.is_inexact_array))
    optim = optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule, weight_decay=1e-2, mask=is_matrix))
    state = optim.init(eqx.filter(model, eqx.is_inexact_array))

    @eqx.filter_jit
    def step(model, state):
        def loss_of(model):
            return jnp.mean((jax.vmap(model)(x)[:, 0] - y) ** 2)

        loss, grads = eqx.filter_value_and_grad(loss_of)(model)
        updates, state = optim.update(grads, state, eqx.filter(model, eqx.is_inexact_array))
        return eqx.apply_updates(model, updates), state, loss

    losses = []
    for _ in range(30):
        model, state, loss = step(model, state)
        losses.append(float(loss))
    return losses
