"""Leave steps out: those whose gradient is not finite, and those that are far larger than usual."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.sometimes import sometimes
from gradx.typing import Decay, NonNegativeInt, Params, Positive, State, Updates


class ApplyIfFiniteState(NamedTuple):
    """The state of `apply_if_finite`."""

    notfinite_count: jax.Array
    """int32[]: the gradients in a row, up to the last one, that were not finite."""
    last_finite: jax.Array
    """bool[]: whether the last gradient was finite."""
    total_notfinite: jax.Array
    """int32[]: all gradients so far that were not finite."""
    inner_state: State


class SkipOutliersState(NamedTuple):
    """The state of `skip_outliers`."""

    passed: jax.Array
    """int32[]: the steps that were not skipped, whose norms the mean holds."""
    mean: jax.Array
    """float32[]: the running mean of the gradient's norm."""
    deviation: jax.Array
    """float32[]: the running standard deviation of the norm."""
    skipped_in_row: jax.Array
    """int32[]: the steps in a row, up to the last one, that were skipped."""
    total_skipped: jax.Array
    """int32[]: all steps that were skipped."""
    inner_state: State


@transformation
def apply_if_finite(inner: GradientTransformation, max_consecutive_errors: NonNegativeInt) -> Any:
    """Skip a step whose gradient holds NaN or infinity: its update is zero, and the inner state stays bit for bit.

    After more than `max_consecutive_errors` such gradients in a row they are let through, so that a run that is lost
    does not go on unnoticed.

    Args:
      inner: the transformation inside; it runs only at the steps that are not skipped.
      max_consecutive_errors: the bad gradients in a row that are skipped; the next one passes.

    State: two int32[] and bool[] beside the inner state.

    >>> import gradx
    >>> tx = gradx.apply_if_finite(gradx.sgd(0.5), max_consecutive_errors=3)
    >>> updates, state = tx.update(float("nan"), tx.init(1.0))
    >>> float(updates), int(state.total_notfinite)
    (0.0, 1)
    """

    def init(params: Params) -> ApplyIfFiniteState:
        zero, finite = jnp.zeros((), jnp.int32), jnp.ones((), bool)
        state = ApplyIfFiniteState(zero, finite, jnp.zeros((), jnp.int32), run_init(inner, params))
        return numerics.vary_together(state, params)[0]  # in a shard_map each shard counts for itself

    def update(
        updates: Updates, state: ApplyIfFiniteState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, ApplyIfFiniteState]:
        finite = all_finite(updates)
        in_row = jnp.where(finite, 0, numerics.safe_increment(state.notfinite_count))
        total = jnp.where(finite, state.total_notfinite, numerics.safe_increment(state.total_notfinite))
        ready = finite | (in_row > max_consecutive_errors)
        updates, inner_state = update_or_zero(ready, inner, updates, state.inner_state, params, extras)
        return updates, ApplyIfFiniteState(in_row, finite, total, inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


def all_finite(updates: Updates) -> jax.Array:
    """Return whether no entry is NaN or infinite: bool[], by the largest |x|, which needs no array of bools."""
    parts = [part for x in jax.tree.leaves(updates) for part in _real_parts(jax.lax.stop_gradient(x))]
    verdict = jnp.ones((), bool)
    for x in parts:
        verdict &= jnp.isfinite(jnp.max(jnp.abs(x), initial=0))  # NaN is the largest of all
    return verdict


def _real_parts(x: jax.Array) -> tuple[jax.Array, ...]:
    return (x.real, x.imag) if jnp.iscomplexobj(x) else (x,)


def update_or_zero(
    ready: jax.Array,
    inner: Any,
    updates: Updates,
    state: State,
    params: Params | None,
    extras: dict,
    prepare: Callable[[Updates], Updates] = lambda updates: updates,
) -> tuple[Updates, State]:
    """Return update and state of `inner` where `ready`, else zero and the state as it was.

    The update leaves in the place of zeros, which XLA makes only where they are wanted. In the gradient's place, a
    gradient that the caller keeps would be copied first.

    Args:
      prepare: what is done with the gradient before, at these steps only.
    """

    def renew(carry: tuple[Updates, State]) -> tuple[Updates, State]:
        new, new_state = run_update(inner, prepare(updates), carry[1], params, extras)
        return tree.cast_like(new, carry[0]), new_state

    return sometimes(ready, renew, (jax.tree.map(jnp.zeros_like, updates), state))


@transformation
def skip_outliers(
    inner: GradientTransformation,
    max_deviations: Positive = 6.0,
    decay: Decay = 0.99,
    warmup_steps: NonNegativeInt = 100,
    max_consecutive_skips: NonNegativeInt = 10,
) -> Any:
    """Skip a step whose gradient is far larger than usual: zero update, the inner state stays bit for bit.

    n = ‖g‖ is skipped where n > mean + max_deviations · max(deviation, mean / 10), and where it is not finite. Mean and
    deviation are running ones, free of bias, of the norms that passed. The tenth keeps a quiet run from skipping at
    every small rise.

    Args:
      inner: the transformation inside; it runs only at the steps that are not skipped.
      max_deviations: the standard deviations above the mean that pass, above 0.
      decay: of the running mean and variance, in [0, 1).
      warmup_steps: the norms gathered before any finite one is skipped.
      max_consecutive_skips: finite outliers in a row that are skipped; the next passes, for the norm may have changed.

    State: five scalars beside the inner state. The statistics are those of ZClip (Kumar et al. 2025, arXiv:2504.02507),
    which shortens what this skips.

    >>> import gradx
    >>> tx = gradx.skip_outliers(gradx.sgd(1.0), warmup_steps=1)
    >>> _, state = tx.update(1.0, tx.init(0.0))
    >>> updates, state = tx.update(1000.0, state)
    >>> float(updates), int(state.total_skipped)
    (0.0, 1)
    """

    def init(params: Params) -> SkipOutliersState:
        counts = [jnp.zeros((), jnp.int32) for _ in range(3)]
        norm = jax.eval_shape(tree.norm, params)
        mean, deviation = (jnp.zeros((), norm.dtype) for _ in range(2))
        state = SkipOutliersState(counts[0], mean, deviation, counts[1], counts[2], run_init(inner, params))
        return numerics.vary_together(state, params)[0]  # in a shard_map each shard counts for itself

    def update(
        updates: Updates, state: SkipOutliersState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, SkipOutliersState]:
        norm = jax.lax.stop_gradient(tree.norm(updates)).astype(state.mean.dtype)
        is_young = state.passed < max(warmup_steps, 1)  # the first norm has nothing to be compared with
        usual = (norm <= _bound(state, max_deviations)) | is_young | (state.skipped_in_row >= max_consecutive_skips)
        ready = usual & jnp.isfinite(norm)
        updates, inner_state = update_or_zero(ready, inner, updates, state.inner_state, params, extras)
        passed = numerics.safe_increment(state.passed)
        # A weighted mean from the first norm on: it starts at no zero and owes no correction.
        gathered = numerics.bias_correction(decay, passed).astype(norm.dtype)
        share = jax.lax.stop_gradient(jnp.minimum((1 - jnp.asarray(decay, norm.dtype)) / gathered, 1))
        gap = norm - state.mean
        mean = state.mean + share * gap
        deviation = jnp.sqrt((1 - share) * state.deviation**2 + share * (1 - share) * gap**2)
        new_state = SkipOutliersState(
            passed=jnp.where(ready, passed, state.passed),
            mean=jnp.where(ready, mean, state.mean),
            deviation=jnp.where(ready, deviation, state.deviation),
            skipped_in_row=jnp.where(ready, 0, numerics.safe_increment(state.skipped_in_row)),
            total_skipped=jnp.where(ready, state.total_skipped, numerics.safe_increment(state.total_skipped)),
            inner_state=inner_state,
        )
        return updates, new_state

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


def _bound(state: SkipOutliersState, max_deviations: Any) -> jax.Array:
    return state.mean + max_deviations * jnp.maximum(state.deviation, state.mean / 10)
