"""ZClip: shorten a gradient that is far longer than those before it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.transforms.clip import clipping_factor
from gradx.transforms.scale import scale_leaf
from gradx.typing import Decay, NonNegative, Params, Positive, PositiveInt, Updates


class ZClipState(NamedTuple):
    """The state of `zclip`."""

    count: jax.Array
    """int32[]: the norms so far, without those that were not finite."""
    mean: jax.Array
    """float32[]: the running mean of the norms, as they were let through."""
    variance: jax.Array
    """float32[]: their running variance."""


def largest_norm(norm, mean, variance, *, z_thresh, eps):
    """Return the norm that passes: norm itself up to z_thresh standard deviations above the mean, beyond it less.

    Beyond, z_thresh² / z standard deviations above, z = (norm - mean) / (deviation + eps): the longer, the shorter.
    """
    deviation = numerics.safe_sqrt(variance)
    gap, unit = norm - mean, deviation + eps
    above = ~(gap <= z_thresh * unit)  # a NaN is above, and stays one
    # Where nothing is cut, z_thresh may be infinite, and must not reach a derivative.
    z_thresh, gap = jnp.where(above, z_thresh, 1), jnp.where(above, gap, 1)
    return jnp.where(above, mean + z_thresh**2 * deviation * unit / gap, norm)


def statistics(mean, variance, norm, count, *, decay, warmup_steps):
    """Return mean and variance with one more norm: of all while they are gathered, then running ones."""
    is_young = count < warmup_steps
    share = jnp.where(is_young, 1 / (count + 1).astype(norm.dtype), 1 - decay)
    gap = norm - mean
    # The paper's running variance is about the new mean, from which the norm is (1 - share) · gap away.
    about = jnp.where(is_young, 1, 1 - share)
    new_mean, new_variance = mean + share * gap, (1 - share) * (variance + share * about * gap * gap)
    return new_mean, new_variance


@transformation
def zclip(
    z_thresh: NonNegative = 2.5, decay: Decay = 0.97, warmup_steps: PositiveInt = 25, eps: Positive = 1e-6
) -> Any:
    """Shorten the whole gradient where its norm is an outlier among those before; leave all others as they are.

    With mean m and deviation s of the norms so far, z = (‖g‖ - m) / (s + eps): where z > z_thresh the gradient gets the
    norm m + z_thresh² / z · s, so that the largest spikes are cut the most. What was cut enters m and s as it was let
    through. `skip_outliers` leaves such steps out instead.

    Args:
      z_thresh: the standard deviations above the mean that pass; infinity clips nothing.
      decay: of the running mean and variance, in [0, 1).
      warmup_steps: the norms gathered first, all of one weight, while nothing is clipped.
      eps: added to s, above 0: norms that were all the same would make an outlier of any rise.

    State: three scalars. Kumar et al. 2025, arXiv:2504.02507, section 3, with eps from the authors' code, which also
    bounds the norm by 1: put `clip_by_global_norm` behind it for that. A norm that is not finite leaves the statistics.

    >>> import gradx
    >>> tx = gradx.zclip(warmup_steps=2)
    >>> state = tx.init(0.0)
    >>> for g in (1.0, 3.0, 12.0):  # mean 2, deviation 1, so that z is 10 at last
    ...     updates, state = tx.update(g, state)
    >>> round(float(updates), 3)
    2.625
    """

    def init(params: Params) -> ZClipState:
        mean, variance = (tree.scalar_like(params, 0.0) for _ in range(2))
        state = ZClipState(jnp.zeros((), jnp.int32), mean, variance)
        return numerics.vary_together(state, params)[0]  # in a shard_map each shard has norms of its own

    def update(updates: Updates, state: ZClipState) -> tuple[Updates, ZClipState]:
        norm, past = tree.norm(updates).astype(state.mean.dtype), (state.mean, state.variance)
        allowed = tree.map_leaves(largest_norm, norm, *past, z_thresh=z_thresh, eps=eps)
        passes = jnp.where(state.count < warmup_steps, norm, allowed)
        hyper = {"decay": decay, "warmup_steps": warmup_steps}
        mean, variance = tree.map_leaves(statistics, *past, passes, state.count, **hyper)
        new = ZClipState(numerics.safe_increment(state.count), mean, variance)
        updates = tree.map_leaves(scale_leaf, updates, factor=clipping_factor(norm, passes))
        return updates, tree.where(jnp.isfinite(norm), new, state)

    return init, update
