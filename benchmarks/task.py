"""What a task is: pure functions that start, train and judge a model, a metric with its target, and who takes part."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax

from benchmarks.roster import ROSTER, SCHEDULES
from gradx import GradientTransformation, Params, State, Updates, apply_updates


@dataclass(frozen=True)
class Metric:
    """What is measured on data that was not trained on, and when it is good enough."""

    name: str
    target: float
    """The race counts the steps until the metric is this good."""
    higher_is_better: bool = True
    style: str = ".3f"
    """A format specification: `.1%` shows 0.95 as 95.0%."""
    ceiling: float | None = None
    """The best value that there is, where a training can reach it."""
    examples: int = 0
    """Of an accuracy: how many the test set has, on which its standard error rests. 0 for other metrics."""

    def reached(self, value: float) -> bool:
        """Return whether the value is as good as the target."""
        return value >= self.target if self.higher_is_better else value <= self.target

    def better(self, a: float, b: float) -> bool:
        """Return whether `a` is better than `b`; a number is better than NaN."""
        return b != b or (a > b if self.higher_is_better else a < b)

    def at_ceiling(self, value: float) -> bool:
        """Return whether there is no better value."""
        if self.ceiling is None:
            return False
        return value >= self.ceiling if self.higher_is_better else value <= self.ceiling

    def show(self, value: float) -> str:
        """Return the value as people read it."""
        return format(value, self.style)


class Carry(NamedTuple):
    """A model in training: all that a step changes."""

    params: Params
    state: State
    """The optimizer's."""
    others: Any = ()
    """What else changes: the means of a batch norm, an environment."""

    def descend(self, tx: GradientTransformation, gradients: Updates, value: jax.Array) -> "Carry":
        """Return the carry after one step of the optimizer, given the loss and its gradients; the others stay."""
        updates, state = tx.update(gradients, self.state, self.params, value=value, grad=gradients)
        return self._replace(params=apply_updates(self.params, updates), state=state)


class Look(NamedTuple):
    """What is seen of a model: scalars."""

    test_loss: jax.Array
    metric: jax.Array
    others: Mapping[str, jax.Array] = {}
    """Further columns of the table."""


@dataclass(frozen=True)
class Learner:
    """How a task is learnt, as pure functions: the race runs many members of them side by side, under `vmap`."""

    data: Any
    """A pytree of arrays that steps and looks may read; all members share it."""
    start: Callable[[GradientTransformation, int], Carry]
    """From the optimizer and a seed to the beginning."""
    step: Callable[[GradientTransformation, Carry, Any, Any, jax.Array], tuple[Carry, jax.Array]]
    """From optimizer, carry, data, this step's inputs and a key to the next carry and the training loss."""
    look: Callable[[Carry, Any, jax.Array], Look]
    """From carry, data and a key; the key is the same at every look."""
    inputs: Callable[[int, int, int], Any] = lambda seed, first, last: None
    """What steps first to last - 1 of a training with this seed are fed: a pytree of arrays [last - first, ...]."""
    updates_per_step: int = 1
    """How often a step calls the optimizer; its schedule is so much longer."""
    observe: Callable[[], Mapping[str, float]] = dict
    """What is measured outside the program at every look."""


@dataclass(frozen=True)
class Task:
    """A learning problem, the same for every optimizer."""

    title: str
    metric: Metric
    learner: Callable[[str, bool], Learner]
    """From an optimizer's name and whether this is to tune learning rates, when the test data are not to be seen."""
    learning_rates: Mapping[str, float]
    """By the names of the roster: the middle of the grid of rates that are tried; these optimizers race."""
    steps: int
    evaluate_every: int
    """Steps from one look to the next."""
    step: str
    """What one step is: "64 images"."""
    textbook: str
    """The optimizer that textbooks would take ..."""
    source: str
    """... and which ones."""
    alternatives: tuple[str, ...] = ()
    """Others that they name in the same breath."""
    schedules: Mapping[str, str] = field(default_factory=lambda: SCHEDULES)
    """Who has another schedule, and whose optimizer it is: no rival, but a comparison of its own."""
    seeds: int = 3
    """So many race, unless the command line says otherwise: 5 where newcomers race or 3 take less than five minutes."""
    tuning_seeds: int = 1
    """A learning rate is judged by the mean over so many; one where time does not allow for more."""
    at_once: int | None = None
    """So many trainings in one program on a CPU, where many small products side by side may be slower; `None`: all."""
    roster: Mapping[str, Callable[[float, int], GradientTransformation]] = field(default_factory=lambda: ROSTER)
    picture: Callable[[Params, Path], None] | None = None
    """Draw what trained parameters make into a file."""
