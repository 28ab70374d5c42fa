"""Batch, mini-batch and single examples: noise, time and memory, counted rather than clocked."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import gradx
from benchmarks.course.claim import Contrast, Measured, Panel, Setup, claim
from benchmarks.course.training import Problem, Trained, digits, perceptron, steps_to, train
from benchmarks.tasks.tabular import Rows

TITLE = "Batch, mini-batch, single examples"
SIZES = {"batch": 1437, "mini-batch": 32, "stochastic": 1}
"""Examples of one step, by the names of the races: all, some, one."""
STEPS = {"batch": 600, "mini-batch": 1000, "stochastic": 20_000}
RATES = {"batch": [0.3, 1.0, 3.0], "mini-batch": [0.1, 0.3, 1.0], "stochastic": [0.003, 0.01, 0.03, 0.1]}
LOOKS = 50
TARGET = 0.2
"""Of the training loss; it begins near 2.5."""
DRAWS = 200
BOOK = "Goodfellow, Bengio and Courville 2016, Deep learning, section 8.1.3"


@functools.cache
def trained(setup: Setup, size: str) -> Trained:
    """Return descent with one size of batch."""
    problem = perceptron(batch=SIZES[size], sets={"train": digits()[0]})
    tuning = (1000,) if size == "batch" else (1000, 1001)
    steps = STEPS[size]
    return train(setup, problem, gradx.sgd(0.1), {"learning_rate": RATES[size]}, steps, looks=LOOKS, tuning=tuning)


def curve(setup: Setup, size: str) -> tuple[np.ndarray, np.ndarray]:
    """Return the training loss [seeds, looks] with the best rate, and the steps of the looks."""
    found = trained(setup, size)
    member = int(np.argmin(_reached(found.seen["train loss"][:, -found.tuning :], found.steps).mean(1)))
    return found.of("train loss", member), found.steps


def _reached(curves: np.ndarray, steps: np.ndarray) -> np.ndarray:
    return steps_to(np.nan_to_num(curves, nan=np.inf), steps, TARGET)


@claim(
    "The gradient of one example is noisy, that of a mini-batch less so, that of the whole set not at all.",
    f"{BOOK}: the standard error falls with the root of the number of examples",
)
def noise_of_gradients(setup: Setup) -> Measured:
    """The norm of what a drawn gradient differs by from that of all 1,437 scanned digits, relative to its norm: the
    root of the mean square over 200 draws, at the start of a perceptron with 32 hidden units."""
    rows = digits()[0]

    @jax.jit
    def noise(key: jax.Array) -> dict[str, jax.Array]:
        begin, draw = jax.random.split(key)
        start = perceptron().start(begin)

        def of(batch: Rows) -> jax.Array:
            return ravel_pytree(jax.grad(perceptron().loss)(start, batch))[0]

        whole, found = of(rows), {}
        for name, size in SIZES.items():
            sample = perceptron(batch=size).sample
            keys = jax.random.split(draw, 1 if size == len(rows.label) else setup.steps(DRAWS))
            squares = jax.lax.map(lambda k, sample=sample: jnp.sum((of(sample(k, 0)) - whole) ** 2), keys)
            found[name] = jnp.sqrt(squares.mean() / jnp.sum(whole**2))
        return found

    seeds = [noise(jax.random.key(seed)) for seed in setup.seeds]
    found = {name: [float(x[name]) for x in seeds] for name in SIZES}
    what = "noise of a gradient, relative to its norm"
    return [
        Contrast(what, "batch", found["batch"], "mini-batch", found["mini-batch"]),
        Contrast(what, "mini-batch", found["mini-batch"], "stochastic", found["stochastic"]),
    ], []


@claim(
    "With mini-batches the same loss takes far less computation than with the whole set at every step.",
    "Bottou, Curtis and Nocedal 2018, arXiv:1606.04838, section 3.3",
)
def gradients_of_examples(setup: Setup) -> Measured:
    """Gradients of examples until the training loss of a perceptron with 32 hidden units on 1,437 scanned digits is
    0.2; plain descent, each with the best of its rates."""
    found = {name: curve(setup, name) for name in SIZES}
    counts = {name: SIZES[name] * _reached(*found[name]) for name in SIZES}
    looks = {name: float(SIZES[name] * steps[0]) for name, (_, steps) in found.items()}
    what = f"gradients of examples until a loss of {TARGET}"
    curves, steps = ({name: x[i] for name, x in found.items()} for i in (0, 1))
    examples = {name: SIZES[name] * x for name, x in steps.items()}
    panels = [
        Panel("training loss", examples, curves, "gradients of examples", "xy"),
        Panel("training loss", steps, curves, "steps", "xy"),
    ]
    return [
        Contrast(
            what, "mini-batch", counts["mini-batch"], "batch", counts["batch"], style=",.0f", margin=looks["batch"]
        )
    ], panels


@claim(
    "Single examples need many steps one after the other, which no parallel hardware shortens; the larger the batch,"
    " the fewer.",
    BOOK,
)
def steps_in_sequence(setup: Setup) -> Measured:
    """The same trainings: steps until the training loss is 0.2."""
    found = {name: curve(setup, name) for name in SIZES}
    steps = {name: _reached(*x) for name, x in found.items()}
    what, style = f"steps until a loss of {TARGET}", ",.0f"
    return [
        Contrast(what, a, steps[a], b, steps[b], style=style, margin=float(found[b][1][0]))
        for a, b in (("mini-batch", "stochastic"), ("batch", "mini-batch"))
    ], []


@claim(
    "The memory that a step takes grows with the batch.",
    BOOK,
    "A count, the same for every seed.",
)
def memory(setup: Setup) -> Measured:
    """Bytes of parameters, batch and temporaries, as XLA counts them for the compiled gradient of that perceptron, by
    the number of rows that it is given."""

    def bytes_of(size: int) -> float:
        problem: Problem = perceptron()
        start = problem.start(jax.random.key(0))
        rows = Rows(*(x[:size] for x in digits()[0]))
        analysis = jax.jit(jax.grad(problem.loss)).lower(start, rows).compile().memory_analysis()
        return float(analysis.temp_size_in_bytes + analysis.argument_size_in_bytes) if analysis else float("nan")

    counts = {name: [bytes_of(size)] * len(setup.seeds) for name, size in SIZES.items()}
    what, style = "bytes for a gradient", ",.0f"
    return [
        Contrast(what, a, counts[a], b, counts[b], style=style)
        for a, b in (("mini-batch", "batch"), ("stochastic", "mini-batch"))
    ], []


CLAIMS = (noise_of_gradients, gradients_of_examples, steps_in_sequence, memory)
