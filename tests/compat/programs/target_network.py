"""Q-learning on a chain of states: Polyak averaging, periodic copies, RMSProp, injected rate, NumPy labels."""

import jax
import jax.numpy as jnp
import numpy as np
import optax


def main():
    rng = np.random.default_rng(0)
    online = {"q": jnp.asarray(rng.normal(size=(6, 2)), jnp.float32)}
    target, copied = online, online
    optimizer = optax.inject_hyperparams(optax.rmsprop)(learning_rate=1e-2, decay=0.95, eps=1e-2, centered=True)
    state = optimizer.init(online)
    losses = []
    for i in range(20):
        s = rng.integers(0, 5, 16)
        a = rng.integers(0, 2, 16)

        def loss_of(params, s=s, a=a, target=target):
            goal = (s == 4) + 0.9 * jnp.max(target["q"][s + 1], axis=1)
            return optax.huber_loss(params["q"][s, a], jax.lax.stop_gradient(goal)).mean()

        loss, grads = jax.value_and_grad(loss_of)(online)
        state.hyperparams["learning_rate"] = jnp.asarray(1e-2 * 0.95**i, jnp.float32)
        updates, state = optimizer.update(grads, state)
        online = optax.apply_updates(online, updates)
        target = optax.incremental_update(online, target, 0.1)
        copied = optax.periodic_update(online, copied, jnp.asarray(i), 5)
        losses += [float(loss), float(optax.global_norm(copied))]
    return losses
