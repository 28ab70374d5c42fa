"""Accumulate gradients over several mini-steps and update once."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update
from gradx.sometimes import sometimes
from gradx.transforms.momentum import moments_like
from gradx.typing import DType, Params, PositiveInt, Schedule, State, Updates
from gradx.value import make

ShouldSkip = Callable[[Updates, jax.Array, Params | None], tuple[jax.Array, Any]]
"""From (updates, gradient_step, params) to (whether to leave this mini-step out, a pytree of numbers for the state)."""


class MultiStepsState(NamedTuple):
    """The state of `MultiSteps`."""

    mini_step: jax.Array
    """int32[]: the mini-steps gathered since the last update."""
    gradient_step: jax.Array
    """int32[]: the updates of the inner transformation."""
    inner_opt_state: State
    acc_grads: Updates
    """The mean (or sum) so far; like the parameters, in `accumulator_dtype` or at least float32."""
    skip_state: Any
    """What `should_skip_update_fn` returned beside its verdict at the last mini-step."""


class AccumulatedTransformation(GradientTransformation):
    """What `MultiSteps(...)` returns: a transformation, with the methods of Optax's class beside it."""

    __slots__ = ()

    @property
    def inner_opt(self) -> GradientTransformation:
        """The transformation inside."""
        return self.arguments["opt"]

    def has_updated(self, state: MultiStepsState) -> jax.Array:
        """Return `gradx.has_updated(state)`."""
        return has_updated(state)

    def flush(
        self, state: MultiStepsState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, MultiStepsState]:
        """Return `gradx.flush(self, state, params, **extras)`."""
        return flush(self, state, params, **extras)

    def gradient_transformation(self) -> GradientTransformation:
        """Return itself: it is one."""
        return self


@make(AccumulatedTransformation)
def MultiSteps(
    opt: GradientTransformation,
    every_k_schedule: PositiveInt | Schedule,
    use_grad_mean: bool = True,
    should_skip_update_fn: ShouldSkip | None = None,
    accumulator_dtype: DType | None = None,
) -> Any:
    """Gather the gradients of k mini-steps and then update once with their mean; the updates between are zero.

    The inner update runs at the k-th mini-step alone, and in place: a step costs what the optimizer costs by itself.
    A mini-step that is skipped counts for nothing.

    Args:
      opt: the transformation inside.
      every_k_schedule: k, at least 1; or a function from the number of inner updates to k.
      use_grad_mean: False hands the sum on.
      should_skip_update_fn: `skip_not_finite()`, `skip_large_updates(...)` or a function of (updates, gradient_step,
        params) that returns whether to skip, and a pytree to keep in the state.

    State: 1 number per parameter beside the inner state. A leaf whose gradient is `None` keeps what was gathered.

    >>> import gradx
    >>> gradx.MultiSteps(gradx.adamw(1e-3), 4)
    MultiSteps(opt=adamw(learning_rate=0.001), every_k_schedule=4)
    """

    def skip(updates: Updates, step: jax.Array, params: Params | None) -> tuple[jax.Array, Any]:
        if should_skip_update_fn is None:
            return jnp.zeros((), bool), ()
        return should_skip_update_fn(updates, step, params)

    def init(params: Params) -> MultiStepsState:
        acc = moments_like(params, accumulator_dtype)
        zero = jnp.zeros((), jnp.int32)
        shape = jax.eval_shape(lambda u: skip(u, zero, params)[1], tree.zeros_like(params))
        skip_state = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shape)
        state = MultiStepsState(zero, jnp.zeros((), jnp.int32), run_init(opt, params), acc, skip_state)
        # In a shard_map each shard skips by its own gradient, and its counts become its own.
        return state if should_skip_update_fn is None else numerics.vary_together(state, params)[0]

    def update(
        updates: Updates, state: MultiStepsState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, MultiStepsState]:
        k = every_k_schedule(state.gradient_step) if callable(every_k_schedule) else every_k_schedule
        skipped, skip_state = skip(updates, state.gradient_step, params)
        number = state.mini_step + 1
        share = 1 / number.astype(jnp.result_type(float)) if use_grad_mean else 1.0
        leaf = mean_leaf if use_grad_mean else sum_leaf
        gathered = tree.map_leaves(leaf, updates, state.acc_grads, share=share, skipped=skipped)
        ready = (number >= k) & ~skipped
        new_updates, acc, inner = _update_where(
            ready, opt, gathered, state.acc_grads, state.inner_opt_state, params, extras
        )
        new_state = MultiStepsState(
            mini_step=jnp.where(ready, 0, jnp.where(skipped, state.mini_step, number)),
            gradient_step=jnp.where(ready, numerics.safe_increment(state.gradient_step), state.gradient_step),
            inner_opt_state=inner,
            acc_grads=acc,
            skip_state=skip_state,
        )
        return new_updates, new_state

    return Wrapper(init, update, lambda state: [("", opt, state and state.inner_opt_state)])


def mean_leaf(g, acc, *, share, skipped):
    """Return the mean, g taken in unless skipped: acc + share · (g - acc)."""
    return jnp.where(skipped, acc, acc + share * (g - acc))


def sum_leaf(g, acc, *, share, skipped):
    """Return the sum, g taken in unless skipped: acc + share · g."""
    return jnp.where(skipped, acc, acc + share * g)


def _update_where(
    ready: jax.Array, opt: Any, gathered: Updates, acc: Updates, state: State, params: Params | None, extras: dict
) -> tuple[Updates, Updates, State]:
    """Return updates, accumulator and state: new, zero and the next where `ready`, else zero, gathered and as it was.

    The update leaves in the place of what was gathered: see `sometimes`.
    """

    def renew(carry: tuple[Updates, State]) -> tuple[Updates, State]:
        updates, new_state = run_update(opt, carry[0], carry[1], params, extras)
        return tree.cast_like(updates, carry[0]), new_state

    result, state = sometimes(ready, renew, (gathered, state))
    updates = jax.tree.map(lambda x: jnp.where(ready, x, 0), result)
    kept = jax.tree.map(
        lambda x, old: old if x is None else jnp.where(ready, 0, x).astype(old.dtype),
        result,
        acc,
        is_leaf=lambda x: x is None,
    )
    return updates, kept, state


def skip_not_finite(
    updates: Updates, gradient_step: jax.Array, params: Params | None
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Say whether to leave a mini-step out because its gradient holds NaN or infinity; keeps their number.

    >>> import gradx
    >>> should_skip, _ = gradx.skip_not_finite({"w": float("inf")}, 0, None)
    >>> bool(should_skip)
    True
    """
    del gradient_step, params
    # Counted in float32: three thousand million bad entries would be a negative int32, and pass.
    counts = [jnp.sum(~jnp.isfinite(g), dtype=jnp.float32) for g in jax.tree.leaves(updates)]
    number = functools.reduce(jnp.add, counts, jnp.zeros((), jnp.float32))
    held = jnp.minimum(number, LARGEST_COUNT).astype(jnp.int32)
    return number > 0, {"should_skip": number > 0, "num_not_finite": held}


LARGEST_COUNT = 2.0**31 - 128
"""The largest float32 below 2^31: counts of entries are held there."""


def skip_large_updates(
    updates: Updates, gradient_step: jax.Array, params: Params | None, max_squared_norm: float | jax.Array
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Say whether to leave a mini-step out because its squared norm is no number or at least `max_squared_norm`.

    Bind the bound with `jax.tree_util.Partial(skip_large_updates, max_squared_norm=...)`, which compares by its
    arguments.

    Args:
      max_squared_norm: the bound; what reaches it is left out.

    >>> import gradx
    >>> should_skip, _ = gradx.skip_large_updates({"w": 3.0}, 0, None, max_squared_norm=4.0)
    >>> bool(should_skip)
    True
    """
    del gradient_step, params
    norm_squared = tree.norm(updates, squared=True)
    should_skip = ~(norm_squared < max_squared_norm)  # written so that NaN is skipped too
    return should_skip, {"should_skip": should_skip, "norm_squared": norm_squared}


def flush(
    tx: GradientTransformation, state: MultiStepsState, params: Params | None = None, **extras: Any
) -> tuple[Updates, MultiStepsState]:
    """Update with what `MultiSteps` has gathered so far: the last mini-steps of an epoch, fewer than k.

    Args:
      tx: the `MultiSteps` itself.

    Returns what `tx.update` does at a k-th mini-step; where nothing is gathered the updates are zero and the state
    stays. Works under `jit`.

    >>> import gradx
    >>> tx = gradx.MultiSteps(gradx.sgd(1.0), 4)
    >>> _, state = tx.update({"w": 2.0}, tx.init({"w": 0.0}))
    >>> updates, state = gradx.flush(tx, state)
    >>> float(updates["w"]), int(state.mini_step)
    (-2.0, 0)
    """
    if not isinstance(tx, GradientTransformation) or tx.factory is not MultiSteps:
        raise TypeError(f"flush: tx must be a MultiSteps(...), got {tx!r}")
    gathered = state.mini_step > 0
    opt, acc = tx.arguments["opt"], state.acc_grads
    updates, acc, inner = _update_where(gathered, opt, tree.lift(acc), acc, state.inner_opt_state, params, extras)
    new_state = state._replace(
        mini_step=jnp.zeros_like(state.mini_step),
        gradient_step=jnp.where(gathered, numerics.safe_increment(state.gradient_step), state.gradient_step),
        inner_opt_state=inner,
        acc_grads=acc,
    )
    return updates, new_state


def has_updated(state: MultiStepsState) -> jax.Array:
    """Return whether nothing is gathered since the last update: right after it, and after skips that follow.

    Args:
      state: of `MultiSteps`.

    >>> import gradx
    >>> tx = gradx.MultiSteps(gradx.sgd(1.0), 2)
    >>> _, state = tx.update(1.0, tx.init(0.0))
    >>> bool(gradx.has_updated(state))
    False
    >>> _, state = tx.update(1.0, state)
    >>> bool(gradx.has_updated(state))
    True
    """
    return (state.mini_step == 0) & (state.gradient_step > 0)
