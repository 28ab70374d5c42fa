"""Keep hyperparameters in the state, where they can be read and set between steps."""

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple, overload

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradx import numerics
from gradx.arguments import Arguments
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.running import Part, at_step
from gradx.scheduled import ScheduleValue
from gradx.typing import DType, Params, Range, State, TreeKind, Updates


class WrappedScheduleState(NamedTuple):
    """What a scheduled hyperparameter keeps."""

    count: jax.Array
    """int32[]: the updates already applied."""


class InjectHyperparamsState(NamedTuple):
    """The state of `inject_hyperparams`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    hyperparams: dict[str, jax.Array]
    """The values that the next update uses; of scheduled ones, those that the last update used. float32 by default."""
    hyperparams_states: Annotated[dict[str, WrappedScheduleState], TreeKind.PARAMETERS]
    """For each scheduled one the updates already applied: it follows its schedule and cannot be set."""
    inner_state: State


@overload
def inject_hyperparams(
    inner_factory: GradientTransformation,
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DType | None = None,
) -> GradientTransformation: ...
@overload
def inject_hyperparams(
    inner_factory: Callable, static_args: str | Iterable[str] = (), hyperparam_dtype: DType | None = None
) -> Callable[..., GradientTransformation]: ...
def inject_hyperparams(
    inner_factory: Callable | GradientTransformation,
    static_args: str | Iterable[str] = (),
    hyperparam_dtype: DType | None = None,
) -> GradientTransformation | Callable[..., GradientTransformation]:
    """Keep the float arguments of a transformation in its state, to be read and set between steps.

    Takes the factory, `inject_hyperparams(adamw)(1e-3)`, or the value, `inject_hyperparams(adamw(1e-3))`; both give
    the same value. A factory of Optax does too.

    Args:
      inner_factory: the factory or the value, or any function of hyperparameters that returns a transformation. Its
        own arguments are injected, not those of transformations inside them.
      static_args: names of arguments to leave where they are.
      hyperparam_dtype: dtype in the state; float32 by default, whatever the parameters are (0.999 in bfloat16 is 1).

    State: one scalar for each float argument, int32[], and the inner state.

    >>> import gradx
    >>> tx = gradx.inject_hyperparams(gradx.sgd)(learning_rate=0.1)
    >>> state = gradx.set_hyperparams(tx.init({"w": 1.0}), learning_rate=0.5)
    >>> float(tx.update({"w": 1.0}, state)[0]["w"])
    -0.5
    """
    names = (static_args,) if isinstance(static_args, str) else tuple(static_args)
    if isinstance(inner_factory, GradientTransformation):
        return _injected(inner_factory, names, hyperparam_dtype)

    def make(*args: Any, **kwargs: Any) -> GradientTransformation:
        ours = inner_factory if "arguments" in vars(inner_factory) else transformation(inner_factory)
        return _injected(ours(*args, **kwargs), names, hyperparam_dtype)

    return make


@transformation
def _injected(
    inner_factory: GradientTransformation, static_args: tuple = (), hyperparam_dtype: DType | None = None
) -> Any:
    """Keep the float arguments of a value in the state; a schedule is evaluated at each update and its value kept."""
    inner = inner_factory
    if unknown := sorted(set(static_args) - inner.arguments.keys()):
        raise TypeError(
            f"inject_hyperparams: {inner.name} has no argument {unknown[0]!r}; it has {', '.join(inner.arguments)}"
        )
    dtype = hyperparam_dtype or jnp.float32

    def at(count: jax.Array | int) -> dict[str, jax.Array]:
        resolved = at_step(inner, count)
        chosen = {name: x for name, x in resolved.items() if name not in static_args and _is_scalar(x)}
        return {name: jnp.asarray(x, dtype) for name, x in chosen.items()}

    ranges = {name: Arguments.of(inner.factory).marks.get(name) for name in at(0)}
    if not ranges:
        raise TypeError(
            f"inject_hyperparams: {inner.name} has no number of its own; inject a part, chain(clip(1.0), "
            "inject_hyperparams(adam)(0.1)), or a function of the numbers that returns the whole"
        )
    for name, mark in ranges.items():
        RANGES.setdefault(name, set()).add(mark if isinstance(mark, Range) else Range())
    scheduled = [name for name in ranges if isinstance(inner.arguments[name], ScheduleValue)]

    def with_values(values: dict[str, jax.Array], count: jax.Array | int) -> GradientTransformation:
        # Through the pytree, not the factory: a value in hand is no new argument to be checked.
        return GradientTransformation._of(inner.factory, at_step(inner, count) | values)

    def at_count(state: InjectHyperparamsState) -> tuple[dict[str, jax.Array], GradientTransformation]:
        fresh = at(state.count)
        values = {name: fresh[name] if name in scheduled else x for name, x in state.hyperparams.items()}
        return values, with_values(values, state.count)

    def init(params: Params) -> InjectHyperparamsState:
        values, zero = at(0), jnp.zeros((), jnp.int32)
        inner_state = run_init(with_values(values, 0), params)
        counts = {name: WrappedScheduleState(jnp.zeros((), jnp.int32)) for name in scheduled}
        return InjectHyperparamsState(zero, values, counts, inner_state)

    def update(
        updates: Updates, state: InjectHyperparamsState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, InjectHyperparamsState]:
        values, tx = at_count(state)
        updates, inner_state = run_update(tx, updates, state.inner_state, params, extras)
        count = numerics.safe_increment(state.count)
        counts = jax.tree.map(numerics.safe_increment, state.hyperparams_states)
        return updates, InjectHyperparamsState(count, values, counts, inner_state)

    def inside(state: InjectHyperparamsState | None) -> list[Part]:
        return [("", inner, None) if state is None else ("", at_count(state)[1], state.inner_state)]

    return Wrapper(init, update, inside, is_frame=True, runs_as_given=False)


_injected.__name__ = "inject_hyperparams"  # what the value prints as; pickle goes by the qualified name

RANGES: dict[str, set[Range]] = {}
"""For each injected name the ranges that factories annotate it with: a state holds numbers and nothing beside them."""


def _is_scalar(x: Any) -> bool:
    if isinstance(x, bool) or not isinstance(x, float | np.ndarray | np.generic | jax.Array):
        return False
    return jnp.ndim(x) == 0 and jnp.issubdtype(jnp.result_type(x), jnp.floating)


def set_hyperparams(state: State, **values: Any) -> State:
    """Return `state` with other values of some injected hyperparameters, wherever inside it they are kept.

    A number must lie in the range of its argument. A scheduled one is computed anew at each update and is refused:
    replace the schedule instead (`gradx.replace`).

    Args:
      state: of `inject_hyperparams`, or a tree that has one inside.
      **values: new values by the arguments' names.

    Raises KeyError when no injected state holds the name, naming those that are held; ValueError for another shape, a
    number out of range, a scheduled hyperparameter.

    >>> import gradx
    >>> state = gradx.inject_hyperparams(gradx.sgd(0.1)).init(0.0)
    >>> float(gradx.set_hyperparams(state, learning_rate=0.5).hyperparams["learning_rate"])
    0.5
    """
    held: set[str] = set()

    def change(node: Any) -> Any:
        if not isinstance(node, InjectHyperparamsState):
            return node
        held.update(node.hyperparams)
        inner = set_inner(node.inner_state)
        for name in values.keys() & node.hyperparams.keys():
            _check_settable(name, values[name], node)
        new = {name: jnp.asarray(values.get(name, x), x.dtype) for name, x in node.hyperparams.items()}
        return node._replace(hyperparams=new, inner_state=inner)

    def set_inner(tree: Any) -> Any:
        return jax.tree.map(change, tree, is_leaf=lambda x: isinstance(x, InjectHyperparamsState))

    result = set_inner(state)
    if missing := sorted(values.keys() - held):
        known = ", ".join(sorted(held)) or "none: make the optimizer with gradx.inject_hyperparams"
        raise KeyError(f"no injected hyperparameter {missing[0]!r}; injected are {known}")
    return result


def _check_settable(name: str, value: Any, state: InjectHyperparamsState) -> None:
    if name in state.hyperparams_states:
        raise ValueError(
            f"set_hyperparams: {name} follows a schedule; make the optimizer with another schedule instead"
        )
    if jnp.shape(value) != jnp.shape(state.hyperparams[name]):
        raise ValueError(f"set_hyperparams: {name} must be one number, got shape {jnp.shape(value)}")
    known = RANGES.get(name, {Range()})
    if not isinstance(value, Tracer) and not any(allowed.holds(float(value)) for allowed in known):
        raise ValueError(f"set_hyperparams: {name} must be in {' or '.join(map(str, known))}, got {value!r}")
