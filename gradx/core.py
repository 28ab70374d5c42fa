"""Gradient transformations: the value, and the one place that runs every update.

`tx.update` is where precision, checks, schedules and extras are decided, once for all transformations. A transformation
that calls others does so through `run_init` and `run_update`, which also take foreign pairs (Optax's).
"""

import functools
import inspect
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, ParamSpec, get_args

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.typing import ArrayLike

from gradx import checks, numerics, tree
from gradx.typing import InitFn, Params, Schedule, State, UpdateFn, Updates
from gradx.value import ScheduleValue, Value, make, signature, takes_schedule

P = ParamSpec("P")


class EmptyState(NamedTuple):
    """The state of a transformation that keeps none."""


class ScheduledState(NamedTuple):
    """The state of a transformation with a schedule among its arguments."""

    count: jax.Array
    """int32[]: the updates already applied; the schedules are called with it."""
    inner_state: State


class GradientTransformation(Value):
    """A pure pair `init(params) -> state`, `update(updates, state, params, **extras) -> (updates, state)`, as a value.

    `GradientTransformation(init, update)` makes one from two functions; `@transformation` makes a factory return them.
    `init, update = tx` unpacks it.
    """

    __slots__ = ()

    def __init__(self, init: InitFn, update: UpdateFn) -> None:
        from_pair = GradientTransformation._of(_from_functions, (init, update))
        object.__setattr__(self, "_structure", from_pair._structure)
        object.__setattr__(self, "_leaves", from_pair._leaves)

    def __iter__(self) -> Iterator[Callable]:
        return iter((self.init, self.update))

    def init(self, params: Params) -> State:
        """Return the state before the first update.

        A value of gradx's own parts runs as one compiled program where the parameters are ordinary arrays. Else, on
        another device, in host memory, on a mesh, or with a user's function inside, it runs operation by operation:
        the state is made where the parameters are, and the function is called as Python.
        """
        leaves = jax.tree.leaves((self, params))
        if self.is_own and all(map(_is_concrete, leaves)) and all(map(_is_ordinary, leaves)):
            return _compiled_init(self, params)
        return run_init(self, params)

    def update(
        self, updates: Updates, state: State, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, State]:
        """Return what is to be added to the parameters, and the next state.

        Args:
          updates: a tree like the parameters: gradients, or what another transformation made of them. bfloat16,
            float16 and float8 are computed with in float32 and come back in their own dtype; `float0` leaves come
            back as they are.
          state: from `init` or from the update before.
          params: the parameters, where the transformation needs them.
          **extras: what some transformations ask for by name (`value=`, `grad=`, `value_fn=`, `key=`); others ignore
            it.

        Concrete arrays run as one compiled program, cached by structure, also without `jit`; but a value with a
        user's function inside runs operation by operation then, so that the function is called at every step and may
        be ordinary Python.

        Raises:
          ValueError: updates, state and parameters do not belong together; the message names the leaf.
          TypeError: an integer gradient, or an extra that the transformation needs is missing.
        """
        call = (self, updates, state, params, extras)
        is_structure = any(isinstance(x, int) for x in jax.tree.leaves(extras))  # Python may branch on it
        if self.is_own and not is_structure and all(map(_is_concrete, jax.tree.leaves(call))):
            return _compiled_update(*call)
        return _checked_update(*call)

    def expand(self) -> "GradientTransformation":
        """Return what a recipe stands for (`adamw(...)`: a chain of three); anything else is itself."""
        return self.built if self.is_recipe else self

    @property
    def is_recipe(self) -> bool:
        """Whether the factory returns another transformation, perhaps Optax's, instead of two functions."""
        return hasattr(self.built, "update")


def transformation(factory: Callable[P, Any]) -> Callable[P, GradientTransformation]:
    """Make a factory return a value: the pair it builds, with the properties listed in `GradientTransformation`.

    The factory returns `(init, update)`, or another transformation (then it is a recipe and keeps its own name). Any
    float argument may be a tracer or a schedule: use floats inside `init` and `update` only, where they are numbers,
    and take no Python branch on their value. `update` names the extras that it wants: `def update(updates, state,
    params, *, value)`.

    >>> import gradx
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
    """Return the updates as they are. State: none."""

    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return updates, state

    return init, update


@transformation
def stateless(f: Callable[..., Updates]) -> Any:
    """Make a transformation of `f(updates, params) -> updates`. State: none.

    `params` arrives as `None` when the caller gave none. The value is equal to another only if `f` is the same
    function.
    """

    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState, params: Params | None = None) -> tuple[Updates, EmptyState]:
        return f(updates, params), state

    return init, update


@transformation
def stateless_with_tree_map(f: Callable[..., jax.Array]) -> Any:
    """Make a transformation of `f(update, param) -> update` on the leaves. State: none. Needs: params."""

    def update(updates: Updates, params: Params) -> Updates:
        return jax.tree.map(f, updates, params)

    return stateless(update)


def apply_updates(params: Params, updates: Updates) -> Params:
    """Return params + updates, added in the wider of both precisions and stored in the parameters' dtype.

    Leaves without an update (`None` or `float0`) stay as they are.
    """

    def add(path: tuple, update: Any, param: Any) -> Any:
        if update is None or checks.dtype_of(update) == jax.dtypes.float0:
            return param
        if jnp.shape(update) != jnp.shape(param) or (jnp.iscomplexobj(update) and not jnp.iscomplexobj(param)):
            name = checks.path_name(path)
            found = f"the update at '{name}' is {checks.describe(update)}, the parameter {checks.describe(param)}"
            raise ValueError(f"apply_updates: {found}")
        return tree.map_leaves(_add_leaf, param, update)

    return jax.tree_util.tree_map_with_path(add, updates, params, is_leaf=lambda x: x is None)


def _add_leaf(param: jax.Array, update: jax.Array) -> jax.Array:
    return param + update


def run_init(tx: Any, params: Params) -> State:
    """Return the state of `tx`, which may be a foreign pair, inside another transformation's init."""
    if not isinstance(tx, GradientTransformation):
        return tx.init(tree.lift(params))
    if tx.is_recipe:
        return run_init(tx.built, params)
    if not scheduled_arguments(tx):
        return tx.built[0](_for_init(tx, params))
    init, _ = tx.build_with(at_step(tx, 0))
    return ScheduledState(jnp.zeros((), jnp.int32), init(_for_init(tx, params)))


def _for_init(tx: GradientTransformation, params: Params) -> Params:
    """Return the parameters in the precision that update sees; gradx's own factories ask `tree` for it themselves."""
    return params if tx.is_own else tree.lift(params)


def run_update(tx: Any, updates: Updates, state: State, params: Params | None, extras: dict) -> tuple[Updates, State]:
    """Run the update of `tx`, which may be a foreign pair, inside another transformation's update.

    Schedules become numbers here, and only the extras that `tx` names reach it.
    """
    if not isinstance(tx, GradientTransformation):
        return _call_named(type(tx).__name__, tx.update, updates, state, params, extras)
    with jax.named_scope(tx.name):
        if tx.is_recipe:
            return run_update(tx.built, updates, state, params, extras)
        if not scheduled_arguments(tx):
            return _call_named(tx.name, tx.built[1], updates, state, params, extras)
        _, update = tx.build_with(at_step(tx, state.count))
        updates, inner = _call_named(tx.name, update, updates, state.inner_state, params, extras)
        return updates, ScheduledState(numerics.safe_increment(state.count), inner)


def scheduled_arguments(tx: GradientTransformation) -> dict[str, Any]:
    """Return the arguments of `tx` in which a schedule stands for a number.

    A `ScheduleValue` does so anywhere, a plain function where the annotation asks for a hyperparameter; an argument
    annotated `Schedule` wants the schedule itself.
    """
    wanted = _wants_schedule(tx.factory)
    found = {name: jax.tree.leaves(x, is_leaf=_is_value) for name, x in tx.arguments.items() if name not in wanted}
    return {name: tx.arguments[name] for name, leaves in found.items() if any(map(_schedule_test(tx, name), leaves))}


def at_step(tx: GradientTransformation, step: ArrayLike) -> dict[str, Any]:
    """Return the arguments of `tx` with every schedule replaced by its value at `step`."""
    arguments = tx.arguments
    for name, x in scheduled_arguments(tx).items():
        is_schedule = _schedule_test(tx, name)
        call = functools.partial(_call_if, is_schedule, step)
        arguments[name] = jax.tree.map(call, x, is_leaf=_is_value)
    return arguments


def _call_if(is_schedule: Callable, step: ArrayLike, x: Any) -> Any:
    return x(step) if is_schedule(x) else x


def _is_value(x: Any) -> bool:
    return isinstance(x, Value)


def _schedule_test(tx: GradientTransformation, name: str) -> Callable[[Any], bool]:
    takes_functions = name in takes_schedule(tx.factory)
    return lambda x: isinstance(x, ScheduleValue) or (takes_functions and not _is_value(x) and checks.is_function(x))


@functools.cache
def _wants_schedule(factory: Callable) -> frozenset[str]:
    parameters = signature(factory).parameters
    return frozenset(name for name, p in parameters.items() if Schedule in (p.annotation, *get_args(p.annotation)))


def _call_named(
    name: str, update: UpdateFn, updates: Updates, state: State, params: Params | None, extras: dict
) -> tuple[Updates, State]:
    """Call an inner update with `params` and the extras that it names; say what it needs when something is missing."""
    wanted, required, takes_all = _wanted_extras(update)
    given = extras if takes_all else {key: extras[key] for key in wanted if key in extras}
    for key in required:
        if key == "params" and params is None:
            raise TypeError(f"{name} needs params: call tx.update(updates, state, params)")
        if key != "params" and key not in extras:
            raise TypeError(f"{name} needs {key}: call tx.update(updates, state, params, {key}=...)")
    if takes_all or "params" in wanted:
        return update(updates, state, params, **given)
    return update(updates, state, **given)


def _wanted_extras(update: UpdateFn) -> tuple[tuple[str, ...], tuple[str, ...], bool]:
    """Return the names after (updates, state), those without a default, and whether `**extras` takes the rest."""
    parameters = list(inspect.signature(update).parameters.values())[2:]
    takes_all = any(p.kind is p.VAR_KEYWORD for p in parameters)
    named = [p for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
    if named and named[0].kind is named[0].POSITIONAL_OR_KEYWORD and named[0].name != "params":
        named[0] = named[0].replace(name="params")  # the third argument is the parameters, whatever it is called
    return tuple(p.name for p in named), tuple(p.name for p in named if p.default is p.empty), takes_all


def _checked_update(
    tx: Any, updates: Updates, state: State, params: Params | None, extras: dict
) -> tuple[Updates, State]:
    checks.differentiable(tx.name, updates)
    if params is not None:
        params = _without_functions(updates, params)
        checks.same_leaves(tx.name, "updates", updates, params, "params", dtypes=False, containers=SAME_CONTAINERS)
        checks.real_for_real(tx.name, updates, params)
    _check_state(tx, updates, state, params)
    lifted = jax.tree.map(_lift_gradient, updates)
    new_updates, new_state = run_update(tx, lifted, state, tree.lift(params), extras)
    checks.same_leaves(tx.name, "its update", new_updates, updates, "the gradient", dtypes=False)
    return jax.tree.map(_lower, updates, new_updates), new_state


def _without_functions(updates: Updates, params: Params) -> Params:
    """Leave out what is no number and has no gradient: the functions in a model that is a pytree of all it has."""
    if all(isinstance(x, jax.Array | np.ndarray | np.generic | float | int | complex) for x in jax.tree.leaves(params)):
        return params
    leave_out = jax.tree.map(lambda x: x is None, updates, is_leaf=lambda x: x is None)
    return jax.tree.map(lambda out, p: None if out and callable(p) else p, leave_out, params)


SAME_CONTAINERS = "give gradients in the containers of the parameters"
FROM_INIT = "make the state with init, or restore a checkpoint into what init returns (jax.tree.unflatten)"


def _check_state(tx: Any, updates: Updates, state: State, params: Params | None) -> None:
    """Compare the state with what init gives for these parameters, or for gradients that stand for all of them."""
    if params is None and any(x is None for x in jax.tree.leaves(updates, is_leaf=lambda x: x is None)):
        return
    like = jax.tree.map(_without_value, updates if params is None else params)
    try:
        # One trace serves init and update, but where the cache of a module would keep a user's closure.
        expected = jax.eval_shape(_compiled_init, tx, like) if tx.is_own else _expected_of(tx, like)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return  # a user's init that wants numbers, NumPy say: it has no shapes without them
    checks.same_leaves(tx.name, "the state", state, expected, "init", dtypes=params is not None, containers=FROM_INIT)


def _expected_of(tx: GradientTransformation, like: Params) -> State:
    """Return the shapes of the state; the value keeps the last ones, so that its init is traced once, not each step."""
    leaves, treedef = jax.tree.flatten(like)
    key = (treedef, [(x.shape, x.dtype) for x in leaves])
    known_key, known = getattr(tx, "_expected", (None, None))
    if key != known_key:
        known = jax.eval_shape(functools.partial(run_init, tx), like)
        object.__setattr__(tx, "_expected", (key, known))
    return known


_compiled_init = jax.jit(run_init)
_compiled_update = jax.jit(_checked_update)


def _is_concrete(x: Any) -> bool:
    kinds = jax.Array | np.ndarray | np.generic | float | int | complex
    return isinstance(x, kinds) and not isinstance(x, Tracer)


def _is_ordinary(x: Any) -> bool:
    """Whether a compiled program without instructions would put its results where `x` is."""
    return not isinstance(x, jax.Array) or x.sharding == _default_sharding(jax.config.jax_default_device)


@functools.lru_cache(maxsize=8)
def _default_sharding(device: Any) -> Any:
    del device  # the key: what `jnp.zeros` goes by
    with jax.ensure_compile_time_eval():  # the first to ask may be a function that is traced
        return jnp.zeros(()).sharding


def _without_value(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(x), checks.dtype_of(x))


def _lift_gradient(x: Any) -> Any:
    return None if checks.dtype_of(x) == jax.dtypes.float0 else numerics.lift(x)


def _lower(old: Any, new: Any) -> Any:
    return old if new is None else new.astype(jnp.result_type(old))
