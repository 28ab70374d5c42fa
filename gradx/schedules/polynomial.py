"""Constant, linear and polynomial schedules."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.typing import NonNegativeInt, PositiveInt, Real


def elapsed(step: ArrayLike, begin: int) -> jax.Array:
    """Return the steps since `begin`, 0 before it, in the step's own dtype: no wrap below 0 where that is unsigned."""
    return jnp.maximum(jnp.asarray(step), begin) - begin


def as_float(steps: jax.Array) -> jax.Array:
    """Return a number of steps as default floats: int32 divided by an int would be float32 in x64 mode too."""
    return steps.astype(jnp.result_type(float))


def progress(step: ArrayLike, begin: int, length: int) -> jax.Array:
    """Return how much of the span has passed, in [0, 1]: 0 up to `begin`, 1 from `begin + length` on.

    A span of length 0 has passed from the start.
    """
    if length == 0:
        return jnp.ones(jnp.shape(step), jnp.result_type(float))
    return jnp.clip(as_float(elapsed(step, begin)) / length, 0, 1)


def interpolate(start: ArrayLike, end: ArrayLike, weight: jax.Array) -> jax.Array:
    """Return start where weight is 0, end where it is 1, both exactly, and the line between."""
    return (1 - weight) * start + weight * end


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
        remaining = (1 - progress(step, transition_begin, transition_steps)) ** power
        return interpolate(end_value, init_value, remaining)

    return at
