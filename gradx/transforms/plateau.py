"""Shrink the update when the loss has stopped falling."""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, numerics, tree
from gradx.core import transformation
from gradx.transforms.scale import scale_leaf
from gradx.typing import Fraction, NonNegative, NonNegativeInt, Params, PositiveInt, Range, Schedule, Updates

Shrinking = Annotated[float | jax.Array | Schedule, Range(low=0.0, high=1.0, closed="()", schedule=True)]


class ReduceLROnPlateauState(NamedTuple):
    """The state of `reduce_on_plateau`."""

    scale: jax.Array
    """float32[]: the factor on the update."""
    best_value: jax.Array
    """float32[]: the least mean of values so far, at first the largest float (an infinity stops jax_debug_infs)."""
    plateau_count: jax.Array
    """int32[]: the means since the best."""
    cooldown_count: jax.Array
    """int32[]: the means still to pass before the next is counted."""
    count: jax.Array
    """int32[]: the values in the mean so far."""
    avg_value: jax.Array
    """float32[]: the mean so far."""


def plateau_rule(scale, best, mean, bad, cooling, *, factor, rtol, atol, min_scale, patience, cooldown):
    """Return (scale, best, mean, bad, cooling) after a whole mean of values."""
    margin = jnp.where(best < jnp.finfo(best.dtype).max, rtol * jnp.abs(best), 0) + atol
    improved = mean < best - margin
    bad = jnp.where(improved, 0, numerics.safe_increment(bad))
    cools = cooling > 0
    reduces = (bad >= patience) & ~cools
    scale = jnp.where(reduces, scale * factor, scale)
    scale = jnp.where(cools, scale, jnp.maximum(scale, min_scale))
    best = jnp.where(improved, mean, best)
    cooling = jnp.where(cools, cooling - 1, jnp.where(reduces, cooldown, 0))
    return scale, best, jnp.zeros_like(mean), jnp.where(cools | reduces, 0, bad), cooling


@transformation
def reduce_on_plateau(
    factor: Shrinking = 0.1,
    patience: PositiveInt = 10,
    rtol: Fraction = 1e-4,
    atol: NonNegative = 0.0,
    cooldown: NonNegativeInt = 0,
    accumulation_size: PositiveInt = 1,
    min_scale: NonNegative = 0.0,
) -> Any:
    """Multiply by a scale, 1 at first, which shrinks by `factor` when the loss has not improved for a while.

    An improvement is a mean of values below best - rtol · |best| - atol. (Optax has best in place of |best|, and sees
    none where the loss is negative.)

    Args:
      factor: by which the scale is multiplied, in (0, 1).
      patience: means without improvement, at least 1, at which it is.
      rtol: share of |best| by which a mean must be below it.
      atol: added to that.
      cooldown: means that are not counted after a reduction.
      accumulation_size: values of which each mean is made: 1 for a validation loss, more for that of batches.
      min_scale: where the scale stops.

    State: 6 scalars. Needs: the extra `value`.

    >>> import gradx
    >>> tx = gradx.reduce_on_plateau(factor=0.5, patience=2)
    >>> state = tx.init(0.0)
    >>> for _ in range(3):
    ...     updates, state = tx.update(1.0, state, value=3.0)
    >>> float(updates)
    0.5
    """

    def init(params: Params) -> ReduceLROnPlateauState:
        dtype = tree.real_dtype(params)
        bad, cooling, count = (jnp.zeros((), jnp.int32) for _ in range(3))
        best, mean = jnp.full((), jnp.finfo(dtype).max, dtype), jnp.zeros((), dtype)
        return ReduceLROnPlateauState(jnp.ones((), dtype), best, bad, cooling, count, mean)

    def update(
        updates: Updates, state: ReduceLROnPlateauState, *, value: ArrayLike
    ) -> tuple[Updates, ReduceLROnPlateauState]:
        value = checks.one_number("reduce_on_plateau", "value", value).astype(state.avg_value.dtype)
        scale, best, bad, cooling, count, mean = state
        count = numerics.safe_increment(count)
        mean = mean + (value - mean) / count.astype(mean.dtype)
        hyper = {"factor": factor, "rtol": rtol, "atol": atol, "min_scale": min_scale}
        hyper |= {"patience": patience, "cooldown": cooldown}
        before = scale, best, mean, bad, cooling
        after = tree.map_leaves(plateau_rule, *before, **hyper)
        is_whole = count >= accumulation_size
        scale, best, mean, bad, cooling = tree.where(is_whole, after, before)
        updates = tree.map_leaves(scale_leaf, updates, factor=scale)
        return updates, ReduceLROnPlateauState(scale, best, bad, cooling, jnp.where(is_whole, 0, count), mean)

    return init, update
