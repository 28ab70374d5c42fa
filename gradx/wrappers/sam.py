"""Sharpness-aware minimization: take the gradient where the loss nearby is highest."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.core import GradientTransformation, Wrapper, apply_updates, run_init, run_update, transformation
from gradx.evaluation import map_known
from gradx.running import Part
from gradx.sometimes import sometimes
from gradx.typing import Params, PositiveInt, State, Updates


class SAMState(NamedTuple):
    """The state of `sam`."""

    steps_since_sync: jax.Array
    """int32[]: the adversarial steps taken since the last update of the parameters proper."""
    opt_state: State
    adv_state: State
    cache: Params
    """The parameters proper, from which the adversarial steps went; at least float32. `None` in opaque mode."""

    def eval_params(self, params: Params) -> Params:
        """Return the parameters proper: between two updates `params` are the adversary's."""
        return map_known(lambda x, p: jnp.where(self.steps_since_sync == 0, p, x), self.cache, params)


def ascend_leaf(u):
    """Return -u."""
    return -u


def return_leaf(u, x, p):
    """Return the way from p to x + u."""
    return x - p + u


@transformation
def sam(
    optimizer: GradientTransformation,
    adv_optimizer: GradientTransformation,
    sync_period: PositiveInt = 2,
    reset_state: bool = True,
    opaque_mode: bool = False,
    batch_axis_name: str | None = None,
) -> Any:
    """Climb for sync_period - 1 steps with the adversary's reversed updates, then update from where the climb began.

    The paper's is `sam(sgd(0.1), chain(normalize(), sgd(rho)))`. Each call of update is one such step, with its own
    gradient; `gradx.eval_params` gives the parameters proper between them. In opaque mode a call takes them all.

    Args:
      optimizer: what updates the parameters proper.
      adv_optimizer: what climbs, as if it were to descend.
      sync_period: the steps of a round, at least 1.
      reset_state: give the adversary a new state at each round.
      opaque_mode: take all steps in one call, with the extra `grad_fn`: from (params, i) to the gradient for the i-th
        step, i = 0, 1, ...; it sees parameters in at least float32.
      batch_axis_name: the mapped axis over which to average the gradients of `grad_fn`.

    State: 1 number per parameter (none in opaque mode), both inner states. Needs: params; in opaque mode the extra
    `grad_fn`. Foret et al. 2021, arXiv:2010.01412, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.sam(gradx.sgd(0.5), gradx.chain(gradx.normalize(), gradx.sgd(0.25)))
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0)
    >>> float(updates)
    0.25
    """

    def init(params: Params) -> SAMState:
        cache = None if opaque_mode else tree.copy(tree.lift(params))
        return SAMState(jnp.zeros((), jnp.int32), run_init(optimizer, params), run_init(adv_optimizer, params), cache)

    def update(updates: Updates, state: SAMState, params: Params, **extras: Any) -> tuple[Updates, SAMState]:
        is_first, is_last = state.steps_since_sync == 0, state.steps_since_sync == sync_period - 1
        cache = sometimes(is_first, lambda old: tree.cast_like(params, old), state.cache)

        def descend(carry: tuple[Updates, State]) -> tuple[Updates, State]:
            steps, opt_state = run_update(optimizer, *carry, cache, extras)
            return tree.cast_like(tree.map_leaves(return_leaf, steps, cache, params), carry[0]), opt_state

        def climb(carry: tuple[Updates, State]) -> tuple[Updates, State]:
            steps, adv_state = run_update(adv_optimizer, *carry, params, extras)
            return tree.cast_like(tree.map_leaves(ascend_leaf, steps), carry[0]), adv_state

        updates, opt_state = sometimes(is_last, descend, (updates, state.opt_state))
        updates, adv_state = sometimes(~is_last, climb, (updates, state.adv_state))
        if reset_state:
            adv_state = sometimes(is_last, lambda _: run_init(adv_optimizer, params), adv_state)
        return updates, SAMState((state.steps_since_sync + 1) % sync_period, opt_state, adv_state, cache)

    def update_at_once(
        updates: Updates, state: SAMState, params: Params, *, grad_fn: Callable[[Params, int], Updates], **extras: Any
    ) -> tuple[Updates, SAMState]:
        adv_params, adv_state = params, state.adv_state
        for i in range(sync_period - 1):
            steps, adv_state = run_update(adv_optimizer, updates, adv_state, adv_params, extras)
            adv_params = apply_updates(adv_params, tree.map_leaves(ascend_leaf, steps))
            updates = tree.lift(grad_fn(adv_params, i))
            updates = updates if batch_axis_name is None else jax.lax.pmean(updates, batch_axis_name)
        if reset_state:
            adv_state = run_init(adv_optimizer, params)
        updates, opt_state = run_update(optimizer, updates, state.opt_state, params, extras)
        return updates, state._replace(opt_state=opt_state, adv_state=adv_state)

    def inside(state: SAMState | None) -> list[Part]:
        states = (None, None) if state is None else (state.opt_state, state.adv_state)
        return [("optimizer", optimizer, states[0]), ("adv_optimizer", adv_optimizer, states[1])]

    return Wrapper(init, update_at_once if opaque_mode else update, inside)
