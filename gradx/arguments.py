"""What a factory's signature says of its arguments: their names, their ranges, and what may stand for a number."""

import difflib
import inspect
from collections.abc import Callable
from typing import Any, Self, get_args

import jax
import numpy as np

from gradx import checks
from gradx.typing import OfParams, Range, Schedule, StorageDType

Mark = Range | StorageDType | OfParams

SYNONYMS = {
    "lr": "learning_rate",
    "step_size": "learning_rate",
    "alpha": "decay",
    "betas": "b1 and b2",
    "beta": "momentum",
    "beta1": "b1",
    "beta2": "b2",
    "beta_1": "b1",
    "beta_2": "b2",
    "epsilon": "eps",
    "wd": "weight_decay",
    "decay": "weight_decay",
    "l2": "weight_decay",
    "clipnorm": "max_norm",
    "max_grad_norm": "max_norm",
    "rho": "decay",
    "momentum": "decay",
    "total_steps": "decay_steps",
    "warmup": "warmup_steps",
    "every_k": "every_k_schedule",
    "k": "every_k_schedule",
}
"""Names of other libraries, and what they are called here."""


class Arguments:
    """The parameters of one factory. It belongs to the factory, so that what it keeps is freed with it."""

    def __init__(self, function: Callable) -> None:
        self.owner = function.__name__
        try:
            self.signature = inspect.signature(function, eval_str=True)
        except NameError:  # an annotation under `if TYPE_CHECKING`: it cannot carry a range
            self.signature = inspect.signature(function)
        parameters = self.signature.parameters
        self.names = tuple(parameters)
        self.marks = {name: mark for name, p in parameters.items() if (mark := _mark_of(p)) is not None}
        wanted = {name for name, p in parameters.items() if Schedule in (p.annotation, *get_args(p.annotation))}
        self.want_schedule = frozenset(wanted)
        """Those that ask for a schedule itself, not for its value at each step."""
        numbers = {name for name, x in self.marks.items() if isinstance(x, Range) and x.schedule}
        self.take_schedule = frozenset(numbers - wanted)
        """Those that are numbers for which a function of the step may stand."""
        self.of_params = frozenset(name for name, x in self.marks.items() if isinstance(x, OfParams))
        """Those that may be a function of the parameters: masks and labels."""

    @classmethod
    def of(cls, factory: Callable) -> Self:
        """Return the arguments that a decorated factory keeps."""
        return vars(factory)["arguments"]

    def bind(self, args: tuple, kwargs: dict[str, Any]) -> dict[str, Any]:
        """Return the arguments of a call by name, defaults filled in, concrete numbers checked."""
        try:
            bound = self.signature.bind(*args, **kwargs)
        except TypeError as error:
            raise TypeError(f"{self.owner}(): {error}{self._hint(kwargs)}") from None
        bound.apply_defaults()
        return {name: self._checked(name, x) for name, x in bound.arguments.items()}

    def as_call(self, arguments: dict[str, Any]) -> tuple[tuple, dict[str, Any]]:
        """Return the positional and the keyword arguments of a call with these values."""
        bound = self.signature.bind_partial()
        bound.arguments.update({name: arguments[name] for name in self.names})
        return bound.args, bound.kwargs

    def filled(self, stored: dict[str, Any]) -> dict[str, Any]:
        """Return stored arguments in the order of today's signature, with defaults for those it has gained."""
        if unknown := sorted(stored.keys() - set(self.names)):
            raise TypeError(f"{self.owner}: stored with {unknown[0]!r}, but it has {', '.join(self.names)}")
        values = {name: stored.get(name, self.signature.parameters[name].default) for name in self.names}
        if missing := [name for name, x in values.items() if x is inspect.Parameter.empty]:
            raise TypeError(f"{self.owner}: stored without {missing[0]!r}, which has no default")
        return values

    def _hint(self, kwargs: dict[str, Any]) -> str:
        """Say what a name of another library, or a misspelt one, is called here."""
        for name in kwargs:
            if name in self.names:
                continue
            near = difflib.get_close_matches(name, self.names, 1)
            known = SYNONYMS.get(name, "")
            if known.split(" ")[0] in self.names or near:
                return f"; {name!r} is called {known if known.split(' ')[0] in self.names else near[0]} here"
            return f"; it has {', '.join(self.names)}"
        return ""

    def _checked(self, name: str, value: Any) -> Any:
        mark, parameter = self.marks.get(name), self.signature.parameters[name]
        if mark is None or isinstance(mark, OfParams):
            return value
        admitted = get_args(parameter.annotation)
        if value is None and (parameter.default is None or type(None) in admitted):
            return value
        if isinstance(mark, Range):
            if Schedule in admitted and callable(value):
                return value
            return checks.hyperparameter(self.owner, name, value, mark)
        try:
            dtype = np.dtype(value)
        except TypeError:
            raise TypeError(f"{self.owner}: {name} must name a dtype, got {value!r}") from None
        if not jax.dtypes.issubdtype(dtype, np.inexact):
            raise TypeError(f"{self.owner}: {name} must be a dtype of floats, got {value!r}")
        return dtype


def _mark_of(parameter: inspect.Parameter) -> Mark | None:
    """Find the mark of a parameter; a float for a default says that it is a number, or a schedule, by itself."""
    found = _mark(parameter.annotation)
    plain = parameter.annotation in (parameter.empty, float)
    is_number = found is None and plain and isinstance(parameter.default, float)
    return Range(schedule=True) if is_number else found


def _mark(annotation: Any) -> Mark | None:
    """Find the mark that an annotation carries, also inside `X | None`."""
    found = [x for x in getattr(annotation, "__metadata__", ()) if isinstance(x, Mark)]
    found += [mark for arg in get_args(annotation) if (mark := _mark(arg)) is not None]
    return found[0] if found else None
