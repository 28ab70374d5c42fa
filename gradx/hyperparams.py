"""Read the hyperparameters of any optimizer, and make another with some of them changed."""

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx.checks import dtype_of
from gradx.combine import chain, masked, named_chain, partition
from gradx.core import GradientTransformation, ScheduledState, at_step, scheduled_arguments
from gradx.typing import State
from gradx.wrappers.inject import InjectHyperparamsState

INNER_FIELDS = ("inner_state", "inner_states", "inner_opt_state")
"""Where a wrapper's state keeps the states of the transformations inside: by itself, or in a dict by label."""


def hyperparams(tx: GradientTransformation, state: State) -> dict[str, jax.Array]:
    """Return the current values of all float hyperparameters: `{"adamw/learning_rate": ..., "adamw/b1": ...}`.

    Schedules are evaluated at the state's count: the values that the next update will use. Injected values are those
    in the state. A recipe shows its own arguments, not those of its parts; the labels of `partition` and the names of
    `named_chain` stand before, wrappers too (`MultiSteps/adamw/learning_rate`), and a repeated name gets a number
    (`adam_1/...`).

    Works inside `jit`; one line logs the learning rate of a step:

    >>> import gradx
    >>> tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(gradx.linear_schedule(1.0, 0.0, 10)))
    >>> state = tx.init({"w": 1.0})
    >>> float(gradx.hyperparams(tx, state)["adamw/learning_rate"])
    1.0
    """
    values: dict[str, jax.Array] = {}
    for name, x in _values(tx, state, ""):
        values[_unused(name, values)] = jnp.asarray(x)
    return values


def replace(tx: GradientTransformation, **changes: Any) -> GradientTransformation:
    """Return the transformation with some arguments changed, checked as if made anew.

    A name is looked for in `tx` itself first, then in its parts, where it must be in one alone; `**{"adam/b1": 0.8}`
    says which. The state stays valid as long as a float replaces a float, or a schedule a schedule.

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


def _values(tx: Any, state: State, prefix: str) -> Iterator[tuple[str, Any]]:
    """Go through the float arguments of a value and of those inside it, each with its own state."""
    if not isinstance(tx, GradientTransformation):
        return
    path = _path(prefix, tx)
    if isinstance(state, InjectHyperparamsState):
        inner = tx.arguments["inner_factory"]
        for name, x in state.hyperparams.items():
            yield f"{_path(prefix, inner)}/{name}", x
        tx, state, path = inner, state.inner_state, _path(prefix, inner)
    else:
        arguments = at_step(tx, _count(state)) if scheduled_arguments(tx) else tx.arguments
        for name, x in arguments.items():
            if _is_float(x):
                yield _join(path, name), x
    for label, part, part_state in _inside(tx, state):
        yield from _values(part, part_state, _join(path, label))


def _inside(tx: GradientTransformation, state: State) -> Iterator[tuple[str, Any, State]]:
    """Go through the transformations among the arguments of `tx`: label, value, state."""
    parts = [(label, part) for label, part, _ in _nested(tx)]
    state = state.inner_state if isinstance(state, ScheduledState) else state
    inner = next((getattr(state, field) for field in INNER_FIELDS if hasattr(state, field)), state)
    for i, (label, part) in enumerate(parts):
        if isinstance(inner, Mapping) and label in inner:
            yield label, part, inner[label]
        else:
            yield label, part, inner[i] if tx.factory is chain else inner


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
    leaves, treedef = jax.tree.flatten(tx.arguments, is_leaf=_is_part)

    def put(i: int) -> Callable:
        return lambda new: tx.replace(**treedef.unflatten([*leaves[:i], new, *leaves[i + 1 :]]))

    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(tx.arguments, is_leaf=_is_part)]
    labels = [
        str(path[-1].key) if isinstance(path[-1], jax.tree_util.DictKey) and len(path) > 1 else "" for path in paths
    ]
    if tx.factory is named_chain:
        labels = [str(leaves[i - 1]) for i in range(len(leaves))]  # the name stands before its transformation
    return [(labels[i], part, put(i)) for i, part in enumerate(leaves) if _is_part(part)]


def _is_part(x: Any) -> bool:
    return isinstance(x, GradientTransformation) or (hasattr(x, "init") and hasattr(x, "update"))


def _path(prefix: str, tx: GradientTransformation) -> str:
    """Return the prefix with the value's name; the names of those that only hold others would say nothing."""
    holds = tx.factory in (chain, named_chain, partition, masked) or tx.name == "inject_hyperparams"
    return prefix if holds else _join(prefix, tx.name)


def _join(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix and name else prefix or name


def _unused(name: str, taken: Mapping[str, Any]) -> str:
    owner, _, last = name.rpartition("/")
    numbered = (f"{owner}_{i}/{last}" for i in range(1, len(taken) + 2))
    return name if name not in taken else next(x for x in numbered if x not in taken)


def _count(state: State) -> jax.Array:
    """Return the first count of scheduled updates in a state: a recipe's parts all count the same updates."""
    nodes = jax.tree.leaves(state, is_leaf=lambda x: isinstance(x, ScheduledState))
    return next((x.count for x in nodes if isinstance(x, ScheduledState)), jnp.zeros((), jnp.int32))
