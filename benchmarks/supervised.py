"""Tasks with examples to learn from: batches drawn from a training set, and a test set to judge by."""

import functools
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from flax import nnx

from benchmarks.task import Carry, Learner, Look
from gradx import GradientTransformation, eval_params

Batch = Any
"""A pytree of arrays, examples along the first axis."""
HELD_OUT = 0.2
"""The part of the training set that stands for the test set while learning rates are tuned."""
SPLIT_SEED = 0


def supervised(
    data: Callable[[], tuple[Batch, Batch]],
    model: Callable[[nnx.Rngs], nnx.Module],
    loss: Callable[[nnx.Module, Batch, jax.Array], jax.Array],
    measure: Callable[[nnx.Module, Batch], jax.Array],
    batch_size: int,
) -> Callable[[str, bool], Learner]:
    """Return how a task is learnt.

    Args:
      data: returns the training and the test set, the same ones at every call.
      model: makes the network.
      loss: from the model, a batch and a key to the mean loss; with the whole test set it gives the test loss.
      measure: from the model and the whole test set to the metric.
      batch_size: each epoch is another permutation, cut into batches of this size.
    """

    @functools.cache
    def learner(tuning: bool) -> Learner:
        train, test = held_out(data()[0]) if tuning else data()
        examples = len(jax.tree.leaves(train)[0])
        if not 0 < batch_size <= examples:
            raise ValueError(f"batch_size must be in [1, {examples}], the training set, got {batch_size}")
        graph = nnx.split(model(nnx.Rngs(0)))[0]

        def start(tx: GradientTransformation, seed: int) -> Carry:
            _, params, others = nnx.split(model(nnx.Rngs(seed)), nnx.Param, ...)
            return Carry(params, tx.init(params), others)

        def step(tx: GradientTransformation, carry: Carry, data: Any, chosen: jax.Array, key: jax.Array) -> tuple:
            batch = jax.tree.map(lambda x: x[chosen], data[0])

            def loss_of(params: Any) -> tuple[jax.Array, Any]:
                net = nnx.merge(graph, params, carry.others, copy=True)  # so that others may change in here
                return loss(net, batch, key), nnx.state(net, nnx.Not(nnx.Param))

            (value, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(carry.params)
            return carry.descend(tx, gradients, value)._replace(others=others), value

        def look(carry: Carry, data: Any, key: jax.Array) -> Look:
            net = nnx.merge(graph, eval_params(carry.state, carry.params), carry.others)
            return Look(loss(net, data[1], key), measure(net, data[1]))

        def inputs(seed: int, first: int, last: int) -> np.ndarray:
            return batches(examples, batch_size, seed, last)[first:]

        return Learner(jax.device_put((train, test)), start, step, look, inputs)

    return lambda name, tuning: learner(tuning)


def batches(examples: int, size: int, seed: int, steps: int) -> np.ndarray:
    """Return the examples of every batch, int32[steps, size]: each epoch is another permutation."""
    rng = np.random.default_rng(seed)
    per_epoch = examples // size
    epochs = [rng.permutation(examples)[: per_epoch * size] for _ in range(-(-steps // per_epoch))]
    return np.concatenate(epochs).reshape(-1, size)[:steps].astype(np.int32)


def held_out(train: Batch) -> tuple[Batch, Batch]:
    """Return a training set as two: a fifth, drawn at random, takes the place of the test set."""
    order = np.random.default_rng(SPLIT_SEED).permutation(len(jax.tree.leaves(train)[0]))
    cut = int(HELD_OUT * len(order))

    def part(chosen: np.ndarray) -> Batch:
        return jax.tree.map(lambda x: x[chosen], train)

    return part(order[cut:]), part(order[:cut])
