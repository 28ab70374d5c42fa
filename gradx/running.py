"""What runs inside an update: transformations in one another, schedules as numbers, extras to those that name them.

`run_init` and `run_update` run any transformation inside another's: gradx's values, and foreign pairs such as Optax's.
"""

import inspect
import weakref
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import eager, numerics, tree
from gradx.arguments import Arguments
from gradx.scheduled import ScheduleValue
from gradx.typing import InitFn, Params, PyTree, State, UpdateFn, Updates
from gradx.value import Value

Part = tuple[str, Any, State]
"""The label, the transformation and the state of what a wrapper runs; the state is `None` where none is given."""


class EmptyState(NamedTuple):
    """The state of a transformation that keeps none."""


class ScheduledState(NamedTuple):
    """The state of a transformation with a schedule among its arguments."""

    count: jax.Array
    """int32[]: the updates already applied; the schedules are called with it."""
    inner_state: State = EmptyState()


class NeedsParams(TypeError):
    """An update needs the parameters, and was called without."""


class MaskedNode(NamedTuple):
    """What a foreign transformation sees where a mask leaves a parameter out: a node without leaves, as in Optax."""


class Wrapper(NamedTuple):
    """What the factory of a transformation around others returns: the pair, and how to find the others in its state."""

    init: InitFn
    update: UpdateFn
    parts: Callable[[State], list[Part]]
    """From the state, or `None`, to the parts in the order of the arguments."""
    is_frame: bool = False
    """Whether it only holds its parts, so that its name says nothing before theirs."""
    runs_as_given: bool = True
    """Whether it runs its parts as they were given, and does not look into their arguments."""


def run_init(tx: Any, params: Params) -> State:
    """Return the state of `tx` inside another transformation's init: compiled where that may be."""
    if not isinstance(tx, Value):
        return tx.init(_hide_none(tree.lift(params), params))
    if tx.is_own and eager.are_concrete((tx, params)) and eager.are_ordinary((tx, params)):
        return compiled_init(tx, params)
    return _init_of_value(tx, params)


def _init_of_value(tx: Value, params: Params) -> State:
    if not tx.resolves_schedules:
        return _init(tx, tx.built, params)
    return ScheduledState(jnp.zeros((), jnp.int32), _init(tx, tx.build_with(at_step(tx, 0)), params))


compiled_init = jax.jit(_init_of_value)


def run_update(tx: Any, updates: Updates, state: State, params: Params | None, extras: dict) -> tuple[Updates, State]:
    """Run the update of `tx` inside another transformation's update.

    Schedules become numbers here, and only the extras that `tx` names reach it.
    """
    if not isinstance(tx, Value):
        return _run_foreign(tx, updates, state, params, extras)
    with jax.named_scope(tx.name):
        if not tx.resolves_schedules:
            return _update(tx, tx.built, updates, state, params, extras)
        built = tx.build_with(at_step(tx, state.count))
        updates, inner = _update(tx, built, updates, state.inner_state, params, extras)
        return updates, ScheduledState(numerics.safe_increment(state.count), inner)


def parts_of(tx: Any, state: State) -> list[Part]:
    """Return what `tx` runs: a recipe the transformation that it stands for, a wrapper its parts, others nothing."""
    if not isinstance(tx, Value):
        return []
    built, inner = tx.built, state
    if tx.resolves_schedules and state is not None:
        built, inner = tx.build_with(at_step(tx, state.count)), state.inner_state
    if is_transformation(built):
        return [("", built, inner)]
    return built.parts(inner) if isinstance(built, Wrapper) else []


def takes_examples(tx: Any) -> bool:
    """Whether the gradients of `tx` have a first axis of examples, which its first part takes away."""
    if not isinstance(tx, Value):
        return False
    built = tx.built
    if is_transformation(built):
        return takes_examples(built)
    if isinstance(built, Wrapper):
        parts = built.parts(None) if tx.name in ("chain", "named_chain") else []
        if parts:
            return takes_examples(parts[0][1])
    return getattr(built[1], "takes_examples", False)


def is_transformation(x: Any) -> bool:
    """Whether `x` has what a transformation must have, gradx's or not: init and update, to be called."""
    return (
        not isinstance(x, type | Wrapper)
        and callable(getattr(x, "init", None))
        and callable(getattr(x, "update", None))
    )


def scheduled_arguments(tx: Value) -> dict[str, list[ScheduleValue]]:
    """Return by name the schedules that stand for numbers; an argument annotated `Schedule` wants the schedule."""
    known = Arguments.of(tx.factory)
    given = {name: x for name, x in tx.arguments.items() if name not in known.want_schedule}
    found = {name: [leaf for leaf in _flat(x) if isinstance(leaf, ScheduleValue)] for name, x in given.items()}
    return {name: schedules for name, schedules in found.items() if schedules}


def at_step(tx: Value, step: ArrayLike) -> dict[str, Any]:
    """Return the arguments of `tx` with every schedule that stands for a number replaced by its value at `step`."""
    arguments = tx.arguments
    for name in scheduled_arguments(tx):
        arguments[name] = jax.tree.map(
            lambda x: x(step) if isinstance(x, ScheduleValue) else x, arguments[name], is_leaf=_is_value
        )
    return arguments


def holds(tx: Any, value: Value) -> bool:
    """Whether that very value is among the arguments of `tx`, or of the values among them."""
    inside = _flat(tx.arguments) if isinstance(tx, Value) else []
    return any(x is value or holds(x, value) for x in inside)


def _flat(arguments: PyTree) -> list:
    return jax.tree.leaves(arguments, is_leaf=_is_value)


def _is_value(x: Any) -> bool:
    return isinstance(x, Value)


def _init(tx: Value, built: Any, params: Params) -> State:
    if is_transformation(built):
        return run_init(built, params)
    # In the precision that update sees; gradx's own factories ask `tree` for it themselves.
    return built[0](params if tx.is_own or not tx.is_strict else tree.lift(params))


def _update(
    tx: Value, built: Any, updates: Updates, state: State, params: Params | None, extras: dict
) -> tuple[Updates, State]:
    if is_transformation(built):
        return run_update(built, updates, state, params, extras)
    return _call_named(tx.name, built[1], updates, state, params, extras)


def _run_foreign(tx: Any, updates: Updates, state: State, params: Params | None, extras: dict) -> tuple[Updates, State]:
    hidden = updates if params is None else params
    shown = None if params is None else _hide_none(params, hidden)
    new, state = _call_named(type(tx).__name__, tx.update, _hide_none(updates, hidden), state, shown, extras)
    return jax.tree.map(lambda x: None if _is_masked(x) else x, new, is_leaf=_is_masked), state


def _hide_none(shown: PyTree, like: PyTree) -> PyTree:
    """Put nodes without leaves where `like` is `None`: foreign transformations may ask `is None` themselves."""
    if not any(x is None for x in jax.tree.leaves(like, is_leaf=_is_none)):
        return shown
    return jax.tree.map(lambda x, y: MaskedNode() if y is None else x, shown, like, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


def _is_masked(x: Any) -> bool:
    return isinstance(x, MaskedNode)


def _call_named(
    name: str, update: UpdateFn, updates: Updates, state: State, params: Params | None, extras: dict
) -> tuple[Updates, State]:
    """Call an inner update with `params` and the extras that it names; say what it needs when something is missing."""
    wanted = _wanted(update)
    given = extras if wanted.all else {key: extras[key] for key in wanted.names if key in extras}
    for key in wanted.required:
        if key == "params" and params is None:
            raise NeedsParams(f"{name} needs params: call tx.update(updates, state, params)")
        if key != "params" and key not in extras:
            raise TypeError(
                f"{name} needs {key}: call tx.update(updates, state, params, {key}=...)"
                "; optax.chain hands it on to optax.GradientTransformationExtraArgs(*tx) alone, gradx.chain to all"
            )
    if wanted.params == "keyword":
        return update(updates, state, params=params, **given)
    return update(updates, state, params, **given) if wanted.params else update(updates, state, **given)


class _Wanted(NamedTuple):
    names: tuple[str, ...]
    required: tuple[str, ...]
    params: str
    """How the parameters are given: "position", "keyword", or "" for not at all."""
    all: bool
    """Whether `**extras` takes the rest."""


_KNOWN: weakref.WeakKeyDictionary[Callable, _Wanted] = weakref.WeakKeyDictionary()
"""What each update asks for; forgotten with it."""


def _wanted(update: UpdateFn) -> _Wanted:
    """Say what an update asks for behind (updates, state)."""
    try:
        known = _KNOWN.get(update)
        if known is None:
            known = _KNOWN[update] = _read_signature(update)
    except TypeError:  # a callable that cannot be hashed or referred to weakly
        known = _read_signature(update)
    return known


def _read_signature(update: UpdateFn) -> _Wanted:
    parameters = list(inspect.signature(update).parameters.values())
    first = next((i for i, p in enumerate(parameters) if p.kind is p.VAR_POSITIONAL), 2)
    parameters = parameters[min(first, 2) :]  # behind (updates, state), which *args may stand for
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    takes_any = any(p.kind is p.VAR_POSITIONAL for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY, p.POSITIONAL_ONLY)]
    by_position = bool(named) and named[0].kind is not named[0].KEYWORD_ONLY
    if by_position:
        named[0] = named[0].replace(name="params")  # the third argument is the parameters, whatever it is called
    names = [p.name for p in named]
    required = [p.name for p in named if p.default is p.empty]
    how = "position" if by_position or takes_any else "keyword" if takes_all or "params" in names else ""
    return _Wanted(tuple(x for x in names if x != "params"), tuple(required), how, takes_all)
