"""A finding, and the history in the form in which the rules of `explain` read it."""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from jax.typing import ArrayLike

from gradx.diagnose.statistics import StepStatistics

WINDOW_SHARE = 10
"""Levels of the loss are medians over a tenth of the run: one odd batch does not move them."""
LONGEST_WINDOW = 50
CONVERGED = 1e-3
"""A loss that fell to a thousandth of its start has nothing left to complain about."""
MANY_LAYERS = 4
"""Sentences name so many layers and count the rest; `Finding.layers` has them all."""


class Finding(NamedTuple):
    """One thing that `explain` saw; `str(finding)` is the sentence."""

    kind: str
    """"non-finite", "diverging", "exploding gradients", "vanishing gradients", "dead", "stuck", "slow" or "noisy"."""
    layers: tuple[str, ...]
    """Which layers; empty when it is about the whole run."""
    step: int
    """The step at which it was first seen."""
    numbers: dict[str, float]
    """What the sentence quotes."""
    text: str
    """What is seen, with the numbers, and the cure."""

    def __str__(self) -> str:
        return self.text


class Losses(NamedTuple):
    """The losses before the first that is not finite, and what was measured on them."""

    values: np.ndarray
    start: float
    lowest: float
    """The lowest of the medians over consecutive windows."""
    lowest_step: int
    end: float
    noise: float
    """Standard deviation of the scatter from step to step around the trend."""
    broken: bool
    """Whether a loss that is not finite follows."""

    @property
    def drop(self) -> float:
        """How much the loss fell from its start to its end."""
        return self.start - self.end

    @property
    def converged(self) -> bool:
        """Whether hardly anything is left of the start."""
        return abs(self.end) <= CONVERGED * abs(self.start)


class History(NamedTuple):
    """A history as float64, without the steps from the first that is not finite on."""

    gradient: np.ndarray
    """float64[steps, modules]: norms over the leaves of a module."""
    update: np.ndarray
    weight: np.ndarray
    dead: np.ndarray
    """The smallest fraction of zeros among the leaves of a module."""
    leaves: np.ndarray
    """int[modules]: of how many leaves with a gradient a module consists."""
    names: list[str]
    """Of the modules."""
    losses: Losses | None

    @property
    def steps(self) -> int:
        """The number of steps that can be judged."""
        return len(self.gradient)


def read(stats: StepStatistics, names: Sequence[str], until: int) -> History:
    """Gather the leaves of each module, `layers/0/kernel` and `layers/0/bias`, over the first `until` steps.

    A bias in front of a normalization has a gradient of rounding errors, and that is no fault of its layer.
    """
    modules = list(dict.fromkeys(_module(name) for name in names))
    belongs = np.array([[_module(name) == module for name in names] for module in modules], bool)
    belongs = belongs.reshape(len(modules), len(names))

    def norms(x: ArrayLike) -> np.ndarray:
        kept = np.asarray(x, np.float64)[:until]
        return np.stack([np.sqrt(np.sum(np.square(kept[:, rows]), 1)) for rows in belongs], 1) if modules else kept

    dead = np.asarray(stats.dead, np.float64)[:until]
    with_gradient = np.any((np.asarray(stats.gradient_norm)[:until] > 0) | (dead > 0), 0)
    dead = np.where(with_gradient, dead, 1.0)  # a leaf without a gradient says nothing about the others
    return History(
        gradient=norms(stats.gradient_norm),
        update=norms(stats.update_norm),
        weight=norms(stats.weight_norm),
        dead=np.stack([np.min(dead[:, rows], 1) for rows in belongs], 1) if modules else dead,
        leaves=np.array([np.sum(with_gradient[rows]) for rows in belongs], int),
        names=modules,
        losses=None if stats.loss is None else measure(np.asarray(stats.loss, np.float64)),
    )


def measure(loss: np.ndarray) -> Losses | None:
    """Return the levels and the noise of a run's losses; `None` when the first is not finite."""
    finite = np.isfinite(loss)
    until = len(loss) if finite.all() else int(np.argmin(finite))
    if until == 0:
        return None
    values = loss[:until]
    window = int(np.clip(until // WINDOW_SHARE, 1, LONGEST_WINDOW))
    starts = range(0, until - window + 1, window)
    levels = [float(np.median(values[i : i + window])) for i in starts]
    best = int(np.argmin(levels))
    return Losses(
        values=values,
        start=levels[0],
        lowest=levels[best],
        lowest_step=best * window,
        end=float(np.median(values[-window:])),
        noise=_scatter(values),
        broken=until < len(loss),
    )


def listed(names: Sequence[str]) -> str:
    """Spell the first names and count the others."""
    shown = ", ".join(names[:MANY_LAYERS])
    return shown if len(names) <= MANY_LAYERS else f"{shown} and {len(names) - MANY_LAYERS} more"


def _scatter(values: np.ndarray) -> float:
    """Return the standard deviation of white noise around a trend, from the median of second differences.

    A straight trend cancels in them, and the median forgives spikes: for normal noise |x - 2y + z| has the median
    0.6745 sqrt(6) times the deviation.
    """
    if len(values) < 3:
        return 0.0
    return float(np.median(np.abs(np.diff(values, 2))) / (0.6745 * np.sqrt(6.0)))


def _module(name: str) -> str:
    return name.rpartition("/")[0] or name
