"""What the claims train: small networks on real digits, all rates and seeds of an optimizer as one program."""

import functools
import itertools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from benchmarks.course.claim import Setup
from benchmarks.tasks.tabular import CLASSES, FEATURES, Rows, table
from gradx import GradientTransformation, losses

TUNING_SEEDS = (1000, 1001)
"""With which a rate is chosen: none of those that are shown."""
LOOKS = 20
BATCH = 32
FEW = 400
"""Rows to train on where networks are to learn them by heart; as many to choose by; 997 to test."""


class Problem(NamedTuple):
    """What is trained, as pure functions."""

    start: Callable[[jax.Array], Any]
    """From a key to the parameters."""
    sample: Callable[[jax.Array, jax.Array], Any]
    """From a key and the number of the step to what it learns from."""
    loss: Callable[[Any, Any], jax.Array]
    """From parameters and a sample to a scalar."""
    look: Callable[[Any], Mapping[str, jax.Array]] = lambda params: {}
    """From parameters to what is measured now and then: scalars, or arrays of one shape."""


@dataclass(frozen=True)
class Trained:
    """What was seen of trainings with several values and seeds."""

    values: Mapping[str, list]
    steps: np.ndarray
    """Done at each look."""
    seen: Mapping[str, np.ndarray]
    """By name: [members, seeds, looks]; the seeds that tune come last."""
    tuning: int
    """How many seeds tune."""

    def best(self, name: str, *, higher: bool = False, last: int = 1) -> int:
        """Return the member with the best mean over the last looks of the seeds that tune; NaN is the worst."""
        ends = self.seen[name][:, -self.tuning or None :, -last:].mean((1, 2)) * (1 if higher else -1)
        return int(np.argmax(np.where(np.isfinite(ends), ends, -np.inf)))

    def of(self, name: str, member: int) -> np.ndarray:
        """Return what the seeds that are shown have: [seeds, looks]."""
        found = self.seen[name][member]
        return found[: len(found) - self.tuning]

    def ends(self, name: str) -> np.ndarray:
        """Return the last look of all members, of the seeds that are shown: [members, seeds]."""
        found = self.seen[name][..., -1]
        return found[:, : found.shape[1] - self.tuning]


def train(
    setup: Setup,
    problem: Problem,
    tx: GradientTransformation,
    values: Mapping[str, Sequence],
    steps: int,
    *,
    looks: int = LOOKS,
    tuning: Sequence[int] = TUNING_SEEDS,
    before: bool = False,
) -> Trained:
    """Train with every value and seed; "online" is the mean loss of the steps since the look before.

    Args:
      setup: the seeds that are shown, and which share of the steps is done.
      problem: what is trained.
      tx: the optimizer, of which `values` vary.
      values: as `gradx.tune.sweep` takes them.
      steps: so many, down to a multiple of the looks.
      looks: so many, at equal distances.
      tuning: the seeds that choose among the values.
      before: look at the start too.
    """
    each = max(1, setup.steps(steps) // looks)
    looks = max(1, setup.steps(steps) // each)

    def run(tx: GradientTransformation, key: jax.Array) -> dict[str, jax.Array]:
        begin, draw = jax.random.split(key)
        params = problem.start(begin)

        def step(carry: tuple, number: jax.Array) -> tuple:
            params, state = carry
            sample = problem.sample(jax.random.fold_in(draw, number), number)
            value, gradients = jax.value_and_grad(problem.loss)(params, sample)
            updates, state = tx.update(gradients, state, params)
            return (gradx.apply_updates(params, updates), state), value

        def stretch(carry: tuple, numbers: jax.Array) -> tuple:
            carry, values = jax.lax.scan(step, carry, numbers)
            return carry, {"online": values.mean(), **problem.look(carry[0])}

        first = problem.look(params)
        _, seen = jax.lax.scan(stretch, (params, tx.init(params)), jnp.arange(looks * each).reshape(looks, each))
        if not before:
            return seen
        return {name: jnp.concatenate([x[None], seen[name]]) for name, x in first.items()}

    swept = gradx.tune.sweep(tx, run, values, seeds=(*setup.seeds, *tuning))
    steps_done = np.arange(0 if before else 1, looks + 1) * each
    return Trained(swept.values, steps_done, swept.results, len(tuning))


def steps_to(curves: np.ndarray, steps: np.ndarray, target: float) -> np.ndarray:
    """Return the steps at the first look whose value is at most the target, one look more where none is; [seeds]."""
    reached = curves <= target
    after = np.append(steps, 2 * steps[-1] - steps[-2] if len(steps) > 1 else steps[-1] + 1)
    return after[np.where(reached.any(-1), reached.argmax(-1), len(steps))]


@functools.cache
def digits() -> tuple[Rows, Rows]:
    """Return the rows of the `tabular` race: 1,437 to train on and 360 to test."""
    return tuple(Rows(*map(jnp.asarray, rows)) for rows in table())


@functools.cache
def few_digits() -> tuple[Rows, Rows, Rows]:
    """Return 400 rows to train on, 400 to choose by and 997 to test."""
    whole = Rows(*(jnp.concatenate(x) for x in zip(*digits(), strict=True)))
    cuts = (0, FEW, 2 * FEW, len(whole.label))
    first, second, third = (Rows(*(x[a:b] for x in whole)) for a, b in itertools.pairwise(cuts))
    return first, second, third


def mlp(width: int, depth: int = 1, *, gain: float = 1.0) -> Callable[[jax.Array], dict]:
    """Return how a perceptron on digits begins: normal weights with variance gain² / inputs, biases zero.

    The hidden layers after the first are stacked, so that a deep network compiles as fast as a shallow one.
    """

    def layer(key: jax.Array, *shape: int) -> dict:
        return {"kernel": gain * jax.random.normal(key, shape) / shape[-2] ** 0.5, "bias": jnp.zeros(shape[-1:])}

    def start(key: jax.Array) -> dict:
        first, hidden, last = jax.random.split(key, 3)
        layers = {"first": layer(first, FEATURES, width), "last": layer(last, width, CLASSES)}
        if depth > 1:
            layers["hidden"] = layer(hidden, depth - 1, width, width) | {"bias": jnp.zeros((depth - 1, width))}
        return layers

    return start


def logits(layers: dict, x: jax.Array, activation: Callable = jax.nn.relu, *, residual: bool = False) -> jax.Array:
    """Return what a perceptron says; with `residual` each hidden layer but the first adds to what comes in."""

    def through(x: jax.Array, layer: dict) -> tuple[jax.Array, None]:
        h = activation(x @ layer["kernel"] + layer["bias"])
        return (x + h if residual else h), None

    x = activation(x @ layers["first"]["kernel"] + layers["first"]["bias"])
    if "hidden" in layers:
        x, _ = jax.lax.scan(through, x, layers["hidden"])
    return x @ layers["last"]["kernel"] + layers["last"]["bias"]


def cross_entropy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the mean cross-entropy."""
    return losses.softmax_cross_entropy_with_integer_labels(scores, labels).mean()


def accuracy(scores: jax.Array, labels: jax.Array) -> jax.Array:
    """Return the share of rows whose largest score is the right one."""
    return jnp.mean(jnp.argmax(scores, axis=-1) == labels)


def judged(scores: Callable[[Any, jax.Array], jax.Array], **sets: Rows) -> Callable[[Any], dict[str, jax.Array]]:
    """Return a look: loss and accuracy on each set, "train loss", "train accuracy" and so on."""

    def look(params: Any) -> dict[str, jax.Array]:
        seen = {}
        for name, rows in sets.items():
            found = scores(params, rows.features)
            seen[f"{name} loss"] = cross_entropy(found, rows.label)
            seen[f"{name} accuracy"] = accuracy(found, rows.label)
        return seen

    return look


def batches(rows: Rows, size: int) -> Callable[[jax.Array, jax.Array], Rows]:
    """Return a sampler of so many rows at random, or of all where there are no more."""
    if size >= len(rows.label):
        return lambda key, number: rows

    def sample(key: jax.Array, number: jax.Array) -> Rows:
        chosen = jax.random.randint(key, (size,), 0, len(rows.label))
        return Rows(*(x[chosen] for x in rows))

    return sample


def perceptron(
    width: int = 32,
    batch: int = BATCH,
    *,
    depth: int = 1,
    gain: float = 2**0.5,
    activation: Callable = jax.nn.relu,
    residual: bool = False,
    sets: Mapping[str, Rows] | None = None,
) -> Problem:
    """Return a perceptron on digits: judged on its training rows and the test rows, or on these sets."""
    sets = sets or dict(zip(("train", "test"), digits(), strict=True))

    def scores(params: Any, x: jax.Array) -> jax.Array:
        return logits(params, x, activation, residual=residual)

    def loss(params: Any, rows: Rows) -> jax.Array:
        return cross_entropy(scores(params, rows.features), rows.label)

    start = mlp(width, depth, gain=gain)
    return Problem(start, batches(sets["train"], batch), loss, judged(scores, **sets))


def reader(units: int = 32, pixels: int = 8, batch: int = 16, gain: float = 1.0) -> Problem:
    """Return a plain recurrent network, h ← tanh(W h + U x + b), that reads digits so many pixels at a time."""

    def start(key: jax.Array) -> dict:
        rotation, inputs, out = jax.random.split(key, 3)
        return {
            "kernel": gain * jax.random.orthogonal(rotation, units),
            "inputs": jax.random.normal(inputs, (pixels, units)) / pixels**0.5,
            "bias": jnp.zeros(units),
            "out": {"kernel": jax.random.normal(out, (units, CLASSES)) / units**0.5, "bias": jnp.zeros(CLASSES)},
        }

    def scores(params: dict, x: jax.Array) -> jax.Array:
        seen = x.reshape(len(x), -1, pixels) @ params["inputs"] + params["bias"]
        h, _ = jax.lax.scan(
            lambda h, now: (jnp.tanh(h @ params["kernel"] + now), None), jnp.zeros((len(x), units)), seen.swapaxes(0, 1)
        )
        return h @ params["out"]["kernel"] + params["out"]["bias"]

    train, test = digits()

    def loss(params: dict, rows: Rows) -> jax.Array:
        return cross_entropy(scores(params, rows.features), rows.label)

    return Problem(start, batches(train, batch), loss, judged(scores, test=test))
