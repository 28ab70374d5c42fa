"""`lookahead` as Optax has it: the slow weights lie beside the fast ones, in a pair of parameters."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.compat.like_optax.base import as_optax
from gradx.core import Wrapper, run_init, run_update, transformation
from gradx.typing import Params, State, Updates
from gradx.wrappers.lookahead import LookaheadParams, pair_leaf


class LookaheadState(NamedTuple):
    """The state of `lookahead`."""

    fast_state: State
    steps_since_sync: jax.Array
    """int32[]: the updates since fast and slow weights were last the same."""


@as_optax
@transformation
def lookahead(fast_optimizer: Any, sync_period: int, slow_step_size: float, reset_state: bool = False) -> Any:
    """Let slow weights follow the fast ones at every k-th update; parameters and updates are `LookaheadParams`.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.lookahead(optax.sgd(1.0), sync_period=1, slow_step_size=0.5)
    >>> params = optax.LookaheadParams.init_synced(0.0)
    >>> updates, _ = tx.update(1.0, tx.init(params), params)
    >>> float(updates.fast), float(updates.slow)
    (-0.5, -0.5)
    """
    if sync_period < 1:
        raise ValueError("Synchronization period must be >= 1.")

    def init(params: Params) -> LookaheadState:
        fast = params.fast if isinstance(params, LookaheadParams) else params
        return LookaheadState(run_init(fast_optimizer, fast), jnp.zeros((), jnp.int32))

    def update(
        updates: Updates, state: LookaheadState, params: LookaheadParams, **extras: Any
    ) -> tuple[Updates, LookaheadState]:
        fast, fast_state = run_update(fast_optimizer, updates, state.fast_state, params.fast, extras)
        steps = (state.steps_since_sync + 1) % sync_period
        syncs = steps == 0
        fast, slow = tree.map_leaves(
            pair_leaf, fast, tree.lift(params.slow), params.fast, step_size=slow_step_size, syncs=syncs
        )
        if reset_state:
            fresh = run_init(fast_optimizer, tree.add(params.slow, slow))
            fast_state = tree.where(syncs, fresh, fast_state)
        return LookaheadParams(fast, tree.cast_like(slow, params.slow)), LookaheadState(fast_state, steps)

    return Wrapper(init, update, lambda state: [("", fast_optimizer, state and state.fast_state)])
