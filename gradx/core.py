"""Gradient transformations: the value that everything here makes, and the smallest of its kind."""

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ParamSpec

import jax
import jax.numpy as jnp

from gradx import boundary, checks, display, tree
from gradx.arguments import Arguments
from gradx.running import (
    EmptyState as EmptyState,
    MaskedNode as MaskedNode,
    ScheduledState as ScheduledState,
    Wrapper as Wrapper,
    at_step,
    holds,
    is_transformation,
    run_init as run_init,
    run_update as run_update,
    scheduled_arguments,
)
from gradx.scheduled import as_schedule
from gradx.typing import InitFn, Params, State, UpdateFn, Updates
from gradx.value import Value, make

Duck: Any = Any if TYPE_CHECKING else object
"""Flax's annotations ask for Optax's class by name; a checker takes one with such a base for whatever is asked for."""

P = ParamSpec("P")


class GradientTransformation(Value, Duck):
    """A pure pair `init(params) -> state`, `update(updates, state, params, **extras) -> (updates, state)`, as a value.

    `GradientTransformation(init, update)` makes one from two functions; `@transformation` makes a factory return them.
    `init, update = tx` unpacks it.

    Args:
      init: from parameters to the state.
      update: from (updates, state, params) and named extras to (updates, state).

    >>> import gradx
    >>> tx = gradx.GradientTransformation(lambda params: (), lambda updates, state, params=None: (-updates, state))
    >>> float(tx.update(4.0, tx.init(0.0))[0])
    -4.0
    """

    __slots__ = ()
    is_strict = True
    """Whether `update` refuses what does not belong together; the shims of other libraries do as those do."""

    def __init__(self, init: InitFn, update: UpdateFn) -> None:
        from_pair = GradientTransformation._of(_from_functions, {"init": init, "update": update})
        object.__setattr__(self, "_structure", from_pair._structure)
        object.__setattr__(self, "_leaves", from_pair._leaves)

    @classmethod
    def _adapted(cls, known: Arguments, arguments: dict[str, Any]) -> dict[str, Any]:
        """Make a schedule of each plain function that stands for a number."""
        return {name: as_schedule(x) if name in known.take_schedule else x for name, x in arguments.items()}

    def _build(self) -> Any:
        """Build, and find out whether schedules must be numbers before: in a pair, and in a recipe that keeps them.

        A recipe that hands its schedules on to its parts, which count for themselves, is built once and for all. One
        that closes over a schedule, or cannot be built from it, is built anew at each update from numbers.
        """
        schedules = [x for found in scheduled_arguments(self).values() for x in found]
        if not schedules:
            object.__setattr__(self, "_resolves", False)
            return super()._build()
        try:
            built = super()._build()
            resolves = not is_transformation(built) or not all(holds(built, x) for x in schedules)
        except TypeError:
            built, resolves = self.build_with(at_step(self, 0)), True
        object.__setattr__(self, "_resolves", resolves)
        return built

    @property
    def resolves_schedules(self) -> bool:
        """Whether it counts its own updates and is built from its schedules' values at each."""
        _ = self.built
        return self._resolves

    def __iter__(self) -> Iterator[Callable]:
        return iter((self.init, self.update))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Refuse: a transformation is no function."""
        raise TypeError(f"{self.name}: call tx.update(updates, state, params), or tx.init(params) for the state")

    def init(self, params: Params) -> State:
        """Return the state before the first update.

        A value of gradx's own parts runs as one compiled program where the parameters are ordinary arrays. Else, on
        another device, in host memory, on a mesh, or with a user's function inside, it runs operation by operation:
        the state is made where the parameters are, and the function is called as Python.
        """
        return boundary.init(self, params)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, State]:
        """Return what is to be added to the parameters, and the next state.

        Args:
          updates: a tree like the parameters: gradients, or what another transformation made of them. bfloat16,
            float16 and float8 are computed with in float32 and come back in the wider of the gradient's and the
            parameter's dtype; `float0` leaves come back as they are.
          state: from `init` or from the update before.
          params: the parameters, where the transformation needs them.
          **extras: what some transformations ask for by name (`value=`, `grad=`, `value_fn=`, `key=`); others ignore
            it.

        Concrete arrays run as one compiled program, cached by structure, also without `jit`; but a value with a
        user's function inside runs operation by operation then, so that the function is called at every step and may
        be ordinary Python. Masks and labels given as functions are asked at every step, the rest is compiled.

        Raises:
          ValueError: updates, state and parameters do not belong together; the message names the leaf.
          TypeError: an integer gradient, or an extra that the transformation needs is missing.
        """
        return boundary.update(self, updates, state, params, extras)

    def expand(self) -> "GradientTransformation":
        """Return what a recipe stands for (`adamw(...)`: a chain of three); anything else is itself."""
        return self.built if self.is_recipe else self

    def _repr_html_(self) -> str:
        """Return what a notebook shows: parts, formulas, numbers, bytes of state for each parameter."""
        return display.show("description", "card", self)

    @property
    def is_recipe(self) -> bool:
        """Whether the factory returns another transformation, perhaps Optax's, instead of two functions."""
        return is_transformation(self.built)


def transformation(factory: Callable[P, Any]) -> Callable[P, GradientTransformation]:
    """Make a factory return a value: the pair it builds, with the properties listed in `GradientTransformation`.

    The factory returns `(init, update)`, or another transformation (then it is a recipe and keeps its own name). Any
    argument with a float for a default, or with one of gradx's annotations, may be a schedule, and any float a tracer:
    use floats inside `init` and `update`, or compute with them (`learning_rate / 2` of a schedule is a schedule), and
    take no Python branch on their value. Integers stay structure where nothing says float. `update` names the extras
    that it wants: `def update(updates, state, params, *, value)`.

    >>> import gradx, jax, jax.numpy as jnp
    >>> @gradx.transformation
    ... def sign_descent(step_size=0.1):
    ...     def update(updates, params=None):
    ...         return jax.tree.map(lambda g: -step_size * jnp.sign(g), updates)
    ...     return gradx.stateless(update)
    >>> sign_descent(step_size=0.5)
    sign_descent(step_size=0.5)
    """
    return make(GradientTransformation)(factory)


@transformation
def _from_functions(init: InitFn, update: UpdateFn) -> Any:
    return init, update


_from_functions.__name__ = "GradientTransformation"  # what the value prints as; pickle goes by the qualified name


@transformation
def identity() -> Any:
    """Return the updates as they are.

    State: none.

    >>> import gradx
    >>> tx = gradx.identity()
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    4.0
    """

    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return updates, state

    return init, update


@transformation
def stateless(f: Callable[..., Updates]) -> Any:
    """Make a transformation of `f(updates, params) -> updates`.

    `params` arrives as `None` when the caller gave none. The value is equal to another only if `f` is the same
    function.

    Args:
      f: a pure function of the trees of updates and parameters.

    State: none.

    >>> import gradx, jax
    >>> def negate(updates, params):
    ...     return jax.tree.map(lambda u: -u, updates)
    >>> tx = gradx.stateless(negate)
    >>> float(tx.update(4.0, tx.init(0.0))[0])
    -4.0
    """

    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState, params: Params | None = None) -> tuple[Updates, EmptyState]:
        return f(updates, params), state

    return init, update


@transformation
def stateless_with_tree_map(f: Callable[..., jax.Array]) -> Any:
    """Make a transformation of `f(update, param) -> update` on the leaves.

    Args:
      f: a pure function of one update and its parameter.

    State: none. Needs: params.

    >>> import gradx
    >>> tx = gradx.stateless_with_tree_map(lambda update, param: update * abs(param))
    >>> float(tx.update(4.0, tx.init(0.5), 0.5)[0])
    2.0
    """

    def update(updates: Updates, params: Params) -> Updates:
        return jax.tree.map(f, updates, params)

    return stateless(update)


def apply_updates(params: Params, updates: Updates) -> Params:
    """Return params + updates, added in the wider of both precisions and stored in the parameters' dtype.

    Leaves without an update (`None` or `float0`) stay as they are. Raises ValueError where an update has another shape
    than its parameter, or is complex for a real one.

    >>> import gradx
    >>> params = gradx.apply_updates({"w": 1.0}, {"w": -0.25})
    >>> float(params["w"])
    0.75
    """

    def moved(path: tuple, update: Any, param: Any) -> Any:
        if update is None or checks.dtype_of(update) == jax.dtypes.float0:
            return None
        if jnp.shape(update) != jnp.shape(param) or (jnp.iscomplexobj(update) and not jnp.iscomplexobj(param)):
            name = checks.path_name(path)
            found = f"the update at '{name}' is {checks.describe(update)}, the parameter {checks.describe(param)}"
            raise ValueError(f"apply_updates: {found}")
        return param

    old = jax.tree_util.tree_map_with_path(moved, updates, params, is_leaf=_is_none)
    new = tree.map_leaves(_add_leaf, old, updates)
    return jax.tree.map(lambda x, param: param if x is None else x, new, params, is_leaf=_is_none)


def _add_leaf(param: jax.Array, update: jax.Array) -> jax.Array:
    return param + update


def _is_none(x: Any) -> bool:
    return x is None
