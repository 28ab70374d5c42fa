"""Flax nnx's Optimizer, with momentum and a schedule joined of two."""

import jax
import jax.numpy as jnp
import optax
from flax import nnx


class Net(nnx.Module):
    def __init__(self, rngs):
        self.hidden, self.out = nnx.Linear(4, 8, rngs=rngs), nnx.Linear(8, 1, rngs=rngs)

    def __call__(self, x):
        return self.out(jnp.tanh(self.hidden(x)))[:, 0]


def main():
    x = jax.random.normal(jax.random.key(0), (64, 4))
    y = jnp.sin(x.sum(1))
    net = Net(nnx.Rngs(0))
    schedule = optax.join_schedules(
        [optax.linear_schedule(0.0, 0.1, 5), optax.exponential_decay(0.1, transition_steps=10, decay_rate=0.5)], [5]
    )
    optimizer = nnx.Optimizer(net, optax.sgd(schedule, momentum=0.9, nesterov=True), wrt=nnx.Param)

    @nnx.jit
    def step(net, optimizer):
        loss, grads = nnx.value_and_grad(lambda net: jnp.mean((net(x) - y) ** 2))(net)
        optimizer.update(net, grads)
        return loss

    return [float(step(net, optimizer)) for _ in range(30)]
