"""Convex: logistic regression on the digits, by gradients of all examples, of some, and of one at a time.

One step is one pass over the training set, whatever the size of the batch: one update or four thousand. "noise" is the
standard deviation of the batches' losses within the last pass, which is what a training curve shows.
"""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.optimize
from flax import nnx

import gradx
from benchmarks.roster import warmup_cosine
from benchmarks.supervised import batches, held_out
from benchmarks.task import Carry, Learner, Look, Metric, Task
from benchmarks.tasks.images import CLASSES, Digits, digits
from gradx import GradientTransformation, losses

PIXELS = 784
RIDGE = 1e-3
"""Weight of the squared norm in the objective, which makes it strongly convex."""
MINI_BATCH = 32


class Logistic(nnx.Module):
    """Multinomial logistic regression: 7,850 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.dense = nnx.Linear(PIXELS, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.dense(x.reshape(x.shape[0], -1))


GRAPH, _ = nnx.split(Logistic(nnx.Rngs(0)))


def cross_entropy(params: Any, batch: Digits) -> jax.Array:
    """Return the mean cross-entropy."""
    logits = nnx.merge(GRAPH, params)(batch.image)
    return losses.softmax_cross_entropy_with_integer_labels(logits, batch.label).mean()


def objective(params: Any, batch: Digits) -> jax.Array:
    """Return what is minimized: the mean cross-entropy and a half of RIDGE times the squared norm."""
    return cross_entropy(params, batch) + RIDGE / 2 * gradx.tree.norm(params, squared=True)


def minimum(train: Digits) -> float:
    """Return the least value of the objective, by L-BFGS."""
    _, start = nnx.split(Logistic(nnx.Rngs(0)))
    flat, restore = jax.flatten_util.ravel_pytree(start)
    train = jax.device_put(train)
    value_and_grad = jax.jit(jax.value_and_grad(lambda x: objective(restore(x), train)))
    found = scipy.optimize.minimize(
        lambda x: tuple(np.asarray(y, np.float64) for y in value_and_grad(x.astype(np.float32))),
        np.asarray(flat),
        jac=True,
        method="L-BFGS-B",
        options={"maxiter": 1000, "ftol": 1e-12},
    )
    return float(found.fun)


@functools.cache
def data(tuning: bool) -> tuple[Digits, Digits, float]:
    """Return training and test set, and the minimum on the former."""
    train, test = held_out(digits()[0]) if tuning else digits()
    return train, test, minimum(train)


def learner(name: str, tuning: bool) -> Learner:
    """Return how the task is learnt with the batch size that the name says."""
    train, test, least = data(tuning)
    examples = len(train.label)
    size = {"batch": examples, "stochastic": 1}.get(name, MINI_BATCH)

    def start(tx: GradientTransformation, seed: int) -> Carry:
        _, params = nnx.split(Logistic(nnx.Rngs(seed)))
        return Carry(params, tx.init(params), jnp.zeros(()))

    def one_pass(tx: GradientTransformation, carry: Carry, data: Any, order: jax.Array, key: jax.Array) -> tuple:
        def update(carry: Carry, chosen: jax.Array) -> tuple:
            batch = jax.tree.map(lambda x: x[chosen], data[0])
            value, gradients = jax.value_and_grad(objective)(carry.params, batch)
            return carry.descend(tx, gradients, value), value

        carry, values = jax.lax.scan(update, carry, order)
        return carry._replace(others=jnp.std(values)), jnp.mean(values)

    def look(carry: Carry, data: Any, key: jax.Array) -> Look:
        above = objective(carry.params, data[0]) - least
        correct = jnp.argmax(nnx.merge(GRAPH, carry.params)(data[1].image), axis=-1) == data[1].label
        return Look(
            cross_entropy(carry.params, data[1]), above, {"noise": carry.others, "test accuracy": jnp.mean(correct)}
        )

    def inputs(seed: int, first: int, last: int) -> np.ndarray:
        per_pass = examples // size
        return batches(examples, size, seed, last * per_pass).reshape(last, per_pass, size)[first:]

    return Learner(jax.device_put((train, test)), start, one_pass, look, inputs, updates_per_step=examples // size)


def descent(rate: float, steps: int) -> GradientTransformation:
    """Return plain gradient descent."""
    return gradx.sgd(rate)


TASK = Task(
    title="logistic regression on 5,000 MNIST digits",
    metric=Metric("loss above the minimum", target=0.01, higher_is_better=False, style=".4f"),
    learner=learner,
    learning_rates={"batch": 1.0, "mini-batch": 0.3, "stochastic": 0.01, "mini-batch-cosine": 1.0},
    steps=30,
    evaluate_every=1,
    step="4,000 images",
    seeds=5,
    textbook="mini-batch",
    source="mini-batches of a few tens as the compromise, Bottou, Curtis and Nocedal 2018, arXiv:1606.04838",
    schedules={"mini-batch-cosine": "mini-batch"},
    roster={
        "batch": descent,
        "mini-batch": descent,
        "stochastic": descent,
        "mini-batch-cosine": lambda rate, steps: gradx.sgd(warmup_cosine(rate, steps)),
    },
)
