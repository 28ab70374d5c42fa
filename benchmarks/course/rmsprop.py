"""RMSProp: on targets that move, under noisy gradients, in recurrent nets; against all that a course knows."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Problem, Trained, few_digits, perceptron, reader, train
from benchmarks.tasks.tabular import CLASSES, Rows

TITLE = "RMSProp"
FAVOURED = "rmsprop"
OPTIMIZERS = {
    "rmsprop": gradx.rmsprop(0.1),
    "sgd": gradx.sgd(0.1),
    "momentum": gradx.sgd(0.1, momentum=0.9),
    "adagrad": gradx.adagrad(0.1),
    "adam": gradx.adam(0.1),
}
RATES = {
    "rmsprop": [1e-3, 3e-3, 1e-2, 3e-2, 0.1],
    "sgd": [0.03, 0.1, 0.3, 1.0, 3.0],
    "momentum": [0.003, 0.01, 0.03, 0.1, 0.3],
    "adagrad": [0.01, 0.03, 0.1, 0.3, 1.0],
    "adam": [1e-3, 3e-3, 1e-2, 3e-2, 0.1],
}
STEPS = 800
PERIOD = 100
"""Steps until the classes change their names."""
NOISY_BATCH, NOISY_LABELS = 4, 0.3
READER_STEPS = 500
TESTED = 997
LAST = 4
"""Looks at the end over which a loss is averaged."""
LECTURE = "Hinton 2012, Neural networks for machine learning, lecture 6e"


def trained(setup: Setup, problem: Problem, steps: int, shift: float = 1.0) -> dict[str, Trained]:
    """Return what every optimizer does with each of its rates, times `shift`."""
    return {
        name: train(setup, problem, tx, {"learning_rate": [shift * x for x in RATES[name]]}, steps)
        for name, tx in OPTIMIZERS.items()
    }


def against(values: dict[str, np.ndarray], quantity: str, **how: object) -> Sequence[Contrast]:
    """Return RMSProp against each of the others."""
    mine = values[FAVOURED]
    return [Contrast(quantity, FAVOURED, mine, name, x, **how) for name, x in values.items() if name != FAVOURED]


@claim("RMSProp is the choice for targets that move.", LECTURE)
def moving_targets(setup: Setup) -> Measured:
    """A perceptron with 32 hidden units on scanned digits whose names change every 100 steps: what was class 3 is then
    class 4. The mean loss of all 800 steps of 32 digits, each optimizer with the best of five rates."""
    plain = perceptron()

    def sample(key: jax.Array, number: jax.Array) -> Rows:
        rows = plain.sample(key, number)
        return rows._replace(label=(rows.label + number // PERIOD) % CLASSES)

    found = trained(setup, Problem(plain.start, sample, plain.loss), STEPS)
    curves = {name: x.of("online", x.best("online", last=len(x.steps))) for name, x in found.items()}
    panel = Panel("classes change names: loss", found[FAVOURED].steps, curves)
    return against({name: x.mean(-1) for name, x in curves.items()}, "mean loss"), [panel]


@claim(
    "RMSProp is the choice for noisy gradients.",
    f"{LECTURE}: a running mean of squares makes rprop work with mini-batches",
)
def noisy_gradients(setup: Setup) -> Measured:
    """The same network, on 400 digits, four at each of 800 steps, 30 % of them with a label drawn at random: accuracy
    on 997 digits with right labels. The rate is the one that is best on 400 further digits."""
    plain = perceptron(batch=NOISY_BATCH, sets=dict(zip(("train", "valid", "test"), few_digits(), strict=True)))

    def sample(key: jax.Array, number: jax.Array) -> Rows:
        which, wrong = jax.random.split(jax.random.fold_in(key, 1))
        rows = plain.sample(key, number)
        drawn = jax.random.randint(which, rows.label.shape, 0, CLASSES)
        return rows._replace(label=jnp.where(jax.random.uniform(wrong, drawn.shape) < NOISY_LABELS, drawn, rows.label))

    found = trained(setup, plain._replace(sample=sample), STEPS, shift=0.3)
    curves = {name: x.of("test accuracy", x.best("valid accuracy", higher=True, last=1)) for name, x in found.items()}
    panel = Panel("noisy labels, four digits: test accuracy", found[FAVOURED].steps, curves, ylim=(0.5, 0.95))
    how = {"higher_is_better": True, "style": ".1%", "examples": TESTED, "ceiling": 1.0}
    return against({name: x[:, -1] for name, x in curves.items()}, "test accuracy", **how), [panel]


@functools.cache
def recurrent(setup: Setup) -> dict[str, Trained]:
    """Return the trainings of a recurrent network."""
    return trained(setup, reader(), READER_STEPS, shift=0.3)


@claim("RMSProp is the choice for recurrent nets.", "Graves 2013, arXiv:1308.0850; Chollet, the documentation of Keras")
def recurrent_nets(setup: Setup) -> Measured:
    """32 tanh units that read a scanned digit row by row, 500 steps of 16 digits: the mean loss of the last 100 steps,
    each optimizer with the best of five rates."""
    found = recurrent(setup)
    curves = {name: x.of("online", x.best("online", last=LAST)) for name, x in found.items()}
    panel = Panel("a recurrent net: loss", found[FAVOURED].steps, curves, log="y")
    return against({name: x[:, -LAST:].mean(-1) for name, x in curves.items()}, "loss at the end"), [panel]


CLAIMS = (moving_targets, noisy_gradients, recurrent_nets)
