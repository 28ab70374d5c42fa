"""`inject_hyperparams` as Optax has it: by the signature of any factory, numbers in the parameters' dtype."""

import functools
import inspect
import warnings
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import core, numerics
from gradx.arguments import Arguments
from gradx.compat.like_optax.base import GradientTransformationExtraArgs
from gradx.typing import DType, Params, State, Updates


class InjectHyperparamsState(NamedTuple):
    """What Optax kept before 0.1.9."""

    count: jax.Array
    """int32[]: the updates already applied."""
    hyperparams: dict[str, Any]
    inner_state: State


class InjectStatefulHyperparamsState(NamedTuple):
    """The state of `inject_hyperparams`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    hyperparams: dict[str, Any]
    """The values of the last update; what is no schedule may be set."""
    hyperparams_states: dict[str, Any]
    """What each schedule keeps."""
    inner_state: State


class WrappedScheduleState(NamedTuple):
    """The state of `WrappedSchedule`."""

    count: jax.Array
    """int32[]: the updates already applied."""


class WrappedSchedule:
    """A schedule beside the count that it is called with.

    >>> import gradx.compat.optax as optax
    >>> schedule = optax.WrappedSchedule(optax.linear_schedule(1.0, 0.0, 10))
    >>> round(float(schedule(schedule.update(schedule.init()))), 4)
    0.9
    """

    def __init__(self, schedule_fn: Callable[..., Any]) -> None:
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


def inject_hyperparams(
    inner_factory: Callable, static_args: str | Iterable[str] = (), hyperparam_dtype: DType | None = None
) -> Callable[..., GradientTransformationExtraArgs]:
    """Return a factory like `inner_factory`, whose numbers lie in the state and whose callables are schedules.

    Args:
      inner_factory: any function of hyperparameters that returns a transformation.
      static_args: names of arguments that are neither.
      hyperparam_dtype: dtype of the numbers; None is that of the first parameter.

    >>> import gradx.compat.optax as optax
    >>> state = optax.inject_hyperparams(optax.sgd)(learning_rate=0.5).init(0.0)
    >>> float(state.hyperparams["learning_rate"])
    0.5
    """
    static = {static_args} if isinstance(static_args, str) else set(static_args)
    signature = inspect.signature(inner_factory)
    if unknown := static - set(signature.parameters):
        raise ValueError(
            f"`static_args` must be arguments of {getattr(inner_factory, '__name__', inner_factory)}:"
            f" {sorted(unknown)} are not among {list(signature.parameters)}"
        )

    @functools.wraps(inner_factory)
    def make(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        bound = signature.bind(*args, **kwargs)
        bound.apply_defaults()
        given = dict(bound.arguments)
        for name, p in signature.parameters.items():
            if p.kind is p.VAR_KEYWORD:
                given |= given.pop(name)
        return _injected(inner_factory, signature, given, static, hyperparam_dtype)

    return make


def _injected(
    inner_factory: Callable, signature: inspect.Signature, given: dict[str, Any], static: set[str], dtype: Any
) -> GradientTransformationExtraArgs:
    known = vars(inner_factory).get("arguments")
    marks = known.marks if isinstance(known, Arguments) else {}
    structural = {name for name, mark in marks.items() if getattr(mark, "integer", False)}  # shapes go by them
    schedules: dict[str, Any] = {}
    numbers: dict[str, Any] = {}
    rest: dict[str, Any] = {}
    for name, x in given.items():
        if name in static | structural or isinstance(x, bool | core.GradientTransformation):
            rest[name] = x
        elif callable(x):
            schedules[name] = x if hasattr(x, "update") and hasattr(x, "init") else WrappedSchedule(x)
        elif isinstance(x, int | float | jax.Array | np.ndarray | np.generic):
            numbers[name] = x
        else:
            rest[name] = x

    def built(values: dict[str, Any]) -> Any:
        arguments = rest | values
        args = [x for name, x in arguments.items() if _kind(signature, name) is inspect.Parameter.POSITIONAL_ONLY]
        kwargs = {k: x for k, x in arguments.items() if _kind(signature, k) is not inspect.Parameter.POSITIONAL_ONLY}
        return inner_factory(*args, **kwargs)

    def cast(values: dict[str, Any], like: Any) -> dict[str, Any]:
        wanted = dtype or next((jnp.result_type(x) for x in jax.tree.leaves(like)), None)
        is_float = wanted is not None and jnp.issubdtype(wanted, jnp.floating)
        return {
            name: jnp.asarray(x, wanted if is_float and _is_float(x) and not _is_strong(x) else None)
            for name, x in values.items()
        }

    def init(params: Params) -> InjectStatefulHyperparamsState:
        count = jnp.zeros((), jnp.int32)
        states = {name: x.init() for name, x in schedules.items()}
        values = cast(numbers | {name: x(states[name]) for name, x in schedules.items()}, params)
        return InjectStatefulHyperparamsState(count, values, states, built(values).init(params))

    def update(
        updates: Updates, state: InjectStatefulHyperparamsState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, InjectStatefulHyperparamsState]:
        now = {name: x(state.hyperparams_states[name], **extras) for name, x in schedules.items()}
        values = state.hyperparams | cast(now, updates)
        updates, inner = built(values).update(updates, state.inner_state, params, **extras)
        states = {name: x.update(state.hyperparams_states[name], **extras) for name, x in schedules.items()}
        count = numerics.safe_increment(state.count)
        return updates, InjectStatefulHyperparamsState(count, values, states, inner)

    return GradientTransformationExtraArgs(init, update)


def inject_stateful_hyperparams(inner_factory: Any, static_args: Any = (), hyperparam_dtype: Any = None) -> Any:
    """Return `inject_hyperparams(...)`, under the name that Optax gave up.

    >>> import gradx.compat.optax as optax
    >>> callable(optax.inject_hyperparams(optax.sgd))
    True
    """
    warnings.warn("inject_stateful_hyperparams is deprecated: use inject_hyperparams", DeprecationWarning, stacklevel=2)
    return inject_hyperparams(inner_factory, static_args, hyperparam_dtype)


def _kind(signature: inspect.Signature, name: str) -> Any:
    return signature.parameters[name].kind if name in signature.parameters else None


def _is_strong(x: Any) -> bool:
    """Whether an array says its dtype, and is no number that takes any."""
    return isinstance(x, jax.Array) and not getattr(x, "weak_type", False)


def _is_float(x: Any) -> bool:
    return jnp.issubdtype(jnp.result_type(x), jnp.floating)
