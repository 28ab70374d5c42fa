"""Schedules that go up and down without end."""

from typing import Any, Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.schedules.polynomial import as_float, as_real, as_steps
from gradx.typing import PositiveInt, PositiveReal, Real


@schedule
def cyclic_schedule(
    base_value: Real,
    max_value: Real,
    step_size_up: PositiveInt = 2000,
    step_size_down: PositiveInt | None = None,
    mode: Literal["triangular", "triangular2", "exp_range"] = "triangular",
    gamma: PositiveReal = 1.0,
) -> Any:
    """Go along lines from `base_value` up to `max_value` and down again, without end (PyTorch's CyclicLR).

    Step 0: base_value. Step step_size_up: the peak. Step step_size_up + step_size_down: base_value. There is no last
    step. Smith 2017, arXiv:1506.01186.

    Args:
      base_value: the lowest value.
      max_value: the highest value.
      step_size_up: the steps of each rise, at least 1.
      step_size_down: the steps of each fall, at least 1; None is as many as of the rise.
      mode: "triangular" has equal peaks, "triangular2" halves the height of each next one, "exp_range" multiplies the
        height by gamma at every step.
      gamma: the factor of "exp_range", above 0.

    >>> import gradx
    >>> schedule = gradx.cyclic_schedule(0.0, 1.0, step_size_up=2, mode="triangular2")
    >>> [float(schedule(step)) for step in range(8)]
    [0.0, 0.5, 1.0, 0.5, 0.0, 0.25, 0.5, 0.25]
    """
    if mode not in ("triangular", "triangular2", "exp_range"):
        raise ValueError(f"cyclic_schedule: mode must be 'triangular', 'triangular2' or 'exp_range', got {mode!r}")
    down = step_size_up if step_size_down is None else step_size_down

    def at(step: ArrayLike) -> jax.Array:
        steps = as_steps(step)
        cycle, since = steps // (step_size_up + down), steps % (step_size_up + down)
        since = as_float(since)
        height = jnp.minimum(since / step_size_up, (step_size_up + down - since) / down)
        if mode == "triangular2":
            height = height * jnp.exp2(-as_float(cycle))
        elif mode == "exp_range":
            height = height * as_real(gamma) ** as_float(steps)
        low, high = as_real(base_value), as_real(max_value)
        return low + (high - low) * height

    return at
