"""Schedules with a state, as `inject_hyperparams` keeps them."""

import warnings
from typing import Any

import jax.numpy as jnp

from gradx import numerics
from gradx.typing import Schedule
from gradx.wrappers.inject import InjectHyperparamsState, WrappedScheduleState, inject_hyperparams

InjectStatefulHyperparamsState = InjectHyperparamsState


class WrappedSchedule:
    """A schedule beside the count that it is called with.

    >>> import gradx.compat.optax as optax
    >>> schedule = optax.WrappedSchedule(optax.linear_schedule(1.0, 0.0, 10))
    >>> float(schedule(schedule.update(schedule.init())))
    0.9
    """

    def __init__(self, schedule_fn: Schedule) -> None:
        self.schedule_fn = schedule_fn

    def init(self) -> WrappedScheduleState:
        """Return the count at the start."""
        return WrappedScheduleState(jnp.zeros((), jnp.int32))

    def update(self, state: WrappedScheduleState, **extra_args: Any) -> WrappedScheduleState:
        """Return the next count."""
        del extra_args
        return WrappedScheduleState(numerics.safe_increment(state.count))

    def __call__(self, state: WrappedScheduleState, **extra_args: Any) -> Any:
        """Return the value at this count."""
        del extra_args
        return self.schedule_fn(state.count)


def inject_stateful_hyperparams(inner_factory: Any, static_args: Any = (), hyperparam_dtype: Any = None) -> Any:
    """Return `inject_hyperparams(...)`, under the name that Optax gave up.

    >>> import gradx.compat.optax as optax
    >>> callable(optax.inject_hyperparams(optax.sgd))
    True
    """
    warnings.warn("inject_stateful_hyperparams is deprecated: use inject_hyperparams", DeprecationWarning, stacklevel=2)
    return inject_hyperparams(inner_factory, static_args, hyperparam_dtype)
