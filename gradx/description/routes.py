"""The transformations inside a transformation, and which parameters reach each."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax

from gradx.core import EmptyState, GradientTransformation, Wrapper
from gradx.hyperparams import is_part
from gradx.running import is_transformation, parts_of
from gradx.tree.states import is_marked
from gradx.typing import Params
from gradx.value import Value


class Route(NamedTuple):
    """A transformation, the parameters that reach it, and what they go through inside it."""

    tx: Any
    label: str
    """That under which the transformation around it keeps it."""
    members: frozenset[int]
    """The indices of the parameters that reach it."""
    inside: tuple["Route", ...]
    arguments: dict[str, Any]
    """Those of the factory; none of another library's transformation."""
    kept: frozenset[int] = frozenset()
    """Of what runs another inside: the indices of the parameters for which it keeps something of its own."""

    @property
    def name(self) -> str:
        """The factory's name; of another library's transformation that of the function that made it: `optax.chain`."""
        if isinstance(self.tx, Value):
            return self.tx.name
        init = getattr(self.tx.init, "func", self.tx.init)
        module, name = (getattr(init, x, "") or "" for x in ("__module__", "__qualname__"))
        return f"{module.partition('.')[0]}.{name.partition('.')[0]}" if module and name else type(self.tx).__name__

    @property
    def built(self) -> Any:
        """What the factory returns; of another library's transformation itself."""
        return self.tx.built if isinstance(self.tx, Value) else self.tx

    @property
    def is_recipe(self) -> bool:
        """Whether it stands for another transformation."""
        return self.built is not self.tx and is_transformation(self.built)

    @property
    def is_frame(self) -> bool:
        """Whether it only holds its parts."""
        return isinstance(self.built, Wrapper) and self.built.is_frame

    def walk(self) -> Iterator["Route"]:
        """Go through it and all that is inside."""
        yield self
        for part in self.inside:
            yield from part.walk()


def route_of(tx: Any, params: Params, label: str = "") -> Route:
    """Return the route of parameters through `tx`.

    Args:
      params: the parameters in boxes that say which they are (`Marked`), `None` where a mask leaves one out.
      label: that of `tx` in what is around it.
    """
    parts = parts_of(tx, None)
    if not isinstance(tx, Value) or not isinstance(tx.built, Wrapper):
        seen = [params] * len(parts)
    elif tx.built.is_frame and tx.built.runs_as_given and _are_arguments(parts, tx):
        seen = _seen_by_parts(tx, params)
    elif tx.built.is_frame or tx.built.runs_as_given:
        seen = [params] * len(parts)
    else:  # what is inside sees other arrays than the parameters, made of all of them
        return _whole(tx, params, label)
    inside = tuple(route_of(part, x, name) for (name, part, _), x in zip(parts, seen, strict=True))
    return Route(tx, label, _members(params), inside, _arguments(tx), _kept(tx, params))


def _whole(tx: Any, params: Params, label: str) -> Route:
    """Return the route through what sees arrays made of all parameters."""
    inside = tuple(_whole(part, params, name) for name, part, _ in parts_of(tx, None))
    return Route(tx, label, _members(params), inside, _arguments(tx))


def _arguments(tx: Any) -> dict[str, Any]:
    return tx.arguments if isinstance(tx, Value) else {}


def _kept(tx: Any, params: Params) -> frozenset[int]:
    if not isinstance(tx, Value) or not isinstance(tx.built, Wrapper) or tx.built.is_frame:
        return frozenset()
    state = jax.eval_shape(tx.init, params)
    state = state.inner_state if tx.resolves_schedules else state
    inside = [x for _, _, x in tx.built.parts(state)]
    return _members([x for x in state if not any(x is y for y in inside)] if isinstance(state, tuple) else ())


def _members(params: Params) -> frozenset[int]:
    boxes = [x for x in jax.tree.leaves(params, is_leaf=is_marked) if is_marked(x)]
    return frozenset(x.index for x in boxes if jax.tree.leaves(x))  # what a mask leaves out is an empty box


def _are_arguments(parts: Iterable[tuple], tx: Value) -> bool:
    """Whether the parts are the transformations among the arguments, in their order."""
    given = [x for x in jax.tree.leaves(tx.arguments, is_leaf=is_part) if is_part(x)]
    held = [part for _, part, _ in parts]
    return len(given) == len(held) and all(a is b for a, b in zip(given, held, strict=True))


def _seen_by_parts(tx: Value, params: Params) -> list[Params]:
    """Return the parameters that each part of a frame sees: it runs with others in their place, which look and keep."""
    seen: list[Params] = []

    def probe(x: Any) -> Any:
        place = len(seen)
        seen.append(())

        def init(params: Params) -> EmptyState:
            seen[place] = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), params)
            return EmptyState()

        return GradientTransformation(init, _keep)

    leaves, treedef = jax.tree.flatten(tx.arguments, is_leaf=is_part)
    probing = tx.replace(**treedef.unflatten([probe(x) if is_part(x) else x for x in leaves]))
    jax.eval_shape(probing.init, params)
    return seen


def _keep(updates: Any, state: Any, params: Any = None) -> tuple[Any, Any]:
    return updates, state
