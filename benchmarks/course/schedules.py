"""Step, cosine and warmup against a constant learning rate."""

import functools
from collections.abc import Callable

import numpy as np

import gradx
from benchmarks.course.adam import APART, GOOD
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Trained, digits, perceptron, train

TITLE = "Schedules"
STEPS = 600
RATES = [0.01, 0.03, 0.1, 0.3, 1.0]
"""Of descent with momentum 0.9."""
WARMUP = 0.1
"""The share of the steps over which the rate rises."""
SCHEDULES: dict[str, Callable[[float, int], gradx.Schedule]] = {
    "constant": lambda rate, steps: gradx.constant_schedule(rate),
    "step": lambda rate, steps: gradx.piecewise_constant_schedule(rate, {steps // 2: 0.1, steps * 3 // 4: 0.1}),
    "cosine": lambda rate, steps: gradx.cosine_decay_schedule(rate, steps),
    "warmup": lambda rate, steps: gradx.warmup_constant_schedule(0.0, rate, max(1, int(WARMUP * steps))),
    "warmup, cosine": lambda rate, steps: gradx.warmup_cosine_decay_schedule(
        0.0, rate, max(1, int(WARMUP * steps)), steps
    ),
}
HIGH = tuple(float(f"{10 ** (APART * k):.3g}") for k in range(-12, 1))
"""From 0.001 to 1."""
DEPTH = 4


@functools.cache
def trained(setup: Setup, name: str) -> Trained:
    """Return trainings with a schedule and every rate."""
    steps = setup.steps(STEPS)
    schedules = [SCHEDULES[name](rate, steps) for rate in RATES]
    tx = gradx.sgd(schedules[0], momentum=0.9)
    problem = perceptron(sets={"train": digits()[0]})
    return train(setup, problem, tx, {"learning_rate": schedules}, STEPS)


def against(setup: Setup, name: str, other: str) -> Measured:
    """Return the training loss at the end with one schedule against another, each with the best of its rates."""
    found = {x: trained(setup, x) for x in (name, other)}
    curves = {x: y.of("train loss", y.best("train loss")) for x, y in found.items()}
    return [Contrast("training loss at the end", name, curves[name][:, -1], other, curves[other][:, -1])], [
        Panel(f"{name} against {other}: training loss", found[name].steps, curves, log="y")
    ]


@claim(
    "Dividing the rate by ten now and then ends lower than a constant one.",
    "He et al. 2016, arXiv:1512.03385; Robbins and Monro 1951, doi:10.1214/aoms/1177729586",
)
def step_against_constant(setup: Setup) -> Measured:
    """Descent with momentum 0.9 of a perceptron with 32 hidden units, 600 steps of 32 scanned digits; the loss on all
    1,437 at the end. A tenth of the rate after half of the steps and again after three quarters. Each schedule has the
    best of five highest rates."""
    return against(setup, "step", "constant")


@claim("A cosine down to zero ends lower than a constant rate.", "Loshchilov and Hutter 2017, arXiv:1608.03983")
def cosine_against_constant(setup: Setup) -> Measured:
    """The same, with a cosine."""
    return against(setup, "cosine", "constant")


@claim("Warmup before a constant rate ends lower than the constant rate alone.", "Goyal et al. 2017, arXiv:1706.02677")
def warmup_against_constant(setup: Setup) -> Measured:
    """The same; the rate rises from zero over the first tenth of the steps."""
    return against(setup, "warmup", "constant")


@claim("Warmup before a cosine ends lower than the cosine alone.", "Goyal et al. 2017, arXiv:1706.02677")
def warmup_before_a_cosine(setup: Setup) -> Measured:
    """The same, with both."""
    return against(setup, "warmup, cosine", "cosine")


@functools.cache
def steep(setup: Setup, name: str) -> Trained:
    """Return trainings of a deeper network, without momentum, with rates up to far too high ones."""
    steps = setup.steps(STEPS // 2)
    schedules = [SCHEDULES[name](rate, steps) for rate in HIGH]
    problem = perceptron(depth=DEPTH)
    return train(setup, problem, gradx.adam(schedules[0]), {"learning_rate": schedules}, STEPS // 2, looks=3, tuning=())


def highest(accuracies: np.ndarray) -> np.ndarray:
    """Return the logarithm of the highest rate within two points of the best accuracy; [rates, seeds] to [seeds]."""
    known = np.nan_to_num(accuracies)
    good = known >= known.max(0) - GOOD
    return np.log10(HIGH)[len(HIGH) - 1 - good[::-1].argmax(0)]


@claim("Warmup allows higher rates.", "Goyal et al. 2017, arXiv:1706.02677; Gotmare et al. 2019, arXiv:1810.13243")
def warmup_allows_higher_rates(setup: Setup) -> Measured:
    """Adam, four hidden layers of 32, 300 steps, 13 rates from 0.001 to 1, four to a decade: the highest, as a
    logarithm to the base 10, that comes within two points of the best test accuracy."""
    ends = {name: steep(setup, name).ends("test accuracy") for name in ("warmup", "constant")}
    panel = Panel("Adam: test accuracy", HIGH, {name: x.T for name, x in ends.items()}, "highest rate", "x")
    pair = [highest(x) for x in ends.values()]
    what = "logarithm of the highest good rate"
    return [Contrast(what, "warmup", pair[0], "constant", pair[1], True, ".2f", margin=APART)], [panel]


CLAIMS = (
    step_against_constant,
    cosine_against_constant,
    warmup_against_constant,
    warmup_before_a_cosine,
    warmup_allows_higher_rates,
)
