"""Float64 NumPy references of Adam with fewer moments, or with its parts in another order, and their rows."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from gradx.optimizers.apollo import projection
from tests.oracles.moments import descent, means
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK, adam_direction, sgd
from tests.oracles.optimizers_trajectory import START, Chain, Leafwise, Row, of_library, of_reference
from tests.oracles.orthogonal import mars_correction


def laprop_direction(t, g, p, memory, *, b1, b2, eps):
    """Ziyin, Wang and Ueda 2020, the algorithm of LaProp; b1 is the paper's mu, b2 its nu."""
    n = memory["n"] = b2 * memory.get("n", 0.0) + (1 - b2) * g**2
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g / (np.sqrt(n / (1 - b2**t)) + eps)
    return m / (1 - b1**t)


def stable_direction(t, g, p, memory, *, b1, b2, eps, threshold):
    """Wortsman et al. 2023, Algorithm 2: the betas are corrected in place of the means."""
    beta1, beta2 = (b * (1 - b ** (t - 1)) / (1 - b**t) for b in (b1, b2))
    v = memory["v"] = beta1 * memory.get("v", 0.0) + (1 - beta1) * g
    u = memory["u"] = beta2 * memory.get("u", 0.0) + (1 - beta2) * g**2
    rms = np.sqrt(np.mean(g**2 / np.maximum(u, eps**2)))
    return v / (np.sqrt(u) + eps) / max(1.0, rms / threshold)


BLOCKS = {"heads": (1,), "kernel": (-1,), "matrix": 0, "scalar": ..., "vector": ()}
"""For each array the axes along which blocks are counted."""
SHARED = {"heads": (0, 2), "kernel": (0, 1, 2), "matrix": (1,), "scalar": (), "vector": (0,)}
"""The axes over which they go."""
BY_DEFAULT = SHARED | {"heads": (0, 1), "matrix": (0,)}
"""Those of the paper's partition: outputs lie along the last axis."""


def adam_mini_direction(t, g, p, memory, *, b1, b2, eps, blocks_mask):
    """Zhang et al. 2024, Algorithm 1: v the mean of g * g over the block."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    v = memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * np.mean(g**2, axis=blocks_mask, keepdims=True)
    return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t)) + eps)


def corrected(
    t, g, p, memory, *, learning_rate, max_learning_rate, weight_decay, mask=True, normalized_mask=True, **rest
):
    """Defazio 2025, Algorithm 1: x <- x - gamma_t u - gamma_t² / gamma_max lambda x where a norm follows."""
    c = learning_rate**2 / max_learning_rate if normalized_mask else learning_rate
    return -learning_rate * adam_direction(t, g, p, memory, **rest) - (c * weight_decay * p if mask else 0.0)


def mars_direction(t, g, p, memory, *, gamma, b1, max_norm, **rest):
    """Yuan et al. 2024, Algorithm 2."""
    c = mars_correction(t, g, p, memory, gamma=gamma, b1=b1, max_norm=max_norm)
    return adam_direction(t, c, p, memory.setdefault("adam", {}), b1=b1, **rest)


INDEX = {name: i for i, name in enumerate(sorted(START))}


def apollo_direction(
    t, g, p, memory, *, place_mask, rank, update_proj_gap, scale, b1, b2, eps, growth, granularity="channel"
):
    """Zhu et al. 2024, Algorithm 1, on each matrix of a stack; the random numbers are gradx's, for lack of others.

    The projected side is the shorter one; growth is the limiter's gamma.
    """
    if np.ndim(g) not in (2, 3):
        return adam_direction(t, g, p, memory, b1=b1, b2=b2, eps=eps)
    stack = np.reshape(g, (-1, *g.shape[-2:]))
    turned = stack.shape[1] > stack.shape[2]
    stack = stack.swapaxes(1, 2) if turned else stack
    count, m, _ = stack.shape
    r = min(rank, m)
    draws = np.asarray(projection(3, INDEX[place_mask], (t - 1) // update_proj_gap, (count, r, m)), np.float64)
    results = []
    for i, (matrix, draw) in enumerate(zip(stack, draws, strict=True)):
        own = memory.setdefault(i, {})
        low = draw / np.sqrt(r) @ matrix
        first, second = means(low, own, b1=b1, b2=b2)
        tilde = first / (1 - b1**t) / (np.sqrt(second / (1 - b2**t)) + eps)
        axis = 0 if granularity == "channel" else None
        s = np.sqrt(np.sum(tilde**2, axis=axis)) / np.sqrt(np.sum(low**2, axis=axis))
        u = matrix * s
        size = np.sqrt(np.sum(u**2))
        limit = growth * own.get("size", np.inf)
        if size > limit:
            u, size = u * limit / size, limit
        own["size"] = size
        results.append(u)
    u = np.stack(results)
    return scale * np.reshape(u.swapaxes(1, 2) if turned else u, g.shape)


def optimizer(name: str, leaf: Callable, title: str = "", given: dict[str, Any] | None = None, **hyper: Any) -> Row:
    """Return the row of an optimizer; `given` goes to gradx in place of what the reference calls otherwise."""
    ours = {k: h for k, h in hyper.items() if "_mask" not in k} | (given or {})
    return Row(
        name=title or name,
        ours=lambda: getattr(gradx, name)(**of_library(gradx, ours)),
        reference=lambda **changes: Leafwise(leaf, **(of_reference(hyper) | changes)),
        hyper={k: h for k, h in hyper.items() if "mask" not in k},
    )


def block(name: str, leaf: Callable, title: str = "", given: dict[str, Any] | None = None, **hyper: Any) -> Row:
    """Return the row of a `scale_by_*` with plain descent behind it."""
    ours = {k: h for k, h in hyper.items() if "_mask" not in k} | (given or {})
    return Row(
        name=title or name,
        ours=lambda: gradx.chain(getattr(gradx, name)(**ours), gradx.sgd(BLOCK_RATE)),
        reference=lambda **changes: Chain(Leafwise(leaf, **(hyper | changes)), Leafwise(sgd, learning_rate=BLOCK_RATE)),
        hyper={k: h for k, h in hyper.items() if "mask" not in k},
    )


APOLLO = {"rank": 2, "update_proj_gap": 7, "scale": 0.7, "b1": 0.8, "b2": 0.9, "eps": 0.1, "growth": 1.1}
PLACES = {name: name for name in START}
STACKS = {name: name in ("heads", "matrix") for name in START}
OF_APOLLO = {"key": 3, "weight_dimension_numbers": STACKS}
MINI = {"update_proj_gap": 7, "scale": 0.7, "b1": 0.8, "b2": 0.9, "eps": 0.1, "growth": 1.1}


def apollo_mini(t, g, p, memory, **hyper):
    """Zhu et al. 2024, section 4: rank 1, one number a tensor."""
    return descent(apollo_direction)(t, g, p, memory, rank=1, granularity="tensor", **hyper)


TRAJECTORIES: list[Row] = [
    block("scale_by_laprop", laprop_direction, b1=0.8, b2=0.9, eps=0.2),
    optimizer(
        "laprop",
        descent(laprop_direction),
        learning_rate=FALLING_RATE,
        b1=0.8,
        b2=0.9,
        eps=0.2,
        weight_decay=0.2,
        mask=MASK,
    ),
    block("scale_by_stable_adam", stable_direction, b1=0.8, b2=0.7, eps=0.3, threshold=0.8),
    optimizer(
        "stable_adamw",
        descent(stable_direction),
        learning_rate=0.05,
        b1=0.8,
        b2=0.7,
        eps=0.3,
        threshold=0.8,
        weight_decay=0.2,
        mask=MASK,
    ),
    block("scale_by_adam_mini", adam_mini_direction, b1=0.8, b2=0.9, eps=0.2, blocks_mask=BY_DEFAULT),
    optimizer(
        "adam_mini",
        descent(adam_mini_direction),
        given={"blocks": BLOCKS},
        learning_rate=0.05,
        b1=0.8,
        b2=0.9,
        eps=0.2,
        weight_decay=0.2,
        mask=MASK,
        blocks_mask=SHARED,
    ),
    optimizer(
        "adamc",
        corrected,
        given={"normalized": STACKS},
        learning_rate=FALLING_RATE,
        max_learning_rate=0.3,
        b1=0.8,
        b2=0.9,
        eps=0.2,
        weight_decay=0.5,
        mask=MASK,
        normalized_mask=STACKS,
    ),
    optimizer(
        "mars_adamw",
        descent(mars_direction),
        learning_rate=0.05,
        b1=0.8,
        b2=0.9,
        eps=0.2,
        gamma=0.3,
        max_norm=1.3,
        weight_decay=0.2,
        mask=MASK,
    ),
    block("scale_by_apollo", apollo_direction, given=OF_APOLLO, place_mask=PLACES, **APOLLO),
    optimizer(
        "apollo",
        descent(apollo_direction),
        given=OF_APOLLO,
        learning_rate=0.05,
        weight_decay=0.2,
        mask=MASK,
        place_mask=PLACES,
        **APOLLO,
    ),
    optimizer(
        "apollo_mini",
        apollo_mini,
        given=OF_APOLLO,
        learning_rate=0.05,
        weight_decay=0.2,
        mask=MASK,
        place_mask=PLACES,
        **MINI,
    ),
]
