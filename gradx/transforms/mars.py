"""MARS: correct each gradient by what the last step changed in it, which takes noise away."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.transforms.clip import clipping_factor
from gradx.typing import Decay, NonNegative, Params, Updates


class MarsState(NamedTuple):
    """The state of `mars_correction`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    previous: Updates
    """The gradient before, or with `exact` the parameters before; like the parameters, at least float32."""


def mars_leaf(g, before, *, factor, max_norm, at_start):
    """Return (c · min(1, max_norm / ‖c‖), g), c = g + factor · (g - before), at the start g."""
    c = g + factor * jnp.where(at_start, 0, g - before)
    return clipping_factor(tree.norm(c), max_norm) * c, jnp.copy(g)  # the state shares no buffer with the gradient


@transformation
def mars_correction(
    gamma: NonNegative = 0.025, b1: Decay = 0.95, max_norm: NonNegative = 1.0, *, exact: bool = False
) -> Any:
    """Add to the gradient its change over the last step, and bound each array: g ← c · min(1, max_norm / ‖c‖).

    c = g + gamma · b1 / (1 - b1) · (g - h), h the gradient at the parameters before: then a running mean of decay b1
    has less noise, by stochastic recursive momentum. It stands before the optimizer.

    Args:
      gamma: how much of the correction; 0 is none.
      b1: decay of the optimizer's running mean of gradients, in [0, 1).
      max_norm: the largest norm of an array that passes; infinity bounds none.
      exact: take h on the data of this step, with the extra `grad_fn`, from parameters to their gradient; it sees them
        in at least float32. Else h is the gradient of the step before, on its data, which costs no second gradient.

    State: 1 number per parameter and int32[]. Needs: params and the extra `grad_fn` where `exact`. Yuan et al. 2024,
    arXiv:2411.10438, Algorithm 1; the authors' code corrects matrices alone, as `masked` can.

    >>> import gradx
    >>> tx = gradx.chain(gradx.mars_correction(gamma=0.5, b1=0.5, max_norm=10.0), gradx.sgd(1.0))
    >>> first, state = tx.update(2.0, tx.init(0.0))
    >>> second, _ = tx.update(3.0, state)
    >>> float(first), float(second)
    (-2.0, -3.5)
    """

    def init(params: Params) -> MarsState:
        previous = tree.copy(tree.lift(params)) if exact else tree.zeros_like(params)
        return MarsState(jnp.zeros((), jnp.int32), previous)

    def corrected(updates: Updates, before: Updates, count: jax.Array) -> tuple[Updates, Updates]:
        decay: Any = b1
        hyper = {"factor": gamma * decay / (1 - decay), "max_norm": max_norm, "at_start": count == 0}
        return tree.map_leaves(mars_leaf, updates, before, **hyper)

    def update(updates: Updates, state: MarsState) -> tuple[Updates, MarsState]:
        updates, previous = corrected(updates, state.previous, state.count)
        return updates, MarsState(numerics.safe_increment(state.count), previous)

    def update_exactly(
        updates: Updates, state: MarsState, params: Params, *, grad_fn: Callable[[Params], Updates]
    ) -> tuple[Updates, MarsState]:
        updates, _ = corrected(updates, tree.lift(grad_fn(state.previous)), state.count)
        previous = tree.copy(tree.cast_like(params, state.previous))
        return updates, MarsState(numerics.safe_increment(state.count), previous)

    return init, update_exactly if exact else update
