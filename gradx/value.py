"""A factory's call as an immutable value.

`make(MyValue)(factory)` turns a function that builds something into one that returns a value: the pair (factory,
bound arguments). The value prints as the call that makes it, compares and hashes by it, pickles, copies, and is a
pytree: floats, complex numbers and arrays among its arguments are leaves, everything else is structure. Arguments may
be pytrees themselves (masks, dicts of values); each of their leaves falls under the same rule.
"""

import functools
import itertools
import sys
from collections.abc import Callable
from typing import Any, NamedTuple, Self, TypeVar

import jax
import numpy as np
from jax.core import Tracer

from gradx import checks, glossary
from gradx.arguments import Arguments
from gradx.labels import by_label

V = TypeVar("V", bound="Value")


class _Leaf:
    """Stands in a structure where the value has a leaf."""

    def __repr__(self) -> str:
        return "<leaf>"

    def __reduce__(self) -> str:
        return "_LEAF"


_LEAF = _Leaf()


class Structure(NamedTuple):
    """What of a value is no leaf: jit compares and hashes it to decide whether to trace again."""

    factory: Callable
    treedef: Any
    static: tuple
    """The leaves of the arguments in order, those that are data replaced by a mark."""
    nested: tuple
    """The structures of the values among the arguments: a treedef's hash leaves out what its nodes hold."""


class Value:
    """The pair (factory, arguments), immutable; subclasses say what the factory builds."""

    __slots__ = (
        "__weakref__",
        "_arguments",
        "_built",
        "_expected",
        "_form",
        "_hash",
        "_is_own",
        "_leaves",
        "_resolves",
        "_structure",
    )  # jit refers weakly
    _structure: Structure
    _leaves: tuple

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Register every kind of value as a pytree."""
        super().__init_subclass__(**kwargs)
        jax.tree_util.register_pytree_with_keys(
            cls,
            Value._flatten_with_names,
            lambda structure, leaves: _restore_leaves(cls, structure, tuple(leaves)),
            Value._flatten,
        )

    @classmethod
    def _of(cls, factory: Callable, arguments: dict[str, Any]) -> Self:
        given = {name: by_label(x) if type(x) is dict else x for name, x in arguments.items()}
        arguments = {name: jax.tree.map(_as_structure, x, is_leaf=_is_value) for name, x in given.items()}
        flat, treedef = jax.tree.flatten(tuple(arguments.values()))
        of_params = Arguments.of(factory).of_params
        is_data = [
            _is_data(x) and not (name in of_params and isinstance(x, float))  # a float among labels is a label
            for name, given in arguments.items()
            for x in jax.tree.leaves(given)
        ]
        leaves = tuple(itertools.compress(flat, is_data))
        nested = tuple(x._structure for x in jax.tree.leaves(arguments, is_leaf=_is_value) if _is_value(x))
        static = tuple(_LEAF if data else x for x, data in zip(flat, is_data, strict=True))
        structure = Structure(factory, treedef, static, nested)
        try:
            hash(structure)
        except TypeError as error:
            raise TypeError(f"{factory.__name__}: arguments must be hashable or arrays: {error}") from None
        value = _restore_leaves(cls, structure, leaves)
        _set(value, "_arguments", arguments)  # the very values that were given, built already
        return value

    @classmethod
    def _adapted(cls, known: Arguments, arguments: dict[str, Any]) -> dict[str, Any]:
        """Return the checked arguments in the form that values of this class keep."""
        return arguments

    @property
    def factory(self) -> Callable:
        """The public function that made this value."""
        return self._structure.factory

    @property
    def name(self) -> str:
        """The factory's name."""
        return self.factory.__name__

    @property
    def arguments(self) -> dict[str, Any]:
        """The arguments by name, defaults included, in the order of the signature."""
        if not hasattr(self, "_arguments"):
            leaves = iter(self._leaves)
            flat = [next(leaves) if x is _LEAF else x for x in self._structure.static]
            values = self._structure.treedef.unflatten(flat)
            _set(self, "_arguments", dict(zip(Arguments.of(self.factory).names, values, strict=True)))
        # Containers of the caller's own: writing to them changes nothing here.
        return {name: jax.tree.map(lambda x: x, given, is_leaf=_is_value) for name, given in self._arguments.items()}

    @property
    def built(self) -> Any:
        """What the factory returns for these arguments; it is called when this is first asked for."""
        if not hasattr(self, "_built"):
            _set(self, "_built", self._build())
        return self._built

    def _build(self) -> Any:
        return self.build_with(self.arguments)

    def build_with(self, arguments: dict[str, Any]) -> Any:
        """Call the factory's function with other arguments of the same names."""
        args, kwargs = Arguments.of(self.factory).as_call(arguments)
        # What a factory computes from concrete numbers is computed here and now, never a part of the trace that
        # happens to run: the next trace meets it too.
        with jax.ensure_compile_time_eval():
            return vars(self.factory)["__wrapped__"](*args, **kwargs)

    @property
    def is_own(self) -> bool:
        """Whether no code but gradx's runs in it: its factory, those inside it, and every function it was given.

        The structure of such a value holds no closure, so that a cache may keep it.
        """
        if not hasattr(self, "_is_own"):
            _set(self, "_is_own", _is_own(self._structure))
        return self._is_own

    def replace(self, **changes: Any) -> Self:
        """Return the value that the same factory makes with some arguments changed, checked like a new one."""
        if unknown := sorted(changes.keys() - self.arguments.keys()):
            raise TypeError(f"{self.name} has no argument {unknown[0]!r}; it has {', '.join(self.arguments)}")
        args, kwargs = Arguments.of(self.factory).as_call(self.arguments | changes)
        return self.factory(*args, **kwargs)

    def _flatten(self) -> tuple[tuple, Structure]:
        return self._leaves, self._structure

    def _flatten_with_names(self) -> tuple[tuple, Structure]:
        parameters = Arguments.of(self.factory).names
        marked = self._structure.treedef.unflatten(self._structure.static)
        paths = [
            jax.tree_util.GetAttrKey(parameters[path[0].idx] + jax.tree_util.keystr(path[1:]))
            for path, x in jax.tree_util.tree_leaves_with_path(marked, is_leaf=lambda x: x is _LEAF)
            if x is _LEAF
        ]
        return tuple(zip(paths, self._leaves, strict=True)), self._structure

    def __repr__(self) -> str:
        shown = []
        for name, parameter in Arguments.of(self.factory).signature.parameters.items():
            value = self.arguments[name]
            if parameter.kind is parameter.VAR_POSITIONAL:
                shown += [spell(x) for x in value]
            elif parameter.kind is parameter.VAR_KEYWORD:
                shown += [f"{key}={spell(x)}" for key, x in value.items()]
            elif parameter.default is parameter.empty or not _same_tree(value, parameter.default):
                shown.append(f"{name}={spell(value)}")
        return f"{self.name}({', '.join(shown)})"

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Value):
            return NotImplemented
        return self._structure == other._structure and all(map(_same, self._leaves, other._leaves))

    def __hash__(self) -> int:
        if not hasattr(self, "_hash"):
            _set(self, "_hash", hash((self._structure, tuple(_hash_leaf(self, x) for x in self._leaves))))
        return self._hash

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_") and name in self.arguments:
            raise AttributeError(f"{self.name} keeps its arguments in a dict: tx.arguments[{name!r}]")
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def __setattr__(self, name: str, value: Any) -> None:
        raise AttributeError(
            f"{self.name} is a value and cannot be changed; make another: gradx.replace(tx, {name}=...)"
        )

    def __copy__(self) -> Self:
        return self

    def __deepcopy__(self, memo: dict) -> Self:
        return self

    def __reduce__(self) -> tuple:
        wrapped = vars(self.factory)["__wrapped__"]
        # Another library's factory stands under its name undecorated, and is decorated again.
        stored = wrapped if _is_importable(wrapped) else self.factory
        return _revive, (type(self), stored, self.arguments)


def _set(value: Value, slot: str, content: Any) -> None:
    object.__setattr__(value, slot, content)


def _restore_leaves(cls: type[V], structure: Structure, leaves: tuple) -> V:
    """Unflatten: no check and no user code runs, for jax puts placeholders in the leaves."""
    value = object.__new__(cls)
    _set(value, "_structure", structure)
    _set(value, "_leaves", tuple(leaves))
    return value


def _revive(cls: type[V], factory: Callable, arguments: dict[str, Any]) -> V:
    """Make a pickled value: by name, for another release may have more arguments, or have them in another order."""
    factory = factory if hasattr(factory, "arguments") else make(cls)(factory)
    return cls._of(factory, Arguments.of(factory).filled(arguments))


def _is_value(x: Any) -> bool:
    return isinstance(x, Value)


def _is_own(structure: Structure) -> bool:
    functions = [structure.factory, *filter(checks.is_function, structure.static)]
    return all(map(_is_of_gradx, functions)) and all(map(_is_own, structure.nested))


def _is_of_gradx(function: Any) -> bool:
    is_closure = getattr(getattr(function, "__wrapped__", function), "__closure__", None) is not None
    return str(getattr(function, "__module__", "")).startswith("gradx.") and not is_closure


def make(cls: type[V]) -> Callable[[Callable], Callable[..., V]]:
    """Return the decorator that makes a factory return values of `cls`.

    Concrete arguments are checked against the ranges that their annotations name. The factory's function is called at
    once, so that what it refuses is refused where the value is made.
    """

    def decorate(function: Callable) -> Callable[..., V]:
        return _decorate_once(cls, function) if _is_importable(function) else _decorate(cls, function)

    return decorate


def _is_importable(function: Callable) -> bool:
    """Whether a function stands in its module under its own name: one of another library, or decorated by a call."""
    module = sys.modules.get(getattr(function, "__module__", None) or "")
    return getattr(module, getattr(function, "__name__", ""), None) is function


@functools.lru_cache(maxsize=256)
def _decorate_once(cls: type[V], function: Callable) -> Callable[..., V]:
    """Decorate another library's factory, the same way each time: equal calls make equal values."""
    return _decorate(cls, function)


def _decorate(cls: type[V], function: Callable) -> Callable[..., V]:
    known = getattr(function, "arguments", None)  # a factory that is decorated already shows another signature
    known = known if isinstance(known, Arguments) else Arguments(function)

    @functools.wraps(function)
    def factory(*args: Any, **kwargs: Any) -> V:
        value = cls._of(factory, cls._adapted(known, known.bind(args, kwargs)))
        _ = value.built
        return value

    vars(factory)["arguments"] = known
    glossary.document(factory, known.signature, cls.__name__.removesuffix("Value"), known=_is_of_gradx(function))
    return factory


def _is_data(x: Any) -> bool:
    numeric = isinstance(x, float | complex | np.ndarray | np.inexact | jax.Array | jax.ShapeDtypeStruct)
    return numeric and not isinstance(x, np.bool_)


def _as_structure(x: Any) -> Any:
    """Make a concrete bool in an array, of a mask that was loaded say, and NumPy's integers Python's."""
    if isinstance(x, np.integer):
        return int(x)
    is_concrete = isinstance(x, np.bool_ | np.ndarray | jax.Array) and not isinstance(x, Tracer)
    return bool(x) if is_concrete and x.dtype == bool and x.ndim == 0 else x


def _same(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if isinstance(a, Tracer) or isinstance(b, Tracer):
        return False
    if isinstance(a, np.ndarray | jax.Array) or isinstance(b, np.ndarray | jax.Array):
        return _is_data(a) and _is_data(b) and np.array_equal(_numpy(a), _numpy(b))
    return bool(a == b)


def _numpy(x: Any) -> np.ndarray:
    is_key = isinstance(x, jax.Array) and jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key)
    return np.asarray(jax.random.key_data(x) if is_key else x)


def _same_tree(a: Any, b: Any) -> bool:
    leaves, treedef = jax.tree.flatten(a)
    others, other_treedef = jax.tree.flatten(b)
    return treedef == other_treedef and all(map(_same, leaves, others))


def _hash_leaf(value: Value, x: Any) -> int:
    if isinstance(x, Tracer):
        raise TypeError(
            f"{value.name} holds a traced argument and cannot be hashed: pass it to the jitted function as an argument,"
            " not as a static one, and do not keep it past the trace"
        )
    if isinstance(x, np.ndarray | jax.Array):
        x = _numpy(x)
        return hash(x.item()) if x.ndim == 0 else hash((x.shape, tuple(x.ravel().tolist())))
    return hash(x)


def spell(x: Any) -> str:
    """Return the text that makes an argument."""
    if isinstance(x, np.dtype):
        return repr(x.name)
    if isinstance(x, type) and issubclass(x, np.generic):
        return repr(x.__name__)
    if isinstance(x, functools.partial):
        arguments = [*map(spell, x.args), *(f"{name}={spell(value)}" for name, value in x.keywords.items())]
        return f"{type(x).__name__}({', '.join([spell(x.func), *arguments])})"
    if checks.is_function(x) and not isinstance(x, Value):
        return getattr(x, "__qualname__", repr(x))
    if isinstance(x, dict):
        return "{" + ", ".join(f"{key!r}: {spell(v)}" for key, v in x.items()) + "}"
    if type(x) is list:
        return f"[{', '.join(map(spell, x))}]"
    if type(x) is tuple:
        return f"({', '.join(map(spell, x))}{',' if len(x) == 1 else ''})"
    return repr(x)
