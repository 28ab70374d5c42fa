"""One-cycle schedules: up to a peak and down again to far below the start."""

import itertools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.schedules.polynomial import as_float, as_real, as_steps, half_cosine, interpolate
from gradx.typing import FractionReal, PositiveInt, PositiveReal, Real


@schedule
def linear_onecycle_schedule(
    transition_steps: PositiveInt,
    peak_value: Real,
    pct_start: FractionReal = 0.3,
    pct_final: FractionReal = 0.85,
    div_factor: PositiveReal = 25.0,
    final_div_factor: PositiveReal = 1e4,
) -> Any:
    """Go along lines up to the peak, back to the start, and down to almost nothing.

    Step 0: peak_value / div_factor. Step pct_start · transition_steps: peak_value. Step pct_final · transition_steps:
    the start again. Step transition_steps and all later: peak_value / (div_factor · final_div_factor).

    Errors: ValueError unless pct_start and pct_final leave each of the three spans a step.
    Smith and Topin 2018, arXiv:1708.07120. (The turns are not rounded to whole steps.)

    >>> import gradx
    >>> schedule = gradx.linear_onecycle_schedule(100, peak_value=1.0)
    >>> [round(float(schedule(step)), 4) for step in (0, 15, 30, 85, 100)]
    [0.04, 0.52, 1.0, 0.04, 0.0]
    """
    turns = (0, as_real(pct_start) * transition_steps, as_real(pct_final) * transition_steps, transition_steps)
    _check_spans("linear_onecycle_schedule", turns)
    start = as_real(peak_value) / as_real(div_factor)
    return _through(turns, (start, peak_value, start, start / as_real(final_div_factor)), lambda x: 1 - x)


@schedule
def cosine_onecycle_schedule(
    transition_steps: PositiveInt,
    peak_value: Real,
    pct_start: FractionReal = 0.3,
    div_factor: PositiveReal = 25.0,
    final_div_factor: PositiveReal = 1e4,
) -> Any:
    """Go along half cosines up to the peak and down to almost nothing.

    Step 0: peak_value / div_factor. Step pct_start · transition_steps: peak_value. Step transition_steps and all later:
    peak_value / (div_factor · final_div_factor).

    Errors: ValueError unless pct_start leaves both spans a step. Smith and Topin 2018, arXiv:1708.07120; half cosines
    as in fast.ai. (The turn is not rounded to a whole step.)

    >>> import gradx
    >>> schedule = gradx.cosine_onecycle_schedule(100, peak_value=1.0)
    >>> [round(float(schedule(step)), 4) for step in (0, 30, 65, 100)]
    [0.04, 1.0, 0.5, 0.0]
    """
    turns = (0, as_real(pct_start) * transition_steps, transition_steps)
    _check_spans("cosine_onecycle_schedule", turns)
    start = as_real(peak_value) / as_real(div_factor)
    return _through(turns, (start, peak_value, start / as_real(final_div_factor)), half_cosine)


def _through(turns: tuple, values: tuple, remaining: Callable[[jax.Array], jax.Array]) -> Callable:
    """Return the curve through the values at the turns; `remaining` falls from 1 to 0 as a span passes."""

    def at(step: ArrayLike) -> jax.Array:
        step = as_float(as_steps(step))
        value = jnp.full(step.shape, as_real(values[0]), step.dtype)
        for begin, end, start, stop in zip(turns, turns[1:], values, values[1:], strict=False):
            x = jnp.clip((step - as_real(begin)) / as_real(end - begin), 0, 1)
            value = jnp.where(step > as_real(begin), interpolate(stop, start, remaining(x)), value)
        return value

    return at


def _check_spans(owner: str, turns: tuple) -> None:
    known = all(isinstance(turn, int | float) for turn in turns)  # traced ones cannot be compared
    if known and any(later - earlier < 1 for earlier, later in itertools.pairwise(turns)):
        raise ValueError(f"{owner}: every span needs a step, got turns at steps {turns}")
