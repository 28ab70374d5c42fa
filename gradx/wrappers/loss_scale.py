"""Train in float16 with a loss that is scaled up, so that small gradients are not rounded to 0."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.evaluation import number
from gradx.typing import Params, PositiveInt, PositiveReal, State, Updates
from gradx.wrappers.skip import all_finite, update_or_zero


class LossScaleState(NamedTuple):
    """The state of `static_loss_scale`."""

    loss_scale: jax.Array
    """float32[]: what the loss is to be multiplied by."""
    inner_state: State


class DynamicLossScaleState(NamedTuple):
    """The state of `dynamic_loss_scale`."""

    loss_scale: jax.Array
    """float32[]: what the next loss is to be multiplied by."""
    good_steps: jax.Array
    """int32[]: the steps in a row, up to the last one, whose gradient was finite; set back when the scale grows."""
    total_skipped: jax.Array
    """int32[]: all steps that were skipped because the gradient was not finite."""
    inner_state: State


@transformation
def static_loss_scale(inner: GradientTransformation, loss_scale: PositiveReal = 2.0**15) -> Any:
    """Divide the gradient by `loss_scale` before `inner` sees it: the loss was multiplied by it, with `scale_loss`.

    Args:
      inner: the transformation inside.
      loss_scale: above 0; a power of 2 rounds nothing. Keras's loss_scale_factor.

    State: float32[] beside the inner state.

    >>> import gradx
    >>> tx = gradx.static_loss_scale(gradx.sgd(1.0), 8.0)
    >>> float(tx.update(16.0, tx.init(0.0))[0])
    -2.0
    """

    def init(params: Params) -> LossScaleState:
        return LossScaleState(jnp.asarray(loss_scale, jnp.result_type(float)), run_init(inner, params))

    def update(
        updates: Updates, state: LossScaleState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, LossScaleState]:
        updates, inner_state = run_update(inner, unscaled(updates, state), state.inner_state, params, extras)
        return updates, LossScaleState(state.loss_scale, inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


@transformation
def dynamic_loss_scale(
    inner: GradientTransformation, initial_scale: PositiveReal = 2.0**15, growth_steps: PositiveInt = 2000
) -> Any:
    """Divide the gradient by a scale that is as large as overflow lets it be: `scale_loss` multiplied the loss by it.

    A gradient with NaN or infinity is skipped: its update is zero, the inner state stays bit for bit, and the scale is
    halved, to 1 at the least. After `growth_steps` finite ones in a row it is doubled, to 2^127 at the most.

    Args:
      inner: the transformation inside; outside of this one nothing should look at the gradient, which is scaled there.
      initial_scale: the first scale, above 0; a power of 2 rounds nothing.
      growth_steps: the finite gradients in a row after which the scale is doubled.

    State: three scalars beside the inner state. Micikevicius et al. 2018, arXiv:1710.03740, section 3.2; numbers as in
    Keras's LossScaleOptimizer.

    >>> import gradx
    >>> tx = gradx.dynamic_loss_scale(gradx.sgd(1.0), initial_scale=8.0)
    >>> updates, state = tx.update(float("inf"), tx.init(0.0))
    >>> float(updates), float(state.loss_scale)
    (0.0, 4.0)
    """

    def init(params: Params) -> DynamicLossScaleState:
        counts = [jnp.zeros((), jnp.int32) for _ in range(2)]
        scale = jnp.asarray(initial_scale, jnp.result_type(float))
        state = DynamicLossScaleState(scale, *counts, inner_state=run_init(inner, params))
        return numerics.vary_together(state, params)[0]  # in a shard_map each shard has a scale of its own

    def update(
        updates: Updates, state: DynamicLossScaleState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, DynamicLossScaleState]:
        finite = all_finite(updates)
        updates, inner_state = update_or_zero(
            finite, inner, updates, state.inner_state, params, extras, lambda scaled: unscaled(scaled, state)
        )
        good = jnp.where(finite, numerics.safe_increment(state.good_steps), 0)
        grows = good >= growth_steps
        halved, doubled = jnp.maximum(state.loss_scale / 2, SMALLEST), jnp.minimum(state.loss_scale, LARGEST / 2) * 2
        new_state = DynamicLossScaleState(
            loss_scale=jnp.where(finite, jnp.where(grows, doubled, state.loss_scale), halved),
            good_steps=jnp.where(grows, 0, good),
            total_skipped=jnp.where(finite, state.total_skipped, numerics.safe_increment(state.total_skipped)),
            inner_state=inner_state,
        )
        return updates, new_state

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


SMALLEST, LARGEST = 1.0, 2.0**127
"""Between these the scale is held: 0 and infinity it would never leave."""


def unscale_leaf(g: jax.Array, *, scale: jax.Array) -> jax.Array:
    """Return g · (1 / scale): a product is fused where a quotient is not."""
    return g * (1 / scale)


def unscaled(updates: Updates, state: LossScaleState | DynamicLossScaleState) -> Updates:
    """Return the gradient of the loss itself, from that of the scaled one."""
    return tree.map_leaves(unscale_leaf, updates, scale=state.loss_scale)


def scale_loss(loss: jax.Array, state: State) -> jax.Array:
    """Return the loss times the scale that the state of the optimizer holds, in at least float32.

    Differentiate that; `static_loss_scale` and `dynamic_loss_scale` divide the gradient again. Without one of them the
    loss stays as it is, so that a loop serves every optimizer.

    Args:
      loss: a number.
      state: of any transformation, or a pytree that holds it, with one scale in it at most.

    >>> import gradx
    >>> tx = gradx.dynamic_loss_scale(gradx.adam(1e-3), initial_scale=8.0)
    >>> float(gradx.scale_loss(0.5, tx.init(0.0)))
    4.0
    """
    found = [number(x.loss_scale) for x in jax.tree.leaves(state, is_leaf=_has_scale) if _has_scale(x)]
    if len(found) > 1:
        raise ValueError(f"scale_loss: the state holds {len(found)} scales, and the loss can have one")
    lifted = numerics.lift(loss)
    return lifted * found[0].astype(lifted.dtype) if found else jnp.asarray(loss)


def _has_scale(x: Any) -> bool:
    return isinstance(x, LossScaleState | DynamicLossScaleState)
