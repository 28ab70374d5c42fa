"""Polyak's step size: as long as the loss is far from its minimum and the gradient short."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, tree
from gradx.combine import chain
from gradx.core import EmptyState, transformation
from gradx.transforms.scale import no_state, scale_by_learning_rate, scale_leaf
from gradx.typing import LearningRate, NonNegative, ScalarOrSchedule, Updates

Variant = Literal["sps", "sps+"]


def polyak_step(square, value, *, f_min, max_learning_rate, eps, variant):
    """Return min((value - f_min) / (square + eps), max_learning_rate), square = ‖g‖²; of "sps+" at least 0."""
    gap = value - f_min
    gap = jnp.where(gap < 0, 0, gap) if variant == "sps+" else gap  # NaN stays
    denominator = square + eps
    # Compared before the division: 1 / ‖g‖² may overflow, and so would its derivative.
    longest = (gap >= max_learning_rate * denominator) | (denominator == 0)
    return jnp.where(longest, max_learning_rate, gap / jnp.where(longest, 1, denominator))


@transformation
def scale_by_polyak(
    f_min: ScalarOrSchedule = 0.0,
    max_learning_rate: NonNegative = 1.0,
    eps: NonNegative = 0.0,
    variant: Variant = "sps",
) -> Any:
    """Multiply by Polyak's step size: u = g · min((value - f_min) / (‖g‖² + eps), max_learning_rate).

    Args:
      f_min: the least value of the loss, or a guess at it; 0 for a model that can fit its data. Below a guess that is
        too high the step of "sps" climbs, that of "sps+" is 0.
      max_learning_rate: the longest step, which bounds it where the gradient is short.
      eps: added to ‖g‖².
      variant: "sps" (Loizou et al. 2021, arXiv:2002.10542, eq. 3, its c = 1), or "sps+" with max(value - f_min, 0) in
        its place (Garrigos et al. 2023, arXiv:2307.14528).

    State: none. Needs: the extra `value`, the loss whose gradient this is. (Optax stops where ‖g‖² + eps is below
    1.2e-7; here the bound `max_learning_rate` holds there as everywhere.)

    >>> import gradx
    >>> tx = gradx.scale_by_polyak()
    >>> updates, _ = tx.update(4.0, tx.init(2.0), value=4.0)  # of p² at p = 2
    >>> float(updates)  # 4 · 4 / 4²
    1.0
    """
    if variant not in ("sps", "sps+"):
        raise ValueError(f"scale_by_polyak: variant must be 'sps' or 'sps+', got {variant!r}")
    hyper = {"f_min": f_min, "max_learning_rate": max_learning_rate, "eps": eps, "variant": variant}

    def update(updates: Updates, state: EmptyState, *, value: ArrayLike) -> tuple[Updates, EmptyState]:
        value = checks.one_number("scale_by_polyak", "value", value)
        step: jax.Array = tree.map_leaves(polyak_step, tree.norm(updates, squared=True), value, **hyper)
        return tree.map_leaves(scale_leaf, updates, factor=step), state

    return no_state, update


@transformation
def polyak_sgd(
    max_learning_rate: NonNegative = 1.0,
    scaling: LearningRate = 1.0,
    f_min: ScalarOrSchedule = 0.0,
    eps: NonNegative = 0.0,
    variant: Variant = "sps",
) -> Any:
    """Gradient descent with Polyak's step size: u = -scaling · g · min((value - f_min) / (‖g‖² + eps), max).

    Args:
      max_learning_rate: max, the longest step before `scaling`.
      scaling: a factor, at least 0. (Optax measures ‖g‖ behind it, so that in most steps half the scaling takes steps
        twice as long.)

    The rest as in `scale_by_polyak`.

    State: none. Needs: the extra `value`. Loizou et al. 2021, arXiv:2002.10542, eq. 3.

    >>> import gradx
    >>> tx = gradx.polyak_sgd()
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0, value=4.0)
    >>> float(updates)
    -1.0
    """
    return chain(
        scale_by_polyak(f_min, max_learning_rate, eps, variant),
        scale_by_learning_rate(scaling),
    )
