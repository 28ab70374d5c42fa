"""Where each number of a state lies, in names: the part that keeps it, its field, the parameter to which it belongs.

No name holds a position: a chain has none, a recipe and a wrapper have their own, a partition its labels. Parts that
would be called alike get a number, `ema` and `ema#1`.
"""

import dataclasses
import functools
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.tree_util import DictKey, GetAttrKey, SequenceKey, keystr

from gradx import checks, tree
from gradx.core import GradientTransformation, ScheduledState, Wrapper
from gradx.running import parts_of
from gradx.typing import Params, State

SCHEDULE_COUNT = "schedule_count"
"""The field of a part's count for its schedules, which may stand beside a count of its own."""
OF_SCHEDULES = {"ScaleByScheduleState", "WeightDecaySchedule"}
"""Classes in which Optax keeps that count and nothing else."""
NO_PARTS = {"WrappedScheduleState"}
"""Classes inside a part's own state."""


class Part(NamedTuple):
    """A transformation that keeps numbers of its own, or runs none inside."""

    path: str
    """Its name behind those of the recipes, wrappers and labels around it."""
    name: str
    kind: str
    """The class of its state."""
    spelling: str
    """How its value prints; empty for wrappers, and where that says nothing."""
    within: str
    """The path of the nearest wrapper around it that is more than a frame: counts inside differ from those outside."""
    joint: bool
    """Whether it may see other parameters than the user's, all in one vector say."""


class Place(NamedTuple):
    """Where one leaf of a state lies."""

    part: Part
    field: str
    parameter: str | None
    """`None` for what belongs to no parameter."""
    inside: str
    """The path below the parameter, where a state keeps several arrays for one."""
    shape: tuple[int, ...]
    dtype: str

    @property
    def name(self) -> str:
        """The leaf's name: `adamw/scale_by_adam.mu:layer/kernel`."""
        behind = "" if self.parameter is None else f":{self.parameter}"
        return f"{self.part.path}.{self.field}{behind}{':' if self.inside else ''}{self.inside}"

    @property
    def key(self) -> tuple:
        """What tells it from the other leaves of its part."""
        return self.field, self.parameter, self.inside

    @property
    def type(self) -> str:
        """Dtype and shape: `float32[3,4]`."""
        return f"{self.dtype}[{','.join(map(str, self.shape))}]"


@dataclasses.dataclass(frozen=True)
class Places:
    """All parts of an optimizer, and the places of its state's leaves in their order."""

    parts: list[Part]
    places: list[Place]
    parameters: dict[str, tuple[int, ...]]
    """The shapes of the parameters by name, in their order."""

    @functools.cached_property
    def of_part(self) -> dict[Part, dict[tuple, int]]:
        """For each part its leaves: their number by their key."""
        found: dict[Part, dict[tuple, int]] = {part: {} for part in self.parts}
        for i, place in enumerate(self.places):
            found[place.part][place.key] = i
        return found

    def has_parameters(self, part: Part) -> bool:
        """Whether the part keeps anything for a parameter."""
        return any(key[1] is not None for key in self.of_part[part])


def places_of(tx: Any, state: State, params: Params) -> Places:
    """Return the places of a state's leaves, in the order in which jax flattens them.

    The state may be that of an `nnx.Optimizer`, whose boxes are not those of the parameters.

    Raises ValueError where the state is not what `tx.init` gives for these parameters.
    """
    keys = parameter_keys(params)
    try:
        owner = _owners(tx, state, params, keys)
    except ValueError as error:
        state, params = tree.unbox(state), tree.unbox(params)
        try:
            owner = _owners(tx, state, params, keys)
        except ValueError:
            called = tx.name if isinstance(tx, GradientTransformation) else type(tx).__name__
            raise ValueError(f"the state is not what {called} keeps for these parameters: {error}") from error
    leaves, treedef = jax.tree.flatten(state)
    walk = _Walk(leaves, owner, keys)
    walk.enter(tx, treedef.unflatten(walk.shown))
    places = [walk.places[i] for i in range(len(leaves))]
    if repeated := _repeated(place.name for place in places):
        raise ValueError(f"two leaves of the state are called '{repeated}'")
    shapes = [np.shape(x) for x in jax.tree.leaves(params)]
    return Places(walk.parts, places, dict(zip(keys, shapes, strict=True)))


def _owners(tx: Any, state: State, params: Params, names: Iterable[str]) -> dict[int, str]:
    """Return the names of the parameters to which leaves belong, by the leaves' numbers."""
    owner: dict[int, str] = {}
    treedef = jax.tree.structure(state)
    numbers, named = treedef.unflatten(range(treedef.num_leaves)), jax.tree.structure(params).unflatten(list(names))
    tree.map_params(tx, lambda i, _, name: owner.setdefault(i, name), numbers, params, named)
    return owner


def parameter_keys(params: Params) -> dict[str, tuple]:
    """Return the key path of each parameter by its name, in their order; flax's boxes are passed over."""
    paths = [_unboxed(path) for path, _ in jax.tree_util.tree_leaves_with_path(params)]
    keys = {joined(path): path for path in paths}
    if repeated := _repeated(map(joined, paths)):
        raise ValueError(f"two parameters are called '{repeated}'")
    return keys


def _repeated(names: Iterable[str]) -> str | None:
    return next((name for name, number in Counter(names).items() if number > 1), None)


class _Shown:
    """Stands for a leaf that is no number, so that no two are the same object."""


class _Walk:
    """Goes through the parts of a transformation beside its state, and names what each keeps."""

    def __init__(self, leaves: list, owner: dict[int, str], keys: dict[str, tuple]) -> None:
        self.leaves, self.owner, self.keys = leaves, owner, keys
        self.shown = [_stand_in(x) for x in leaves]
        """What stands in the state for the leaves: wrappers may read numbers, the steps of a schedule say."""
        self.index = {id(x): i for i, x in enumerate(self.shown)}
        self.parts: list[Part] = []
        self.places: dict[int, Place] = {}
        self.taken: set[str] = set()

    def enter(self, tx: Any, state: State, prefix: str = "", within: str = "", joint: bool = False) -> None:
        """Name what `tx` keeps, then what its parts do."""
        if not isinstance(tx, GradientTransformation):
            self._enter_foreign(state, prefix, within, joint)
            return
        wrapper = tx.built if isinstance(tx.built, Wrapper) else None
        inside = parts_of(tx, state)
        elsewhere = {id(x) for _, _, part_state in inside for x in jax.tree.leaves(part_state)}
        own = [(path, x) for path, x in jax.tree_util.tree_leaves_with_path(state) if id(x) not in elsewhere]
        is_frame = wrapper is not None and wrapper.is_frame
        path = prefix if is_frame and not own else self._unused(_below(prefix, _segment(tx.name)))
        if own or not inside:
            spelling = "" if wrapper or joint else repr(tx)
            self._place_own(Part(path, tx.name, "", spelling, within, joint), state, own)
        below = prefix if is_frame else path
        within = within if wrapper is None or is_frame else path
        joint = joint or (wrapper is not None and not wrapper.runs_as_given)
        for label, part, part_state in inside:
            self.enter(part, part_state, _below(below, _segment(label)), within, joint)

    def _place_own(self, part: Part, state: State, own: list) -> None:
        is_scheduled = isinstance(state, ScheduledState)
        kept = state.inner_state if is_scheduled and jax.tree.leaves(state.inner_state) else state
        part = part._replace(kind=type(kept).__name__)
        self.parts.append(part)
        for path, leaf in own:
            if is_scheduled:
                is_count = path == (GetAttrKey("count"),)
                path = (GetAttrKey(SCHEDULE_COUNT),) if is_count else path[1:]
            before, inside = self._split(leaf, path)
            self._place(part, leaf, before, inside)

    def _place(self, part: Part, leaf: Any, field: tuple, inside: tuple) -> None:
        i = self.index[id(leaf)]
        shape, dtype = np.shape(self.leaves[i]), str(checks.dtype_of(self.leaves[i]))
        self.places[i] = Place(part, joined(field), self.owner.get(i), joined(inside), shape, dtype)

    def _split(self, leaf: Any, path: tuple) -> tuple[tuple, tuple]:
        """Return what of a path stands before the parameter's own, and what behind it."""
        name = self.owner.get(self.index[id(leaf)])
        if name is None:
            return path, ()
        keys, path = self.keys[name], _unboxed(path)
        starts = (i for i in range(len(path) - len(keys), -1, -1) if path[i : i + len(keys)] == keys)
        start = next(starts, None)
        return (path, ()) if start is None else (path[:start], path[start + len(keys) :])

    def _enter_foreign(self, state: State, prefix: str, within: str, joint: bool) -> None:
        """Name the state of another library's transformation by the classes of its NamedTuples."""
        known: dict[tuple, Part] = {}
        for path, leaf in jax.tree_util.tree_leaves_with_path(state):
            before, inside = self._split(leaf, path)
            at, kinds = prefix, [_kind(node) for node in _nodes(state, before)]
            part, field = None, []
            for i, key in enumerate(before):
                if kinds[i]:
                    if before[:i] not in known:
                        kind = "ScheduledState" if kinds[i] in OF_SCHEDULES else kinds[i]
                        known[before[:i]] = Part(self._unused(_below(at, kind)), kind, kind, "", within, joint)
                    part = known[before[:i]]
                    at, field = part.path, [key]
                elif not any(kinds[i + 1 :]):
                    field.append(key)
                elif not isinstance(key, SequenceKey):  # a label; a position says nothing
                    at = _below(at, _segment(_spelt(key)))
            if part is None:
                part = known.setdefault((), Part(_below(prefix, "state"), "state", "state", "", within, joint))
            is_count = part.kind == "ScheduledState" and field == [GetAttrKey("count")]
            self._place(part, leaf, (GetAttrKey(SCHEDULE_COUNT),) if is_count else tuple(field), inside)
        self.parts += known.values()

    def _unused(self, path: str) -> str:
        numbered = (path if i == 0 else f"{path}#{i}" for i in range(len(self.taken) + 1))
        found = next(x for x in numbered if x not in self.taken)
        self.taken.add(found)
        return found


def _stand_in(x: Any) -> Any:
    """Return an object like no other: a number where a number is, 0 where only its dtype is known.

    A float is JAX's: an injected hyperparameter is a number to be checked as NumPy's, and 0 may be out of range.
    """
    dtype = checks.dtype_of(x)
    if np.shape(x) or jax.dtypes.issubdtype(dtype, jax.dtypes.extended):
        return _Shown()
    number = np.zeros((), dtype) if isinstance(x, jax.ShapeDtypeStruct | Tracer) else np.array(x)
    return jnp.array(number) if jnp.issubdtype(dtype, jnp.inexact) else number


def _nodes(state: State, path: tuple) -> Iterator[Any]:
    """Go through the nodes from which each key of a path leads on."""
    node: Any = state
    for key in path:
        yield node
        if isinstance(key, GetAttrKey):
            node = getattr(node, key.name)
        elif isinstance(key, SequenceKey | DictKey):
            node = node[key.idx if isinstance(key, SequenceKey) else key.key]
        else:
            node = None


def _kind(node: Any) -> str:
    name = type(node).__name__
    return name if hasattr(node, "_fields") and name not in NO_PARTS else ""


def _unboxed(path: tuple) -> tuple:
    return path[:-1] if path and path[-1] == GetAttrKey("value") else path


def joined(path: tuple) -> str:
    """Spell a key path; what would end a name is written as in an address, `%2F` for `/`."""
    return "/".join(_escaped(_spelt(key), "%/:") for key in path)


def _spelt(key: Any) -> str:
    return keystr((key,), simple=True)


def _segment(name: str) -> str:
    return _escaped(name, "%/:.#")


def _escaped(name: str, signs: str) -> str:
    return name.translate({ord(sign): f"%{ord(sign):02X}" for sign in signs})


def _below(prefix: str, name: str) -> str:
    return f"{prefix}/{name}" if prefix and name else prefix or name
