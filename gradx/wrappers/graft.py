"""Grafting: the direction of one optimizer with the length of another's steps."""

from typing import Any, NamedTuple

import jax

from gradx import numerics, tree
from gradx.combine import merge, resolve_mask, select
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.running import Part
from gradx.typing import Mask, Params, State, Updates


class GraftState(NamedTuple):
    """The state of `graft`."""

    direction_state: State
    magnitude_state: State


def graft_leaf(d: jax.Array, m: jax.Array) -> jax.Array:
    """Return ‖m‖ / ‖d‖ · d, and 0 where d is 0."""
    return numerics.safe_divide(tree.norm(m), tree.norm(d)) * d


@transformation
def graft(direction: GradientTransformation, magnitude: GradientTransformation, mask: Mask = True) -> Any:
    """Step in the direction of one optimizer, each array as far as another would: u = ‖m‖ / ‖d‖ · d.

    Both see the same gradients. So an optimizer may be tried with the learning rate and the schedule that another was
    tuned for; Shampoo's directions are used with Adam's lengths.

    Args:
      direction: makes d; its learning rate drops out.
      magnitude: makes m.
      mask: where to graft: a pytree of bools (a prefix will do), or a function from the parameters to one; elsewhere
        u = d.

    State: those of both. Agarwal et al. 2020, arXiv:2002.11803, Algorithm 1, by array.

    >>> import gradx
    >>> tx = gradx.graft(gradx.sign_sgd(1.0), gradx.sgd(0.5))
    >>> updates, _ = tx.update(-4.0, tx.init(0.0))
    >>> float(updates)
    2.0
    """

    def init(params: Params) -> GraftState:
        return GraftState(run_init(direction, params), run_init(magnitude, params))

    def update(
        updates: Updates, state: GraftState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, GraftState]:
        d, direction_state = run_update(direction, updates, state.direction_state, params, extras)
        m, magnitude_state = run_update(magnitude, updates, state.magnitude_state, params, extras)
        chosen = resolve_mask("graft", mask, updates if params is None else params)
        grafted = tree.map_leaves(graft_leaf, select(chosen, d), select(chosen, m))
        return merge(chosen, grafted, d), GraftState(direction_state, magnitude_state)

    def inside(state: GraftState | None) -> list[Part]:
        states = (None, None) if state is None else state
        return [("direction", direction, states[0]), ("magnitude", magnitude, states[1])]

    return Wrapper(init, update, inside)
