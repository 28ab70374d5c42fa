"""What a task is: data, a model, a loss, a metric with its target, and the learning rates it is raced with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import jax
from flax import nnx

Batch = Any
"""A pytree of arrays, examples along the first axis."""


@dataclass(frozen=True)
class Metric:
    """What is measured on the test set, and when it is good enough."""

    name: str
    measure: Callable[[nnx.Module, Batch], jax.Array]
    """From the model and the whole test set to one number."""
    target: float
    """The race counts the steps until the metric is this good."""
    higher_is_better: bool = True
    style: str = ".3f"
    """A format specification: `.1%` shows 0.95 as 95.0%."""

    def reached(self, value: float) -> bool:
        """Return whether the value is as good as the target."""
        return value >= self.target if self.higher_is_better else value <= self.target

    def show(self, value: float) -> str:
        """Return the value as people read it."""
        return format(value, self.style)


@dataclass(frozen=True)
class Task:
    """A learning problem, the same for every optimizer."""

    title: str
    data: Callable[[], tuple[Batch, Batch]]
    """Return the training and the test set, the same ones at every call."""
    model: Callable[[nnx.Rngs], nnx.Module]
    loss: Callable[[nnx.Module, Batch, jax.Array], jax.Array]
    """From the model, a batch and a random key to the mean loss; with the whole test set it gives the test loss."""
    metric: Metric
    learning_rates: Mapping[str, float]
    """By the names in `benchmarks.roster`; these are the optimizers that the task is raced with."""
    batch_size: int
    steps: int
    evaluate_every: int
    """Steps from one look at the test set to the next."""
