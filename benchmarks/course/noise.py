"""Noise helps to leave local minima: on a function made of them, and on a small network."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Problem, Trained, few_digits, perceptron, train

TITLE = "Noise and local minima"
DIMENSIONS, STARTS = 10, 64
STEPS = 2000
NOISE = 12.0
RATE = 0.01
NARROW, WIDE = 4, 64
BATCHES = {"batch": 400, "mini-batch": 16}
NETWORK_STEPS = 1500
RATES = {"batch": [0.1, 0.3, 1.0, 3.0], "mini-batch": [0.03, 0.1, 0.3, 1.0]}
TESTED = 997


def bumpy(x: jax.Array) -> jax.Array:
    """Return Rastrigin's function with hills of 2, the mean over coordinates: 0 at 0, a minimum near each integer."""
    return jnp.mean(jnp.sum(x**2 + 1 - jnp.cos(2 * jnp.pi * x), axis=-1)) / DIMENSIONS


def descent(noise: float, starts: int = STARTS) -> Problem:
    """Return descent of the bumpy function from many starts; the noise of the gradient ends after two thirds."""

    def start(key: jax.Array) -> jax.Array:
        return jax.random.uniform(key, (starts, DIMENSIONS), minval=-4.0, maxval=4.0)

    def sample(key: jax.Array, number: jax.Array) -> jax.Array:
        left = jnp.maximum(0.0, 1 - number / (STEPS * 2 / 3))
        return noise * left * jax.random.normal(key, (starts, DIMENSIONS))

    def loss(x: jax.Array, drawn: jax.Array) -> jax.Array:
        return starts * DIMENSIONS * bumpy(x) + jnp.sum(drawn * x)  # of every start its own gradient, plus the noise

    return Problem(start, sample, loss, lambda x: {"value": bumpy(x)})


@claim(
    "Noise in the gradient carries descent out of poor local minima.",
    "Bottou 1991, Stochastic gradient learning in neural networks; Ruder 2016, arXiv:1609.04747, section 2.2",
    "A constructed function, and noise that is as large as its slopes and fades: nobody tells how large it should be.",
)
def noise_leaves_poor_minima(setup: Setup) -> Measured:
    """Rastrigin's function in ten dimensions, with a local minimum near each whole number; 64 starts for every seed.
    The mean value at the end, with Gaussian noise on the gradient that fades out, and without; one rate.
    2,000 steps."""
    found = {
        name: train(setup, descent(size), gradx.sgd(RATE), {"learning_rate": [RATE]}, STEPS, tuning=())
        for name, size in {"with noise": NOISE, "without": 0.0}.items()
    }
    ends = {name: x.ends("value")[0] for name, x in found.items()}
    panel = Panel(
        "a bumpy function: its value", found["without"].steps, {name: x.of("value", 0) for name, x in found.items()}
    )
    return [Contrast("value at the end", "with noise", ends["with noise"], "without", ends["without"])], [panel]


@functools.cache
def networks(setup: Setup, size: str, width: int) -> Trained:
    """Return descent of a perceptron on 400 digits, with a cosine."""
    problem = perceptron(width, BATCHES[size], sets=dict(zip(("train", "valid", "test"), few_digits(), strict=True)))
    steps = setup.steps(NETWORK_STEPS)
    schedules = [gradx.cosine_decay_schedule(rate, steps) for rate in RATES[size]]
    return train(setup, problem, gradx.sgd(schedules[0]), {"learning_rate": schedules}, NETWORK_STEPS)


def compared(setup: Setup, width: int, name: str, *, tuned: str, higher: bool) -> dict[str, np.ndarray]:
    """Return the curves of both with their best rates: [seeds, looks]."""
    found = {size: networks(setup, size, width) for size in BATCHES}
    return {size: x.of(name, x.best(tuned, higher=higher)) for size, x in found.items()}


@claim(
    "The noise of mini-batches helps to leave poor local minima of the training loss.",
    "Goodfellow, Bengio and Courville 2016, Deep learning, section 8.1.3; LeCun et al. 1998, Efficient BackProp, 4.1",
)
def mini_batches_leave_poor_minima(setup: Setup) -> Measured:
    """A perceptron so narrow (four hidden units) that where it ends depends on where it starts, on 400 scanned digits:
    the training loss after 1,500 steps of 16 digits against as many of all 400; each with a cosine and the best of
    its rates."""
    curves = compared(setup, NARROW, "train loss", tuned="train loss", higher=False)
    steps = networks(setup, "batch", NARROW).steps
    pair = curves["mini-batch"][:, -1], curves["batch"][:, -1]
    panel = Panel("four hidden units: training loss", steps, curves, log="y")
    return [Contrast("training loss at the end", "mini-batch", pair[0], "batch", pair[1])], [panel]


@claim(
    "Trained with small batches a network generalizes better than trained with the whole set.",
    "Keskar et al. 2017, arXiv:1609.04836",
)
def mini_batches_generalize(setup: Setup) -> Measured:
    """The same with 64 hidden units, which learn the 400 digits by heart: accuracy on 997 others. The rate is the one
    that is best on 400 further digits."""
    curves = compared(setup, WIDE, "test accuracy", tuned="valid accuracy", higher=True)
    steps = networks(setup, "batch", WIDE).steps
    pair = curves["mini-batch"][:, -1], curves["batch"][:, -1]
    panel = Panel("64 hidden units: test accuracy", steps, curves, ylim=(0.85, 0.97))
    contrast = Contrast(
        "test accuracy", "mini-batch", pair[0], "batch", pair[1], True, ".1%", examples=TESTED, ceiling=1.0
    )
    return [contrast], [panel]


CLAIMS = (noise_leaves_poor_minima, mini_batches_leave_poor_minima, mini_batches_generalize)
