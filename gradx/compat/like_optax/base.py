"""The transformation that stands for Optax's, and types, protocols and small helpers under Optax's names."""

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, Protocol

import jax

from gradx import core
from gradx.arguments import Arguments
from gradx.core import EmptyState
from gradx.glossary import Shown
from gradx.running import NeedsParams
from gradx.typing import Params, ScalarOrSchedule, State, Updates

NO_PARAMS_MSG = "This transformation needs the parameters: call update(updates, state, params)."
PyTree = Any
Shape = Sequence[int]
PRNGKey = jax.Array
ArrayTree = Any
OptState = State
ScheduleState = Any
MaskOrFn = Any
AdaptiveGradClipState = AddDecayedWeightsState = AdditiveWeightDecayState = ClipByGlobalNormState = EmptyState
ClipState = NonNegativeParamsState = ScaleByTrustRatioState = ScaleState = EmptyState


class GradientTransformation(core.GradientTransformation):
    """A pair (init, update) that looks like Optax's NamedTuple, and refuses no more than that does.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.GradientTransformation(lambda params: (), lambda updates, state, params=None: (updates, state))
    >>> tx[0] == tx.init, isinstance(tx, optax.GradientTransformationExtraArgs)
    (True, False)
    """

    __slots__ = ()
    is_strict = False
    _fields = ("init", "update")

    def __getitem__(self, index: int) -> Callable:
        return (self.init, self.update)[index]

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, State]:
        """Do what `gradx.GradientTransformation.update` does; missing parameters are a ValueError."""
        try:
            return super().update(updates, state, params, **extras)
        except NeedsParams as missing:
            raise ValueError(f"{NO_PARAMS_MSG} {missing}") from None

    def __len__(self) -> int:
        return len(self._fields)

    def _asdict(self) -> dict[str, Callable]:
        return {"init": self.init, "update": self.update}

    def _replace(self, **changes: Callable) -> "GradientTransformation":
        return GradientTransformation(**(self._asdict() | changes))


class GradientTransformationExtraArgs(GradientTransformation):
    """One that says that it takes extras; all of gradx's do."""

    __slots__ = ()


def as_optax(factory: Callable) -> Callable[..., GradientTransformationExtraArgs]:
    """Return the factory under Optax's rules: no number is out of range, and the value looks like Optax's."""
    known = Arguments.of(factory)
    shown = inspect.signature(factory)
    parameters = [_shown(p, p.name in known.take_schedule) for p in shown.parameters.values()]

    @functools.wraps(factory)
    def make(*args: Any, **kwargs: Any) -> GradientTransformationExtraArgs:
        bound = known.signature.bind(*args, **kwargs)
        bound.apply_defaults()
        adapted = GradientTransformationExtraArgs._adapted(known, dict(bound.arguments))
        value = GradientTransformationExtraArgs._of(factory, adapted)
        _ = value.built
        return value

    vars(make)["__signature__"] = shown.replace(parameters=parameters)
    return make


class _ShownScalarOrSchedule(Shown):
    """What a signature shows of a number for which a schedule may stand, equal to the alias that Optax writes there."""

    __slots__ = ()

    def __eq__(self, other: object) -> bool:
        return other is ScalarOrSchedule or str.__eq__(self, other)

    __hash__ = Shown.__hash__


def _shown(parameter: inspect.Parameter, is_schedule: bool) -> inspect.Parameter:
    return parameter.replace(annotation=_ShownScalarOrSchedule(parameter.annotation)) if is_schedule else parameter


class TransformInitFn(Protocol):
    """From parameters to a state."""

    def __call__(self, params: Params) -> State: ...


class TransformUpdateFn(Protocol):
    """From updates, state and parameters to updates and state."""

    def __call__(self, updates: Updates, state: State, params: Params | None = None) -> tuple[Updates, State]: ...


class TransformUpdateExtraArgsFn(Protocol):
    """The same with named extras."""

    def __call__(
        self, updates: Updates, state: State, params: Params | None = None, **extra_args: Any
    ) -> tuple[Updates, State]: ...


class StatefulSchedule(Protocol):
    """A schedule with a state of its own."""

    def init(self) -> ScheduleState: ...

    def update(self, state: ScheduleState, **extra_args: Any) -> ScheduleState: ...

    def __call__(self, state: ScheduleState, **extra_args: Any) -> Any: ...


class ShouldSkipUpdateFunction(Protocol):
    """From (updates, gradient_step, params) to whether to skip, and what to keep of it."""

    def __call__(self, updates: Updates, gradient_step: jax.Array, params: Params | None) -> tuple[Any, Any]: ...


class ConditionFn(Protocol):
    """From the step and extras to whether to transform."""

    def __call__(self, step: jax.Array, **extra_args: Any) -> jax.Array: ...


class Initable(Protocol):
    """What has an init."""

    def init(self, params: Params) -> State: ...


def init_empty_state(params: Params) -> EmptyState:
    """Return the state of a transformation that keeps none."""
    del params
    return EmptyState()


def apply_updates(params: Params, updates: Updates) -> Params:
    """Return params + updates in the parameters' dtypes; where a parameter is `None`, nothing.

    >>> import gradx.compat.optax as optax
    >>> optax.apply_updates({"w": 1.0, "b": None}, {"w": -0.25, "b": 3.0})["b"] is None
    True
    """
    shown = jax.tree.map(lambda p, u: None if p is None else u, params, updates, is_leaf=lambda x: x is None)
    return core.apply_updates(params, shown)


def with_extra_args_support(tx: Any) -> Any:
    """Return a transformation that takes extras, and hands on those that it names.

    >>> import gradx.compat.optax as optax
    >>> isinstance(optax.with_extra_args_support(optax.sgd(0.1)), optax.GradientTransformationExtraArgs)
    True
    """
    known = isinstance(tx, GradientTransformationExtraArgs)
    return tx if known else GradientTransformationExtraArgs(tx.init, tx.update)
