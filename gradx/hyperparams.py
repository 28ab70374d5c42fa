"""Read the hyperparameters of any optimizer, and make another with some of them changed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradx.checks import dtype_of
from gradx.core import GradientTransformation, Wrapper
from gradx.running import Part, ScheduledState, at_step, holds, is_transformation, parts_of, scheduled_arguments
from gradx.scheduled import ScheduleValue
from gradx.typing import State
from gradx.value import Value


def hyperparams(tx: GradientTransformation, state: State) -> dict[str, jax.Array]:
    """Return the current values of all float hyperparameters: `{"adamw/learning_rate": ..., "adamw/b1": ...}`.

    Schedules are evaluated at the state's count: the values that the next update will use. Injected values are those
    in the state. A recipe shows its own arguments, not those of its parts; the labels of `partition` and the names of
    `named_chain` stand before, wrappers too (`MultiSteps/adamw/learning_rate`), and a repeated name gets a number
    (`adam_1/...`). A schedule whose count nobody keeps is left out.

    Raises ValueError when the state is not that of `tx`.

    Works inside `jit`; one line logs the learning rate of a step:

    >>> import gradx
    >>> tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(gradx.linear_schedule(1.0, 0.0, 10)))
    >>> state = tx.init({"w": 1.0})
    >>> float(gradx.hyperparams(tx, state)["adamw/learning_rate"])
    1.0
    """
    if not isinstance(tx, GradientTransformation):
        raise TypeError(f"hyperparams: only gradx's transformations tell their arguments, got {type(tx).__name__}")
    values: dict[str, jax.Array] = {}
    for name, x in _values(tx, state, ""):
        values[_unused(name, values)] = jnp.asarray(x)
    return values


def replace(tx: GradientTransformation, **changes: Any) -> GradientTransformation:
    """Return the transformation with some arguments changed, checked as if made anew.

    A name is looked for in `tx` itself first, then in its parts, where it must be in one alone; `**{"adam/b1": 0.8}`
    says which. The state stays valid as long as a float replaces a float, or a schedule a schedule.

    Args:
      tx: the transformation, which stays as it is.
      **changes: new values by the arguments' names.

    Raises TypeError when no part has the name, or more than one; the message lists what there is.

    >>> import gradx
    >>> gradx.replace(gradx.chain(gradx.clip(1.0), gradx.sgd(0.1)), learning_rate=0.5)
    chain(clip(max_delta=1.0), sgd(learning_rate=0.5))
    """
    for name, value in changes.items():
        setters: dict[str, Callable] = {}
        for path, setter in _setters(tx, "", lambda new: new):
            setters[_unused(path, setters)] = setter
        if name in tx.arguments:
            tx = tx.replace(**{name: value})
            continue
        found = [path for path in setters if path == name or path.endswith(f"/{name}")]
        if len(found) != 1:
            fault = f"{name!r} is in more than one part: {', '.join(found)}" if found else f"no part has {name!r}"
            raise TypeError(f"replace: {fault}; there are {', '.join(setters)}")
        tx = setters[found[0]](value)
    return tx


def concrete(tx: GradientTransformation) -> GradientTransformation:
    """Return the transformation with Python numbers for its arrays of one number.

    What comes out of `jit`, of `grad` by an optimizer or of `tune.stack` holds arrays; flax's nnx takes no arrays among
    the attributes of a module, and numbers print better.

    >>> import gradx, jax
    >>> doubled = jax.jit(lambda tx: jax.tree.map(lambda x: 2 * x, tx))(gradx.sgd(0.25))
    >>> gradx.concrete(doubled)
    sgd(learning_rate=0.5)
    """

    def number(x: Any) -> Any:
        is_number = isinstance(x, jax.Array | np.ndarray | np.generic) and not isinstance(x, Tracer) and np.ndim(x) == 0
        return x.item() if is_number and jnp.issubdtype(dtype_of(x), np.number) else x  # a key of jax.random is none

    return jax.tree.map(number, tx)


def _values(tx: Any, state: State, prefix: str) -> Iterator[tuple[str, Any]]:
    """Go through the float arguments of a value and of those inside it, each with its own state."""
    if not isinstance(tx, GradientTransformation):
        return
    path = _path(prefix, tx)
    for name, x in _current(tx, state).items():
        if _is_float(x):
            yield _join(path, name), x
    for label, part, part_state in _inside(tx, state):
        yield from _values(part, part_state, _join(path, label))


def _current(tx: GradientTransformation, state: State) -> dict[str, Any]:
    """Return the arguments with schedules as what they are now; those whose count is not found stay schedules."""
    if not scheduled_arguments(tx):
        return tx.arguments
    if tx.resolves_schedules:
        if not isinstance(state, ScheduledState):
            raise ValueError(
                f"hyperparams: {tx.name} counts its updates, and the state is another's: {type(state).__name__}"
            )
        return at_step(tx, state.count)
    # The parts count. Copies tell apart which argument a schedule in a part came from, also where two are the same.
    copies = {name: jax.tree.map(_copy, x, is_leaf=_is_value) for name, x in tx.arguments.items()}
    recipe = tx.build_with(copies)
    arguments = tx.arguments
    for name in scheduled_arguments(tx):
        own = [x for x in jax.tree.leaves(copies[name], is_leaf=_is_value) if isinstance(x, ScheduleValue)]
        counts = [_count_of(recipe, state, x) for x in own]
        if all(count is not None for count in counts):
            numbers = iter([x(count) for x, count in zip(own, counts, strict=True)])
            arguments[name] = jax.tree.map(
                lambda x, numbers=numbers: next(numbers) if isinstance(x, ScheduleValue) else x,
                copies[name],
                is_leaf=_is_value,
            )
    return arguments


def _count_of(tx: Any, state: State, schedule: ScheduleValue) -> jax.Array | None:
    """Return the count by which that very schedule is evaluated somewhere inside `tx`."""
    if not holds(tx, schedule):
        return None
    if tx.resolves_schedules and isinstance(state, ScheduledState):
        own = [x for found in scheduled_arguments(tx).values() for x in found]
        if any(x is schedule or holds(x, schedule) for x in own):
            return state.count
    found = (_count_of(part, part_state, schedule) for _, part, part_state in parts_of(tx, state))
    return next((count for count in found if count is not None), None)


def _copy(x: Any) -> Any:
    return jax.tree.map(lambda leaf: leaf, x) if isinstance(x, ScheduleValue) else x


def _inside(tx: GradientTransformation, state: State) -> Iterator[Part]:
    """Go through the transformations among the arguments of `tx`: label, value, state."""
    if isinstance(tx.built, Wrapper):
        yield from parts_of(tx, state)
        return
    for part in filter(is_part, jax.tree.leaves(tx.arguments, is_leaf=is_part)):
        found = _state_of(tx, state, part)
        if found is not None:
            yield "", part, found[0]


def _state_of(tx: Any, state: State, wanted: Any) -> tuple[State] | None:
    """Return the state of that very transformation inside a recipe, in a tuple."""
    for _, part, part_state in parts_of(tx, state):
        if part is wanted:
            return (part_state,)
        if (found := _state_of(part, part_state, wanted)) is not None:
            return found
    return None


def _is_float(x: Any) -> bool:
    return (
        isinstance(x, float | np.floating | jax.Array)
        and jnp.ndim(x) == 0
        and jnp.issubdtype(dtype_of(x), jnp.floating)
    )


def _setters(tx: GradientTransformation, prefix: str, rebuild: Callable) -> Iterator[tuple[str, Callable]]:
    """Go through all arguments: their path, and the function from a new value to the whole with it in place."""
    path = _path(prefix, tx)
    for name in tx.arguments:
        yield _join(path, name), lambda value, name=name: rebuild(tx.replace(**{name: value}))
    for label, part, put in _nested(tx):
        if isinstance(part, GradientTransformation):
            yield from _setters(part, _join(path, label), lambda new, put=put: rebuild(put(new)))


def _nested(tx: GradientTransformation) -> list[tuple[str, Any, Callable]]:
    """Return for each transformation among the arguments label, value, and the function that puts another there."""
    leaves, treedef = jax.tree.flatten(tx.arguments, is_leaf=is_part)

    def put(i: int) -> Callable:
        return lambda new: tx.replace(**treedef.unflatten([*leaves[:i], new, *leaves[i + 1 :]]))

    places = [i for i, x in enumerate(leaves) if is_part(x)]
    labels = [label for label, _, _ in parts_of(tx, None)] if isinstance(tx.built, Wrapper) else [""] * len(places)
    return [(label, leaves[i], put(i)) for label, i in zip(labels, places, strict=True)]


def is_part(x: Any) -> bool:
    """Whether an argument is a transformation, gradx's or not."""
    return isinstance(x, GradientTransformation) or (not isinstance(x, Value) and is_transformation(x))


def _is_value(x: Any) -> bool:
    return isinstance(x, Value)


def _path(prefix: str, tx: GradientTransformation) -> str:
    """Return the prefix with the value's name; the names of those that only hold others would say nothing."""
    return prefix if isinstance(tx.built, Wrapper) and tx.built.is_frame else _join(prefix, tx.name)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix and name else prefix or name


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    owner, _, last = name.rpartition("/")
    numbered = (f"{owner}_{i}/{last}" for i in range(1, len(taken) + 2))
    return name if name not in taken else next(x for x in numbered if x not in taken)
