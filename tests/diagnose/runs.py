"""Small trainings on real and made-up data, to be diagnosed."""

import jax
import jax.numpy as jnp
import numpy as np
from sklearn.datasets import load_digits, load_iris

import gradx
from gradx import diagnose

ACTIVATIONS = {"relu": jax.nn.relu, "tanh": jnp.tanh, "sigmoid": jax.nn.sigmoid}


def run(tx, params, loss, steps, seed=0, spoil=lambda step, grads: grads):
    """Train with `loss(params, key)` in one scan, and return the parameters at the end and the history.

    `spoil` may damage the gradients of a step.
    """

    @jax.jit
    def scanned(params, key):
        def body(carry, step):
            params, state = carry
            value, grads = jax.value_and_grad(loss)(params, jax.random.fold_in(key, step))
            grads = spoil(step, grads)
            updates, state = tx.update(grads, state, params)
            seen = diagnose.step_statistics(grads, updates, params, value)
            return (gradx.apply_updates(params, updates), state), seen

        (params, _), history = jax.lax.scan(body, (params, tx.init(params)), jnp.arange(steps))
        return params, history

    return scanned(params, jax.random.key(seed))


def train(tx, params, loss, steps, **how):
    """Return what `explain` says of a training."""
    return diagnose.explain(run(tx, params, loss, steps, **how)[1], gradx.tree.paths(params))


def kinds(findings):
    return [finding.kind for finding in findings]


def mlp(sizes, gain=1.0, seed=0, bias=0.0):
    """Return dense layers in order of depth, with weights of variance gain² / fan-in."""
    keys = jax.random.split(jax.random.key(seed), len(sizes) - 1)
    return {
        "layers": [
            {"bias": jnp.full(n, bias), "kernel": gain * jax.random.normal(key, (m, n)) / np.sqrt(m)}
            for key, m, n in zip(keys, sizes[:-1], sizes[1:], strict=True)
        ]
    }


def forward(params, x, activation="relu"):
    *hidden, last = params["layers"]
    for layer in hidden:
        x = ACTIVATIONS[activation](x @ layer["kernel"] + layer["bias"])
    return x @ last["kernel"] + last["bias"]


def classify(data, activation="relu", batch=64):
    """Return the cross entropy on random batches of a data set; all of it when `batch` is `None`."""
    x, y = data
    x = jnp.asarray((x - x.mean(0)) / (x.std(0) + 1e-2), jnp.float32)
    y = jnp.asarray(y)

    def loss(params, key):
        rows = jnp.arange(len(x)) if batch is None else jax.random.choice(key, len(x), (batch,), replace=False)
        log_p = jax.nn.log_softmax(forward(params, x[rows], activation))
        return -jnp.mean(jnp.take_along_axis(log_p, y[rows, None], 1))

    return loss


DIGITS = load_digits(return_X_y=True)
IRIS = load_iris(return_X_y=True)
DIGITS_MLP, IRIS_MLP = (64, 32, 32, 10), (4, 16, 3)


def quadratic(params, key):
    return 0.5 * jnp.sum(jnp.square(params["w"]) * jnp.array([1.0, 3.0]))


def noisy_regression(scale):
    def loss(params, key):
        x, noise = jax.random.normal(key, (5,))[:4], scale * jax.random.normal(jax.random.fold_in(key, 1))
        return jnp.square(x @ (params["w"] - 1.0) + noise)

    return loss
