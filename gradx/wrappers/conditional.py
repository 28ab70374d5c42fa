"""Run a transformation at some steps only, as a function of the step decides."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.sometimes import sometimes
from gradx.typing import Params, State, Updates
from gradx.wrappers.skip import update_or_zero

Condition = Callable[..., jax.Array | bool]
"""From the number of updates already made, and extras where they are forwarded, to whether the inner one runs."""


class ConditionallyTransformState(NamedTuple):
    """The state of `conditionally_transform`."""

    inner_state: State
    step: jax.Array
    """int32[]: the updates already applied, those that passed through included."""


class ConditionallyMaskState(NamedTuple):
    """The state of `conditionally_mask`."""

    step: jax.Array
    """int32[]: the updates already applied, those that were zero included."""
    inner_state: State


@transformation
def conditionally_transform(
    inner: GradientTransformation, should_transform_fn: Condition, forward_extra_args: bool = False
) -> Any:
    """Run `inner` at some steps; at the others the update passes through UNCHANGED, and the inner state stays.

    For zero updates at the other steps use `conditionally_mask`.

    Args:
      inner: the transformation inside.
      should_transform_fn: from the number of updates already applied to whether `inner` runs.
      forward_extra_args: whether that function gets the extras of `update` too, by name.

    State: int32[] beside the inner state.

    >>> import gradx
    >>> tx = gradx.conditionally_transform(gradx.scale(-1.0), lambda step: step >= 1)
    >>> first, state = tx.update(4.0, tx.init(0.0))
    >>> second, state = tx.update(4.0, state)
    >>> float(first), float(second)
    (4.0, -4.0)
    """

    def init(params: Params) -> ConditionallyTransformState:
        return ConditionallyTransformState(run_init(inner, params), jnp.zeros((), jnp.int32))

    def update(
        updates: Updates, state: ConditionallyTransformState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, ConditionallyTransformState]:
        def renew(carry: tuple[Updates, State]) -> tuple[Updates, State]:
            new, new_state = run_update(inner, carry[0], carry[1], params, extras)
            return tree.cast_like(new, carry[0]), new_state

        ready = _verdict(should_transform_fn, state.step, forward_extra_args, extras)
        updates, inner_state = sometimes(ready, renew, (updates, state.inner_state))
        return updates, ConditionallyTransformState(inner_state, numerics.safe_increment(state.step))

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


@transformation
def conditionally_mask(
    inner: GradientTransformation, should_transform_fn: Condition, forward_extra_args: bool = False
) -> Any:
    """Run `inner` at some steps; at the others the update is zero, and the inner state stays.

    Args:
      inner: the transformation inside.
      should_transform_fn: from the number of updates already applied to whether `inner` runs.
      forward_extra_args: whether that function gets the extras of `update` too, by name.

    State: int32[] beside the inner state.

    >>> import gradx
    >>> tx = gradx.conditionally_mask(gradx.sgd(1.0), lambda step: step % 2 == 1)
    >>> first, state = tx.update(4.0, tx.init(0.0))
    >>> second, state = tx.update(4.0, state)
    >>> float(first), float(second)
    (0.0, -4.0)
    """

    def init(params: Params) -> ConditionallyMaskState:
        return ConditionallyMaskState(jnp.zeros((), jnp.int32), run_init(inner, params))

    def update(
        updates: Updates, state: ConditionallyMaskState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, ConditionallyMaskState]:
        ready = _verdict(should_transform_fn, state.step, forward_extra_args, extras)
        updates, inner_state = update_or_zero(ready, inner, updates, state.inner_state, params, extras)
        return updates, ConditionallyMaskState(numerics.safe_increment(state.step), inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


def _verdict(condition: Condition, step: jax.Array, forward_extra_args: bool, extras: dict[str, Any]) -> Any:
    verdict = condition(step, **(extras if forward_extra_args else {}))
    if jnp.shape(verdict) != ():
        raise ValueError(f"should_transform_fn must return one bool, got shape {jnp.shape(verdict)}")
    return verdict
