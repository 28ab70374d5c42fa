"""Schedules that multiply by the same number again and again, and the inverse square root."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.schedules.polynomial import as_float, as_real, as_steps, elapsed, interpolate, progress
from gradx.typing import NonNegativeInt, PositiveInt, PositiveReal, Real


@schedule
def exponential_decay(
    init_value: Real,
    transition_steps: PositiveInt,
    decay_rate: PositiveReal,
    transition_begin: NonNegativeInt = 0,
    staircase: bool = False,
    end_value: Real | None = None,
) -> Any:
    """Return init_value · decay_rate^(t / transition_steps), t the steps since `transition_begin`.

    Step 0 and all up to `transition_begin`: init_value. There is no last step; with `end_value` the value stops there.

    Args:
      transition_steps: the steps in which the value is multiplied by `decay_rate` once.
      decay_rate: above 0; above 1 the value grows.
      end_value: bound: the least value where the rate is below 1, the largest where it is above.

    >>> import gradx
    >>> schedule = gradx.exponential_decay(1.0, transition_steps=10, decay_rate=0.25)
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10)]
    [1.0, 0.5, 0.25]
    """

    def at(step: ArrayLike) -> jax.Array:
        since = elapsed(step, transition_begin)
        # Whole times are counted in integers: as floats, steps beyond 2^24 are rounded.
        times = as_float(since // transition_steps) if staircase else as_float(since) / transition_steps
        start, rate = as_real(init_value), as_real(decay_rate)
        value = start * rate**times
        if end_value is None:
            return value
        end = as_real(end_value)
        # Written with where, not Python's if: the rate may be traced.
        past = jnp.where(jnp.asarray(rate) < 1, value < end, value > end)
        # Past the bound the power may overflow, and its derivative times 0 would be NaN: it is not taken there.
        return jnp.where(past, end, start * rate ** jnp.where(past, 0, times))

    return at


@schedule
def step_decay_schedule(init_value: Real, step_size: PositiveInt, gamma: PositiveReal = 0.1) -> Any:
    """Multiply by `gamma` after every `step_size` steps (PyTorch's StepLR).

    Steps 0 to step_size - 1: init_value; there is no last step.

    Args:
      step_size: the steps between two multiplications, at least 1.

    >>> import gradx
    >>> schedule = gradx.step_decay_schedule(1.0, step_size=10)
    >>> [round(float(schedule(step)), 4) for step in (0, 9, 10, 20)]
    [1.0, 1.0, 0.1, 0.01]
    """
    return exponential_decay(init_value, step_size, gamma, staircase=True)


@schedule
def inverse_sqrt_schedule(peak_value: Real, warmup_steps: PositiveInt, init_value: Real = 0.0) -> Any:
    """Rise along a line to `peak_value`, then fall as peak_value · sqrt(warmup_steps / step).

    Step 0: init_value. Step warmup_steps: peak_value. There is no last step. Vaswani et al. 2017, arXiv:1706.03762, eq.
    3.

    >>> import gradx
    >>> schedule = gradx.inverse_sqrt_schedule(1.0, warmup_steps=10)
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 40)]
    [0.0, 0.5, 1.0, 0.5]
    """

    def at(step: ArrayLike) -> jax.Array:
        rise = interpolate(init_value, peak_value, progress(step, 0, warmup_steps))
        fall = as_real(peak_value) * jnp.sqrt(warmup_steps / jnp.maximum(as_float(as_steps(step)), warmup_steps))
        return jnp.where(as_steps(step) < warmup_steps, rise, fall)

    return at
