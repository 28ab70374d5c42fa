"""Measure the updates on their way, and keep what was measured in the state."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import EmptyState, GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.running import Part, is_transformation
from gradx.transforms.momentum import EmaState, ema_leaf
from gradx.typing import Decay, DType, Params, PyTree, State, Updates

Measure = Callable[[Updates], PyTree]
"""From the updates to an array, or a pytree of arrays."""


class SnapshotState(NamedTuple):
    """The state of `snapshot`."""

    measurement: dict[str, PyTree]
    """What was measured, under its name."""


class MonitorState(NamedTuple):
    """The state of `monitor`."""

    measurements: dict[str, PyTree]
    """What was measured last, by name; zeros before the first update."""
    measure_states: tuple[State, ...]
    """The states of the measures, in their order."""


@transformation
def snapshot(measure_name: str, measure: Measure) -> Any:
    """Leave the update as it is, and keep `measure(updates)` in the state: what passes at this place of a chain.

    Read it with `gradx.tree.get(state, measure_name)`.

    Args:
      measure_name: the name under which it is kept.
      measure: from the updates to an array or a pytree of arrays.

    State: what `measure` returns; before the first update that of the parameters.

    >>> import gradx
    >>> tx = gradx.chain(gradx.snapshot("norm", gradx.tree.norm), gradx.clip_by_global_norm(1.0))
    >>> _, state = tx.update({"w": 3.0, "b": 4.0}, tx.init({"w": 0.0, "b": 0.0}))
    >>> float(gradx.tree.get(state, "norm"))
    5.0
    """

    def init(params: Params) -> SnapshotState:
        return SnapshotState({measure_name: _measured(measure, tree.lift(params))})

    def update(updates: Updates, state: SnapshotState) -> tuple[Updates, SnapshotState]:
        return updates, SnapshotState({measure_name: _measured(measure, updates)})

    return init, update


@transformation
def monitor(measures: Mapping[str, Measure | GradientTransformation]) -> Any:
    """Leave the update as it is, and keep several measurements in the state, those with a memory of their own too.

    Read one with `gradx.tree.get(state, name)`.

    Args:
      measures: from name to a function of the updates, or to a transformation whose update is what is measured, as
        that of `measure_with_ema`; at init it gets the parameters for updates, and no extras.

    State: what the measures return, zeros before the first update, and their states. (In Optax the measurements are
    missing before the first update, so that a scan refuses the state.)

    >>> import gradx
    >>> norm = gradx.tree.norm
    >>> tx = gradx.monitor({"norm": norm, "mean_norm": gradx.measure_with_ema(norm, decay=0.5)})
    >>> _, state = tx.update({"w": 3.0, "b": 4.0}, tx.init({"w": 0.0, "b": 0.0}))
    >>> float(gradx.tree.get(state, "norm")), float(gradx.tree.get(state, "mean_norm"))
    (5.0, 5.0)
    """
    parts = {name: x if is_transformation(x) else _stateless_measure(x) for name, x in measures.items()}

    def measure(
        updates: Updates, states: tuple[State, ...], params: Params | None, extras: dict
    ) -> tuple[dict[str, PyTree], tuple[State, ...]]:
        results = [run_update(part, updates, s, params, extras) for part, s in zip(parts.values(), states, strict=True)]
        found = {name: jax.tree.map(_own, x) for name, (x, _) in zip(parts, results, strict=True)}
        return found, tuple(state for _, state in results)

    def init(params: Params) -> MonitorState:
        states = tuple(run_init(part, params) for part in parts.values())
        lifted = tree.lift(params)
        shapes, _ = jax.eval_shape(lambda p: measure(p, states, p, {}), lifted)
        measurements = jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), shapes)
        return numerics.vary_together(MonitorState(measurements, states), params)[0]

    def update(
        updates: Updates, state: MonitorState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, MonitorState]:
        return updates, MonitorState(*measure(updates, state.measure_states, params, extras))

    def inside(state: MonitorState | None) -> list[Part]:
        states = state.measure_states if state else [None] * len(parts)
        return [(name, part, s) for (name, part), s in zip(parts.items(), states, strict=True)]

    return Wrapper(init, update, inside)


@transformation
def measure_with_ema(
    measure: Measure, decay: Decay, debias: bool = True, accumulator_dtype: DType | None = None
) -> Any:
    """Measure the updates and return the exponential moving average of that: for `monitor`.

    Args:
      measure: from the updates to an array or a pytree of arrays, bools too: their mean is how often.
      decay: in [0, 1).
      debias: divide by 1 - decay^t, t = 1 at the first update, which undoes the start at zero.

    State: int32[] and what `measure` returns.

    >>> import gradx
    >>> is_large = gradx.measure_with_ema(lambda updates: gradx.tree.norm(updates) > 1.0, decay=0.5)
    >>> tx = gradx.monitor({"how_often": is_large})
    >>> _, state = tx.update(4.0, tx.init(0.0))
    >>> float(gradx.tree.get(state, "how_often"))
    1.0
    """

    def floats(updates: Updates) -> PyTree:
        return jax.tree.map(lambda x: numerics.cast(x, numerics.at_least_float32(jnp.result_type(x))), measure(updates))

    def init(params: Params) -> EmaState:
        shapes = jax.eval_shape(floats, tree.lift(params))
        mean = jax.tree.map(lambda x: jnp.zeros(x.shape, accumulator_dtype or x.dtype), shapes)
        return numerics.vary_together(EmaState(jnp.zeros((), jnp.int32), mean), params)[0]

    def update(updates: Updates, state: EmaState) -> tuple[PyTree, EmaState]:
        count = numerics.safe_increment(state.count)
        c = numerics.bias_correction(decay, count) if debias else 1.0
        mean, memory = tree.map_leaves(ema_leaf, floats(updates), state.ema, decay=decay, c=c)
        return mean, EmaState(count, memory)

    return init, update


@transformation
def _stateless_measure(measure: Measure) -> Any:
    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState) -> tuple[PyTree, EmptyState]:
        return measure(updates), state

    return init, update


def _measured(measure: Measure, updates: Updates) -> PyTree:
    return jax.tree.map(_own, measure(updates))


def _own(x: Any) -> jax.Array:
    """Return a number of a type that no later one changes, in a buffer that is nobody else's."""
    return numerics.cast(jnp.array(x, copy=True), jnp.result_type(x))
