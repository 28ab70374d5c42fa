"""Float64 NumPy references of what acts at some steps only, or on gradients that come scaled or in one vector."""

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np

import gradx
from tests.oracles.line_search import flat, like
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, adam, adamw
from tests.oracles.optimizers_trajectory import Leafwise, Reference, Row, Tree, of_library, of_reference
from tests.oracles.transforms import any_not_finite, clip_by_block_rms, some_large, some_nans

ADAM = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 0.1}
ADAMW = {"learning_rate": FALLING_RATE, "b2": 0.95, "eps": 1e-2, "weight_decay": 0.1}


class When:
    """Run `inner` where `takes(step, gradients)`, on what `prepare` makes of them; else the update is `instead`."""

    def __init__(self, inner: Reference, takes: Callable, prepare: Callable, instead: Callable) -> None:
        self.inner, self.takes, self.prepare, self.instead = inner, takes, prepare, instead
        self.step = -1

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        self.step += 1
        if self.takes(self.step, grads):
            return self.inner(self.prepare(self.step, grads), params)
        return {name: self.instead(g) for name, g in grads.items()}


class Usual:
    """Kumar et al. 2025, section 3: whether a norm lies within so many deviations of those that passed, their weights
    decay^age; at least as many as the warm-up pass."""

    def __init__(self, max_deviations: float, decay: float, warmup_steps: int) -> None:
        self.bound, self.decay, self.warmup = max_deviations, decay, warmup_steps
        self.passed: list[float] = []

    def __call__(self, step: int, grads: Tree) -> bool:
        norm = float(np.linalg.norm(flat(grads)))
        takes = len(self.passed) < self.warmup or norm <= self.largest()
        if takes:
            self.passed.append(norm)
        return takes

    def largest(self) -> float:
        weights = self.decay ** np.arange(len(self.passed))[::-1]
        mean = np.average(self.passed, weights=weights)
        deviation = np.sqrt(np.average((np.array(self.passed) - mean) ** 2, weights=weights))
        return mean + self.bound * max(deviation, mean / 10)


def unchanged(step: int, grads: Tree) -> Tree:
    return grads


def at_odd_steps(step: Any) -> Any:
    return step % 2 == 1


BAD_STEP = 20


def scaled_by_8(step: int, grads: Tree) -> Tree:
    """Return the gradients of a loss that is scaled by 8."""
    return {name: g * g.dtype.type(8.0) for name, g in grads.items()}


def overflowing(step: int, grads: Tree) -> Tree:
    """Return the gradients of a loss scaled by 8 that overflows once, and by 4 from then on."""
    if step == BAD_STEP:
        return {name: np.full_like(g, np.inf) for name, g in grads.items()}
    return {name: g * g.dtype.type(8.0 if step < BAD_STEP else 4.0) for name, g in grads.items()}


def unscaled(step: int, grads: Tree) -> Tree:
    """Undo `overflowing`."""
    return {name: g / (8.0 if step < BAD_STEP else 4.0) for name, g in grads.items()}


def around(
    name: str,
    wrap: Callable[[Any, Any], Any],
    takes: Callable[[], Callable],
    *,
    corrupt: Callable = unchanged,
    prepare: Callable = unchanged,
    instead: Callable = np.zeros_like,
    has_peer: bool = True,
) -> Row:
    """Return the row of a wrapper around AdamW; `takes` makes the rule that says at which steps it acts."""

    def made(library: Any) -> Any:
        return wrap(library, library.adamw(**of_library(library, ADAMW)))

    return Row(
        name,
        ours=lambda: made(gradx),
        reference=lambda: When(Leafwise(adamw, **of_reference(ADAMW)), takes(), prepare, instead),
        optax=made if has_peer else None,
        corrupt=corrupt,
    )


def always() -> Callable:
    return lambda step, grads: True


def in_one_vector(grads: Tree, params: Tree) -> Tree:
    """Clip the root mean square of all entries together, and descend."""
    clipped = clip_by_block_rms(1, flat(grads), None, {}, threshold=0.6)
    return like(-BLOCK_RATE * clipped, grads)


def flattened(library: Any) -> Any:
    return library.flatten(library.chain(library.clip_by_block_rms(0.6), library.sgd(BLOCK_RATE)))


TRAJECTORIES: list[Row] = [
    around(
        "apply_if_finite",
        lambda library, inner: library.apply_if_finite(inner, 5),
        lambda: lambda step, grads: not any_not_finite(grads),
        corrupt=some_nans,
    ),
    around(
        "skip_outliers",
        lambda library, inner: library.skip_outliers(inner, 3.0, 0.9, warmup_steps=3),
        lambda: Usual(3.0, 0.9, 3),
        corrupt=some_large,
        has_peer=False,
    ),
    around(
        "conditionally_mask",
        lambda library, inner: library.conditionally_mask(inner, at_odd_steps),
        lambda: lambda step, grads: at_odd_steps(step),
    ),
    around(  # what passes through is made small, and turned, before it comes
        "conditionally_transform",
        lambda library, inner: library.chain(
            library.scale(-BLOCK_RATE), library.conditionally_transform(inner, at_odd_steps)
        ),
        lambda: lambda step, grads: at_odd_steps(step),
        prepare=lambda step, grads: {name: -BLOCK_RATE * g for name, g in grads.items()},
        instead=lambda g: -BLOCK_RATE * g,
    ),
    around(
        "static_loss_scale",
        lambda library, inner: library.static_loss_scale(inner, 8.0),
        always,
        corrupt=scaled_by_8,
        prepare=lambda step, grads: {name: g / 8.0 for name, g in grads.items()},
        has_peer=False,
    ),
    around(
        "dynamic_loss_scale",
        lambda library, inner: library.dynamic_loss_scale(inner, 8.0),
        lambda: lambda step, grads: step != BAD_STEP,
        corrupt=overflowing,
        prepare=unscaled,
        has_peer=False,
    ),
    Row(
        "inject_hyperparams",
        ours=lambda: gradx.inject_hyperparams(gradx.adam, hyperparam_dtype=jnp.result_type(float))(**ADAM),
        reference=lambda **changes: Leafwise(adam, **(ADAM | changes)),
        optax=lambda optax: optax.inject_hyperparams(optax.adam)(**ADAM),
        hyper=ADAM,
    ),
    Row("flatten", lambda: flattened(gradx), lambda: in_one_vector, flattened),
    Row(
        "split_real_and_imaginary",
        ours=lambda: gradx.split_real_and_imaginary(gradx.adam(**ADAM)),
        reference=lambda **changes: Leafwise(adam, **(ADAM | changes)),
        optax=lambda optax: optax.contrib.split_real_and_imaginary(optax.adam(**ADAM)),
        hyper=ADAM,
    ),
]
