"""Types, protocols and small helpers under Optax's names."""

from collections.abc import Sequence
from typing import Any, Protocol

import jax

from gradx.core import EmptyState, GradientTransformation
from gradx.typing import Params, State, Updates

NO_PARAMS_MSG = "This transformation needs the parameters: call update(updates, state, params)."
PyTree = Any
Shape = Sequence[int]
PRNGKey = jax.Array
ArrayTree = Any
OptState = State
ScheduleState = Any
MaskOrFn = Any
GradientTransformationExtraArgs = GradientTransformation
"""One class for both: every transformation of gradx takes extras and hands them to the parts that name them."""
AdaptiveGradClipState = AddDecayedWeightsState = AdditiveWeightDecayState = ClipByGlobalNormState = EmptyState
ClipState = NonNegativeParamsState = ScaleByTrustRatioState = ScaleState = EmptyState


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


def with_extra_args_support(tx: Any) -> Any:
    """Return a transformation that takes extras: gradx's do, and a foreign pair is put into one that does."""
    return tx if isinstance(tx, GradientTransformation) else GradientTransformation(tx.init, tx.update)
