"""Float64 NumPy references of the optimizers that find their own step size, from the papers, and their rows.

These see all arrays at once: their distances and norms are those of the whole. A reference keeps what the paper writes,
sums over all steps so far where it has them, and says where gradx or Optax do something else.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK
from tests.oracles.optimizers_trajectory import (
    Leafwise,
    Remembering,
    Row,
    Scheduled,
    Tree,
    Whole,
    loss,
    of_library,
    of_reference,
)


def total(f: Callable, *trees: Tree) -> float:
    """Return the sum of f over all entries."""
    return sum(float(np.sum(f(*(tree[name] for tree in trees)))) for name in trees[0])


def each(f: Callable, *trees: Tree) -> Tree:
    """Return f of each array."""
    return {name: f(*(tree[name] for tree in trees)) for name in trees[0]}


def squared_norm(tree: Tree) -> float:
    """Return ‖x‖² of all arrays as one vector."""
    return total(np.square, tree)


def with_loss(params: Tree) -> dict[str, Any]:
    """Return the extra of those that need the loss."""
    return {"value": loss(params)}


def polyak(grads, params, *, value, f_min=0.0, max_learning_rate=1.0, eps=0.0, variant="sps", scaling=1.0):
    """Loizou et al. 2021, eq. 3 with c = 1 and the bound; "sps+" Garrigos et al. 2023, its positive part."""
    gap = value - f_min
    if variant == "sps+":
        gap = max(gap, 0.0)
    step = min(gap / (squared_norm(grads) + eps), max_learning_rate)
    return each(lambda g: -scaling * step * g, grads)


def distance(memory: dict, params: Tree, start: float) -> float:
    """Return the largest distance from the first parameters so far, at least `start`."""
    first = memory.setdefault("first", dict(params))
    distances = memory.setdefault("distances", [start])
    distances.append(np.sqrt(squared_norm(each(np.subtract, params, first))))
    return max(distances)


def decayed(grads, params, weight_decay, mask=None):
    """Return the gradients with L2 regularisation."""
    return {name: g + weight_decay * params[name] * (mask is None or mask[name]) for name, g in grads.items()}


def dog(
    t, grads, params, memory, *, learning_rate=1.0, init_step=("heuristic", 1e-6), eps=1e-8, weight_decay=0.0, mask=None
):
    """Ivgi, Hinder and Carmon 2023, Algorithm 1."""
    grads = decayed(grads, params, weight_decay, mask)
    kind, value = init_step
    start = {"distance": value, "learning_rate": 0.0, "heuristic": value * (1 + np.sqrt(squared_norm(params)))}[kind]
    r = distance(memory, params, memory.setdefault("start", start))
    total = memory["total"] = memory.get("total", 0.0) + squared_norm(grads)
    step = value if kind == "learning_rate" and t == 1 else r / np.sqrt(total + eps)
    return each(lambda g: -learning_rate * step * g, grads)


def dowg(
    t, grads, params, memory, *, learning_rate=1.0, init_estim_sq_dist=None, eps=1e-4, weight_decay=0.0, mask=None
):
    """Khaled, Mishchenko and Jin 2023, Algorithm 1, with eps beside the root."""
    grads = decayed(grads, params, weight_decay, mask)
    start = eps if init_estim_sq_dist is None else init_estim_sq_dist
    squared = distance(memory, params, np.sqrt(start)) ** 2
    v = memory["v"] = memory.get("v", 0.0) + squared * squared_norm(grads)
    return each(lambda g: -learning_rate * squared / (np.sqrt(v) + eps) * g, grads)


def layerwise_dog(t, g, p, memory, *, reps_rel=1e-6, eps=1e-8, global_scale=1.0):
    """Ivgi, Hinder and Carmon 2023, Algorithm 1 on one array: L-DoG."""
    r = distance(memory, {"p": p}, memory.setdefault("start", reps_rel * (1 + np.sqrt(np.sum(p**2)))))
    total = memory["total"] = memory.get("total", 0.0) + np.sum(g**2)
    return global_scale * r / np.sqrt(total + eps) * g


def cocob(t, g, p, memory, *, learning_rate=1.0, alpha=100.0, eps=1e-8, weight_decay=0.0, mask=True):
    """Orabona and Tommasi 2017, Algorithm 2, whose g is minus the gradient."""
    g = -learning_rate * (g + weight_decay * p * mask)
    first = memory.setdefault("first", p)
    bound = memory["L"] = np.maximum(memory.get("L", eps), np.abs(g))
    total = memory["G"] = memory.get("G", 0.0) + np.abs(g)
    reward = memory["reward"] = np.maximum(memory.get("reward", 0.0) + (p - first) * g, 0)
    theta = memory["theta"] = memory.get("theta", 0.0) + g
    return first + theta / (bound * np.maximum(total + bound, alpha * bound)) * (bound + reward) - p


def whole(
    name: str,
    reference: Callable,
    title: str = "",
    *,
    kind: Callable = Remembering,
    peer: str | None = "contrib",
    block: float | None = None,
    extras: Callable[[Tree], dict[str, Any]] = lambda params: {},
    **hyper: Any,
) -> Row:
    """Return the row of an optimizer whose reference sees all arrays at once.

    Args:
      name: of gradx's factory, and of Optax's.
      reference: what `kind` runs.
      title: the row's name, if not the factory's.
      kind: `Whole` or `Remembering`.
      peer: where in Optax it stands: "", "contrib", or None for no peer.
      block: the learning rate of the plain descent behind a building block.
      extras: from the parameters to what the update needs.
      **hyper: the hyperparameters.
    """
    scheduled = any(isinstance(h, Scheduled) for h in hyper.values())

    def behind(library: Any, tx: Any) -> Any:
        return tx if block is None else library.chain(tx, library.scale(-block))

    def of_optax(optax: Any) -> Any:
        make = getattr(getattr(optax, peer) if peer else optax, name)
        return behind(optax, (optax.inject_hyperparams(make) if scheduled else make)(**of_library(optax, hyper)))

    def referee(**changes: Any) -> Callable[..., Tree]:
        run = kind(reference, **(of_reference(hyper) | changes))
        step = 1.0 if block is None else -block
        return lambda *args, **given: each(lambda u: step * u, run(*args, **given))

    return Row(
        name=title or name,
        ours=lambda: behind(gradx, getattr(gradx, name)(**of_library(gradx, hyper))),
        reference=referee,
        optax=None if peer is None else of_optax,
        hyper=hyper,
        extras=extras,
    )


def negative(reference: Callable) -> Callable:
    """Return the reference without the sign that makes it descend."""
    return lambda *args, **hyper: each(np.negative, reference(*args, **hyper))


FALLING = Scheduled(lambda lib: lib.exponential_decay(1.0, 20, 0.5), lambda n: 0.5 ** (n / 20))

TRAJECTORIES: list[Row] = [
    whole("polyak_sgd", polyak, kind=Whole, peer="", extras=with_loss, max_learning_rate=0.3, f_min=7.0, eps=2.0),
    whole(
        "polyak_sgd",
        polyak,
        "polyak_sgd, scaled, sps+",
        kind=Whole,
        peer=None,  # Optax measures the gradient behind the scaling
        extras=with_loss,
        max_learning_rate=0.3,
        scaling=FALLING,
        f_min=8.6,
        eps=0.5,
        variant="sps+",
    ),
    whole(
        "scale_by_polyak",
        negative(polyak),
        kind=Whole,
        peer="",
        block=BLOCK_RATE,
        extras=with_loss,
        f_min=7.0,
        eps=3.0,
    ),
    whole("dog", dog, learning_rate=0.8, init_step=("distance", 0.3), eps=60.0, weight_decay=0.1, mask=MASK),
    whole("dog", dog, "dog, heuristic", peer=None, learning_rate=FALLING, init_step=("heuristic", 0.1)),
    whole("dog", dog, "dog, first step", init_step=("learning_rate", 0.01)),
    whole("scale_by_dog", negative(dog), peer=None, block=1.0, init_step=("distance", 0.3), eps=60.0),
    whole("dowg", dowg, learning_rate=0.8, init_estim_sq_dist=0.3, eps=2.0, weight_decay=0.1, mask=MASK),
    whole("dowg", dowg, "dowg, scheduled", peer=None, learning_rate=FALLING, eps=0.3),
    whole("scale_by_dowg", negative(dowg), peer=None, block=1.0, init_estim_sq_dist=0.3, eps=2.0),
    whole(
        "scale_by_distance_over_gradients",
        layerwise_dog,
        kind=Leafwise,
        peer=None,  # Optax makes a scalar parameter an array: see tests/test_parameter_free.py
        block=1.0,
        reps_rel=0.1,
        eps=3.0,
        global_scale=0.7,
    ),
    whole("cocob", cocob, kind=Leafwise, alpha=8.0, eps=2.0, weight_decay=0.2, mask=MASK),
    whole("cocob", cocob, "cocob, scheduled", kind=Leafwise, peer=None, learning_rate=FALLING_RATE, alpha=8.0, eps=0.5),
    whole("scale_by_cocob", cocob, kind=Leafwise, peer=None, block=-1.0, alpha=8.0, eps=2.0),
]
