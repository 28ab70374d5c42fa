"""What line searches share: a function along a line, and the loop that tries steps on it."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from gradx import numerics, tree
from gradx.typing import Params, State, Updates

ValueFn = Callable[..., jax.Array]
"""From the parameters (and extras that it names) to a real scalar."""


@dataclasses.dataclass(frozen=True)
class Line:
    """The function phi(step) = value_fn(params + step · updates), and what is known of it at step 0."""

    value_fn: ValueFn
    """Of the parameters alone."""
    params: Params
    updates: Updates
    value: jax.Array
    grad: Updates
    """As `jax.grad` gives it: not conjugated. `None` where there is no update."""
    slope: jax.Array

    @property
    def dtype(self) -> jnp.dtype:
        """The real dtype in which values, slopes and steps are kept."""
        return self.value.dtype

    def start(self, step: ArrayLike) -> Params:
        """Return params + step · updates."""
        moved = jax.tree.map(lambda u, p: None if u is None else p, self.updates, self.params, is_leaf=_is_none)
        return tree.add_scale(moved, step, self.updates)

    def value_of(self, moved: Params) -> jax.Array:
        """Return the value where the leaves with an update are those of `moved`."""
        filled = jax.tree.map(lambda x, p: p if x is None else x, moved, self.params, is_leaf=_is_none)
        value = jnp.asarray(self.value_fn(filled))
        if value.ndim or jnp.iscomplexobj(value):
            raise TypeError(f"value_fn must return a real scalar, got {value.dtype}{list(value.shape)}")
        return numerics.cast(value, self.dtype)

    def slope_of(self, grad: Updates) -> jax.Array:
        """Return the derivative by the step where the gradient is `grad`: Re sum(g · u)."""
        return slope_along(grad, self.updates, self.dtype)

    def at(self, step: jax.Array) -> tuple[jax.Array, Updates, jax.Array]:
        """Return value, gradient and slope."""
        value, grad = jax.value_and_grad(self.value_of)(self.start(step))
        return value, grad, self.slope_of(grad)


def line_of(
    updates: Updates, params: Params, value: ArrayLike | None, grad: Updates | None, value_fn: ValueFn, extras: dict
) -> Line:
    """Return the line along `updates`; value and gradient at its start are computed where either is missing."""
    dtype = value_dtype(params)
    named = _named(value_fn, extras)
    line = Line(lambda p: value_fn(p, **named), params, updates, jnp.zeros((), dtype), None, jnp.zeros((), dtype))
    if value is None or grad is None:
        value, grad, slope = line.at(jnp.zeros((), dtype))
    else:
        moved = jax.tree.map(lambda u, g: None if u is None else tree.lift(g), updates, grad, is_leaf=_is_none)
        value, grad = numerics.cast(value, dtype), tree.cast_like(moved, line.start(0.0))
        slope = line.slope_of(grad)
    return dataclasses.replace(line, value=value, grad=grad, slope=slope)


def value_dtype(params: Params) -> jnp.dtype:
    """Return the real dtype of values: the widest of the parameters', at least float32."""
    dtypes = [jnp.result_type(x) for x in jax.tree.leaves(params)]
    floats = [jnp.finfo(numerics.at_least_float32(x)).dtype for x in dtypes if jnp.issubdtype(x, jnp.inexact)]
    return max(floats, key=lambda dtype: dtype.itemsize, default=jnp.dtype(jnp.float32))


def slope_along(grad: Updates, updates: Updates, dtype: DTypeLike) -> jax.Array:
    """Return Re sum(g · u) over the leaves that have both; 0 for none."""
    both = jax.tree.map(lambda g, u: jnp.sum(jnp.real(g * u)).astype(dtype), grad, updates)
    return sum(jax.tree.leaves(both), jnp.zeros((), dtype))


def _named(value_fn: ValueFn, extras: dict) -> dict:
    """Return the extras that `value_fn` names behind its first argument; all of them if it takes `**extras`."""
    known = list(inspect.signature(value_fn).parameters.values())[1:]
    if any(p.kind is p.VAR_KEYWORD for p in known):
        return extras
    names = {p.name for p in known if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}
    return {name: x for name, x in extras.items() if name in names}


class Criteria(NamedTuple):
    """When a step is good: the strong Wolfe conditions, and near a minimum the approximate ones."""

    slope_rtol: jax.Array
    curv_rtol: jax.Array
    approx_dec_rtol: jax.Array | None = None
    """How far above the first value, relative to it, the approximate condition may reach; `None` leaves it out."""

    def decrease_error(self, line: Line, step: jax.Array, value: jax.Array, slope: jax.Array) -> jax.Array:
        """Return by how much the decrease is too small; infinite where something is no number."""
        error = value - line.value - self.slope_rtol * step * line.slope
        if self.approx_dec_rtol is not None:
            steep = slope - (2 * self.slope_rtol - 1) * line.slope
            rise = value - line.value - self.approx_dec_rtol * jnp.abs(line.value)
            error = jnp.minimum(error, jnp.maximum(steep, rise))
        return _excess(error)

    def curvature_error(self, line: Line, slope: jax.Array) -> jax.Array:
        """Return by how much the slope is too steep; infinite where something is no number."""
        return _excess(jnp.abs(slope) - self.curv_rtol * jnp.abs(line.slope))


def _excess(error: jax.Array) -> jax.Array:
    return jnp.where(jnp.isnan(error), jnp.inf, jnp.maximum(error, 0))


class Tried(NamedTuple):
    """What a rule makes of the step that was tried last."""

    rule: Any
    """The rule's own scalars; its field `best` is the best step so far that decreases enough, 0 for none."""
    next_step: jax.Array
    accepted: jax.Array
    hopeless: jax.Array
    """Whether to go back to the best step."""


class Search(NamedTuple):
    """What the loop carries; but for the gradient all scalars."""

    step: jax.Array
    count: jax.Array
    done: jax.Array
    settled: jax.Array
    """Whether `step` is the best so far, evaluated again: the last evaluation of a search that failed."""
    value: jax.Array
    grad: Updates
    decrease_error: jax.Array
    curvature_error: jax.Array
    rule: Any


Rule = Callable[[Any, jax.Array, jax.Array, jax.Array, jax.Array, jax.Array], Tried]
"""From (rule's scalars, step, value, slope, decrease error, curvature error) to what to do next."""


def search(line: Line, criteria: Criteria, first: jax.Array, start: Any, rule: Rule, max_steps: int) -> Search:
    """Try steps until the rule accepts one; at most `max_steps`, and the best again if none is accepted.

    The result's step is 0, with the value and the gradient of the start, where nothing decreases or nothing can.
    """

    def body(s: Search) -> Search:
        value, grad, slope = line.at(s.step)
        decrease = criteria.decrease_error(line, s.step, value, slope)
        curvature = criteria.curvature_error(line, slope)
        tried = rule(s.rule, s.step, value, slope, decrease, curvature)
        count = s.count + 1
        back = ~tried.accepted & ~s.settled & (tried.hopeless | (count >= max_steps))
        best = tried.rule.best
        done = tried.accepted | s.settled | (back & ((best == s.step) | (best == 0)))
        step = jnp.where(back, best, jnp.where(done, s.step, tried.next_step))
        return Search(step, count, done, back, value, grad, decrease, curvature, tried.rule)

    infinite = jnp.full((), jnp.inf, line.dtype)
    downhill = line.slope < 0
    began = Search(
        step=jnp.where(downhill, numerics.cast(first, line.dtype), 0),
        count=jnp.zeros((), jnp.int32),
        done=~downhill,
        settled=jnp.zeros((), bool),
        value=line.value,
        grad=line.grad,
        decrease_error=infinite,
        curvature_error=infinite,
        rule=start,
    )
    began, *_ = numerics.vary_together(began, line.params, line.updates)
    ended = jax.lax.while_loop(lambda s: ~s.done, body, began)
    stuck = ended.step == 0
    value, grad = tree.where(stuck, (line.value, line.grad), (ended.value, ended.grad))
    return ended._replace(value=value, grad=grad)


def numbers(line: Line, **hyper: Any) -> dict[str, jax.Array]:
    """Return hyperparameters in the precision of the line's values."""
    return {name: numerics.cast(x, line.dtype) for name, x in hyper.items()}


def kept_grad(new: Updates, old: Updates) -> Updates:
    """Return the gradient to keep in the state: leaves without an update keep what was stored."""
    return jax.tree.map(lambda g, kept: kept if g is None else g.astype(kept.dtype), new, old, is_leaf=_is_none)


def say_if(failed: jax.Array, name: str, line: Line, found: Any) -> None:
    """Print in words what stopped a search that failed; inside a compiled program too."""

    def say(failed: Any, slope: Any, step: Any, count: Any, value: Any, start: Any, error: Any) -> None:
        if not failed:
            return
        if not slope < 0:
            why = f"the update does not descend: its slope is {float(slope):.3g}; no step is taken"
        elif step == 0:
            why = f"none of {int(count)} steps decreases the value {float(start):.6g}; no step is taken"
        else:
            why = (
                f"after {int(count)} steps the conditions do not hold (decrease error {float(error):.3g});"
                f" takes the step {float(step):.3g}, from {float(start):.6g} to {float(value):.6g}"
            )
        print(f"{name}: {why}")

    known = (failed, line.slope, found.step, found.count, found.value, line.value, found.decrease_error)
    jax.debug.callback(say, *known)


def value_and_grad_from_state(value_fn: ValueFn) -> Callable[..., tuple[jax.Array, Updates]]:
    """Return a function like `jax.value_and_grad(value_fn)` that takes both from the state of a line search.

    Called as `(params, *args, state=state, **kwargs)`; computes where the state has no finite value yet. The search
    must be what moved the parameters last, for the same function. Raises ValueError where the state keeps no gradient.

    >>> import gradx
    >>> def fun(x):
    ...     return (x - 1.0) ** 2
    >>> tx = gradx.lbfgs()
    >>> value, grad = gradx.value_and_grad_from_state(fun)(3.0, state=tx.init(3.0))
    >>> float(value), float(grad)
    (4.0, 4.0)
    """

    def value_and_grad(params: Params, *args: Any, state: State, **kwargs: Any) -> tuple[jax.Array, Updates]:
        kept = [x for x in jax.tree.leaves(state, is_leaf=is_search_state) if is_search_state(x)]
        if len(kept) != 1 or kept[0].grad is None:
            found = (
                "keeps no gradient: give it store_grad=True" if len(kept) == 1 else f"holds {len(kept)} line searches"
            )
            raise ValueError(f"value_and_grad_from_state: the state {found}")
        value, grad = kept[0].value, kept[0].grad

        def compute() -> tuple[jax.Array, Updates]:
            new_value, new_grad = jax.value_and_grad(value_fn)(params, *args, **kwargs)
            return jnp.asarray(new_value).astype(value.dtype), tree.cast_like(new_grad, grad)

        return jax.lax.cond(jnp.isfinite(value), lambda: (value, grad), compute)

    return value_and_grad


def is_search_state(x: Any) -> bool:
    """Whether `x` is the state of a line search: it tells the value at the new parameters, and how it was found."""
    return isinstance(x, tuple) and getattr(x, "_fields", ()) == ("learning_rate", "value", "grad", "info")


def _is_none(x: Any) -> bool:
    return x is None
