"""Multiply the update by a number: a constant, a learning rate, a schedule."""

from typing import Any

import jax

from gradx import tree
from gradx.core import EmptyState, transformation
from gradx.typing import LearningRate, Params, ScalarOrSchedule, Updates


def scale_leaf(u: jax.Array, *, factor: jax.Array) -> jax.Array:
    """Return factor · u."""
    return factor * u


def descend_leaf(u: jax.Array, *, factor: jax.Array) -> jax.Array:
    """Return -factor · u."""
    return -factor * u


def no_state(params: Params) -> EmptyState:
    """Return the state of a transformation that keeps none: the init of all of them."""
    return EmptyState()


@transformation
def scale(step_size: ScalarOrSchedule) -> Any:
    """Multiply by a number: u ← step_size · u.

    State: none.

    >>> import gradx
    >>> tx = gradx.scale(-0.5)
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    -2.0
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(scale_leaf, updates, factor=step_size), state

    return no_state, update


@transformation
def scale_by_learning_rate(learning_rate: LearningRate, *, flip_sign: bool = True) -> Any:
    """Turn a direction into a step downhill: u ← -learning_rate · u.

    Args:
      learning_rate: at least 0; a schedule is called with the number of updates already applied.
      flip_sign: False keeps the sign, for ascent.

    State: none; with a schedule int32[].

    >>> import gradx
    >>> tx = gradx.scale_by_learning_rate(0.5)
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    -2.0
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        leaf = descend_leaf if flip_sign else scale_leaf
        return tree.map_leaves(leaf, updates, factor=learning_rate), state

    return no_state, update


@transformation
def scale_by_schedule(step_size_fn: ScalarOrSchedule) -> Any:
    """Multiply by a schedule's value: u ← step_size_fn(t) · u, t = 0 at the first update. State: int32[].

    The sign is the schedule's own: descent needs a negative one, or `scale_by_learning_rate`.

    Args:
      step_size_fn: a schedule, from the number of updates already applied to the factor.

    >>> import gradx
    >>> tx = gradx.scale_by_schedule(gradx.constant_schedule(-0.5))
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    -2.0
    """
    return scale(step_size_fn)
