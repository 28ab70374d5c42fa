"""Names for the trees and numbers that gradx passes around.

The aliases of hyperparameters carry their range, `Annotated[..., Range(...)]`: a signature that says `b1: Decay` is
read by people and by `value.py`, which checks concrete numbers against it and lets a schedule stand for the number.
"""

from collections.abc import Callable
from enum import Enum
from typing import Annotated, Any, NamedTuple

import jax
from jax.typing import ArrayLike, DTypeLike

PyTree = Any


class TreeKind(Enum):
    """Whose names the keys of a tree are; `tree.get` and `tree.set` look only at a state's own."""

    PARAMETERS = "the names that the user gave to parameters"
    STATE = "fields of states, and labels of their parts"


Params = Annotated[PyTree, TreeKind.PARAMETERS]
"""A pytree of arrays: what is trained."""
Updates = Annotated[PyTree, TreeKind.PARAMETERS]
"""A pytree like the parameters: gradients on the way in, what is added to the parameters on the way out."""
State = Annotated[PyTree, TreeKind.STATE]
"""A pytree of arrays whose structure, shapes and dtypes never change after `init`."""

Schedule = Callable[[ArrayLike], jax.Array]
"""From the number of updates already applied (the first update sees 0) to a number."""

InitFn = Callable[[Params], State]
UpdateFn = Callable[..., tuple[Updates, State]]


class Range(NamedTuple):
    """The interval in which a hyperparameter must lie; `closed` says which ends belong to it."""

    low: float = -float("inf")
    high: float = float("inf")
    closed: str = "[]"
    integer: bool = False
    schedule: bool = False
    """Whether a schedule may stand for the number."""

    def holds(self, number: float) -> bool:
        """Whether `number` lies in the interval; NaN lies in none."""
        above = number >= self.low if self.closed[0] == "[" else number > self.low
        below = number <= self.high if self.closed[1] == "]" else number < self.high
        return bool(above and below)

    def __str__(self) -> str:
        return f"{self.closed[0]}{self.low:g}, {self.high:g}{self.closed[1]}"


class StorageDType(NamedTuple):
    """Marks an argument that names a dtype; it is kept as a `numpy.dtype`, however it was spelt."""


class OfParams(NamedTuple):
    """Marks an argument for which a function of the parameters may stand."""

    name: str
    """What the annotation is called where a signature is shown."""


Mask = Annotated[PyTree | Callable[[Params], PyTree], OfParams("Mask")]
"""A pytree of bools, a prefix of the parameters, or a function from the parameters to one."""
Labels = Annotated[PyTree | Callable[[Params], PyTree], OfParams("Labels")]
"""A pytree of labels, a prefix of the parameters, or a function from the parameters to one."""

ScalarOrSchedule = Annotated[float | jax.Array | Schedule, Range(schedule=True)]
NonNegative = Annotated[float | jax.Array | Schedule, Range(low=0.0, schedule=True)]
Positive = Annotated[float | jax.Array | Schedule, Range(low=0.0, closed="(]", schedule=True)]
Decay = Annotated[float | jax.Array | Schedule, Range(low=0.0, high=1.0, closed="[)", schedule=True)]
PositiveDecay = Annotated[float | jax.Array | Schedule, Range(low=0.0, high=1.0, closed="()", schedule=True)]
Fraction = Annotated[float | jax.Array | Schedule, Range(low=0.0, high=1.0, schedule=True)]
LearningRate = NonNegative

# Numbers for which no schedule may stand: the arguments of schedules.
Real = Annotated[float | jax.Array, Range()]
PositiveReal = Annotated[float | jax.Array, Range(low=0.0, closed="(]")]
FractionReal = Annotated[float | jax.Array, Range(low=0.0, high=1.0)]
PositiveInt = Annotated[int, Range(low=1, integer=True)]
NonNegativeInt = Annotated[int, Range(low=0, integer=True)]
DType = Annotated[DTypeLike, StorageDType()]
