"""Gradients that vanish, gradients that explode, and what cures them."""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from benchmarks.course.adam import APART, width
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Problem, Trained, digits, perceptron, reader, train
from benchmarks.tasks.tabular import TEST_ROWS

TITLE = "Vanishing and exploding gradients"
WIDTH, DEPTH = 32, 8
STEPS = 400
RATES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]
READER_GAIN = 1.5
READER_RATES = tuple(float(f"{10 ** (APART * k):.3g}") for k in range(-12, 5))
"""From 0.001 to 10."""
READER_STEPS = 300
GLOROT = "Glorot and Bengio 2010, Understanding the difficulty of training deep feedforward neural networks"


def deep(activation: Callable, gain: float, *, residual: bool = False) -> Problem:
    """Return eight hidden layers of 32 on scanned digits."""
    return perceptron(WIDTH, depth=DEPTH, gain=gain, activation=activation, residual=residual)


def norms(setup: Setup, problem: Problem) -> np.ndarray:
    """Return the norms of the gradient by each hidden kernel at the start, of all digits: [seeds, layers]."""

    @jax.jit
    def of(key: jax.Array) -> jax.Array:
        gradients = jax.grad(problem.loss)(problem.start(key), digits()[0])
        first, others = jnp.linalg.norm(gradients["first"]["kernel"]), gradients["hidden"]["kernel"]
        return jnp.append(first, jnp.sqrt(jnp.sum(others**2, axis=(1, 2))))

    return np.stack([of(jax.random.key(seed)) for seed in setup.seeds])


@claim("Through many sigmoid layers the gradient vanishes on its way back to the first.", f"Hochreiter 1991; {GLOROT}")
def vanishing(setup: Setup) -> Measured:
    """Eight hidden layers of 32 sigmoids, weights that keep the size of what goes through a linear layer: the norm of
    the gradient by the kernel of the last hidden layer against that of the first, at the start, as a logarithm."""
    found = {
        "sigmoid": norms(setup, deep(jax.nn.sigmoid, 1.0)),
        "tanh": norms(setup, deep(jnp.tanh, 1.0)),
        "relu": norms(setup, deep(jax.nn.relu, 2**0.5)),
        "relu, gain 3": norms(setup, deep(jax.nn.relu, 3.0)),
        "sigmoid, residual": norms(setup, deep(jax.nn.sigmoid, 1.0, residual=True)),
    }
    logs = np.log10(found["sigmoid"])
    panel = Panel("norm of the gradient, by hidden layer", np.arange(1, DEPTH + 1), found, "hidden layer", "y")
    what = "log10 of the gradient's norm"
    return [Contrast(what, "last layer", logs[:, -1], "first layer", logs[:, 0], higher_is_better=True)], [panel]


@claim("Where the weights are too large the gradient explodes.", f"Bengio, Simard and Frasconi 1994; {GLOROT}")
def exploding(setup: Setup) -> Measured:
    """Eight hidden layers of 32 ReLUs whose weights are about twice as large as they should be (a gain of 3 for 1.4):
    the norm of the gradient by the first kernel at the start, against that with the right weights; as a logarithm."""
    large, right = (np.log10(norms(setup, deep(jax.nn.relu, gain))[:, 0]) for gain in (3.0, 2**0.5))
    what = "log10 of the gradient's norm"
    return [Contrast(what, "gain 3", large, "gain 1.4", right, higher_is_better=True)], []


@functools.cache
def trained(setup: Setup, name: str) -> Trained:
    """Return plain descent of a deep network with every rate."""
    problem = {
        "sigmoid": deep(jax.nn.sigmoid, 1.0),
        "relu": deep(jax.nn.relu, 2**0.5),
        "sigmoid, residual": deep(jax.nn.sigmoid, 1.0, residual=True),
    }[name]
    return train(setup, problem, gradx.sgd(0.1), {"learning_rate": RATES}, STEPS)


def cured(setup: Setup, name: str) -> Measured:
    """Return the test accuracy of a network against that of sigmoids, each with the rate of the lowest loss."""
    found = {x: trained(setup, x) for x in (name, "sigmoid")}
    curves = {x: y.of("test accuracy", y.best("online", last=4)) for x, y in found.items()}
    how = {"style": ".1%", "examples": TEST_ROWS, "ceiling": 1.0}
    pair = curves[name][:, -1], curves["sigmoid"][:, -1]
    panel = Panel(f"{name}: test accuracy", found[name].steps, curves, ylim=(0, 1.02))
    return [Contrast("test accuracy", name, pair[0], "sigmoid", pair[1], True, **how)], [panel]


@claim("ReLUs with weights to match train where sigmoids do not.", "He et al. 2015, arXiv:1502.01852")
def relu_cures(setup: Setup) -> Measured:
    """Both networks of eight hidden layers after 400 steps of plain descent on 32 scanned digits each, with the best of
    seven rates: test accuracy."""
    return cured(setup, "relu")


@claim("Residual connections train where plain layers do not.", "He et al. 2016, arXiv:1512.03385")
def residual_cures(setup: Setup) -> Measured:
    """The same for sigmoids, each layer added to what comes in, against sigmoids alone."""
    return cured(setup, "sigmoid, residual")


@claim(
    "Clipping the gradient makes up for explosions: more rates are good.",
    "Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063",
)
def clipping_widens_the_valley(setup: Setup) -> Measured:
    """32 tanh units that read a scanned digit in 32 steps of two pixels, the recurrent weights 1.5 times a rotation,
    300 steps of plain descent on 16 digits each; 17 rates from 0.001 to 10, four to a decade: how many decades of
    them come within two points of the best test accuracy, with the norm clipped to 1 and without."""
    problem, plain = reader(pixels=2, gain=READER_GAIN), gradx.sgd(0.1)
    arms = {"clipped": gradx.chain(gradx.clip_by_global_norm(1.0), plain), "as it is": plain}
    rates = {"learning_rate": list(READER_RATES)}
    ends = {
        name: train(setup, problem, tx, rates, READER_STEPS, looks=3, tuning=()).ends("test accuracy")
        for name, tx in arms.items()
    }
    panel = Panel("a recurrent net: test accuracy", READER_RATES, {x: y.T for x, y in ends.items()}, "rate", "x")
    pair = [width(x) for x in ends.values()]
    what = "decades of good rates"
    return [Contrast(what, "clipped", pair[0], "as it is", pair[1], True, ".2f", margin=APART)], [panel]


CLAIMS = (vanishing, exploding, relu_cures, residual_cures, clipping_widens_the_valley)
