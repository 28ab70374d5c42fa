"""The public side of init and update: what is checked there, in which precision, and whether it runs compiled."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx import checks, eager, numerics, tree
from gradx.arguments import Arguments
from gradx.running import Wrapper, compiled_init, is_transformation, run_init, run_update, takes_examples
from gradx.typing import Params, PyTree, State, Updates
from gradx.value import Value

SAME_CONTAINERS = "give gradients in the containers of the parameters"
FROM_INIT = "make the state with init, or restore a checkpoint into what init returns (jax.tree.unflatten)"


def init(tx: Any, params: Params) -> State:
    """Return the state of `tx`: compiled where that may be, else operation by operation.

    Shapes without values, of `jax.eval_shape` say, stand for zeros: a state as of parameters that are not there yet.
    """
    if any(isinstance(x, jax.ShapeDtypeStruct) for x in jax.tree.leaves(params)):
        params = jax.tree.map(_zeros_of, params)
    return run_init(own_form(tx, params) if eager.are_concrete((tx, params)) else tx, params)


def update(tx: Any, updates: Updates, state: State, params: Params | None, extras: dict) -> tuple[Updates, State]:
    """Return update and state of `tx`: compiled where that may be, else operation by operation."""
    call = (updates, state, params, extras)
    is_structure = any(isinstance(x, int) for x in jax.tree.leaves(extras))  # Python may branch on it
    if not is_structure and eager.are_concrete((tx, call)):
        own = own_form(tx, updates if params is None else params)
        if isinstance(own, Value) and own.is_own:
            return _compiled_update(own, *call, owner=tx.name, strict=tx.is_strict)
    return _checked_update(tx, *call, owner=tx.name, strict=tx.is_strict)


def _checked_update(
    tx: Any, updates: Updates, state: State, params: Params | None, extras: dict, *, owner: str, strict: bool
) -> tuple[Updates, State]:
    if params is not None:
        params = _without_functions(updates, params)
    one = _one_example(updates) if takes_examples(tx) else updates
    if strict:
        _check_call(owner, tx, one, state, params)
    if not strict and not tx.is_own:  # another library's user sees what he gave
        return run_update(tx, updates, state, params, extras)
    lifted = jax.tree.map(_lift_gradient, updates)
    new_updates, new_state = run_update(tx, lifted, state, tree.lift(params), extras)
    if strict:
        checks.same_leaves(owner, "its update", new_updates, one, "the gradient", dtypes=False)
    elif jax.tree.structure(new_updates) != jax.tree.structure(updates):
        return new_updates, new_state
    return _lower(new_updates, one, params), new_state


def _zeros_of(x: Any) -> Any:
    return jax.lax.full_like(x, 0) if isinstance(x, jax.ShapeDtypeStruct) else x


_compiled_update = jax.jit(_checked_update, static_argnames=("owner", "strict"))


def _one_example(updates: Updates) -> PyTree:
    """Return the shapes of one example's gradient, where all have a first axis of examples."""
    return jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x)[1:], checks.dtype_of(x)), updates)


def _check_call(owner: str, tx: Any, updates: Updates, state: State, params: Params | None) -> None:
    """Refuse what does not belong together, in words that name the leaf and the cure."""
    checks.differentiable(owner, updates)
    if params is not None:
        checks.some_gradient(owner, updates, params)
        checks.same_leaves(owner, "updates", updates, params, "params", dtypes=False, containers=SAME_CONTAINERS)
        checks.real_for_real(owner, updates, params)
    _check_state(owner, tx, updates, state, params)


def own_form(tx: Any, params: Params) -> Any:
    """Return what does the same without a user's code, as far as that goes; only such a value may be compiled unasked.

    A recipe is what it stands for, and functions of the parameters are asked, as without `jit` they must be each time.
    """
    if not isinstance(tx, Value) or tx.is_own:
        return tx
    if is_transformation(tx.built):
        return tx if tx.resolves_schedules else own_form(tx.built, params)
    known, arguments = Arguments.of(tx.factory), tx.arguments
    for name in known.of_params:
        if checks.is_function(arguments[name]):
            arguments[name] = arguments[name](tree.unbox(params))
    if any(map(_is_array, jax.tree.leaves([arguments[name] for name in known.of_params]))):
        return tx
    if not known.of_params and (not isinstance(tx.built, Wrapper) or tx.built.runs_as_given):
        # Where a mask or labels are given, the parts see other parameters.
        form = functools.partial(own_form, params=params)
        arguments = {
            name: jax.tree.map(form, x, is_leaf=lambda x: isinstance(x, Value)) for name, x in arguments.items()
        }
    return _form_with(tx, arguments)


def _form_with(tx: Value, arguments: dict[str, Any]) -> Value:
    """Return `tx` with other arguments; it keeps the last form, so that the same answers make the very same value."""
    leaves, treedef = jax.tree.flatten(arguments, is_leaf=lambda x: isinstance(x, Value))
    known = getattr(tx, "_form", None)
    if known is None or known[1] != treedef or not all(map(_is_same_argument, leaves, known[0])):
        known = (leaves, treedef, type(tx)._of(tx.factory, arguments))
        object.__setattr__(tx, "_form", known)
    return known[2]


def _is_same_argument(x: Any, known: Any) -> bool:
    return x is known or (type(x) is type(known) and isinstance(x, bool | str | int) and x == known)


def _without_functions(updates: Updates, params: Params) -> Params:
    """Leave out what is no number and has no gradient: the functions in a model that is a pytree of all it has."""
    if not any(map(callable, jax.tree.leaves(params))):
        return params
    leave_out = jax.tree.map(lambda x: x is None, updates, is_leaf=lambda x: x is None)
    return jax.tree.map(lambda out, p: None if out and callable(p) else p, leave_out, params)


def _check_state(owner: str, tx: Any, updates: Updates, state: State, params: Params | None) -> None:
    """Compare the state with what init gives for these parameters, or for gradients that stand for all of them."""
    if params is None and any(x is None for x in jax.tree.leaves(updates, is_leaf=lambda x: x is None)):
        return
    like = jax.tree.map(_without_value, updates if params is None else params)
    try:
        # One trace serves init and update, but where the cache of a module would keep a user's closure.
        expected = jax.eval_shape(compiled_init, tx, like) if tx.is_own else _expected_of(tx, like)
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerArrayConversionError):
        return  # a user's init that wants numbers, NumPy say: it has no shapes without them
    checks.same_leaves(owner, "the state", state, expected, "init", dtypes=params is not None, containers=FROM_INIT)


def _expected_of(tx: Any, like: Params) -> State:
    """Return the shapes of the state; the value keeps the last ones, so that its init is traced once, not each step."""
    leaves, treedef = jax.tree.flatten(like)
    key = (treedef, [(x.shape, x.dtype) for x in leaves])
    known_key, known = getattr(tx, "_expected", (None, None))
    if key != known_key:
        known = jax.eval_shape(functools.partial(run_init, tx), like)
        object.__setattr__(tx, "_expected", (key, known))
    return known


def _is_array(x: Any) -> bool:
    return isinstance(x, np.ndarray | jax.Array) and np.size(x) != 1


def _without_value(x: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(np.shape(x), checks.dtype_of(x))


def _lift_gradient(x: Any) -> Any:
    return None if checks.dtype_of(x) == jax.dtypes.float0 else numerics.lift(x)


def _lower(new: Updates, old: Updates, params: Params | None) -> PyTree:
    """Round each update to the wider of the gradient's and the parameter's dtypes, and leave what had no gradient.

    So float32 parameters lose nothing to bfloat16 gradients.
    """

    def lower(old: Any, new: Any, *param: Any) -> Any:
        if new is None:
            return old
        dtypes = {checks.dtype_of(x) for x in (old, *param)}
        if not all(jnp.issubdtype(dtype, jnp.inexact) for dtype in dtypes):
            return new  # integers, where they are let in
        return numerics.cast(new, dtypes.pop() if len(dtypes) == 1 else jnp.result_type(*dtypes))

    if params is None:
        return jax.tree.map(lower, old, new)
    beside = jax.tree.map(lambda g, p: None if g is None else p, old, params, is_leaf=lambda x: x is None)
    return jax.tree.map(lower, old, new, beside)
