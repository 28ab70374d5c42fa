"""Float64 NumPy references of optimizers with an estimate of the curvature, from the papers, and their rows."""

import jax
import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK, sgd
from tests.oracles.optimizers_trajectory import Chain, Leafwise, Row, of_library, of_reference


def squares(updates, params):
    """The estimate of Gauss and Newton for one example: it needs no loss."""
    return jax.tree.map(lambda g: g * g, updates)


def sophia_direction(
    t, g, p, memory, *, b1=0.965, b2=0.99, eps=1e-8, gamma=0.01, clip_threshold=1.0, update_interval=10
):
    """Liu et al. 2023, Algorithm 3, m debiased; the estimate, here g², serves from the next update on."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    h = memory.get("h", np.zeros_like(g))
    if t % update_interval == 1 % update_interval:
        memory["h"] = b2 * h + (1 - b2) * g**2
    ratio = m / (1 - b1**t) / np.maximum(gamma * h, eps)
    return ratio if clip_threshold is None else np.clip(ratio, -clip_threshold, clip_threshold)


def sophia(t, g, p, memory, *, learning_rate, weight_decay=1e-4, weight_decay_mask=True, **rest):
    """Liu et al. 2023, Algorithm 3."""
    decay = weight_decay * p if weight_decay_mask else 0.0
    return -learning_rate * (sophia_direction(t, g, p, memory, **rest) + decay)


def estimated(name, leaf, title="", behind=False, **hyper):
    """Return a row with `squares` for an estimate; `behind` puts plain descent behind a building block."""

    def made(library, home):
        estimator = library.stateless(squares)
        tx = getattr(home, name)(**of_library(library, hyper), hessian_diagonal_fn=estimator)
        return library.chain(tx, library.sgd(BLOCK_RATE)) if behind else tx

    def reference(**changes):
        direction = Leafwise(leaf, **(of_reference(hyper) | changes))
        return Chain(direction, Leafwise(sgd, learning_rate=BLOCK_RATE)) if behind else direction

    def peer(optax):
        from optax import contrib

        return made(optax, contrib)

    theirs = peer if name == "sophia" else None  # Optax does not export its building block
    return Row(title or name, lambda: made(gradx, gradx), reference, theirs, hyper=hyper)


TRAJECTORIES: list[Row] = [
    estimated(
        "sophia",
        sophia,
        learning_rate=FALLING_RATE,
        b1=0.8,
        b2=0.7,
        eps=0.3,
        weight_decay=0.2,
        weight_decay_mask=MASK,
        gamma=0.5,
        clip_threshold=0.9,
        update_interval=3,
    ),
    estimated(
        "sophia",
        sophia,
        "sophia, at each step, not clipped",
        learning_rate=0.05,
        b2=0.7,
        eps=0.5,
        gamma=1.0,
        clip_threshold=None,
        update_interval=1,
    ),
    estimated("scale_by_sophia", sophia_direction, behind=True, b1=0.8, b2=0.7, eps=0.3, gamma=0.5, update_interval=4),
]
