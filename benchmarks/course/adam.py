"""Adam needs little tuning: how wide the valley of good learning rates is, and what the defaults do."""

import functools
from collections.abc import Sequence

import numpy as np

import gradx
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Problem, Trained, perceptron, reader, train
from benchmarks.tasks.tabular import TEST_ROWS

TITLE = "Adam and the learning rate"
OPTIMIZERS = {
    "adam": gradx.adam(0.1),
    "sgd": gradx.sgd(0.1),
    "momentum": gradx.sgd(0.1, momentum=0.9),
    "rmsprop": gradx.rmsprop(0.1),
}
FAVOURED = "adam"
APART = 0.25
"""Decades from one rate to the next."""
RATES = tuple(float(f"{10 ** (APART * k):.3g}") for k in range(-18, 7))
"""From 0.00003 to 30."""
DEFAULTS = {"adam": 1e-3, "sgd": 1e-2, "momentum": 1e-2, "rmsprop": 1e-3}
"""Of Keras."""
GOOD = 0.02
"""So much less accuracy than the best is still good."""
STEPS = 300
PAPER = "Kingma and Ba 2015, arXiv:1412.6980; Goodfellow, Bengio and Courville 2016, Deep learning, section 8.5.3"


@functools.cache
def perceptrons(setup: Setup, name: str) -> Trained:
    """Return trainings of a perceptron with every rate."""
    return valley(setup, perceptron(), name)


@functools.cache
def readers(setup: Setup, name: str) -> Trained:
    """Return trainings of a recurrent network with every rate."""
    return valley(setup, reader(), name)


def valley(setup: Setup, problem: Problem, name: str) -> Trained:
    """Return trainings with every rate; nothing is chosen, so no seed tunes."""
    rates = {"learning_rate": list(RATES)}
    return train(setup, problem, OPTIMIZERS[name], rates, STEPS, looks=3, tuning=(), before=True)


def width(accuracies: np.ndarray) -> np.ndarray:
    """Return how many decades of rates are good: within two points of the best one; [rates, seeds] to [seeds]."""
    known = np.nan_to_num(accuracies)
    return APART * (known >= known.max(0) - GOOD).sum(0)


def compared(found: dict[str, Trained], what: str) -> Measured:
    """Return Adam's width against the others', and the valleys."""
    ends = {name: x.ends("test accuracy") for name, x in found.items()}
    widths = {name: width(x) for name, x in ends.items()}
    panel = Panel(f"{what}: test accuracy", RATES, {name: x.T for name, x in ends.items()}, "learning rate", "x")
    return against(widths, "decades of good rates", style=".2f", margin=APART), [panel]


def against(values: dict[str, np.ndarray], quantity: str, **how: object) -> Sequence[Contrast]:
    """Return Adam against each of the others; more is better."""
    mine = values[FAVOURED]
    others = ((name, x) for name, x in values.items() if name != FAVOURED)
    return [Contrast(quantity, FAVOURED, mine, name, x, True, **how) for name, x in others]


@claim(
    "Adam needs little tuning: many learning rates are good.",
    PAPER,
    "A width in decades does not ask where the good rates are.",
)
def wide_valley(setup: Setup) -> Measured:
    """25 rates from 0.00003 to 30, four to a decade; how many decades of them come within two points of the optimizer's
    best test accuracy after 300 steps of 32 scanned digits. A perceptron with 32 hidden units."""
    return compared({name: perceptrons(setup, name) for name in OPTIMIZERS}, "a perceptron")


@claim("Adam needs little tuning, of recurrent nets too.", PAPER)
def wide_valley_of_a_recurrent_net(setup: Setup) -> Measured:
    """The same for 32 tanh units that read a digit row by row."""
    return compared({name: readers(setup, name) for name in OPTIMIZERS}, "a recurrent net")


@claim("Adam's default rate is good as it is.", f"{PAPER}: good default settings are α = 0.001 ...")
def defaults(setup: Setup) -> Measured:
    """The test accuracy of the perceptron after those 300 steps with the rates that Keras has where none is given:
    0.001 for Adam and RMSProp, 0.01 for descent with momentum 0.9 and without."""
    rows = {name: RATES.index(rate) for name, rate in DEFAULTS.items()}
    ends = {name: perceptrons(setup, name).ends("test accuracy")[rows[name]] for name in OPTIMIZERS}
    return against(ends, "test accuracy", style=".1%", examples=TEST_ROWS, ceiling=1.0), []


CLAIMS = (wide_valley, wide_valley_of_a_recurrent_net, defaults)
