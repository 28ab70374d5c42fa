"""Float64 NumPy references of the building blocks, from the papers, and the rows that compare them.

A block does not descend by itself: in its row plain gradient descent follows it, unless the row says otherwise.
Bounds lie where some steps are clipped and others are not.
"""

import inspect
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK, RISING_MOMENTUM, adamw, not_vectors, sgd
from tests.oracles.optimizers_trajectory import (
    Chain,
    Leafwise,
    Reference,
    Row,
    Scheduled,
    Tree,
    Whole,
    of_library,
    of_reference,
)


def scale(t, g, p, memory, *, step_size):
    """Multiply by a number."""
    return step_size * g


def scale_by_schedule(t, g, p, memory, *, step_size_fn):
    """Multiply by the number of the step."""
    return step_size_fn * g


def add_decayed_weights(t, g, p, memory, *, weight_decay, mask=True):
    """Loshchilov and Hutter 2019, Algorithm 2, line 12: the decay's part."""
    return g + weight_decay * p if mask else g


def momentum(t, g, p, memory, *, decay, nesterov=False):
    """Polyak 1964, as a sum: m_t = sum over s of decay^(t - s) g_s."""
    m = memory["m"] = g + decay * memory.get("m", 0.0)
    return g + decay * m if nesterov else m


def ema(t, g, p, memory, *, decay, debias=True):
    """The weighted mean of all gradients so far, weights decay^(t - s); not debiased, with what is missing as zeros."""
    history = memory.setdefault("g", [])
    history.append(g)
    weights = [(1 - decay) * decay**age for age in reversed(range(t))]
    total = sum(w * x for w, x in zip(weights, history, strict=True))
    return total / sum(weights) if debias else total


def clip(t, g, p, memory, *, max_delta):
    """Hold every entry within the bound."""
    return np.minimum(np.maximum(g, -max_delta), max_delta)


def clip_by_block_rms(t, g, p, memory, *, threshold):
    """Shazeer and Stern 2018, section 6: divide by max(1, RMS / d)."""
    return g / max(1.0, np.sqrt(np.mean(g**2)) / threshold)


def clip_by_global_norm(grads: Tree, params: Tree, *, max_norm: float) -> Tree:
    """Pascanu et al. 2013, Algorithm 1, on all arrays as one vector."""
    norm = np.linalg.norm(np.concatenate([np.ravel(g) for g in grads.values()]))
    return {name: g * max_norm / norm if norm >= max_norm else g for name, g in grads.items()}


def adaptive_grad_clip(t, g, p, memory, *, clipping, eps=1e-3, axis=None):
    """Brock et al. 2021, eq. 3: G_i <- lambda max(|W_i|, eps) / |G_i| G_i where the ratio of norms exceeds lambda.

    Units lie along the last axis of matrices and kernels, along the first of three axes the norm runs; a vector or a
    scalar is one unit.
    """
    if axis is None:
        axis = {0: (), 1: (0,), 2: (0,), 3: (0,), 4: (0, 1, 2)}[np.ndim(g)]

    def norm(x):
        return np.sqrt(np.sum(x**2, axis=axis, keepdims=True))

    with np.errstate(invalid="ignore", divide="ignore"):
        largest = clipping * np.maximum(norm(p), eps)
        return np.where(norm(g) > largest, largest * g / norm(g), g)


def centralize(t, g, p, memory):
    """Yong et al. 2020, eq. 1: from the weights of each output unit (last axis) subtract their mean."""
    if np.ndim(g) < 2:
        return g
    units = np.reshape(g, (-1, g.shape[-1]))
    return np.reshape(units - units.sum(0) / units.shape[0], g.shape)


def zero_nans(t, g, p, memory):
    """Replace NaN by 0."""
    return np.where(np.isnan(g), 0.0, g)


def average_examples(t, g, p, memory):
    """The mean over the first axis."""
    return g.mean(0)


def as_three_examples(step: int, grads: Tree) -> Tree:
    """Give three examples gradients of their own, the second of them none."""
    return {name: np.stack([g, 0 * g, np.cos(g)]) for name, g in grads.items()}


def zero(t, g, p, memory):
    """Nothing moves."""
    return np.zeros_like(g)


class Accumulate:
    """Gather k gradients, then one step of `inner` with their mean or sum; zero in between.

    `k` is a function of the number of steps of `inner`; gradients for which `skip` holds are as if they had not been.
    """

    def __init__(self, inner: Reference, k: Callable[[int], int], mean: bool = True, skip: Callable = lambda g: False):
        self.inner, self.k, self.mean, self.skip = inner, k, mean, skip
        self.gathered: list[Tree] = []
        self.done = 0

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        still = {name: np.zeros_like(g) for name, g in grads.items()}
        if self.skip(grads):
            return still
        self.gathered.append(grads)
        if len(self.gathered) < self.k(self.done):
            return still
        combine = np.mean if self.mean else np.sum
        combined = {name: combine([g[name] for g in self.gathered], axis=0) for name in grads}
        self.gathered, self.done = [], self.done + 1
        return self.inner(combined, params)


def block(
    name: str, leaf: Callable, title: str = "", *, peer: str | None = "", corrupt: Callable | None = None, **hyper: Any
) -> Row:
    """Return the row of a block: `leaf` works on arrays, or with (grads, params) as arguments on all of them.

    `peer` is the name that Optax gives it, None where Optax means something else.
    """
    over = Leafwise if "memory" in inspect.signature(leaf).parameters else Whole
    scheduled = any(isinstance(h, Scheduled) for h in hyper.values())

    def theirs(optax: Any) -> Any:
        make = getattr(optax, peer or name)
        make = optax.inject_hyperparams(make) if scheduled and name != "scale_by_schedule" else make
        return optax.chain(make(**of_library(optax, hyper)), optax.sgd(BLOCK_RATE))

    return Row(
        name=title or name,
        ours=lambda: gradx.chain(getattr(gradx, name)(**of_library(gradx, hyper)), gradx.sgd(BLOCK_RATE)),
        reference=lambda **changes: Chain(
            over(leaf, **(of_reference(hyper) | changes)), Leafwise(sgd, learning_rate=BLOCK_RATE)
        ),
        optax=None if peer is None else theirs,
        hyper=hyper,
        corrupt=corrupt or (lambda step, grads: grads),
    )


def accumulated(title: str, *, corrupt: Callable | None = None, skip: Any = None, like: Callable, **hyper: Any) -> Row:
    """Return the row of MultiSteps around AdamW, whose schedule counts whole steps.

    `like` makes the reference around the reference's AdamW; `skip` takes the library: both name their functions alike.
    """
    settings = {"learning_rate": FALLING_RATE, "b2": 0.95, "eps": 1e-2, "weight_decay": 0.1}

    def made(library: Any) -> Any:
        arguments = hyper if skip is None else hyper | {"should_skip_update_fn": skip(library)}
        return library.MultiSteps(library.adamw(**of_library(library, settings)), **arguments)

    return Row(
        name=title,
        ours=lambda: made(gradx),
        reference=lambda: like(Leafwise(adamw, **of_reference(settings))),
        optax=lambda optax: made(optax).gradient_transformation(),
        corrupt=corrupt or (lambda step, grads: grads),
    )


def some_nans(step: int, grads: Tree) -> Tree:
    """Put NaN into one entry of the matrix at every seventh step and into the scalar at every fifth."""
    grads = {name: np.array(g) for name, g in grads.items()}
    if step % 7 == 3:
        grads["matrix"][1, 2] = np.nan
    if step % 5 == 2:
        grads["scalar"] = np.full_like(grads["scalar"], np.nan)
    return grads


def some_large(step: int, grads: Tree) -> Tree:
    """Make every sixth gradient a thousand times as large."""
    return {name: g * g.dtype.type(1e3) if step % 6 == 4 else g for name, g in grads.items()}


LARGE = 1e4
"""Between the largest squared norm of a plain gradient and the smallest of one made large."""


def squared_norm(grads: Tree) -> float:
    """Return the sum of all squares."""
    return sum(float(np.sum(g**2)) for g in grads.values())


def any_not_finite(grads: Tree) -> bool:
    """Return whether there is a NaN or an infinity."""
    return not all(np.isfinite(g).all() for g in grads.values())


def k_of(done):
    """Gather 2, 2, 2, then 5 gradients; written for Python numbers and arrays alike."""
    return 2 + 3 * (done >= 3)


FALLING_BOUND = Scheduled(lambda lib: lib.linear_schedule(4.0, 0.5, 40), lambda n: 4.0 - 3.5 * min(n / 40, 1))
FALLING_FACTOR = Scheduled(lambda lib: lib.linear_schedule(1.0, 0.2, 40), lambda n: 1.0 - 0.8 * min(n / 40, 1))

TRAJECTORIES: list[Row] = [
    block("scale", scale, step_size=0.7),
    block("scale_by_schedule", scale_by_schedule, step_size_fn=FALLING_FACTOR),
    block("add_decayed_weights", add_decayed_weights, weight_decay=0.3),
    block("add_decayed_weights", add_decayed_weights, "add_decayed_weights, pytree", weight_decay=0.3, mask=MASK),
    block("add_decayed_weights", add_decayed_weights, "add_decayed_weights, f", weight_decay=0.3, mask=not_vectors),
    block("momentum", momentum, peer="trace", decay=0.8),
    block("momentum", momentum, "momentum, Nesterov", peer="trace", decay=0.8, nesterov=True),
    block("momentum", momentum, "momentum, scheduled", peer="trace", decay=RISING_MOMENTUM),
    block("ema", ema, decay=0.9),
    block("ema", ema, "ema, not debiased", decay=0.9, debias=False),
    block("clip", clip, max_delta=0.7),
    block("clip_by_global_norm", clip_by_global_norm, max_norm=3.0),
    block("clip_by_global_norm", clip_by_global_norm, "clip_by_global_norm, scheduled", max_norm=FALLING_BOUND),
    block("clip_by_block_rms", clip_by_block_rms, threshold=0.6),
    block("adaptive_grad_clip", adaptive_grad_clip, clipping=0.5, eps=0.7),
    block("adaptive_grad_clip", adaptive_grad_clip, "adaptive_grad_clip, axis", clipping=0.5, eps=0.5, axis=()),
    block("zero_nans", zero_nans, corrupt=some_nans),
    block("centralize", centralize, peer=None),
    block("set_to_zero", zero),
    block("average_examples", average_examples, peer=None, corrupt=as_three_examples),
    block("track_examples", average_examples, peer=None, corrupt=as_three_examples),
    Row(
        "scale_by_learning_rate",
        ours=lambda: gradx.scale_by_learning_rate(FALLING_RATE.ours(gradx)),
        reference=lambda: Leafwise(sgd, learning_rate=FALLING_RATE.value),
        optax=lambda optax: optax.scale_by_learning_rate(FALLING_RATE.ours(optax)),
    ),
    Row(
        "scale_by_learning_rate, sign kept",
        ours=lambda: gradx.chain(gradx.scale(-1.0), gradx.scale_by_learning_rate(0.1, flip_sign=False)),
        reference=lambda: Leafwise(sgd, learning_rate=0.1),
        optax=lambda optax: optax.chain(optax.scale(-1.0), optax.scale_by_learning_rate(0.1, flip_sign=False)),
    ),
    accumulated("MultiSteps of 3", every_k_schedule=3, like=lambda inner: Accumulate(inner, lambda done: 3)),
    accumulated(
        "MultiSteps, sum",
        every_k_schedule=4,
        use_grad_mean=False,
        like=lambda inner: Accumulate(inner, lambda done: 4, mean=False),
    ),
    accumulated("MultiSteps, k scheduled", every_k_schedule=k_of, like=lambda inner: Accumulate(inner, k_of)),
    accumulated(
        "MultiSteps, skip_not_finite",
        every_k_schedule=3,
        skip=lambda library: library.skip_not_finite,
        like=lambda inner: Accumulate(inner, lambda done: 3, skip=any_not_finite),
        corrupt=some_nans,
    ),
    accumulated(
        "MultiSteps, skip_large_updates",
        every_k_schedule=3,
        skip=lambda library: jax.tree_util.Partial(library.skip_large_updates, max_squared_norm=LARGE),
        like=lambda inner: Accumulate(inner, lambda done: 3, skip=lambda g: squared_norm(g) >= LARGE),
        corrupt=some_large,
    ),
]
