"""Line searches under Optax's rules: an extra that nothing takes is refused, and failures are told in words."""

import inspect
from collections.abc import Callable
from typing import Any, Literal

import jax

import gradx
from gradx import tree
from gradx.compat.like_optax.base import as_optax
from gradx.core import run_init, run_update, transformation
from gradx.transforms.line_search import ValueFn, is_search_state, slope_along, value_dtype
from gradx.typing import Fraction, NonNegative, Params, Positive, PositiveInt, State, Updates

FLAG_INTERVAL_NOT_FOUND = "No interval holds a step with a flat enough slope: max_learning_rate ends the search before."
FLAG_INTERVAL_TOO_SMALL = "The interval that is searched has become smaller than stepsize_precision."
FLAG_CURVATURE_COND_NOT_SATISFIED = "The step decreases the value enough, but the slope there is still too steep."
FLAG_NO_STEPSIZE_FOUND = "No step decreases the value enough."
FLAG_NOT_A_DESCENT_DIRECTION = "The update does not descend: its slope should be negative, it is "


def extract_fns_kwargs(fns: tuple[Callable, ...], kwargs: dict[str, Any]) -> tuple[list[dict[str, Any]], dict]:
    """Return for each function the extras that it names, and those that none does.

    >>> from gradx.compat.optax._src import linesearch
    >>> linesearch._extract_fns_kwargs((lambda a: a, lambda b: b), {"a": 1, "c": 2})
    ([{'a': 1}, {}], {'c': 2})
    """
    known = [inspect.signature(f).parameters for f in fns]
    given = [{name: x for name, x in kwargs.items() if name in names} for names in known]
    return given, {name: x for name, x in kwargs.items() if not any(name in names for names in known)}


@as_optax
@transformation
def scale_by_backtracking_linesearch(
    max_backtracking_steps: PositiveInt,
    slope_rtol: NonNegative = 1e-4,
    decrease_factor: Fraction = 0.8,
    increase_factor: Positive = 1.5,
    max_learning_rate: Positive = 1.0,
    atol: NonNegative = 0.0,
    rtol: NonNegative = 0.0,
    store_grad: bool = False,
    verbose: bool = False,
) -> Any:
    """Multiply the update by a step that decreases the value enough; needs value, grad and value_fn.

    >>> import gradx.compat.optax as optax
    >>> optax.scale_by_backtracking_linesearch(15)
    scale_by_backtracking_linesearch(max_backtracking_steps=15)
    """
    inner = gradx.scale_by_backtracking_linesearch(
        max_backtracking_steps, slope_rtol, decrease_factor, increase_factor, max_learning_rate, atol, rtol,
        store_grad, verbose,
    )  # fmt: skip
    return _strictly("scale_by_backtracking_linesearch", inner, lambda grad: grad, lambda *told: None)


@as_optax
@transformation
def scale_by_zoom_linesearch(
    max_linesearch_steps: PositiveInt,
    max_learning_rate: Positive | None = None,
    tol: NonNegative = 0.0,
    increase_factor: Positive = 2.0,
    slope_rtol: NonNegative = 1e-4,
    curv_rtol: NonNegative = 0.9,
    approx_dec_rtol: NonNegative | None = 1e-6,
    stepsize_precision: NonNegative = 1e-5,
    initial_guess_strategy: Literal["keep", "one"] = "keep",
    verbose: bool = False,
) -> Any:
    """Multiply the update by a step that satisfies the strong Wolfe conditions; needs value, grad and value_fn.

    >>> import gradx.compat.optax as optax
    >>> optax.scale_by_zoom_linesearch(15)
    scale_by_zoom_linesearch(max_linesearch_steps=15)
    """
    inner = gradx.scale_by_zoom_linesearch(
        max_linesearch_steps, max_learning_rate, tol, increase_factor, slope_rtol, curv_rtol, approx_dec_rtol,
        stepsize_precision, initial_guess_strategy,
    )  # fmt: skip
    longest: Any = max_learning_rate

    def say(slope: jax.Array, state: Any) -> None:
        if verbose:
            told = (slope, state.learning_rate, state.info, tol, float("inf") if longest is None else longest)
            jax.debug.callback(_say, *told, most=max_linesearch_steps)

    return _strictly("scale_by_zoom_linesearch", inner, tree.conj, say)  # of its two searches, this wants the conjugate


def value_and_grad_from_state(value_fn: ValueFn) -> Callable[..., tuple[jax.Array, Updates]]:
    """Return `gradx.value_and_grad_from_state(value_fn)`; a state with more than one search raises KeyError.

    >>> import gradx.compat.optax as optax
    >>> value, grad = optax.value_and_grad_from_state(lambda x: x**2)(3.0, state=optax.lbfgs().init(3.0))
    >>> float(value), float(grad)
    (9.0, 6.0)
    """
    inner = gradx.value_and_grad_from_state(value_fn)

    def value_and_grad(params: Params, *args: Any, state: State, **kwargs: Any) -> tuple[jax.Array, Updates]:
        found = [x for x in jax.tree.leaves(state, is_leaf=is_search_state) if is_search_state(x)]
        if len(found) > 1:
            raise KeyError(f"Found multiple values for 'value' in tree: {len(found)} line searches")
        return inner(params, *args, state=state, **kwargs)

    return value_and_grad


def _strictly(
    name: str, inner: Any, prepare: Callable[[Updates], Updates], say: Callable[[jax.Array, State], None]
) -> tuple[Callable, Callable]:
    """Return the pair of a search that takes no extras but its function's; `prepare` makes its `grad` gradx's."""

    def init(params: Params) -> State:
        return run_init(inner, params)

    def update(
        updates: Updates,
        state: State,
        params: Params,
        *,
        value: Any,
        grad: Updates,
        value_fn: ValueFn,
        **extras: Any,
    ) -> tuple[Updates, State]:
        _, unknown = extract_fns_kwargs((value_fn,), extras)
        takes_all = any(p.kind is p.VAR_KEYWORD for p in inspect.signature(value_fn).parameters.values())
        if unknown and not takes_all:
            raise TypeError(
                f"Unexpected keyword arguments passed to `{name}.update`: {sorted(unknown)} are none of `value_fn`"
            )
        grad = prepare(grad)
        given = {"value": value, "grad": grad, "value_fn": value_fn}
        new, new_state = run_update(inner, updates, state, params, extras | given)
        say(slope_along(grad, updates, value_dtype(params)), new_state)
        return new, new_state

    return init, update


def _say(slope: Any, step: Any, info: Any, tol: Any, longest: Any, most: int) -> None:
    """Print what stopped a search that failed."""
    if not slope < 0:
        print(f"{FLAG_NO_STEPSIZE_FOUND}\n{FLAG_NOT_A_DESCENT_DIRECTION}{float(slope):.3g}.")
    elif step == 0 or info.decrease_error > tol:
        print(FLAG_NO_STEPSIZE_FOUND)
    if slope < 0 and info.curvature_error > tol:
        if step >= longest:
            print(FLAG_INTERVAL_NOT_FOUND)
        elif info.num_linesearch_steps < most:
            print(FLAG_INTERVAL_TOO_SMALL)
        if step > 0 and not info.decrease_error > tol:
            print(f"{FLAG_CURVATURE_COND_NOT_SATISFIED} It is {float(step):.3g}.")
