"""Momentum: that it accelerates, that it damps, and what it does in deeper nets."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Problem, Trained, digits, perceptron, steps_to, train

TITLE = "Momentum"
BETA = 0.9
OPTIMIZERS = {"sgd": gradx.sgd(0.1), "momentum": gradx.sgd(0.1, momentum=BETA)}
DIMENSIONS, CONDITION = 20, 100.0
QUADRATIC_STEPS, QUADRATIC_TARGET = 1000, 1e-3
QUADRATIC_RATES = {"sgd": [1.0, 1.4, 1.7, 1.9, 1.96], "momentum": [0.03, 0.1, 0.3, 1.0, 2.0, 3.0]}
TARGET = 0.1
RATES = {
    "sgd": [0.2, 0.3, 0.45, 0.7, 1.0, 1.5, 2.2],
    "momentum": [0.02, 0.03, 0.045, 0.07, 0.1, 0.15, 0.22, 0.45],
}
"""Close together: a coarse grid would decide what is to be found out."""
STEPS = {"batch": 400, "mini-batch": 800}
SIZES = {"batch": 1437, "mini-batch": 32}
RAVINE_STEPS = 100
SHOWN = 40
"""Of these steps, so few that each is drawn."""
STEEP = 1.8
"""The rate times the curvature across the ravine: descent overshoots above 1 and diverges above 2."""
DEPTHS = (1, 8)
DEEP_RATES = {"sgd": [0.01, 0.03, 0.1, 0.3, 1.0, 3.0], "momentum": [0.001, 0.003, 0.01, 0.03, 0.1, 0.3]}
DEEP_STEPS = 500
LAST = 4
"""Looks at the end over which a loss is averaged."""


def bowl() -> Problem:
    """Return a quadratic in 20 dimensions, curvatures from 0.01 to 1, turned at random."""
    curvatures = jnp.geomspace(1 / CONDITION, 1.0, DIMENSIONS)

    def start(key: jax.Array) -> jax.Array:
        return jax.random.normal(key, (DIMENSIONS,)) / jnp.sqrt(curvatures * DIMENSIONS / 2)  # every axis the same part

    def loss(x: jax.Array, _: None) -> jax.Array:
        return jnp.sum(curvatures * x**2) / 2

    return Problem(start, lambda key, number: None, loss, lambda x: {"value": loss(x, None)})


def fastest(found: Trained, name: str, target: float) -> np.ndarray:
    """Return the curves [seeds, looks] of the rate that is first at the target with the seeds that tune."""
    curves = np.nan_to_num(found.seen[name][:, -found.tuning :], nan=np.inf)
    times = steps_to(curves, found.steps, target) + curves[..., -1].clip(max=1e6) / 1e7  # of equal ones the lower end
    return found.of(name, int(np.argmin(times.mean(1))))


def race(setup: Setup, curves: dict[str, np.ndarray], steps: np.ndarray, target: float) -> Contrast:
    """Return momentum against plain descent, by the steps to a target."""
    counts = {name: steps_to(np.nan_to_num(x, nan=np.inf), steps, target) for name, x in curves.items()}
    what, apart = f"steps until {target:g}", float(steps[0])
    return Contrast(what, "momentum", counts["momentum"], "sgd", counts["sgd"], style=",.0f", margin=apart)


@claim(
    "Momentum accelerates descent along a ravine.",
    "Polyak 1964, doi:10.1016/0041-5553(64)90137-5; Sutskever et al. 2013, ICML",
)
def accelerates_in_a_ravine(setup: Setup) -> Measured:
    """A quadratic in 20 dimensions, the steepest curvature 100 times the flattest, at the start all add as much; steps
    until it is a thousandth. Momentum 0.9; each with the best of its rates."""
    curves, steps = {}, np.zeros(0)
    for name, tx in OPTIMIZERS.items():
        found = train(setup, bowl(), tx, {"learning_rate": QUADRATIC_RATES[name]}, QUADRATIC_STEPS, looks=250)
        curves[name], steps = fastest(found, "value", QUADRATIC_TARGET), found.steps
    panel = Panel("a quadratic of condition 100: its value", steps, curves, log="y", ylim=(1e-5, 3))
    return [race(setup, curves, steps, QUADRATIC_TARGET)], [panel]


@functools.cache
def on_digits(setup: Setup, size: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Return the curves of the training loss of both, each with its best rate."""
    curves, steps = {}, np.zeros(0)
    problem = perceptron(batch=SIZES[size], sets={"train": digits()[0]})
    for name, tx in OPTIMIZERS.items():
        found = train(setup, problem, tx, {"learning_rate": RATES[name]}, STEPS[size], looks=50)
        curves[name], steps = fastest(found, "train loss", TARGET), found.steps
    return curves, steps


@claim("Momentum accelerates training with the whole set.", "Sutskever et al. 2013, ICML")
def accelerates_with_the_whole_set(setup: Setup) -> Measured:
    """A perceptron with 32 hidden units on 1,437 scanned digits, all at every step: steps until the training loss is
    0.1. Each with the best of its rates."""
    curves, steps = on_digits(setup, "batch")
    return [race(setup, curves, steps, TARGET)], [
        Panel("all digits at each step: training loss", steps, curves, log="y")
    ]


@claim(
    "Momentum accelerates training with mini-batches.",
    "Ruder 2016, arXiv:1609.04747, section 4.1",
    "At batches this small theory expects little: momentum then acts as a rate 1/(1 − β) times as large.",
)
def accelerates_with_mini_batches(setup: Setup) -> Measured:
    """The same with 32 digits at each step."""
    curves, steps = on_digits(setup, "mini-batch")
    return [race(setup, curves, steps, TARGET)], [
        Panel("32 digits at each step: training loss", steps, curves, log="y")
    ]


@functools.cache
def across(setup: Setup, name: str, rate: float) -> np.ndarray:
    """Return the places across a ravine: [seeds, steps + 1]."""
    curvatures = jnp.array([1.0, 1 / CONDITION])

    def start(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (2,), minval=0.5, maxval=1.5)

    problem = Problem(start, lambda *_: None, lambda x, _: jnp.sum(curvatures * x**2) / 2, lambda x: {"across": x[0]})
    rates = {"learning_rate": [rate]}
    found = train(setup, problem, OPTIMIZERS[name], rates, RAVINE_STEPS, looks=RAVINE_STEPS, tuning=(), before=True)
    return found.of("across", 0)


def damped(setup: Setup, rate: float) -> Measured:
    """Return what momentum does across a ravine with this rate, against plain descent with 1.8."""
    places = {"sgd": across(setup, "sgd", STEEP), "momentum": across(setup, "momentum", rate)}
    moves = {name: np.diff(x, axis=-1) for name, x in places.items()}
    turns = {name: (np.diff(np.sign(x), axis=-1) != 0).sum(-1) for name, x in moves.items()}
    way = {name: np.abs(x).sum(-1) for name, x in moves.items()}
    shown = {name: x[:, : SHOWN + 1] for name, x in places.items()}
    panel = Panel(f"across a ravine, momentum's rate {rate:g}", np.arange(len(shown["sgd"][0])), shown)
    return [
        Contrast("turns", "momentum", turns["momentum"], "sgd", turns["sgd"], style=".0f"),
        Contrast("way across", "momentum", way["momentum"], "sgd", way["sgd"]),
    ], [panel]


@claim(
    "Momentum damps the oscillations across a ravine (at the same effective rate, the rate over 1 − β).",
    "Qian 1999, doi:10.1016/S0893-6080(98)00116-6; Ruder 2016, arXiv:1609.04747, section 4.1",
    "Fewer turns and a shorter way; but the swings of plain descent die out sooner, as the picture shows.",
)
def damps_at_the_same_effective_rate(setup: Setup) -> Measured:
    """A ravine of condition 100. Plain descent at nine tenths of the rate at which it diverges overshoots at each step;
    momentum 0.9 with a tenth of that rate. Turns, and the way, across the ravine in 100 steps; the starts are drawn."""
    return damped(setup, STEEP * (1 - BETA))


@claim(
    "Momentum damps the oscillations across a ravine (at the same rate).",
    "as often said, without a word on the rate",
)
def damps_at_the_same_rate(setup: Setup) -> Measured:
    """The same, but for both the same rate."""
    return damped(setup, STEEP)


@functools.cache
def by_depth(setup: Setup, depth: int, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the curve of a tanh network with so many hidden layers, and the steps."""
    problem = perceptron(depth=depth, gain=1.0, activation=jnp.tanh, sets={"train": digits()[0]})
    found = train(setup, problem, OPTIMIZERS[name], {"learning_rate": DEEP_RATES[name]}, DEEP_STEPS)
    return found.of("online", found.best("online", last=LAST)), found.steps


def ends(setup: Setup, depth: int, name: str) -> np.ndarray:
    """Return the loss at the end: [seeds]."""
    return by_depth(setup, depth, name)[0][:, -LAST:].mean(-1)


@claim("Momentum is what makes deeper nets train well.", "Sutskever et al. 2013, ICML")
def trains_deeper_nets(setup: Setup) -> Measured:
    """Eight hidden layers of 32 tanh units on scanned digits, 500 steps of 32: the mean loss of the last 100 steps,
    each with the best of its rates."""
    curves = {name: by_depth(setup, DEPTHS[-1], name)[0] for name in OPTIMIZERS}
    panel = Panel("eight hidden layers: loss", by_depth(setup, DEPTHS[-1], "sgd")[1], curves, log="y")
    pair = (ends(setup, DEPTHS[-1], name) for name in ("momentum", "sgd"))
    return [Contrast("loss at the end", "momentum", next(pair), "sgd", next(pair))], [panel]


@claim("Momentum helps more the deeper the net.", "Sutskever et al. 2013, ICML")
def helps_more_in_deeper_nets(setup: Setup) -> Measured:
    """How many times lower momentum's loss is than plain descent's, as a logarithm to the base 10: with eight hidden
    layers against one."""
    gains = [np.log10(ends(setup, depth, "sgd") / ends(setup, depth, "momentum")) for depth in DEPTHS]
    return [Contrast("decades gained", "8 layers", gains[1], "1 layer", gains[0], higher_is_better=True)], []


CLAIMS = (
    accelerates_in_a_ravine,
    accelerates_with_the_whole_set,
    accelerates_with_mini_batches,
    damps_at_the_same_effective_rate,
    damps_at_the_same_rate,
    trains_deeper_nets,
    helps_more_in_deeper_nets,
)
