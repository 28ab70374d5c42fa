"""The simplest line search: shorter steps until the value decreases enough."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics, tree
from gradx.core import transformation
from gradx.transforms.line_search import Line, ValueFn, kept_grad, line_of, numbers, say_if, value_dtype
from gradx.typing import Fraction, NonNegative, Params, Positive, PositiveInt, Updates


class BacktrackingLinesearchInfo(NamedTuple):
    """How the last search ended."""

    num_linesearch_steps: jax.Array
    """int32[]: how often the function was evaluated."""
    decrease_error: jax.Array
    """By how much the value decreased too little; 0 is a success, infinity where it was no number."""


class ScaleByBacktrackingLinesearchState(NamedTuple):
    """The state of `scale_by_backtracking_linesearch`."""

    learning_rate: jax.Array
    """The step of the last search; 0 where nothing decreased."""
    value: jax.Array
    """The function at the new parameters; at first infinity."""
    grad: Updates
    """Its gradient there, as `jax.grad` gives it; like the parameters, at least float32. `None` unless `store_grad`."""
    info: BacktrackingLinesearchInfo


class _Search(NamedTuple):
    step: jax.Array
    value: jax.Array
    grad: Updates | None
    decrease_error: jax.Array
    count: jax.Array


def _backtrack(line: Line, first: jax.Array, hyper: dict[str, Any], max_steps: int, store_grad: bool) -> _Search:
    """Try `first`, then shorter steps, until the value decreases enough; `max_steps` shorter ones at most."""

    def body(s: _Search) -> _Search:
        step = jnp.where(s.count > 0, hyper["decrease_factor"] * s.step, s.step)
        if store_grad:
            value, pull_back = jax.vjp(line.value_of, line.start(step))
        else:
            value, pull_back = line.value_of(line.start(step)), None
        error = value - (1 + hyper["rtol"]) * line.value - step * hyper["slope_rtol"] * line.slope
        error = jnp.where(jnp.isnan(error), jnp.inf, jnp.maximum(error, 0))
        grad = s.grad
        if pull_back is not None:
            taken = (error <= hyper["atol"]) | ((s.count == max_steps) & (value < line.value))
            grad = jax.lax.cond(taken, lambda: pull_back(jnp.ones_like(value))[0], lambda: s.grad)
        return _Search(step, value, grad, error, s.count + 1)

    def goes_on(s: _Search) -> jax.Array:
        return ~(s.decrease_error <= hyper["atol"]) & (s.count <= max_steps)

    infinite = jnp.full((), jnp.inf, line.dtype)
    start = _Search(first, line.value, line.grad if store_grad else None, infinite, jnp.zeros((), jnp.int32))
    start, *_ = numerics.vary_together(start, line.params, line.updates)
    s = jax.lax.while_loop(goes_on, body, start)
    stuck = ~(s.decrease_error <= hyper["atol"]) & ~(s.value < line.value)
    return s._replace(step=jnp.where(stuck, 0, s.step), value=jnp.where(stuck, line.value, s.value))


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
    """Multiply the update by a step that decreases the value enough: the last one lengthened, then shortened as needed.

    f(p + a · u) ≤ (1 + rtol) · f(p) + slope_rtol · a · f'(p)·u + atol

    Args:
      max_backtracking_steps: how often the step may be shortened, at least 1.
      decrease_factor: shortens a step, in [0, 1].
      increase_factor: lengthens the last search's step for the first try of the next.
      max_learning_rate: the longest step.
      atol, rtol: what the value may rise, and may rise relative to it.
      store_grad: keep the gradient at the new point, for `value_and_grad_from_state`.

    Unlike Optax's it takes no step where none decreases the value, starts the next search at `max_learning_rate`, 1 at
    most, after that, and ignores extras that `value_fn` does not name. No reverse derivative: it is a `lax.while_loop`.

    State: none per parameter; 1 number with `store_grad`. Needs: params, value_fn; value and grad, else computed.
    Nocedal and Wright 2006, Algorithm 3.1; Vaswani et al. 2019, arXiv:1905.09997, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.chain(gradx.sgd(1.0), gradx.scale_by_backtracking_linesearch(15, decrease_factor=0.5))
    >>> updates, _ = tx.update(6.0, tx.init(3.0), 3.0, value=9.0, grad=6.0, value_fn=lambda x: x**2)
    >>> float(updates)  # 1 leads to -3, which is no better
    -3.0
    """

    def init(params: Params) -> ScaleByBacktrackingLinesearchState:
        dtype = value_dtype(params)
        info = BacktrackingLinesearchInfo(jnp.zeros((), jnp.int32), jnp.full((), jnp.inf, dtype))
        grad = tree.zeros_like(params) if store_grad else None
        state = ScaleByBacktrackingLinesearchState(jnp.ones((), dtype), jnp.full((), jnp.inf, dtype), grad, info)
        return numerics.vary_together(state, params)[0]

    def update(
        updates: Updates,
        state: ScaleByBacktrackingLinesearchState,
        params: Params,
        *,
        value_fn: ValueFn,
        value: ArrayLike | None = None,
        grad: Updates | None = None,
        **extras: Any,
    ) -> tuple[Updates, ScaleByBacktrackingLinesearchState]:
        line = line_of(updates, params, value, grad, value_fn, extras)
        hyper = numbers(line, slope_rtol=slope_rtol, decrease_factor=decrease_factor, atol=atol, rtol=rtol)
        hyper |= numbers(line, increase_factor=increase_factor, longest=max_learning_rate)
        longer = jnp.where(state.learning_rate > 0, hyper["increase_factor"] * state.learning_rate, 1)
        found = _backtrack(line, jnp.minimum(longer, hyper["longest"]), hyper, max_backtracking_steps, store_grad)
        if verbose:
            say_if(found.decrease_error > hyper["atol"], "scale_by_backtracking_linesearch", line, found)
        kept = kept_grad(found.grad, state.grad) if store_grad else None
        info = BacktrackingLinesearchInfo(found.count, found.decrease_error)
        return tree.scale(found.step, updates), ScaleByBacktrackingLinesearchState(found.step, found.value, kept, info)

    return init, update
