"""AdaGC: shorten each array's gradient that is longer than it was of late."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.transforms.clip import clipping_factor
from gradx.typing import Decay, NonNegativeInt, Params, Positive, Updates


class AdaGCState(NamedTuple):
    """The state of `adagc`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    norms: Updates
    """For each array float32[], the running mean of its norms as they were let through; 0 before the first."""


def adagc_leaf(g, mean, *, lambda_rel, decay, warmup_factor, is_young):
    """Return (g clipped, the mean of its norms): by the factor of all arrays at first, then by its own mean.

    A mean of 0 is none: it bounds nothing, and a norm of 0 does not become the least at first.
    """
    norm, known = tree.norm(g), mean > 0
    own = jnp.where(known, clipping_factor(norm, lambda_rel * mean), 1)
    factor = jnp.where(is_young, warmup_factor, own)
    passes = factor * norm
    least = jnp.where((passes > 0) & (passes < mean), passes, mean)
    renewed = jnp.where(is_young, least, decay * mean + (1 - decay) * passes)
    renewed = jnp.where(known, renewed, passes)
    return factor * g, jnp.where(jnp.isfinite(passes), renewed, mean)


@transformation
def adagc(
    lambda_rel: Positive = 1.05,
    lambda_abs: Positive = 1.0,
    decay: Decay = 0.98,
    warmup_steps: NonNegativeInt = 100,
) -> Any:
    """Shorten each array's gradient to `lambda_rel` times the running mean of its norms: a bound of its own for each.

    g ← g · min(1, lambda_rel · m / ‖g‖); m ← decay · m + (1 - decay) · ‖g‖, of the g that is let through. During the
    warmup g ← g · min(1, lambda_abs / ‖all gradients‖), and m is the least ‖g‖ so far.

    Args:
      lambda_rel: the ratio of norm and mean that passes, above 0, from 1 on as a rule; infinity clips nothing.
      lambda_abs: the norm of all gradients together that passes during the warmup, above 0.
      decay: of the running means, in [0, 1).
      warmup_steps: the updates of the warmup.

    State: 1 number for each array and int32[]. Wang et al. 2025, arXiv:2502.11034, Algorithm 1. Where an array's
    gradients were all 0, as behind a layer that starts at 0, m is the first other norm: in the paper it would stay 0,
    and so would they. A norm that is not finite leaves m.

    >>> import gradx
    >>> tx = gradx.adagc(warmup_steps=1)
    >>> _, state = tx.update(0.5, tx.init(0.0))
    >>> updates, _ = tx.update(3.0, state)
    >>> round(float(updates), 4)
    0.525
    """

    def init(params: Params) -> AdaGCState:
        norms = jax.tree.map(lambda p: tree.scalar_like(p, 0.0), params)
        state = AdaGCState(jnp.zeros((), jnp.int32), norms)
        return numerics.vary_together(state, params)[0]  # in a shard_map each shard has norms of its own

    def update(updates: Updates, state: AdaGCState) -> tuple[Updates, AdaGCState]:
        hyper = {"lambda_rel": lambda_rel, "decay": decay, "is_young": state.count < warmup_steps}
        hyper["warmup_factor"] = clipping_factor(tree.norm(updates), lambda_abs)
        updates, norms = tree.map_leaves(adagc_leaf, updates, state.norms, **hyper)
        return updates, AdaGCState(numerics.safe_increment(state.count), norms)

    return init, update
