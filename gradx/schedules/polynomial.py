"""Constant, linear and polynomial schedules."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.typing import NonNegativeInt, PositiveInt, Real


def as_steps(step: ArrayLike) -> jax.Array:
    """Return the step in 32 bits at least, whatever it was counted in: an int8 has no room for a boundary at 300.

    A count beyond the largest integer that JAX has here is held at it; cut to its low bits it would start anew.
    """
    if isinstance(step, int | float | np.ndarray | np.generic):  # flax counts in variables, which hold tracers
        step = np.asarray(step)
        if step.dtype.kind in "iu" and step.dtype.itemsize == 8:
            step = np.minimum(step, step.dtype.type(jnp.iinfo(jnp.result_type(int)).max))
    step = jnp.asarray(step)
    if step.dtype.itemsize >= 4:
        return step
    return step.astype(jnp.float32 if jnp.issubdtype(step.dtype, jnp.floating) else jnp.int32)


def elapsed(step: ArrayLike, begin: int) -> jax.Array:
    """Return the steps since `begin`, 0 before it: the difference is not taken, so that an unsigned one never wraps."""
    return jnp.maximum(as_steps(step), begin) - begin


def as_float(steps: jax.Array) -> jax.Array:
    """Return a number of steps as default floats: int32 divided by an int would be float32 in x64 mode too."""
    return steps.astype(jnp.result_type(float))


def as_real(x: Any) -> Any:
    """Return an array or NumPy number in the default float dtype, and Python's own as they are.

    So a value in bfloat16 is computed with in float32, and meets no other dtype where promotion is strict.
    """
    is_array = isinstance(x, jax.Array | np.ndarray | np.generic)
    return jnp.asarray(x).astype(jnp.result_type(float)) if is_array else x


def progress(step: ArrayLike, begin: int, length: int) -> jax.Array:
    """Return how much of the span has passed, in [0, 1]: 0 up to `begin`, 1 from `begin + length` on.

    A span of length 0 has passed from the start.
    """
    if length == 0:
        return jnp.ones(jnp.shape(step), jnp.result_type(float))
    return jnp.clip(as_float(elapsed(step, begin)) / float(length), 0, 1)  # an int may be too large for int32


def interpolate(start: ArrayLike, end: ArrayLike, weight: jax.Array) -> jax.Array:
    """Return start where weight is 0, end where it is 1, both exactly, and the line between."""
    return (1 - weight) * as_real(start) + weight * as_real(end)


def half_cosine(x: jax.Array) -> jax.Array:
    """Return 1 at x = 0 falling to 0 at x = 1: (1 + cos(pi x)) / 2."""
    return (1 + jnp.cos(jnp.pi * x)) / 2


@schedule
def constant_schedule(value: Real) -> Any:
    """Return `value` at every step, the first and the last.

    Args:
      value: a number.

    >>> import gradx
    >>> float(gradx.constant_schedule(0.5)(99))
    0.5
    """

    def at(step: ArrayLike) -> jax.Array:
        return jnp.full(jnp.shape(step), value, jnp.result_type(float))

    return at


@schedule
def linear_schedule(
    init_value: Real, end_value: Real, transition_steps: PositiveInt, transition_begin: NonNegativeInt = 0
) -> Any:
    """Go along a line from `init_value` to `end_value`.

    Step 0 and all up to `transition_begin`: init_value. Step transition_begin + transition_steps and all later:
    end_value.

    >>> import gradx
    >>> float(gradx.linear_schedule(1.0, 0.0, 10)(5))
    0.5
    """
    return polynomial_schedule(init_value, end_value, 1.0, transition_steps, transition_begin)


@schedule
def polynomial_schedule(
    init_value: Real,
    end_value: Real,
    power: Real,
    transition_steps: PositiveInt,
    transition_begin: NonNegativeInt = 0,
) -> Any:
    """Go from `init_value` to `end_value` as (1 - x)^power, x the share of `transition_steps` passed.

    Step 0 and all up to `transition_begin`: init_value. Step transition_begin + transition_steps and all later:
    end_value (for power > 0).

    >>> import gradx
    >>> schedule = gradx.polynomial_schedule(1.0, 0.0, power=2, transition_steps=10)
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10)]
    [1.0, 0.25, 0.0]
    """

    def at(step: ArrayLike) -> jax.Array:
        remaining = (1 - progress(step, transition_begin, transition_steps)) ** as_real(power)
        return interpolate(end_value, init_value, remaining)

    return at
