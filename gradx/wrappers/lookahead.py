"""Look-ahead: slow weights that follow the fast ones now and then."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.evaluation import map_known
from gradx.sometimes import sometimes
from gradx.typing import Fraction, Params, PositiveInt, State, Updates
from gradx.value import make


class LookaheadParams(NamedTuple):
    """A pair of parameters, for loops that keep the slow ones themselves; see `lookahead`."""

    fast: Params
    """What gradients are taken at."""
    slow: Params
    """What is evaluated."""

    @classmethod
    def init_synced(cls, params: Params) -> "LookaheadParams":
        """Return the pair with which training starts: `params` twice, in buffers of their own."""
        return cls(fast=params, slow=tree.copy(params))


class LookaheadState(NamedTuple):
    """The state of `lookahead`."""

    fast_state: State
    steps_since_sync: jax.Array
    """int32[]: the updates since fast and slow weights were last the same, below `sync_period`."""
    slow: Params
    """The slow weights, at least float32; `None` where they are part of the parameters."""

    def eval_params(self, params: Params) -> Params:
        """Return the slow weights."""
        if isinstance(params, LookaheadParams):
            return params.slow
        return map_known(lambda slow, param: slow, self.slow, params)


class LookaheadTransformation(GradientTransformation):
    """What `lookahead(...)` returns: a transformation that also takes parameters in pairs, as Optax's does."""

    __slots__ = ()

    def init(self, params: Params) -> State:
        """Return the state; for `LookaheadParams` one without slow weights."""
        is_pair = isinstance(params, LookaheadParams)
        return lookahead_pair(**self.arguments).init(params.fast) if is_pair else super().init(params)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, State]:
        """Return update and state; for `LookaheadParams` a pair of updates, from the gradient at the fast weights."""
        if not isinstance(params, LookaheadParams):
            return super().update(updates, state, params, **extras)
        pair = lookahead_pair(**self.arguments)
        fast, state = pair.update(updates, state, params.fast, **extras, slow=params.slow)
        (found,) = [x for x in jax.tree.leaves(state, is_leaf=_is_ours) if _is_ours(x)]
        slow = tree.cast_like(found.slow, params.slow)
        return LookaheadParams(fast, slow), jax.tree.map(_without_slow, state, is_leaf=_is_ours)


def _is_ours(x: Any) -> bool:
    return isinstance(x, LookaheadState)


def _without_slow(x: Any) -> Any:
    return x._replace(slow=None) if _is_ours(x) else x


@make(LookaheadTransformation)
def lookahead(
    fast_optimizer: GradientTransformation,
    sync_period: PositiveInt,
    slow_step_size: Fraction,
    reset_state: bool = False,
) -> Any:
    """Let slow weights follow: after every k-th update slow ← slow + α · (fast - slow), and fast ← slow.

    Trains plain parameters, the fast weights; `gradx.eval_params(state, params)` returns the slow ones. A pair
    `LookaheadParams(fast, slow)` is taken too, with the gradient at `fast`; then the slow weights live in the pair. Put
    nothing behind it that changes the update.

    Args:
      fast_optimizer: the transformation inside.
      sync_period: k, at least 1.
      slow_step_size: α, in [0, 1]; 1 is `fast_optimizer` alone.
      reset_state: whether the inner state starts anew at every k-th update, from the slow weights.

    State: 1 number per parameter and int32[] beside the inner state. Needs: params. Zhang et al. 2019,
    arXiv:1907.08610, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.lookahead(gradx.sgd(1.0), sync_period=2, slow_step_size=0.5)
    >>> params, state = 0.0, tx.init(0.0)
    >>> for _ in range(2):
    ...     updates, state = tx.update(1.0, state, params)
    ...     params = gradx.apply_updates(params, updates)
    >>> float(params), float(gradx.eval_params(state, params))
    (-1.0, -1.0)
    """

    def init(params: Params) -> LookaheadState:
        slow = tree.copy(tree.lift(params))
        return LookaheadState(run_init(fast_optimizer, params), jnp.zeros((), jnp.int32), slow)

    def update(
        updates: Updates, state: LookaheadState, params: Params, **extras: Any
    ) -> tuple[Updates, LookaheadState]:
        updates, fast_state = run_update(fast_optimizer, updates, state.fast_state, params, extras)
        steps = (state.steps_since_sync + 1) % sync_period

        def sync(carry: tuple[Updates, Params, State]) -> tuple[Updates, Params, State]:
            fast, slow = tree.map_leaves(sync_leaf, carry[0], carry[1], params, step_size=slow_step_size)
            return fast, slow, run_init(fast_optimizer, slow) if reset_state else ()

        carry = (updates, state.slow, fast_state if reset_state else ())
        updates, slow, fresh = sometimes(steps == 0, sync, carry)
        fast_state = fresh if reset_state else fast_state
        return updates, LookaheadState(fast_state, steps, slow)

    return Wrapper(init, update, lambda state: [("", fast_optimizer, state and state.fast_state)])


def sync_leaf(u: jax.Array, slow: jax.Array, p: jax.Array, *, step_size: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (slow - p, slow), slow ← slow + α (p + u - slow): the update that ends at the slow weights."""
    slow = slow + step_size * (p + u - slow)
    return slow - p, slow


@transformation
def lookahead_pair(
    fast_optimizer: GradientTransformation,
    sync_period: PositiveInt,
    slow_step_size: Fraction,
    reset_state: bool = False,
) -> Any:
    """Do what `lookahead` does for slow weights that come as an extra; their update leaves in the state."""

    def init(params: Params) -> LookaheadState:
        return LookaheadState(run_init(fast_optimizer, params), jnp.zeros((), jnp.int32), None)

    def update(
        updates: Updates, state: LookaheadState, params: Params, *, slow: Params, **extras: Any
    ) -> tuple[Updates, LookaheadState]:
        updates, fast_state = run_update(fast_optimizer, updates, state.fast_state, params, extras)
        steps = (state.steps_since_sync + 1) % sync_period
        updates, slow_updates = tree.map_leaves(
            pair_leaf, updates, tree.lift(slow), params, step_size=slow_step_size, syncs=steps == 0
        )
        if reset_state:
            fresh = run_init(fast_optimizer, tree.add(slow, slow_updates))
            fast_state = tree.where(steps == 0, fresh, fast_state)
        return updates, LookaheadState(fast_state, steps, slow_updates)

    return Wrapper(init, update, lambda state: [("", fast_optimizer, state and state.fast_state)])


def pair_leaf(
    u: jax.Array, slow: jax.Array, p: jax.Array, *, step_size: jax.Array, syncs: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return both updates: (u, 0), or where the pair is synced those that end at slow + α (p + u - slow)."""
    gap = p + u - slow
    return jnp.where(syncs, u - (1 - step_size) * gap, u), jnp.where(syncs, step_size * gap, 0)
