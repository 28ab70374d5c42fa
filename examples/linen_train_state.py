"""A perceptron with batch norm and dropout, in Flax linen's `TrainState`.

Shows where statistics and random keys go beside the optimizer, and momentum with a schedule in pieces.
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.training import train_state
from sklearn.datasets import load_digits

import gradx


class Net(nn.Module):
    """Two hidden layers; `train` says whether batch norm measures and dropout drops."""

    @nn.compact
    def __call__(self, x, train: bool):
        for _ in range(2):
            x = nn.Dense(64)(x)
            x = nn.relu(nn.BatchNorm(use_running_average=not train, momentum=0.9)(x))
            x = nn.Dropout(0.2, deterministic=not train)(x)
        return nn.Dense(10)(x)


class TrainState(train_state.TrainState):
    """Parameters and optimizer, and the statistics of batch norm, which no gradient moves."""

    batch_stats: Any


@jax.jit
def train_step(state, images, labels, key):
    def loss_of(params):
        logits, changed = state.apply_fn(
            {"params": params, "batch_stats": state.batch_stats},
            images,
            train=True,
            rngs={"dropout": jax.random.fold_in(key, state.step)},
            mutable=["batch_stats"],
        )
        return gradx.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean(), changed

    (loss, changed), grads = jax.value_and_grad(loss_of, has_aux=True)(state.params)
    return state.apply_gradients(grads=grads, batch_stats=changed["batch_stats"]), loss


@jax.jit
def accuracy(state, images, labels):
    logits = state.apply_fn({"params": state.params, "batch_stats": state.batch_stats}, images, train=False)
    return jnp.mean(logits.argmax(axis=-1) == labels)


def main(steps: int = 1500, batch_size: int = 64, peak: float = 0.1) -> list[float]:
    """Train, and return the loss of every step."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)
    test = images[1400:], labels[1400:]

    net = Net()
    variables = net.init(jax.random.key(0), images[:1], train=False)
    falls = {steps // 2: 0.3, 3 * steps // 4: 0.3}  # to three tenths, twice
    tx = gradx.sgd(gradx.piecewise_constant_schedule(peak, falls), momentum=0.9, nesterov=True)
    state = TrainState.create(
        apply_fn=net.apply, params=variables["params"], tx=tx, batch_stats=variables["batch_stats"]
    )

    rng, key, losses = np.random.default_rng(1), jax.random.key(1), []
    for step in range(steps):
        rows = rng.choice(1400, batch_size, replace=False)
        state, loss = train_step(state, images[rows], labels[rows], key)
        losses.append(float(loss))
        if (step + 1) % max(1, steps // 6) == 0:
            print(f"step {step + 1:4}   loss {losses[-1]:.4f}   test accuracy {accuracy(state, *test):.1%}")
    return losses


if __name__ == "__main__":
    main()
