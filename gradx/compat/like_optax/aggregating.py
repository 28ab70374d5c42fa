"""`optax.experimental.aggregating`: from the gradients of single examples to one update, with Optax's states.

gradx's own way is a chain: `chain(average_examples(), optimizer)`, `chain(track_examples(), optimizer)`.
"""

import math
from collections.abc import Sequence
from typing import Any, NamedTuple, Protocol

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.compat.like_optax import trees
from gradx.compat.like_optax.base import GradientTransformationExtraArgs, init_empty_state
from gradx.compat.like_optax.factories import chain, identity
from gradx.core import run_init, run_update
from gradx.sometimes import sometimes
from gradx.typing import Params, PyTree, State, Updates

Axes = int | Sequence[int]
PerElementUpdates = PyTree
AggregatedUpdates = PyTree


class AggregatorUpdateFn(Protocol):
    """From the updates of single examples to one update."""

    def __call__(
        self, per_elt_updates: PyTree, state: State, params: Params | None = None, **extra_args: Any
    ) -> tuple[PyTree, State]: ...


class Aggregator(GradientTransformationExtraArgs):
    """A transformation whose gradients have axes of examples before those of the parameters."""

    __slots__ = ()


class AccumulateAvgUpdatesState(NamedTuple):
    """The state of `accumulate_avg_updates`."""

    micro_step: jax.Array
    """int32[]: the batches gathered."""
    ready: jax.Array
    """bool[]: whether the last update was one of all batches."""
    avg_grad: Updates


class PerElementMeanAndSumSqDiffGradsState(NamedTuple):
    """The state of `get_per_element_mean_and_sum_sq_diff_grads` over several batches."""

    micro_step: jax.Array
    """int32[]: the batches gathered."""
    ready: jax.Array
    """bool[]: whether the last update was one of all batches."""
    mean_grads: Updates
    sum_sq_diff_grads: Updates
    """The sum of squared distances from the mean."""


class PerElementMeanAndVarianceEMAState(NamedTuple):
    """The state of `track_per_element_mean_and_variance_with_ema`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    ema_decay: jax.Array
    mean_grads_ema: Updates
    variance_grads_ema: Updates


def process(preprocessor: Any, aggregator: Any, postprocessor: Any, aggregator_has_aux: bool = False) -> Any:
    """Treat single examples, aggregate them, and treat what comes of it, where the aggregator is ready.

    Args:
      preprocessor: sees the gradients of single examples.
      aggregator: makes one update of theirs; it may gather batches, and says in its state whether it is `ready`.
      postprocessor: sees that update, when it is ready; until then updates are zero.
      aggregator_has_aux: whether the aggregator returns a pair of the update and a dict of extras for what follows.

    >>> from gradx.compat import optax
    >>> from gradx.compat.optax.experimental import aggregating
    >>> import jax.numpy as jnp
    >>> tx = aggregating.process(optax.identity(), aggregating.average_per_element_updates(), optax.sgd(1.0))
    >>> float(tx.update(jnp.array([1.0, 3.0]), tx.init(0.0))[0])
    -2.0
    """

    def init(params: Params) -> tuple[State, State, State]:
        return run_init(preprocessor, params), run_init(aggregator, params), run_init(postprocessor, params)

    def update(updates: PyTree, state: Any, params: Params | None = None, **extras: Any) -> tuple[PyTree, Any]:
        before, gathered, after = state
        updates, before = run_update(preprocessor, updates, before, params, extras)
        found, gathered = run_update(aggregator, updates, gathered, params, extras)
        found, aux = found if aggregator_has_aux else (found, {})

        def renew(carry: tuple[Updates, State]) -> tuple[Updates, State]:
            new, new_state = run_update(postprocessor, *carry, params, extras | aux)
            return tree.cast_like(new, carry[0]), new_state

        ready = trees.get(gathered, "ready", None)
        if ready is None:
            found, after = renew((found, after))
        else:
            found, after = sometimes(ready, renew, (found, after))
            found = jax.tree.map(lambda x: jnp.where(ready, x, 0), found)
        return found, (before, gathered, after)

    kind = Aggregator if isinstance(aggregator, Aggregator) else GradientTransformationExtraArgs
    return kind(init, update)


def average_per_element_updates(per_elt_axis: Axes = 0) -> Aggregator:
    """Average over the axes of examples.

    >>> from gradx.compat.optax.experimental import aggregating
    >>> import jax.numpy as jnp
    >>> tx = aggregating.average_per_element_updates()
    >>> float(tx.update(jnp.array([1.0, 3.0]), tx.init(0.0))[0])
    2.0
    """

    def update(updates: PyTree, state: State, params: Params | None = None) -> tuple[Updates, State]:
        del params
        return jax.tree.map(lambda x: jnp.mean(x, axis=per_elt_axis), updates), state

    return Aggregator(init_empty_state, update)


def accumulate_avg_updates(accumulation_steps: int) -> Any:
    """Average the updates of some steps: zero until the last of them, which lets the mean out.

    >>> from gradx.compat.optax.experimental import aggregating
    >>> tx = aggregating.accumulate_avg_updates(2)
    >>> first, state = tx.update(1.0, tx.init(0.0))
    >>> float(first), float(tx.update(3.0, state)[0])
    (0.0, 2.0)
    """
    if accumulation_steps < 1:
        raise ValueError(f"accumulation_steps must be larger than or equal to 1, got {accumulation_steps}")
    if accumulation_steps == 1:
        return identity()

    def init(params: Params) -> AccumulateAvgUpdatesState:
        return AccumulateAvgUpdatesState(jnp.zeros((), jnp.int32), jnp.zeros((), bool), tree.zeros_like(params))

    def update(updates: Updates, state: AccumulateAvgUpdatesState, params: Params | None = None) -> tuple:
        del params
        step = state.micro_step + 1
        ready = step == accumulation_steps
        mean = jax.tree.map(lambda u, m: (m + (u - m) / step).astype(m.dtype), updates, state.avg_grad)
        new_state = AccumulateAvgUpdatesState(jnp.where(ready, 0, step), ready, _zero_where(ready, mean))
        return _zero_where(~ready, mean), new_state

    return GradientTransformationExtraArgs(init, update)


def average_incrementally_updates(per_elt_axis: Axes | None, accumulation_steps: int) -> Any:
    """Average over the axes of examples, where there are any, and over some steps.

    >>> from gradx.compat.optax.experimental import aggregating
    >>> import jax.numpy as jnp
    >>> tx = aggregating.average_incrementally_updates(0, 1)
    >>> float(tx.update(jnp.array([1.0, 3.0]), tx.init(0.0))[0])
    2.0
    """
    if per_elt_axis is None:
        return accumulate_avg_updates(accumulation_steps)
    both = chain(average_per_element_updates(per_elt_axis), accumulate_avg_updates(accumulation_steps))
    return Aggregator(both.init, both.update)


def get_batch_size_from_per_elt_updates(per_elt_updates: PyTree, per_elt_axis: Axes) -> int:
    """Return the number of examples, which must be that of every leaf.

    >>> from gradx.compat.optax.experimental import aggregating
    >>> import jax.numpy as jnp
    >>> aggregating.get_batch_size_from_per_elt_updates({"w": jnp.ones((4, 2))}, 0)
    4
    """
    axes = (per_elt_axis,) if isinstance(per_elt_axis, int) else tuple(per_elt_axis)
    sizes = [math.prod(jnp.shape(x)[i] for i in axes) for x in jax.tree.leaves(per_elt_updates)]
    if len(set(sizes)) != 1:
        raise ValueError(f"Per-element updates must have the same batch size. Got: {sizes}")
    return sizes[0]


def get_per_element_mean_and_sum_sq_diff_grads(per_elt_axis: Axes = 0, accumulation_steps: int = 1) -> Aggregator:
    """Average over examples, and return beside it the squared distances from the mean, summed, and their number.

    The update is `(mean, {"sum_sq_diff_grads": ..., "sample_size": ...})`: see `process`. Several batches are joined as
    in Chan, Golub and LeVeque 1979.

    >>> from gradx.compat.optax.experimental import aggregating
    >>> import jax.numpy as jnp
    >>> tx = aggregating.get_per_element_mean_and_sum_sq_diff_grads()
    >>> (mean, aux), _ = tx.update(jnp.array([1.0, 3.0]), tx.init(0.0))
    >>> float(mean), float(aux["sum_sq_diff_grads"]), aux["sample_size"]
    (2.0, 2.0, 2)
    """

    def of_batch(updates: PyTree) -> tuple[Updates, Updates, int]:
        mean = jax.tree.map(lambda x: jnp.mean(x, axis=per_elt_axis), updates)
        spread = jax.tree.map(
            lambda x: jnp.sum((x - jnp.mean(x, axis=per_elt_axis, keepdims=True)) ** 2, axis=per_elt_axis), updates
        )
        return mean, spread, get_batch_size_from_per_elt_updates(updates, per_elt_axis)

    def at_once(updates: PyTree, state: State, params: Params | None = None) -> tuple[PyTree, State]:
        del params
        mean, spread, size = of_batch(updates)
        return (mean, {"sum_sq_diff_grads": spread, "sample_size": size}), state

    if accumulation_steps == 1:
        return Aggregator(init_empty_state, at_once)

    def init(params: Params) -> PerElementMeanAndSumSqDiffGradsState:
        return PerElementMeanAndSumSqDiffGradsState(
            jnp.zeros((), jnp.int32), jnp.zeros((), bool), tree.zeros_like(params), tree.zeros_like(params)
        )

    def update(updates: PyTree, state: PerElementMeanAndSumSqDiffGradsState, params: Params | None = None) -> tuple:
        del params
        mean, spread, size = of_batch(updates)
        step = state.micro_step + 1
        ready = step == accumulation_steps
        away = jax.tree.map(lambda x, m: x - m, mean, state.mean_grads)
        mean = jax.tree.map(lambda m, d: (m + d / step).astype(m.dtype), state.mean_grads, away)
        between = state.micro_step * size / step
        spread = jax.tree.map(
            lambda s, x, d: (s + x + d**2 * between).astype(s.dtype), state.sum_sq_diff_grads, spread, away
        )
        aux = {"sum_sq_diff_grads": _zero_where(~ready, spread), "sample_size": jnp.where(ready, size * step, 0)}
        kept = _zero_where(ready, (mean, spread))
        new_state = PerElementMeanAndSumSqDiffGradsState(jnp.where(ready, 0, step), ready, *kept)
        return (_zero_where(~ready, mean), aux), new_state

    return Aggregator(init, update)


def track_per_element_mean_and_variance_with_ema(ema_decay: Any = 0.9) -> GradientTransformationExtraArgs:
    """Keep running means of the mean and of the variance that an aggregator hands on; updates pass.

    >>> from gradx.compat import optax
    >>> from gradx.compat.optax.experimental import aggregating
    >>> tx = aggregating.track_per_element_mean_and_variance_with_ema(0.0)
    >>> _, state = tx.update(2.0, tx.init(0.0), sum_sq_diff_grads=3.0, sample_size=4)
    >>> float(state.variance_grads_ema)
    1.0
    """

    def init(params: Params) -> PerElementMeanAndVarianceEMAState:
        return PerElementMeanAndVarianceEMAState(
            jnp.zeros((), jnp.int32), jnp.asarray(ema_decay), tree.zeros_like(params), tree.zeros_like(params)
        )

    def update(
        updates: Updates,
        state: PerElementMeanAndVarianceEMAState,
        params: Params | None = None,
        *,
        sum_sq_diff_grads: Updates,
        sample_size: Any,
    ) -> tuple[Updates, PerElementMeanAndVarianceEMAState]:
        del params

        def averaged(new: PyTree, old: PyTree) -> PyTree:
            return jax.tree.map(lambda x, m: ((1 - ema_decay) * x + ema_decay * m).astype(m.dtype), new, old)

        variance = jax.tree.map(lambda x: x / (sample_size - 1), sum_sq_diff_grads)
        return updates, PerElementMeanAndVarianceEMAState(
            numerics.safe_increment(state.count),
            state.ema_decay,
            averaged(updates, state.mean_grads_ema),
            averaged(variance, state.variance_grads_ema),
        )

    return GradientTransformationExtraArgs(init, update)


def get_unbiased_mean_and_variance_ema(state: State) -> tuple[Updates, Updates]:
    """Return both running means that a state holds, freed of their start at 0."""
    kept = trees.get(state, "PerElementMeanAndVarianceEMAState")
    if kept is None:
        raise ValueError("State must have PerElementMeanAndVarianceEMAState to compute unbiased mean and variance EMA.")
    weight = 1 - kept.ema_decay**kept.count
    mean, variance = (jax.tree.map(lambda x: x / weight, x) for x in (kept.mean_grads_ema, kept.variance_grads_ema))
    return mean, variance


def add_mean_variance_to_opt(
    opt: Any, ema_decay: Any = 0.9, per_elt_axis: Axes = 0, accumulation_steps: int = 1
) -> Any:
    """Let an optimizer take the gradients of single examples, and keep running means of their mean and variance.

    >>> from gradx.compat import optax
    >>> from gradx.compat.optax.experimental import aggregating
    >>> import jax.numpy as jnp
    >>> tx = aggregating.add_mean_variance_to_opt(optax.sgd(0.1))
    >>> _, state = tx.update(jnp.array([1.0, 3.0]), tx.init(0.0))
    >>> [round(float(x), 4) for x in aggregating.get_unbiased_mean_and_variance_ema(state)]
    [2.0, 2.0]
    """
    return process(
        preprocessor=identity(),
        aggregator=get_per_element_mean_and_sum_sq_diff_grads(per_elt_axis, accumulation_steps),
        postprocessor=chain(track_per_element_mean_and_variance_with_ema(ema_decay), opt),
        aggregator_has_aux=True,
    )


def _zero_where(condition: jax.Array, of: PyTree) -> PyTree:
    return jax.tree.map(lambda x: jnp.where(condition, 0, x), of)
