"""Schedules that rise along a line first, then hold or fall."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.schedules.exponential import exponential_decay
from gradx.schedules.piecewise import join_schedules
from gradx.schedules.polynomial import as_real, as_steps, half_cosine, interpolate, linear_schedule, progress
from gradx.typing import NonNegativeInt, PositiveInt, PositiveReal, Real


@schedule
def warmup_constant_schedule(init_value: Real, peak_value: Real, warmup_steps: NonNegativeInt) -> Any:
    """Rise along a line, then hold.

    Step 0: init_value. Step warmup_steps and all later: peak_value, so at step 0 too if `warmup_steps` is 0.

    >>> import gradx
    >>> schedule = gradx.warmup_constant_schedule(0.0, 1.0, warmup_steps=10)
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 99)]
    [0.0, 0.5, 1.0, 1.0]
    """

    def at(step: ArrayLike) -> jax.Array:
        return interpolate(init_value, peak_value, progress(step, 0, warmup_steps))

    return at


@schedule
def warmup_cosine_decay_schedule(
    init_value: Real,
    peak_value: Real,
    warmup_steps: NonNegativeInt,
    decay_steps: PositiveInt,
    end_value: Real = 0.0,
    exponent: PositiveReal = 1.0,
) -> Any:
    """Rise along a line, then fall along half a cosine.

    Step 0: init_value. Step warmup_steps: peak_value (at step 0 too if it is 0). Step decay_steps and all later:
    end_value.

    Args:
      decay_steps: of the whole, the warmup included; more than `warmup_steps`.
      exponent: of the half cosine (1 + cos(pi x)) / 2.

    >>> import gradx
    >>> schedule = gradx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 110)
    >>> [round(float(schedule(step)), 6) for step in (0, 10, 60, 110)]
    [0.0, 1.0, 0.5, 0.0]
    """
    _check_fits("warmup_cosine_decay_schedule", warmup_steps, decay_steps)
    return _rise_then(init_value, peak_value, warmup_steps, decay_steps, end_value, exponent)


@schedule
def warmup_linear_decay_schedule(
    init_value: Real,
    peak_value: Real,
    warmup_steps: NonNegativeInt,
    decay_steps: PositiveInt,
    end_value: Real = 0.0,
) -> Any:
    """Rise along a line, then fall along a line.

    Step 0: init_value. Step warmup_steps: peak_value (at step 0 too if it is 0). Step decay_steps and all later:
    end_value.

    Args:
      decay_steps: of the whole, the warmup included; more than `warmup_steps`.

    Falling to zero is what Bergsma et al. 2025, arXiv:2502.15938, found best for language models.

    >>> import gradx
    >>> schedule = gradx.warmup_linear_decay_schedule(0.0, 1.0, warmup_steps=10, decay_steps=110)
    >>> [round(float(schedule(step)), 4) for step in (0, 10, 60, 110)]
    [0.0, 1.0, 0.5, 0.0]
    """
    _check_fits("warmup_linear_decay_schedule", warmup_steps, decay_steps)
    return _rise_then(init_value, peak_value, warmup_steps, decay_steps, end_value, None)


def _rise_then(
    init_value: Any, peak_value: Any, warmup_steps: int, decay_steps: int, end_value: Any, exponent: Any
) -> Any:
    """Return the rise and the fall, the latter a line or, with an exponent, a half cosine."""

    def at(step: ArrayLike) -> jax.Array:
        rise = interpolate(init_value, peak_value, progress(step, 0, warmup_steps))
        x = progress(step, warmup_steps, decay_steps - warmup_steps)
        remaining = 1 - x if exponent is None else half_cosine(x) ** as_real(exponent)
        return jnp.where(as_steps(step) < warmup_steps, rise, interpolate(end_value, peak_value, remaining))

    return at


@schedule
def warmup_exponential_decay_schedule(
    init_value: Real,
    peak_value: Real,
    warmup_steps: NonNegativeInt,
    transition_steps: PositiveInt,
    decay_rate: PositiveReal,
    transition_begin: NonNegativeInt = 0,
    staircase: bool = False,
    end_value: Real | None = None,
) -> Any:
    """Rise along a line, then fall exponentially, `transition_begin` counted from the end of the warmup.

    Step 0: init_value. Step warmup_steps: peak_value (at step 0 too if it is 0). There is no last step; with
    `end_value` the value stops there. The rest as in `exponential_decay`.

    Args:
      transition_steps: the steps in which the value is multiplied by `decay_rate` once.

    >>> import gradx
    >>> schedule = gradx.warmup_exponential_decay_schedule(
    ...     0.0, 1.0, warmup_steps=10, transition_steps=10, decay_rate=0.5
    ... )
    >>> [round(float(schedule(step)), 4) for step in (0, 10, 20)]
    [0.0, 1.0, 0.5]
    """
    fall = exponential_decay(peak_value, transition_steps, decay_rate, transition_begin, staircase, end_value)
    if warmup_steps == 0:
        return fall
    return join_schedules([linear_schedule(init_value, peak_value, warmup_steps), fall], [warmup_steps])


@schedule
def warmup_stable_decay_schedule(
    peak_value: Real,
    warmup_steps: NonNegativeInt,
    stable_steps: NonNegativeInt,
    decay_steps: PositiveInt,
    init_value: Real = 0.0,
    end_value: Real = 0.0,
    shape: Literal["linear", "cosine", "sqrt"] = "linear",
) -> Any:
    """Rise along a line, hold, and fall at the end (WSD): training can go on from the plateau.

    Step 0: init_value. Steps warmup_steps to warmup_steps + stable_steps: peak_value (from step 0 if `warmup_steps`
    is 0). Step warmup_steps + stable_steps + decay_steps and all later: end_value.

    Args:
      shape: of the fall, x its passed share: "linear" 1 - x, "cosine" (1 + cos(pi x)) / 2, "sqrt" 1 - sqrt(x).
      stable_steps: the steps at the peak, at least 0.

    Hu et al. 2024, arXiv:2404.06395, section 4.2; the fall 1 - sqrt(x): Hägele et al. 2024, arXiv:2405.18392.

    >>> import gradx
    >>> schedule = gradx.warmup_stable_decay_schedule(1.0, 10, stable_steps=80, decay_steps=10)
    >>> [round(float(schedule(step)), 4) for step in (0, 10, 90, 95, 100)]
    [0.0, 1.0, 1.0, 0.5, 0.0]
    """
    falls = {
        "linear": lambda x: 1 - x,
        "cosine": half_cosine,
        "sqrt": lambda x: 1 - jnp.sqrt(x),
    }
    if shape not in falls:
        raise ValueError(f"warmup_stable_decay_schedule: shape must be one of {', '.join(falls)}, got {shape!r}")

    def at(step: ArrayLike) -> jax.Array:
        rise = interpolate(init_value, peak_value, progress(step, 0, warmup_steps))
        remaining = falls[shape](progress(step, warmup_steps + stable_steps, decay_steps))
        return jnp.where(as_steps(step) < warmup_steps, rise, interpolate(end_value, peak_value, remaining))

    return at


def _check_fits(owner: str, warmup_steps: int, decay_steps: int) -> None:
    if warmup_steps >= decay_steps:
        raise ValueError(
            f"{owner}: decay_steps counts the warmup in and must exceed it, got decay_steps={decay_steps} with "
            f"warmup_steps={warmup_steps}"
        )
