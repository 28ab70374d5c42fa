"""A state as a flat dict of names and arrays, back again into another optimizer's state, and from one to another."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx import checks
from gradx.checkpoint.matching import match
from gradx.checkpoint.places import Part, Place, Places, places_of
from gradx.checkpoint.plan import Plan
from gradx.checkpoint.report import Report
from gradx.typing import Params, PyTree, State

FORMAT = 1
"""The version of the names and of what is kept beside them; a reader knows all up to its own."""
DESCRIPTION = "gradx"
"""The entry that holds the version, the parts and the parameters, as JSON."""


def state_dict(tx: Any, state: State, params: Params) -> dict[str, Any]:
    """Return a state as one flat dict: `{"adamw/scale_by_adam.mu:layer/kernel": array, ...}`.

    The names are those of the parts, their fields and the parameters, never positions: `load_state_dict` finds them
    again after a part was put into a chain or taken out, wrapped, or given another schedule or precision. One more
    entry, `"gradx"`, is a string that says the format's version, the parts and the shapes of the parameters. The
    arrays are the state's own, not copies; random keys are their data.

    Args:
      tx: the transformation that made the state, of gradx or Optax.
      state: its state.
      params: the parameters, or their shapes, as `init` was given them.

    Raises ValueError where the state is not that of `tx` for these parameters.

    >>> import gradx
    >>> tx, params = gradx.adam(0.1), {"w": 1.0}
    >>> sorted(gradx.checkpoint.state_dict(tx, tx.init(params), params))[:3]
    ['adam/scale_by_adam.count', 'adam/scale_by_adam.mu:w', 'adam/scale_by_adam.nu:w']
    """
    places = places_of(tx, state, params)
    values = map(_plain, jax.tree.leaves(state))
    return {DESCRIPTION: describe(places), **dict(zip((x.name for x in places.places), values, strict=True))}


def load_state_dict(tx: Any, state_dict: Mapping[str, Any], params: Params) -> tuple[State, Report]:
    """Return the state of `tx` with everything that a state dict holds of it, and a report of what went where.

    Parts are found by their names, however their surroundings have changed; what is new starts as `init` makes it, and
    a schedule that is new at the step that the others have reached. Arrays take the dtype and the sharding that `init`
    gives them.

    Args:
      tx: the transformation, which may differ from the one that was saved.
      state_dict: from `state_dict`; its arrays may be NumPy's.
      params: the parameters.

    Raises ValueError for what is no state dict, or one of a later version.

    >>> import gradx
    >>> params = {"w": 1.0}
    >>> saved = gradx.checkpoint.state_dict(tx := gradx.adam(0.1), tx.init(params), params)
    >>> wrapped = gradx.MultiSteps(gradx.adam(0.1), 4)
    >>> state, report = gradx.checkpoint.load_state_dict(wrapped, saved, params)
    >>> report.matched["MultiSteps/adam/scale_by_adam.mu:w"]
    'adam/scale_by_adam.mu:w'
    """
    shapes = {name: x for name, x in state_dict.items() if name != DESCRIPTION}
    old = places_from(state_dict.get(DESCRIPTION), shapes)
    return filled(tx, params, old, lambda plan, fresh: [state_dict[place.name] for place in old.places], loosely=False)


def migrate(old_tx: Any, new_tx: Any, state: State, params: Params) -> tuple[State, Report]:
    """Return a state for `new_tx` that keeps of `old_tx`'s what means the same, and a report of what went where.

    Beside what `load_state_dict` finds, fields of the same name and meaning move between parts of different names: mu
    to mu, nu to nu, count to count. A part moves as a whole: if a number that it needs is nowhere, it starts anew, for
    a moment at 0 beside an old count makes steps many times too long. But nu may be missing, from Lion or Muon to Adam:
    it starts at the mean square of mu.

    Either side may be Optax's: so its states are imported and exported.

    Args:
      old_tx: the transformation that made the state.
      new_tx: the one that is to go on.
      state: of `old_tx`. Its arrays become part of the new state, uncopied.
      params: the parameters.

    >>> import gradx, jax.numpy as jnp
    >>> params = {"w": jnp.ones((2, 2))}
    >>> old, new = gradx.adamw(0.001), gradx.lion(0.0001)
    >>> _, report = gradx.checkpoint.migrate(old, new, old.init(params), params)
    >>> report.matched["lion/scale_by_lion.mu:w"], list(report.left_out)
    ('adamw/scale_by_adam.mu:w', ['adamw/scale_by_adam.nu:w'])
    """
    old, values = places_of(old_tx, state, params), jax.tree.leaves(state)
    return filled(new_tx, params, old, lambda plan, fresh: values, loosely=True)


def filled(
    tx: Any,
    params: Params,
    old: Places,
    fetch: Callable[[Plan, list], list],
    *,
    loosely: bool,
    shardings: PyTree | None = None,
) -> tuple[State, Report]:
    """Return a new state of `tx` with the leaves of an old one in the places that are theirs, and the report.

    `fetch(plan, fresh)` returns the old leaves' values in order; those that the plan does not use may be anything.
    """
    # Compiled, no device holds more of it at any time than its part
    init = tx.init if shardings is None else jax.jit(tx.init, out_shardings=shardings)
    fresh, treedef = jax.tree.flatten(init(params))
    plan = match(old, places_of(tx, treedef.unflatten(fresh), params), loosely)
    fresh = [_outline(x) if n in plan.source else x for n, x in enumerate(fresh)]  # two states may be one too many
    values, leaves, given = fetch(plan, fresh), list(fresh), set()
    for n, i in plan.source.items():
        value = _mean_square(values[i], fresh[n]) if n in plan.squares else values[i]
        is_second = i in given and n not in plan.squares  # no buffer serves twice: it could not be donated
        leaves[n] = placed(jnp.array(value, copy=True) if is_second else value, fresh[n])
        given.add(i)
    return treedef.unflatten(leaves), plan.report()


def _outline(x: Any) -> Any:
    """Return shape, dtype and place of an array that something else will replace."""
    if jax.dtypes.issubdtype(checks.dtype_of(x), jax.dtypes.extended):
        return x
    sharding = x.sharding if isinstance(x, jax.Array) and x.committed else None
    return jax.ShapeDtypeStruct(np.shape(x), checks.dtype_of(x), sharding=sharding)


def placed(value: Any, like: Any) -> Any:
    """Return a value with the dtype, the kind of key and the sharding of the leaf in whose place it comes."""
    dtype = checks.dtype_of(like)
    if jax.dtypes.issubdtype(dtype, jax.dtypes.prng_key):
        is_key = jax.dtypes.issubdtype(checks.dtype_of(value), jax.dtypes.prng_key)
        value = value if is_key else jax.random.wrap_key_data(jnp.asarray(value), impl=str(jax.random.key_impl(like)))
    elif checks.dtype_of(value) != dtype:
        value = value.astype(dtype) if hasattr(value, "astype") else np.asarray(value, dtype)
    sharding = getattr(like, "sharding", None) if getattr(like, "committed", True) else None
    return jax.device_put(value, sharding)


def _mean_square(mu: Any, like: Any) -> jax.Array:
    square = jnp.mean(jnp.square(jnp.abs(jnp.asarray(mu, checks.dtype_of(mu)))).astype(checks.dtype_of(like)))
    return jnp.full(np.shape(like), square)


def _plain(x: Any) -> Any:
    is_key = jax.dtypes.issubdtype(checks.dtype_of(x), jax.dtypes.prng_key)
    return jax.random.key_data(x) if is_key else x


def describe(places: Places) -> str:
    """Return what a reader must know beside the arrays, as JSON."""
    keys = {place.name: place.dtype for place in places.places if place.dtype.startswith("key")}
    parameters = {name: list(shape) for name, shape in places.parameters.items()}
    parts = [list(part) for part in places.parts]
    return json.dumps({"format": FORMAT, "parts": parts, "parameters": parameters, "keys": keys})


def understood(text: Any) -> dict[str, Any]:
    """Return what a description says; raise ValueError for what is none, or one of a later version."""
    try:
        known = json.loads(text)
        is_later = known["format"] > FORMAT
    except (ValueError, TypeError, KeyError):
        cure = "gradx.checkpoint.mend(tx, restored, params) takes a state that came back as dicts and lists"
        fault = f"the entry {DESCRIPTION!r} is missing, or not what state_dict wrote"
        raise ValueError(f"load_state_dict: no state dict, {fault}; {cure}") from None
    if is_later:
        raise ValueError(
            f"load_state_dict: its format is {known['format']}, this gradx reads up to {FORMAT}: update gradx"
        )
    return known


def places_from(description: Any, arrays: Mapping[str, Any]) -> Places:
    """Return the places that names and a description tell; of the arrays only shape and dtype are looked at."""
    known = understood(
        description.item() if isinstance(description, np.ndarray) and not description.ndim else description
    )
    parts = {row[0]: Part(*row) for row in known["parts"]}
    places = [_place(name, x, parts, known["keys"]) for name, x in arrays.items()]
    return Places(list(parts.values()), places, {name: tuple(shape) for name, shape in known["parameters"].items()})


def _place(name: str, x: Any, parts: dict[str, Part], keys: dict[str, str]) -> Place:
    path, _, rest = name.partition(".")
    if path not in parts:
        raise ValueError(f"load_state_dict: '{name}' belongs to no part that the entry {DESCRIPTION!r} lists")
    field, *behind = rest.split(":")
    shape, dtype = tuple(np.shape(x)), str(checks.dtype_of(x))
    if name in keys:
        shape, dtype = shape[:-1], keys[name]
    return Place(parts[path], field, behind[0] if behind else None, behind[1] if len(behind) > 1 else "", shape, dtype)
