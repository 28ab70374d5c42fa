"""A user's function as what it computes, and the arrays that it closes over: structure and data."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jax.core import eval_jaxpr
from jax.extend.core import ClosedJaxpr, Jaxpr

from gradx.typing import PyTree

HIDDEN = ("...", " at 0x")
"""What text says of arrays that it leaves out, and of functions that it cannot show."""


class Computation:
    """What a function of one tree computes, compared by its text; it holds neither the function nor its arrays."""

    __slots__ = ("jaxpr", "text", "treedef")

    def __init__(self, text: str, jaxpr: Jaxpr, treedef: Any) -> None:
        self.text, self.jaxpr, self.treedef = text, jaxpr, treedef

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Computation) and (self.text, self.treedef) == (other.text, other.treedef)

    def __hash__(self) -> int:
        return hash(self.text)

    def bind(self, arrays: list) -> Callable[[PyTree], PyTree]:
        """Return the function, with these arrays in the place of those that it closed over."""

        def call(params: PyTree) -> PyTree:
            return self.treedef.unflatten(eval_jaxpr(self.jaxpr, (), *jax.tree.leaves((params, arrays))))

        return call


class Traced(NamedTuple):
    """A function, taken apart."""

    computation: Computation
    arrays: list
    """What it closed over."""


def trace(fun: Callable[[PyTree], PyTree], params: PyTree) -> Traced | None:
    """Call `fun` once and take it apart; `None` where text cannot tell it from another.

    Two functions are the same computation when they and their first derivatives read alike: the derivatives show what
    a custom rule does. The parameters are of the strong types that they have inside a loop.
    """
    like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=x.sharding), params)
    closed, shape = jax.make_jaxpr(lambda params: fun(params), return_shape=True)(like)  # jax remembers `fun` itself
    treedef, arrays = jax.tree.structure(shape), list(closed.consts)

    def rebuilt(params: PyTree, arrays: list) -> PyTree:
        return treedef.unflatten(eval_jaxpr(closed.jaxpr, arrays, *jax.tree.leaves(params)))

    opened = jax.make_jaxpr(rebuilt)(like, arrays).jaxpr  # the other one holds its arrays, from jax 0.12 on
    try:
        derived = jax.make_jaxpr(jax.value_and_grad(rebuilt))(like, arrays)
    except TypeError:  # no real scalar, or parameters without a derivative: whoever asks for it says so
        return None
    text = str(derived)
    if any(x in text for x in HIDDEN) or _holds_arrays(opened) or _holds_arrays(derived.jaxpr):
        return None
    return Traced(Computation(text, opened, treedef), arrays)


def _holds_arrays(jaxpr: Jaxpr) -> bool:
    """Whether a program inside has arrays of its own, which its text does not show."""
    inside = [x for eqn in jaxpr.eqns for given in eqn.params.values() for x in jax.tree.leaves(given, is_leaf=_is_one)]
    closed = [x for x in inside if isinstance(x, ClosedJaxpr)]
    programs = [x.jaxpr for x in closed] + [x for x in inside if isinstance(x, Jaxpr)]
    return any(x.consts for x in closed) or any(map(_holds_arrays, programs))


def _is_one(x: Any) -> bool:
    return isinstance(x, ClosedJaxpr | Jaxpr)
