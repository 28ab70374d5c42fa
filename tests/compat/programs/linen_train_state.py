"""Flax linen's TrainState, with decay on kernels alone."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
from flax import traverse_util
from flax.training import train_state


class Net(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(3)(nn.relu(nn.Dense(8)(x)))


def decay_mask(params):
    flat = traverse_util.flatten_dict(params)
    return traverse_util.unflatten_dict({path: path[-1] == "kernel" for path in flat})


def main():
    x = jax.random.normal(jax.random.key(0), (60, 4))
    labels = jnp.argmax(x[:, :3] + 0.1, axis=1)
    net = Net()
    state = train_state.TrainState.create(
        apply_fn=net.apply,
        params=net.init(jax.random.key(1), x)["params"],
        tx=optax.adamw(1e-2, b2=0.98, eps=1e-9, weight_decay=0.1, mask=decay_mask),
    )

    @jax.jit
    def step(state):
        def loss_of(params):
            logits = state.apply_fn({"params": params}, x)
            return optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()

        loss, grads = jax.value_and_grad(loss_of)(state.params)
        return state.apply_gradients(grads=grads), loss

    losses = []
    for _ in range(30):
        state, loss = step(state)
        losses.append(float(loss))
    return losses
