"""Schedules as values: functions of the number of updates already applied, with which one can compute."""

import operator
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from gradx import checks, display
from gradx.value import Value, make, spell


class ScheduleValue(Value):
    """A schedule that is a value: called with the number of updates already applied, it returns a number.

    Arithmetic with numbers and other schedules gives schedules:

    >>> import gradx
    >>> half = gradx.linear_schedule(1.0, 0.0, 10) / 2
    >>> float(half(5))
    0.25
    """

    __slots__ = ()

    def __call__(self, step: Any) -> jax.Array:
        """Return the schedule's value at `step`."""
        return self.built(step)

    def plot(self, steps: int | None = None, *, ax: Any = None, log: bool = False) -> Any:
        """Draw the values from step 0 to step `steps` with matplotlib, and return its `Axes`.

        Args:
          steps: the last step shown, at least 1; None goes on a little behind the step from which on nothing changes.
          ax: the `Axes` to draw on, those of another schedule say; None makes a new figure.
          log: whether the values stand on a logarithmic axis.

        >>> import gradx
        >>> axes = gradx.cosine_decay_schedule(0.1, 100).plot()
        >>> axes = gradx.linear_schedule(0.1, 0.0, 100).plot(ax=axes)
        """
        return display.show("viz.plots", "plot_schedule", self, steps, ax=ax, log=log)

    def __repr__(self) -> str:
        if self.factory is of_function:
            return spell(self.arguments["function"])
        if self.factory is combined:
            left, right = (spell(self.arguments[name]) for name in ("left", "right"))
            return f"({left} {self.arguments['operation']} {right})"
        return super().__repr__()

    def __add__(self, other: Any) -> "ScheduleValue":
        return _combine("+", self, other)

    def __radd__(self, other: Any) -> "ScheduleValue":
        return _combine("+", other, self)

    def __sub__(self, other: Any) -> "ScheduleValue":
        return _combine("-", self, other)

    def __rsub__(self, other: Any) -> "ScheduleValue":
        return _combine("-", other, self)

    def __mul__(self, other: Any) -> "ScheduleValue":
        return _combine("*", self, other)

    def __rmul__(self, other: Any) -> "ScheduleValue":
        return _combine("*", other, self)

    def __truediv__(self, other: Any) -> "ScheduleValue":
        return _combine("/", self, other)

    def __rtruediv__(self, other: Any) -> "ScheduleValue":
        return _combine("/", other, self)

    def __pow__(self, other: Any) -> "ScheduleValue":
        return _combine("**", self, other)

    def __rpow__(self, other: Any) -> "ScheduleValue":
        return _combine("**", other, self)

    def __neg__(self) -> "ScheduleValue":
        return _combine("*", -1.0, self)

    def __pos__(self) -> "ScheduleValue":
        return self


def schedule(factory: Callable) -> Callable[..., ScheduleValue]:
    """Make a function that returns `step -> number` return a `ScheduleValue`.

    >>> import gradx
    >>> @gradx.schedule
    ... def inverse(peak=1.0):
    ...     return lambda step: peak / (1 + step)
    >>> inverse(0.5)
    inverse(peak=0.5)
    """
    return make(ScheduleValue)(factory)


def as_schedule(x: Any) -> Any:
    """Return a plain function of the step as a `ScheduleValue`; anything else as it is."""
    return of_function(x) if checks.is_function(x) and not isinstance(x, Value) else x


@schedule
def of_function(function: Callable) -> Any:
    """Return the schedule that a plain function is; it prints as the function."""
    return function


OPERATIONS = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "**": operator.pow,
}


@schedule
def combined(operation: str, left: Any, right: Any) -> Any:
    """Return the schedule `left operation right`, at least one of them a schedule."""
    compute = OPERATIONS[operation]

    @jax.numpy_dtype_promotion("standard")  # the operation was written outside of the program that it runs in
    def at(step: Any) -> jax.Array:
        return compute(*(x(step) if isinstance(x, ScheduleValue) else x for x in (left, right)))

    return at


def _combine(operation: str, left: Any, right: Any) -> Any:
    sides = [float(x) if isinstance(x, int | np.integer) and not isinstance(x, bool) else x for x in (left, right)]
    sides = [as_schedule(x) for x in sides]
    if any(
        isinstance(x, bool | str) or not isinstance(x, ScheduleValue | float | np.ndarray | np.floating | jax.Array)
        for x in sides
    ):
        return NotImplemented
    return combined(operation, *sides)
