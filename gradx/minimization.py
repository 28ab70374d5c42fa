"""`minimize`: a whole descent as one compiled program, with any transformation."""

import enum
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradx import boundary, eager, tree
from gradx.combine import chain, named_chain
from gradx.core import GradientTransformation, ScheduledState, apply_updates
from gradx.glossary import document_all
from gradx.optimizers.lbfgs import lbfgs
from gradx.running import parts_of
from gradx.traced import Computation, trace
from gradx.transforms.line_search import is_search_state, value_dtype
from gradx.typing import NonNegative, Params, PositiveInt, State, Updates
from gradx.value import Value

PATIENCE = 40
"""After so many evaluations of a line search without a lower value or a smaller gradient there is no more to gain."""


class StopReason(enum.IntEnum):
    """Why `minimize` stopped."""

    RUNNING = -1
    CONVERGED = 0
    MAX_STEPS = 1
    NO_DECREASE = 2
    NOT_FINITE = 3

    @property
    def text(self) -> str:
        """Say it in words."""
        return _TEXTS[self]


_TEXTS = {
    StopReason.RUNNING: "still running",
    StopReason.CONVERGED: "converged: no entry of the gradient is larger than tol",
    StopReason.MAX_STEPS: "max_steps reached before the gradient was small enough",
    StopReason.NO_DECREASE: "no step decreases the value any more: precision is exhausted, or the gradient is wrong",
    StopReason.NOT_FINITE: "the value or the gradient is no finite number; params are the last where both were",
}


class MinimizeHistory(NamedTuple):
    """What the steps went through; NaN behind the last."""

    values: jax.Array
    """(max_steps + 1,): the value before the first step and after each."""
    grad_norms: jax.Array
    """(max_steps + 1,): the largest |entry| of the gradient there."""


class MinimizeResult(NamedTuple):
    """Where `minimize` ended, and why."""

    params: Params
    value: jax.Array
    grad_norm: jax.Array
    """The largest |entry| of the gradient."""
    steps: jax.Array
    """int32[]: the updates taken."""
    evaluations: jax.Array
    """int32[]: how often the function was evaluated, nearly always with its gradient."""
    reason: jax.Array
    """int32[]: a `StopReason`."""
    history: MinimizeHistory

    @property
    def message(self) -> str | list[str]:
        """Why it stopped, in words; a list of them under vmap."""
        found = np.asarray(self.reason)
        return StopReason(int(found)).text if found.ndim == 0 else [StopReason(int(x)).text for x in found.ravel()]

    @property
    def converged(self) -> jax.Array:
        """Whether the gradient is as small as `tol`."""
        return self.reason == StopReason.CONVERGED


class _Run(NamedTuple):
    params: Params
    state: State
    value: jax.Array
    grad: Updates
    grad_norm: jax.Array
    steps: jax.Array
    evaluations: jax.Array
    reason: jax.Array
    stuck: jax.Array
    """int32[]: the last steps in a row in which the search found none."""
    idle: jax.Array
    """int32[]: the evaluations since there was a lower value or a smaller gradient than ever before."""
    best_value: jax.Array
    best_norm: jax.Array
    history: MinimizeHistory


def minimize(
    fun: Callable[[Params], jax.Array],
    params: Params,
    tx: GradientTransformation = lbfgs(),
    max_steps: PositiveInt = 1000,
    tol: NonNegative = 1e-5,
    progress: int = 0,
) -> MinimizeResult:
    """Minimize a function from `params` on, in one compiled loop; works under `jit` and `vmap`.

    Args:
      fun: from parameters to a real scalar; without noise for line searches.
      params: where to start. bfloat16 and float16 are computed with in float32 and come back as they were.
      tx: any transformation. Where a line search is its last part, its value and gradient are reused.
      max_steps: the most updates.
      tol: stop when no |entry| of the gradient is larger; 0 goes on while anything decreases.
      progress: print a line every so many steps; 0 prints nothing.

    Returns a `MinimizeResult`; its `message` says why it stopped. Un-jitted, each call asks `fun` once what it
    computes, and what computes the same, of other arrays or at other rates too, is compiled once. Cannot be
    differentiated in reverse.

    >>> import gradx, jax.numpy as jnp
    >>> def rosenbrock(x):
    ...     return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)
    >>> result = gradx.minimize(rosenbrock, jnp.array([-1.2, 1.0]), tol=1e-3)
    >>> bool(result.converged), [round(float(x), 2) for x in result.params]
    (True, [1.0, 1.0])
    """
    if not isinstance(tx, GradientTransformation) and not (hasattr(tx, "init") and hasattr(tx, "update")):
        raise TypeError(f"minimize: tx must be a transformation, got {tx!r}")
    result = _run_known(fun, params, tx, max_steps, tol, progress)
    if result is None:
        run = jax.jit(lambda params, tol: _minimize(fun, params, tx, max_steps, tol, progress))
        result = run(params, tol)
    if progress and not isinstance(result.value, Tracer):
        jax.effects_barrier()
    return result


def _run_known(
    fun: Callable, params: Params, tx: Any, max_steps: int, tol: Any, progress: int
) -> MinimizeResult | None:
    """Minimize by a program that is kept for the next call, or return `None`.

    No user's function is in it: `fun` stands there as what it computes, and its arrays come as arguments; masks and
    labels are what they answer now.
    """
    if getattr(jax.config, eager.WITHOUT_JIT) or not isinstance(tx, Value) or not eager.are_concrete((tx, params, tol)):
        return None
    own = boundary.own_form(tx, params)
    if not own.is_own or (found := trace(fun, jax.eval_shape(tree.lift, params))) is None:
        return None
    if not eager.are_concrete(found.arrays):  # of a trace outside
        return None
    return _program(found.computation, max_steps, progress)(params, found.arrays, own, tol)


@functools.lru_cache(maxsize=32)
def _program(computation: Computation, max_steps: int, progress: int) -> Callable[..., MinimizeResult]:
    """Return the compiled descent on a computation; the same for equal ones."""

    def run(params: Params, arrays: list, tx: Any, tol: Any) -> MinimizeResult:
        return _minimize(computation.bind(arrays), params, tx, max_steps, tol, progress)

    return jax.jit(run)


def _minimize(fun: Callable, params: Params, tx: Any, max_steps: int, tol: Any, progress: int) -> MinimizeResult:
    exact = tree.lift(params)
    value_and_grad = jax.value_and_grad(lambda p: jnp.asarray(fun(p)).astype(value_dtype(p)))
    step = _step_of(fun, value_and_grad, tx, max_steps, tol, progress)
    run = jax.lax.while_loop(
        lambda run: run.reason == StopReason.RUNNING, step, _start(value_and_grad, exact, tx, max_steps, tol)
    )
    found = tree.cast_like(run.params, params)
    return MinimizeResult(found, run.value, run.grad_norm, run.steps, run.evaluations, run.reason, run.history)


def _start(value_and_grad: Callable, params: Params, tx: Any, max_steps: int, tol: Any) -> _Run:
    value, grad = value_and_grad(params)
    norm = tree.norm(grad, "inf").astype(value.dtype)
    zero = jnp.zeros((), jnp.int32)
    empty = jnp.full((max_steps + 1,), jnp.nan, value.dtype)
    history = MinimizeHistory(empty.at[0].set(value), empty.at[0].set(norm))
    finite = jnp.isfinite(value) & jnp.isfinite(norm)
    reason = jnp.where(finite, _verdict(norm, tol), StopReason.NOT_FINITE)
    return _Run(
        params=params,
        state=tx.init(params),
        value=value,
        grad=grad,
        grad_norm=norm,
        steps=zero,
        evaluations=zero + 1,
        reason=reason.astype(jnp.int32),
        stuck=zero,
        idle=zero,
        best_value=value,
        best_norm=norm,
        history=history,
    )


def _verdict(norm: jax.Array, tol: Any) -> jax.Array:
    return jnp.where(norm <= tol, StopReason.CONVERGED, StopReason.RUNNING)


def _step_of(
    fun: Callable, value_and_grad: Callable, tx: Any, max_steps: int, tol: Any, progress: int
) -> Callable[[_Run], _Run]:
    """Return one step of the loop."""

    def step(run: _Run) -> _Run:
        extras = {"value": run.value, "grad": run.grad, "value_fn": fun}
        updates, state = tx.update(tree.conj(run.grad), run.state, run.params, **extras)
        params = apply_updates(run.params, updates)
        search, is_last = _search_in(tx, state)
        tried = 0 if search is None else search.info.num_linesearch_steps
        if is_last and search is not None and search.grad is not None:
            value, grad = search.value, tree.cast_like(search.grad, run.grad)
        else:
            (value, grad), tried = value_and_grad(params), tried + 1
        norm = tree.norm(grad, "inf").astype(value.dtype)
        steps = run.steps + 1
        nowhere = jnp.zeros((), bool) if search is None else search.learning_rate == 0
        lower = value < run.best_value - jnp.finfo(value.dtype).eps * jnp.abs(run.best_value)
        gains = lower | (norm < run.best_norm)
        finite = jnp.isfinite(value) & jnp.isfinite(norm)
        stuck, idle = jnp.where(nowhere, run.stuck + 1, 0), jnp.where(gains, 0, run.idle + tried)
        ends = (stuck > 1) | (idle >= PATIENCE) if search is not None else jnp.zeros((), bool)
        reason = jnp.where(steps >= max_steps, StopReason.MAX_STEPS, StopReason.RUNNING)
        reason = jnp.where(ends, StopReason.NO_DECREASE, reason)
        reason = jnp.where(norm <= tol, StopReason.CONVERGED, reason)
        reason = jnp.where(finite, reason, StopReason.NOT_FINITE).astype(jnp.int32)
        history = MinimizeHistory(run.history.values.at[steps].set(value), run.history.grad_norms.at[steps].set(norm))
        evaluations = run.evaluations + tried
        if progress:
            jax.debug.callback(_say, steps, value, norm, evaluations, reason, every=progress)
        params, value, grad, norm = tree.where(
            finite, (params, value, grad, norm), (run.params, run.value, run.grad, run.grad_norm)
        )
        best_value, best_norm = jnp.minimum(run.best_value, value), jnp.minimum(run.best_norm, norm)
        return _Run(
            params, state, value, grad, norm, steps, evaluations, reason, stuck, idle, best_value, best_norm, history
        )

    return step


def _say(steps: Any, value: Any, norm: Any, evaluations: Any, reason: Any, every: int) -> None:
    last = reason != StopReason.RUNNING
    if steps % every == 0 or last:
        end = f"  {StopReason(int(reason)).text}" if last else ""
        found = f"value {float(value):.8g}  |grad| {float(norm):.2e}  {int(evaluations)} evaluations"
        print(f"step {int(steps):5d}  {found}{end}")


def _search_in(tx: Any, state: State) -> tuple[Any, bool]:
    """Return the state of the only line search inside, and whether what it found is what moves the parameters."""
    found = [x for x in jax.tree.leaves(state, is_leaf=is_search_state) if is_search_state(x)]
    if len(found) != 1:
        return None, False
    return found[0], _last(tx, state) is found[0]


def _last(tx: Any, state: State) -> Any:
    """Return the state of the part that acts last: through recipes and chains, which hand its update on as it is."""
    if isinstance(tx, GradientTransformation) and (tx.is_recipe or tx.factory in (chain, named_chain)):
        parts = parts_of(tx, state)
        return _last(*parts[-1][1:]) if parts else None
    return state.inner_state if isinstance(state, ScheduledState) else state


__all__ = ["MinimizeHistory", "MinimizeResult", "StopReason", "minimize"]

__dir__ = document_all(globals(), __all__)
