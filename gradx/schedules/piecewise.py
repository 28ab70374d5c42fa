"""Schedules made of pieces."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.schedules.polynomial import as_real, as_steps, elapsed, half_cosine, interpolate, progress
from gradx.typing import PositiveReal, Real, Schedule


@schedule
def join_schedules(schedules: Sequence[Schedule], boundaries: Sequence[int]) -> Any:
    """Follow one schedule after the other, each counting from its own start.

    Steps before boundaries[0]: schedules[0]; from boundaries[i] on: schedules[i + 1] at step - boundaries[i].
    Step 0: schedules[0](0), or the next one's start where the first boundary is 0. The last schedule goes on for ever.

    Args:
      schedules: at least one.
      boundaries: the steps at which the next one takes over.

    Errors: ValueError unless there is one boundary fewer than schedules and the boundaries rise from at least 0.

    >>> import gradx
    >>> joined = gradx.join_schedules([gradx.linear_schedule(0.0, 1.0, 10), gradx.constant_schedule(1.0)], [10])
    >>> [float(joined(step)) for step in (0, 5, 10, 99)]
    [0.0, 0.5, 1.0, 1.0]
    """
    for i, part in enumerate(schedules):
        if not callable(part):
            raise TypeError(f"join_schedules: schedules[{i}] must be a schedule, got {part!r}: use constant_schedule")
    if len(boundaries) != len(schedules) - 1:
        raise ValueError(
            f"join_schedules: {len(schedules)} schedules need {len(schedules) - 1} boundaries, got {len(boundaries)}"
        )
    turns = _rising("join_schedules: boundaries", boundaries, least=0)

    def at(step: ArrayLike) -> jax.Array:
        value = jnp.asarray(schedules[0](step))
        for boundary, following in zip(turns, schedules[1:], strict=True):
            later = following(elapsed(step, boundary))
            value = jnp.where(as_steps(step) < boundary, value, later)
        return value

    return at


@schedule
def piecewise_constant_schedule(init_value: Real, boundaries_and_scales: Mapping[int, float] | None = None) -> Any:
    """Multiply by a scale at each boundary and hold the value between.

    Step 0: init_value (times the scale at boundary 0, if there is one). From each boundary on: times its scale; the
    last step has all of them.

    Args:
      boundaries_and_scales: from step to factor; steps at least 0.

    >>> import gradx
    >>> schedule = gradx.piecewise_constant_schedule(1.0, {10: 0.5, 20: 0.5})
    >>> [round(float(schedule(step)), 4) for step in (0, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    scales = dict(sorted((boundaries_and_scales or {}).items()))
    turns = _rising("piecewise_constant_schedule: boundaries", list(scales), least=0)

    def at(step: ArrayLike) -> jax.Array:
        value = jnp.full(jnp.shape(step), init_value, jnp.result_type(float))
        for boundary, scale in zip(turns, scales.values(), strict=True):
            value = jnp.where(as_steps(step) >= boundary, value * as_real(scale), value)
        return value

    return at


@schedule
def multi_step_schedule(init_value: Real, milestones: Sequence[int], gamma: PositiveReal = 0.1) -> Any:
    """Multiply by `gamma` at each milestone (PyTorch's MultiStepLR).

    Step 0: init_value. From the last milestone on: init_value · gamma^len(milestones). Milestones rise from at least 1.

    Args:
      milestones: the steps at which it falls.

    >>> import gradx
    >>> schedule = gradx.multi_step_schedule(1.0, [10, 20], gamma=0.5)
    >>> [round(float(schedule(step)), 4) for step in (0, 10, 20)]
    [1.0, 0.5, 0.25]
    """
    turns = _rising("multi_step_schedule: milestones", milestones, least=1)

    def at(step: ArrayLike) -> jax.Array:
        value = jnp.full(jnp.shape(step), init_value, jnp.result_type(float))
        for milestone in turns:
            value = jnp.where(as_steps(step) >= milestone, value * as_real(gamma), value)
        return value

    return at


@schedule
def piecewise_interpolate_schedule(
    interpolate_type: Literal["linear", "cosine"],
    init_value: Real,
    boundaries_and_scales: Mapping[int, float] | None = None,
) -> Any:
    """Go from value to value, each reached at its boundary, along lines or half cosines.

    Step 0: init_value. At each boundary: the value before times its scale. From the last boundary on: the last value.

    Args:
      interpolate_type: "linear" or "cosine".
      boundaries_and_scales: from step to factor; steps at least 1.

    >>> import gradx
    >>> schedule = gradx.piecewise_interpolate_schedule("linear", 1.0, {10: 0.5})
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10)]
    [1.0, 0.75, 0.5]
    """
    if interpolate_type not in ("linear", "cosine"):
        raise ValueError(
            f"piecewise_interpolate_schedule: interpolate_type must be 'linear' or 'cosine', got {interpolate_type!r}"
        )
    scales = dict(sorted((boundaries_and_scales or {}).items()))
    turns = _rising("piecewise_interpolate_schedule: boundaries", list(scales), least=1)

    def at(step: ArrayLike) -> jax.Array:
        value = jnp.full(jnp.shape(step), init_value, jnp.result_type(float))
        start, begin = value, 0
        for boundary, scale in zip(turns, scales.values(), strict=True):
            x = progress(step, begin, boundary - begin)
            weight = x if interpolate_type == "linear" else 1 - half_cosine(x)
            end = start * as_real(scale)
            value = jnp.where(as_steps(step) > begin, interpolate(start, end, weight), value)
            start, begin = end, boundary
        return value

    return at


def _rising(what: str, steps: Sequence[int], least: int) -> Sequence[int]:
    """Return the steps as Python's integers, which compare with a step of any dtype; refuse them unless they rise."""
    if any(isinstance(step, Tracer) for step in steps):  # a NumPy array of them is data, checked when it was concrete
        return steps
    if any(isinstance(step, bool) or not isinstance(step, int | np.integer) for step in steps):
        raise TypeError(f"{what} must be integers, got {list(steps)}")
    if any(later <= earlier for earlier, later in zip([least - 1, *steps], steps, strict=False)):
        raise ValueError(f"{what} must rise and be at least {least}, got {list(steps)}")
    return [int(step) for step in steps]
