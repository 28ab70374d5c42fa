"""Schedules of spans that gradx refuses: without a step Optax's stand still, and say so in the log."""

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

import gradx
from gradx.typing import Schedule


def polynomial_schedule(
    init_value: Any, end_value: Any, power: Any, transition_steps: int, transition_begin: int = 0
) -> Schedule:
    """Return `gradx.polynomial_schedule(...)`; of no steps it is constant.

    >>> import gradx.compat.optax as optax
    >>> float(optax.polynomial_schedule(0.5, 0.0, 1, 0)(3))
    0.5
    """
    if transition_steps <= 0:
        return _standing(init_value, f"a polynomial schedule of {transition_steps} steps")
    return gradx.polynomial_schedule(init_value, end_value, power, transition_steps, _begin(transition_begin))


def linear_schedule(init_value: Any, end_value: Any, transition_steps: int, transition_begin: int = 0) -> Schedule:
    """Return `gradx.linear_schedule(...)`; of no steps it is constant.

    >>> import gradx.compat.optax as optax
    >>> float(optax.linear_schedule(0.5, 0.0, 0)(3))
    0.5
    """
    if transition_steps <= 0:
        return _standing(init_value, f"a linear schedule of {transition_steps} steps")
    return gradx.linear_schedule(init_value, end_value, transition_steps, _begin(transition_begin))


def exponential_decay(
    init_value: Any,
    transition_steps: int,
    decay_rate: Any,
    transition_begin: int = 0,
    staircase: bool = False,
    end_value: Any = None,
) -> Schedule:
    """Return `gradx.exponential_decay(...)`; of no steps, or with a rate of 0, it is constant.

    >>> import gradx.compat.optax as optax
    >>> float(optax.exponential_decay(0.5, 10, 0.0)(3))
    0.5
    """
    is_zero = isinstance(decay_rate, int | float | np.generic) and decay_rate == 0
    if transition_steps <= 0 or is_zero:
        return _standing(init_value, f"an exponential decay of {transition_steps} steps at the rate {decay_rate}")
    begin = _begin(transition_begin)
    return gradx.exponential_decay(init_value, transition_steps, decay_rate, begin, staircase, end_value)


def warmup_cosine_decay_schedule(
    init_value: Any,
    peak_value: Any,
    warmup_steps: int,
    decay_steps: int,
    end_value: Any = 0.0,
    exponent: Any = 1.0,
) -> Schedule:
    """Return `gradx.warmup_cosine_decay_schedule(...)`; from a peak of 0 it does not fall.

    >>> import gradx.compat.optax as optax
    >>> float(optax.warmup_cosine_decay_schedule(0.2, 0.0, 5, 10, end_value=-1.0)(10))
    0.0
    """
    is_zero = isinstance(peak_value, int | float | np.generic) and peak_value == 0
    end_value = 0.0 if is_zero else end_value
    return gradx.warmup_cosine_decay_schedule(init_value, peak_value, warmup_steps, decay_steps, end_value, exponent)


def piecewise_constant_schedule(init_value: Any, boundaries_and_scales: Mapping[int, float] | None = None) -> Schedule:
    """Return `gradx.piecewise_constant_schedule(...)` of scales that are not negative.

    >>> import gradx.compat.optax as optax
    >>> float(optax.piecewise_constant_schedule(1.0, {10: 0.5})(10))
    0.5
    """
    _check_scales("piecewise_constant_schedule", boundaries_and_scales)
    return gradx.piecewise_constant_schedule(init_value, boundaries_and_scales)


def piecewise_interpolate_schedule(
    interpolate_type: Any, init_value: Any, boundaries_and_scales: Mapping[int, float] | None = None
) -> Schedule:
    """Return `gradx.piecewise_interpolate_schedule(...)`; a scale at step 0 is that of the start.

    >>> import gradx.compat.optax as optax
    >>> float(optax.piecewise_interpolate_schedule("linear", 1.0, {0: 2.0, 10: 0.5})(0))
    2.0
    """
    _check_scales("piecewise_interpolate_schedule", boundaries_and_scales)
    scales = dict(boundaries_and_scales or {})
    start = init_value * scales.pop(0) if 0 in scales else init_value
    return gradx.piecewise_interpolate_schedule(interpolate_type, start, scales)


def _check_scales(name: str, scales: Mapping[int, float] | None) -> None:
    if any(isinstance(x, int | float | np.generic) and x < 0 for x in (scales or {}).values()):
        raise ValueError(f"`{name}` expects non-negative scale factors, got {list((scales or {}).values())}")


def _begin(step: int) -> int:
    if step < 0:
        logging.getLogger(__name__).info("a schedule cannot begin at step %s: it begins at 0", step)
    return max(step, 0)


def _standing(value: Any, what: str) -> Schedule:
    logging.getLogger(__name__).info("%s does not change its value", what)
    return gradx.constant_schedule(value)
