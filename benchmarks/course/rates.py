"""A learning rate too high, and one too low."""

import functools

import numpy as np

import gradx
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.momentum import bowl
from benchmarks.course.noise import RATE as SMALL, descent
from benchmarks.course.training import Trained, digits, perceptron, train

TITLE = "The learning rate"
STEPS = 300
GOOD, HIGH, LOW = 0.3, 30.0, 0.003
"""Of plain descent; the middle one is the best of its decade, the others a hundred times as high and as low."""
LONGER = 10
EDGE = 2.0
"""Over the largest curvature, which is 1 here."""
EDGE_STEPS = 400
BUMPY_STEPS = 1000
JUMPS = 0.1
"""A rate with which descent jumps over the bumps: times their curvature it is 4."""
BOOK = "Goodfellow, Bengio and Courville 2016, Deep learning, section 8.3.1; Bengio 2012, arXiv:1206.5533"


@functools.cache
def trained(setup: Setup) -> Trained:
    """Return plain descent with the three rates."""
    problem = perceptron(sets=dict(zip(("train", "test"), digits(), strict=True)))
    rates = {"learning_rate": [GOOD, HIGH, LOW]}
    return train(setup, problem, gradx.sgd(0.1), rates, STEPS, tuning=(), before=True)


@claim(
    "A learning rate too high makes training diverge.",
    BOOK,
    "It does not run away to infinity: the first steps switch the ReLUs off for good, and then nothing moves but the"
    " bias of the logits.",
)
def too_high_diverges(setup: Setup) -> Measured:
    """Plain descent of a perceptron with 32 hidden units on scanned digits, with a hundred times a good rate (30 for
    0.3): the training loss after 300 steps of 32 against that before the first."""
    found = trained(setup)
    curves = {f"rate {rate:g}": found.of("train loss", i) for i, rate in enumerate((GOOD, HIGH, LOW))}
    high = found.of("train loss", 1)
    panel = Panel("plain descent: training loss", found.steps, curves, log="y")
    return [Contrast("training loss", "before the first step", high[:, 0], "at the end", high[:, -1])], [panel]


@claim("With a learning rate too high the network never improves.", BOOK)
def too_high_never_improves(setup: Setup) -> Measured:
    """The same trainings: the lowest training loss of twenty looks on the way against that before the first step."""
    losses = trained(setup).of("train loss", 1)
    lowest = np.nan_to_num(losses[:, 1:], nan=np.inf).min(-1)
    return [Contrast("training loss", "before the first step", losses[:, 0], "lowest on the way", lowest)], []


@claim(
    "The edge is at 2 over the largest curvature: just below it descent converges, just above it diverges.",
    "Nesterov 2004, Introductory lectures on convex optimization, section 1.2.3; LeCun et al. 1998, Efficient BackProp",
)
def edge(setup: Setup) -> Measured:
    """A quadratic in 20 dimensions with the largest curvature 1: its value after 400 steps against that at the start,
    as logarithms to the base 10, with rates of 1.9 and of 2.1."""
    rates = {"learning_rate": [0.95 * EDGE, 1.05 * EDGE]}
    found = train(setup, bowl(), gradx.sgd(0.1), rates, EDGE_STEPS, tuning=(), before=True)
    below, above = (found.of("value", i) for i in (0, 1))
    panel = Panel("a quadratic: its value", found.steps, {"rate 1.9": below, "rate 2.1": above}, log="y")
    logs = np.log10(below), np.log10(above)
    return [
        Contrast("log10 of the value, rate 1.9", "at the end", logs[0][:, -1], "at the start", logs[0][:, 0]),
        Contrast("log10 of the value, rate 2.1", "at the start", logs[1][:, 0], "at the end", logs[1][:, -1]),
    ], [panel]


@claim("A learning rate too low is slow.", BOOK)
def too_low_is_slow(setup: Setup) -> Measured:
    """The training loss with a good rate after 300 steps, against that with a hundredth of it after as many, and after
    ten times as many."""
    found = trained(setup)
    good, low = (found.of("train loss", i)[:, -1] for i in (0, 2))
    rates = {"learning_rate": [LOW]}
    longer = train(setup, perceptron(), gradx.sgd(0.1), rates, LONGER * STEPS, looks=4, tuning=())
    late = longer.of("train loss", 0)[:, -1]
    return [
        Contrast("training loss", "rate 0.3, 300 steps", good, "rate 0.003, 300 steps", low),
        Contrast("training loss", "rate 0.3, 300 steps", good, "rate 0.003, 3,000 steps", late),
    ], []


@claim(
    "A learning rate too low gets stuck in poor local minima that a higher one passes over.",
    "Goodfellow, Bengio and Courville 2016, Deep learning, figure 11.1; Bengio 2012, arXiv:1206.5533",
    "A constructed function.",
)
def too_low_is_stuck(setup: Setup) -> Measured:
    """Rastrigin's function in ten dimensions from 64 starts for every seed: the value after 1,000 steps with a rate of
    0.01, and with a cosine that begins at 0.1, ten times as high."""
    steps = setup.steps(BUMPY_STEPS)
    high = gradx.cosine_decay_schedule(JUMPS, steps)
    found = {
        name: train(setup, descent(0.0), gradx.sgd(rate), {"learning_rate": [rate]}, BUMPY_STEPS, tuning=())
        for name, rate in {"from 0.1 down": high, "0.01": SMALL}.items()
    }
    curves = {name: x.of("value", 0) for name, x in found.items()}
    panel = Panel("a bumpy function: its value", found["0.01"].steps, curves, log="y")
    pair = [x[:, -1] for x in curves.values()]
    return [Contrast("value at the end", "from 0.1 down", pair[0], "0.01", pair[1])], [panel]


CLAIMS = (too_high_diverges, too_high_never_improves, edge, too_low_is_slow, too_low_is_stuck)
