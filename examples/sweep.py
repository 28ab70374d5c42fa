"""A sweep: six learning rates by three weight decays by three seeds, trained side by side in one compiled program.

Shows `tune.sweep`, which maps a training over its optimizer, and what it finds: the best member, how far it is ahead,
and how wide the valley of good rates is.
"""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits

import gradx
from gradx import tune


def init_params(key, sizes=(64, 32, 10)):
    keys = jax.random.split(key, len(sizes) - 1)
    pairs = zip(keys, sizes, sizes[1:], strict=False)
    return [{"w": jax.random.normal(k, (n, m)) * jnp.sqrt(2 / n), "b": jnp.zeros(m)} for k, n, m in pairs]


def logits_of(params, x):
    for layer in params[:-1]:
        x = jax.nn.relu(x @ layer["w"] + layer["b"])
    return x @ params[-1]["w"] + params[-1]["b"]


def loss_of(params, images, labels):
    return gradx.losses.softmax_cross_entropy_with_integer_labels(logits_of(params, images), labels).mean()


def main(
    steps: int = 300,
    rates: tuple[float, ...] = (1e-4, 1e-3, 1e-2, 3e-2, 0.1, 1.0),
    decays: tuple[float, ...] = (0.0, 0.1, 1.0),
    seeds: int = 3,
    batch_size: int = 32,
) -> list[float]:
    """Train all members, and return the mean loss of every step of the best."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = jnp.asarray(images[order] / 16, jnp.float32), jnp.asarray(labels[order], jnp.int32)
    images, labels, test = images[:1400], labels[:1400], (images[1400:], labels[1400:])

    def train(tx, key):
        """Return the loss of every step, and the test accuracy in the end."""
        start, shuffle = jax.random.split(key)

        def step(carry, key):
            params, state = carry
            rows = jax.random.choice(key, len(labels), (batch_size,))
            loss, grads = jax.value_and_grad(loss_of)(params, images[rows], labels[rows])
            updates, state = tx.update(grads, state, params)
            return (gradx.apply_updates(params, updates), state), loss

        params = init_params(start)
        (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), jax.random.split(shuffle, steps))
        return {"losses": losses, "accuracy": jnp.mean(logits_of(params, test[0]).argmax(axis=-1) == test[1])}

    pairs = list(itertools.product(rates, decays))
    values = {"learning_rate": [rate for rate, _ in pairs], "weight_decay": [decay for _, decay in pairs]}
    found = tune.sweep(gradx.adamw(1e-3), train, values, seeds=seeds)

    accuracy = found.results["accuracy"].mean(axis=1).reshape(len(rates), len(decays))
    print("test accuracy   " + "".join(f"decay {decay:<7g}" for decay in decays))
    for rate, row in zip(rates, accuracy, strict=True):
        print(f"rate {rate:<11g}" + "".join(f"{share:<13.1%}" for share in row))
    best = found.best(lambda results: -results["accuracy"])
    print("best:", ", ".join(f"{name} {x:g}" for name, x in best.items()))
    member = pairs.index((best["learning_rate"], best["weight_decay"]))
    return found.results["losses"][member].mean(axis=0).tolist()


if __name__ == "__main__":
    main()
