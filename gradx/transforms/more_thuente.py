"""The line search of Moré and Thuente: cubic steps with safeguards, one evaluation where the first step is good."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import tree
from gradx.core import transformation
from gradx.transforms.line_search import Criteria, Line, Tried, ValueFn, line_of, numbers, say_if, search
from gradx.transforms.zoom import ScaleByZoomLinesearchState, init_state, next_state
from gradx.typing import NonNegative, Params, Positive, PositiveInt, Updates

GROWTH_LEAST, GROWTH_MOST = 1.1, 4.0
"""Without an upper end the next step lies this many times the last advance beyond the last step."""
SHRINK = 0.66
"""Two steps must shrink the interval by this factor, else it is halved; the paper's delta."""
RETREAT = 0.1
"""The part of an advance that is kept where the function is no number."""


ROUNDING = 8
"""The units in the last place of the value that rounding may add."""


class Point(NamedTuple):
    """A step with the value and the slope there."""

    step: jax.Array
    value: jax.Array
    slope: jax.Array


class _Trial(NamedTuple):
    best: jax.Array
    """The step of `low` once it decreases enough, else 0."""
    low: Point
    """The end with the lower value, whose slope points into the interval."""
    high: Point
    """The other end; once `bracketed` the interval between them holds a minimum."""
    bracketed: jax.Array
    decreased: jax.Array
    """Whether a step with enough decrease and a slope of at least 0 was seen: the paper's second stage."""
    width: jax.Array
    width_before: jax.Array
    longest: jax.Array
    """No step beyond; smaller once a step was seen where the function is no number."""


def cubic_step(low: Point, high: Point, at: Point, bracketed: jax.Array, least: jax.Array, most: jax.Array) -> Any:
    """Return the next step by the four cases of the paper's section 4, and whether a minimum is bracketed."""
    higher = at.value > low.value
    opposite = at.slope * low.slope < 0
    flatter = jnp.abs(at.slope) < jnp.abs(low.slope)
    advance = at.step - low.step

    # Cases 1 to 3: the cubic through both points, and the parabolas through value and slopes, or through both slopes.
    theta = 3 * (low.value - at.value) / advance + low.slope + at.slope
    gamma = jnp.sign(advance) * _root(theta, low.slope, at.slope)
    cubic_low = low.step + (gamma - low.slope + theta) / (2 * gamma - low.slope + at.slope) * advance
    parabola = low.step + low.slope / ((low.value - at.value) / advance + low.slope) / 2 * advance
    nearer = jnp.abs(cubic_low - low.step) < jnp.abs(parabola - low.step)
    case_1 = jnp.where(nearer, cubic_low, (cubic_low + parabola) / 2)

    ratio = (-gamma - at.slope + theta) / (low.slope - at.slope - 2 * gamma)
    cubic_at = at.step - ratio * advance
    secant = at.step + at.slope / (at.slope - low.slope) * (low.step - at.step)
    farther = jnp.abs(cubic_at - at.step) > jnp.abs(secant - at.step)
    case_2 = jnp.where(farther, cubic_at, secant)

    beyond = jnp.where((ratio < 0) & (gamma != 0), cubic_at, jnp.where(advance > 0, most, least))
    farther = jnp.abs(beyond - at.step) > jnp.abs(secant - at.step)
    inside = jnp.where(farther, secant, beyond)
    limit = at.step + SHRINK * (high.step - at.step)
    inside = jnp.where(advance > 0, jnp.minimum(limit, inside), jnp.maximum(limit, inside))
    case_3 = jnp.where(bracketed, inside, jnp.clip(jnp.where(farther, beyond, secant), least, most))

    # Case 4: no flatter, no higher, same direction: on towards the other end.
    theta = 3 * (at.value - high.value) / (high.step - at.step) + high.slope + at.slope
    gamma = jnp.sign(high.step - at.step) * _root(theta, high.slope, at.slope)
    cubic_high = at.step + (gamma - at.slope + theta) / (2 * gamma - at.slope + high.slope) * (high.step - at.step)
    case_4 = jnp.where(bracketed, cubic_high, jnp.where(advance > 0, most, least))

    step = jnp.where(higher, case_1, jnp.where(opposite, case_2, jnp.where(flatter, case_3, case_4)))
    return step, bracketed | higher | opposite


def _root(theta: jax.Array, slope: jax.Array, other: jax.Array) -> jax.Array:
    """Return sqrt(theta² - slope · other), scaled against overflow; 0 where rounding makes it negative."""
    size = jnp.maximum(jnp.abs(theta), jnp.maximum(jnp.abs(slope), jnp.abs(other)))
    size = jnp.where(size > 0, size, 1)
    return size * jnp.sqrt(jnp.maximum((theta / size) ** 2 - (slope / size) * (other / size), 0))


def _bounds(s: _Trial, step: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return between which steps the one after `step` may lie: inside the interval, else some way ahead."""
    left, right = jnp.minimum(s.low.step, s.high.step), jnp.maximum(s.low.step, s.high.step)
    advance = step - s.low.step
    ahead = jnp.where(s.low.step > 0, step + GROWTH_LEAST * advance, 0)
    return jnp.where(s.bracketed, left, ahead), jnp.where(s.bracketed, right, step + GROWTH_MOST * advance)


def _advance(
    s: _Trial, step: Any, value: Any, slope: Any, decrease: Any, curvature: Any, *, line: Line, hyper: dict[str, Any]
) -> Tried:
    """Renew the interval and choose the next step; the paper's section 3, with the function psi until it decreased."""
    asked = hyper["slope_rtol"] * line.slope
    enough, at = decrease <= 0, Point(step, value, slope)
    decreased = s.decreased | (enough & (slope >= 0))
    use_psi = ~decreased & (value <= s.low.value) & (value > line.value + step * asked)

    def psi(point: Point) -> Point:
        value, slope = point.value - line.value - point.step * asked, point.slope - asked
        return Point(point.step, jnp.where(use_psi, value, point.value), jnp.where(use_psi, slope, point.slope))

    low, high, seen = psi(s.low), psi(s.high), psi(at)
    next_step, bracketed = cubic_step(low, high, seen, s.bracketed, *_bounds(s, step))
    higher, opposite = seen.value > low.value, seen.slope * low.slope < 0
    new_high = tree.where(higher, at, tree.where(opposite, s.low, s.high))
    new_low = tree.where(higher, s.low, at)
    width = jnp.abs(new_high.step - new_low.step)
    slow = bracketed & (width >= SHRINK * s.width_before)
    next_step = jnp.where(slow, (new_low.step + new_high.step) / 2, next_step)
    decreases = (value < line.value) & (value <= s.low.value)
    renewed = _Trial(
        best=jnp.where(decreases, step, s.best),
        low=new_low,
        high=new_high,
        bracketed=bracketed,
        decreased=decreased,
        width=jnp.where(bracketed, width, s.width),
        width_before=jnp.where(bracketed, s.width, s.width_before),
        longest=s.longest,
    )
    next_step = jnp.clip(next_step, 0, s.longest)
    left, right = jnp.minimum(new_low.step, new_high.step), jnp.maximum(new_low.step, new_high.step)
    tiny = (right - left <= hyper["interval_rtol"] * right) | (next_step <= left) | (next_step >= right)
    at_end = (step >= s.longest) & (next_step >= s.longest)
    hopeless = (bracketed & tiny & (renewed.best > 0)) | at_end
    return _unless_broken(s, at, Tried(renewed, next_step, enough & (curvature <= 0), hopeless))


def _unless_broken(s: _Trial, at: Point, tried: Tried) -> Tried:
    """Where the function is no number, come back towards the best step, and never go so far again."""
    fine = jnp.isfinite(at.value) & jnp.isfinite(at.slope)
    retreat = s.low.step + RETREAT * (at.step - s.low.step)
    back = Tried(s._replace(longest=at.step), retreat, jnp.zeros((), bool), jnp.zeros((), bool))
    return tree.where(fine, tried, back)


@transformation
def scale_by_more_thuente_linesearch(
    max_linesearch_steps: PositiveInt = 20,
    max_learning_rate: Positive | None = None,
    slope_rtol: NonNegative = 1e-3,
    curv_rtol: NonNegative = 0.9,
    approx_dec_rtol: NonNegative | None = None,
    interval_rtol: NonNegative = 0.1,
    verbose: bool = False,
) -> Any:
    """Multiply the update by a step that satisfies the strong Wolfe conditions, from 1 on, in as few tries as possible.

    Enough decrease and a flatter slope as in `scale_by_zoom_linesearch`; steps are minima of cubics, safeguarded. The
    step is 0 where none of those tried decreases the value or the update does not descend.

    Args:
      approx_dec_rtol: what the value may rise, relative to it, where slopes alone say that a step is good; None is 8
        units in its last place.
      interval_rtol: an interval this small, relative to its end, is not searched further.

    Departs from the paper where the function is no number (comes back to a tenth), and near a minimum, where values
    round (Hager and Zhang 2005, eq. 23). `lax.while_loop` has no reverse derivative: nor has this.

    State: 1 number per parameter. Needs: params, value_fn; value and grad, else computed at params.
    Moré and Thuente 1994, "Line search algorithms with guaranteed sufficient decrease".

    >>> import gradx
    >>> tx = gradx.chain(gradx.sgd(1.0), gradx.scale_by_more_thuente_linesearch())
    >>> updates, _ = tx.update(1.0, tx.init(1.0), 1.0, value=0.5, grad=1.0, value_fn=lambda x: x**2 / 2)
    >>> float(updates)
    -1.0
    """

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
        zero, infinite = jnp.zeros((), line.dtype), jnp.full((), jnp.inf, line.dtype)
        rise = ROUNDING * jnp.finfo(line.dtype).eps if approx_dec_rtol is None else approx_dec_rtol
        hyper = numbers(line, slope_rtol=slope_rtol, curv_rtol=curv_rtol, interval_rtol=interval_rtol, rise=rise)
        hyper |= numbers(line, longest=infinite if max_learning_rate is None else max_learning_rate)
        start = Point(zero, line.value, line.slope)
        no = jnp.zeros((), bool)
        trial = _Trial(zero, start, start, no, no, infinite, infinite, hyper["longest"])
        rule = functools.partial(_advance, line=line, hyper=hyper)
        criteria = Criteria(hyper["slope_rtol"], hyper["curv_rtol"], hyper["rise"])
        first = jnp.minimum(jnp.ones((), line.dtype), hyper["longest"])
        found = search(line, criteria, first, trial, rule, max_linesearch_steps)
        if verbose:
            failed = jnp.maximum(found.decrease_error, found.curvature_error) > 0
            say_if(failed, "scale_by_more_thuente_linesearch", line, found)
        return tree.scale(found.step, updates), next_state(state, found)

    return init_state, update
