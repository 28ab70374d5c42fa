"""The optimizers that people try next: lion, lamb, adabelief, radam, schedule-free and prodigy."""

import jax
import jax.numpy as jnp
import optax
from optax import contrib


def run(tx, evaluate=lambda state, params: params):
    params = {"w": jnp.array([[1.0, -2.0], [0.5, 3.0]]), "b": jnp.ones(2)}
    state = tx.init(params)

    def loss_of(p):
        return jnp.sum((p["w"] - 0.3) ** 2 * jnp.array([1.0, 3.0])) + jnp.sum(jnp.abs(p["b"] - 0.1))

    @jax.jit
    def step(params, state):
        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state = tx.update(grads, state, params)
        return optax.apply_updates(params, updates), state, loss

    losses = []
    for _ in range(15):
        params, state, loss = step(params, state)
        losses.append(float(loss))
    return [*losses, float(loss_of(evaluate(state, params)))]


def main():
    plain = [
        optax.lion(1e-2), optax.lamb(1e-2, weight_decay=0.01), optax.adabelief(1e-2), optax.radam(1e-2),
        optax.adafactor(1e-2), optax.yogi(1e-2), contrib.prodigy(1.0),
    ]  # fmt: skip
    free = contrib.schedule_free_adamw(1e-2)
    return [x for tx in plain for x in run(tx)] + run(free, contrib.schedule_free_eval_params)
