"""The line search of Nocedal and Wright: find an interval that holds a good step, and zoom into it."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics, tree
from gradx.core import transformation
from gradx.transforms.line_search import (
    Criteria,
    Line,
    Search,
    Tried,
    ValueFn,
    kept_grad,
    line_of,
    numbers,
    say_if,
    search,
    value_dtype,
)
from gradx.typing import NonNegative, Params, Positive, PositiveInt, Updates


class ZoomLinesearchInfo(NamedTuple):
    """How the last search ended."""

    num_linesearch_steps: jax.Array
    """int32[]: how often the function was evaluated, with its gradient."""
    decrease_error: jax.Array
    """By how much the value decreased too little; 0 is a success, infinity where it was no number."""
    curvature_error: jax.Array
    """By how much the slope is still too steep; 0 is a success."""


class ScaleByZoomLinesearchState(NamedTuple):
    """The state of `scale_by_zoom_linesearch` and of `scale_by_more_thuente_linesearch`."""

    learning_rate: jax.Array
    """The step of the last search; 0 where nothing decreased."""
    value: jax.Array
    """The function at the new parameters; at first infinity."""
    grad: Updates
    """Its gradient there, as `jax.grad` gives it; like the parameters, at least float32."""
    info: ZoomLinesearchInfo


def init_state(params: Params) -> ScaleByZoomLinesearchState:
    """Return the state before the first search."""
    dtype = value_dtype(params)

    def infinite() -> jax.Array:
        return jnp.full((), jnp.inf, dtype)

    info = ZoomLinesearchInfo(jnp.zeros((), jnp.int32), infinite(), infinite())
    state = ScaleByZoomLinesearchState(jnp.ones((), dtype), infinite(), tree.zeros_like(params), info)
    return numerics.vary_together(state, params)[0]


def next_state(state: ScaleByZoomLinesearchState, found: Search) -> ScaleByZoomLinesearchState:
    """Return the state after a search."""
    info = ZoomLinesearchInfo(found.count, found.decrease_error, found.curvature_error)
    return ScaleByZoomLinesearchState(found.step, found.value, kept_grad(found.grad, state.grad), info)


class _Interval(NamedTuple):
    """The scalars of the zoom; `low` has the lowest value that is known, `high` is the other end."""

    best: jax.Array
    value_best: jax.Array
    count: jax.Array
    found: jax.Array
    last: jax.Array
    """The step tried before, and its value and slope."""
    value_last: jax.Array
    slope_last: jax.Array
    low: jax.Array
    value_low: jax.Array
    slope_low: jax.Array
    high: jax.Array
    value_high: jax.Array
    ref: jax.Array
    """A third point for the cubic."""
    value_ref: jax.Array


def _widen(s: _Interval, step, value, slope, decrease, curvature, *, tol, increase_factor, max_step) -> Tried:
    """Algorithm 3.5: take longer steps until one is good or the interval behind it holds a good one."""
    too_far = (decrease > 0) | ((value >= s.value_last) & (s.count > 0))
    turned = (slope >= 0) & ~too_far
    good = jnp.maximum(decrease, curvature) <= tol
    at_end = step >= max_step

    def ends(new: jax.Array, last: jax.Array) -> tuple[jax.Array, jax.Array]:
        return jnp.where(turned, new, last), jnp.where(turned, last, new)

    low, high = ends(step, s.last)
    value_low, value_high = ends(value, s.value_last)
    slope_low, _ = ends(slope, s.slope_last)
    safe = decrease <= tol
    renewed = s._replace(
        best=jnp.where(safe, step, s.best),
        value_best=jnp.where(safe, value, s.value_best),
        count=s.count + 1,
        found=too_far | turned | good,
        last=step,
        value_last=value,
        slope_last=slope,
        low=low,
        value_low=value_low,
        slope_low=slope_low,
        high=high,
        value_high=value_high,
        ref=low,
        value_ref=value_low,
    )
    longer = jnp.minimum(increase_factor * step, max_step)
    next_step = jnp.where(renewed.found, _middle(renewed), longer)
    return Tried(renewed, next_step, good | (at_end & ~renewed.found), jnp.zeros((), bool))


def _narrow(s: _Interval, step, value, slope, decrease, curvature, *, tol, precision) -> Tried:
    """Algorithm 3.6: replace one end of the interval by a point inside."""
    good = jnp.maximum(decrease, curvature) <= tol
    safe = (decrease <= tol) & (value < s.value_best)
    best = jnp.where(safe, step, s.best)
    worse = (decrease > 0) | (value >= s.value_low)
    turned = (slope * (s.high - s.low) >= 0) & ~worse
    renewed = s._replace(
        best=best,
        value_best=jnp.where(safe, value, s.value_best),
        count=s.count + 1,
        low=jnp.where(worse, s.low, step),
        value_low=jnp.where(worse, s.value_low, value),
        slope_low=jnp.where(worse, s.slope_low, slope),
        high=jnp.where(worse, step, jnp.where(turned, s.low, s.high)),
        value_high=jnp.where(worse, value, jnp.where(turned, s.value_low, s.value_high)),
        ref=jnp.where(worse | turned, s.high, s.low),
        value_ref=jnp.where(worse | turned, s.value_high, s.value_low),
    )
    too_small = (jnp.abs(s.high - s.low) <= precision) & (best > 0)
    return Tried(renewed, _middle(renewed), good, too_small)


def _middle(s: _Interval) -> jax.Array:
    """Return a step inside: the cubic's minimum, else the parabola's, else the middle; not too near an end."""
    width, left = jnp.abs(s.high - s.low), jnp.minimum(s.high, s.low)

    def is_inside(step: jax.Array, margin: float) -> jax.Array:
        return (step > left + margin * width) & (step < left + width - margin * width)

    cubic, parabola = _cubic_minimum(s), _parabola_minimum(s)
    middle = (s.low + s.high) / 2
    return jnp.where(is_inside(cubic, 0.2), cubic, jnp.where(is_inside(parabola, 0.1), parabola, middle))


def _parabola_minimum(s: _Interval) -> jax.Array:
    """Return the minimum of the parabola through low, its slope, and high; no number where there is none."""
    d = s.high - s.low
    bend = (s.value_high - s.value_low - s.slope_low * d) / (d * d)
    return s.low - s.slope_low / (2 * bend)


def _cubic_minimum(s: _Interval) -> jax.Array:
    """Return the minimum of the cubic through low, its slope, high and ref; no number where there is none.

    With x the distance from low, phi = A·x³ + B·x² + slope·x + value; A and B from the two other points.
    """
    dh, dr = s.high - s.low, s.ref - s.low
    rest_h = (s.value_high - s.value_low - s.slope_low * dh) / (dh * dh)
    rest_r = (s.value_ref - s.value_low - s.slope_low * dr) / (dr * dr)
    a = (rest_h - rest_r) / (dh - dr)
    b = rest_h - a * dh
    return s.low + (-b + jnp.sqrt(b * b - 3 * a * s.slope_low)) / (3 * a)


def _zoom(line: Line, criteria: Criteria, first: jax.Array, hyper: dict[str, Any], max_steps: int) -> Search:
    zero = jnp.zeros((), line.dtype)
    start = _Interval(
        best=zero,
        value_best=line.value,
        count=jnp.zeros((), jnp.int32),
        found=jnp.zeros((), bool),
        last=zero,
        value_last=line.value,
        slope_last=line.slope,
        low=zero,
        value_low=line.value,
        slope_low=line.slope,
        high=zero,
        value_high=line.value,
        ref=zero,
        value_ref=line.value,
    )
    widen = functools.partial(
        _widen, tol=hyper["tol"], increase_factor=hyper["increase_factor"], max_step=hyper["max_step"]
    )
    narrow = functools.partial(_narrow, tol=hyper["tol"], precision=hyper["stepsize_precision"])

    def rule(s: _Interval, *tried: jax.Array) -> Tried:
        return tree.where(s.found, narrow(s, *tried), widen(s, *tried))

    return search(line, criteria, first, start, rule, max_steps)


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
    """Multiply the update by a step that satisfies the strong Wolfe conditions: enough decrease, a flatter slope.

    f(p + a · u) ≤ f(p) + slope_rtol · a · f'(p)·u  and  |f'(p + a · u)·u| ≤ curv_rtol · |f'(p)·u|; where values round,
    near a minimum, (2 · slope_rtol - 1) · f'(p)·u ≥ f'(p + a · u)·u may stand for the first.

    Args:
      tol: what both conditions may be missed by.
      increase_factor: lengthens the step until the interval behind it holds a good one.
      stepsize_precision: an interval this small is not searched further once a step in it decreases enough.
      initial_guess_strategy: try first the last step ("keep") or 1 ("one").

    Unlike Optax's it takes no step where none decreases the value, and ignores extras that `value_fn` does not name.
    `lax.while_loop` has no reverse derivative: nor has this.

    State: 1 number per parameter. Needs: params, value_fn; value and grad, else computed at params.
    Nocedal and Wright 2006, Algorithms 3.5 and 3.6; Hager and Zhang 2005, eq. 23.

    >>> import gradx
    >>> tx = gradx.chain(gradx.sgd(1.0), gradx.scale_by_zoom_linesearch(15))
    >>> updates, _ = tx.update(6.0, tx.init(3.0), 3.0, value=9.0, grad=6.0, value_fn=lambda x: x**2)
    >>> float(updates)
    -3.0
    """
    if initial_guess_strategy not in ("keep", "one"):
        raise ValueError(
            f"scale_by_zoom_linesearch: initial_guess_strategy must be 'keep' or 'one', got {initial_guess_strategy!r}"
        )

    def update(
        updates: Updates,
        state: ScaleByZoomLinesearchState,
        params: Params,
        *,
        value_fn: ValueFn,
        value: ArrayLike | None = None,
        grad: Updates | None = None,
        **extras: Any,
    ) -> tuple[Updates, ScaleByZoomLinesearchState]:
        line = line_of(updates, params, value, grad, value_fn, extras)

        longest = jnp.inf if max_learning_rate is None else max_learning_rate
        hyper = numbers(line, tol=tol, increase_factor=increase_factor, max_step=longest)
        hyper |= numbers(line, stepsize_precision=stepsize_precision)
        limits = numbers(line, slope_rtol=slope_rtol, curv_rtol=curv_rtol)
        limits |= {} if approx_dec_rtol is None else numbers(line, approx_dec_rtol=approx_dec_rtol)
        kept = jnp.where(state.learning_rate > 0, state.learning_rate, 1)
        first = jnp.minimum(kept if initial_guess_strategy == "keep" else jnp.ones_like(kept), hyper["max_step"])
        found = _zoom(line, Criteria(**limits), first, hyper, max_linesearch_steps)
        if verbose:
            failed = jnp.maximum(found.decrease_error, found.curvature_error) > hyper["tol"]
            say_if(failed, "scale_by_zoom_linesearch", line, found)
        return tree.scale(found.step, updates), next_state(state, found)

    return init_state, update
