"""As in PPO in one file: annealed Adam behind a clip, all epochs in scans, vmapped over seeds."""

import jax
import jax.numpy as jnp
import optax

UPDATES, EPOCHS = 6, 2


def annealed(count):
    return 3e-2 * (1.0 - (count // EPOCHS) / UPDATES)


def train(key):
    tx = optax.chain(optax.clip_by_global_norm(0.5), optax.adam(learning_rate=annealed, eps=1e-5))
    params = {"actor": 0.1 * jax.random.normal(key, (3, 2)), "critic": jnp.zeros(3)}

    def loss_of(params, batch):
        observations, actions, advantages, targets = batch
        log_prob = jnp.take_along_axis(jax.nn.log_softmax(observations @ params["actor"]), actions[:, None], 1)[:, 0]
        value = jnp.mean(optax.huber_loss(observations @ params["critic"], targets))
        return value - jnp.mean(log_prob * advantages)

    def update(carry, key):
        params, state = carry
        observations = jax.random.normal(key, (32, 3))
        actions = (observations[:, 0] > 0).astype(jnp.int32)
        batch = (observations, actions, observations[:, 1], observations.sum(1))

        def epoch(carry, _):
            params, state = carry
            loss, grads = jax.value_and_grad(loss_of)(params, batch)
            updates, state = tx.update(grads, state, params)
            return (optax.apply_updates(params, updates), state), loss

        return jax.lax.scan(epoch, (params, state), None, EPOCHS)

    _, losses = jax.lax.scan(update, (params, tx.init(params)), jax.random.split(key, UPDATES))
    return losses.ravel()


def main():
    return jax.jit(jax.vmap(train))(jax.random.split(jax.random.key(0), 2)).ravel().tolist()
