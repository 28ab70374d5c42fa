"""L-BFGS's direction by dense matrices; line searches on functions of one number, from the book, in Python floats."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from tests.oracles.optimizers_trajectory import CURVATURE, NOISE, TARGET, Row, Tree, loss

RATE = 0.05

Phi = Callable[[float], tuple[float, float]]
"""From a step to value and slope."""


def flat(trees: Tree) -> np.ndarray:
    return np.concatenate([np.ravel(trees[name]) for name in sorted(trees)])


def like(vector: np.ndarray, trees: Tree) -> Tree:
    ends = np.cumsum([trees[name].size for name in sorted(trees)])[:-1]
    return {name: x.reshape(trees[name].shape) for name, x in zip(sorted(trees), np.split(vector, ends), strict=True)}


class DenseBFGS:
    """The inverse Hessian as a matrix, from gamma · I by the last pairs (Nocedal and Wright 2006, eq. 6.17, 7.20)."""

    def __init__(self, learning_rate: float, memory_size: int, scale_init_precond: bool) -> None:
        self.rate, self.size, self.scaled = learning_rate, memory_size, scale_init_precond
        self.slots: list[tuple[np.ndarray, np.ndarray] | None] = []
        self.before: tuple[np.ndarray, np.ndarray] | None = None

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        g, p = flat(grads), flat(params)
        if self.before is not None:
            s, y = p - self.before[0], g - self.before[1]
            bends_up = s @ y > np.finfo(np.float64).eps * np.linalg.norm(s) * np.linalg.norm(y)
            self.slots = [*self.slots, (s, y) if bends_up else None][-self.size :]  # one left out takes a place too
        self.before = (p, g)
        return like(-self.rate * (self.matrix(g) @ g), grads)

    def matrix(self, g: np.ndarray) -> np.ndarray:
        pairs = [pair for pair in self.slots if pair is not None]
        gamma = 1.0
        if self.scaled:
            s, y = pairs[-1] if pairs else (g, g * max(1, np.linalg.norm(g)))
            gamma = s @ y / (y @ y)
        h = gamma * np.eye(g.size)
        for s, y in pairs:
            rho = 1 / (s @ y)
            v = np.eye(g.size) - rho * np.outer(y, s)
            h = v.T @ h @ v + rho * np.outer(s, s)
        return h


def backtrack(phi: Phi, first: float, factor: float, slope_rtol: float, max_steps: int) -> tuple[float, int]:
    """Return step and evaluations of Algorithm 3.1; step 0 where nothing decreases."""
    value, slope = phi(0.0)
    step = first
    for count in range(1, max_steps + 2):
        new, _ = phi(step)
        if new <= value + slope_rtol * step * slope:
            return step, count
        last, step = step, factor * step
    return (last if new < value else 0.0), max_steps + 1


def zoom(phi: Phi, first: float, slope_rtol: float, curv_rtol: float, max_steps: int) -> tuple[float, int]:
    """Return step and evaluations of Algorithms 3.5 and 3.6, the new step by a cubic, a parabola, or bisection.

    Where the conditions are never met the step is the last that decreases enough, or a lower one in the interval.
    """
    value0, slope0 = phi(0.0)
    count = 0
    best = (value0, 0.0)
    missing = object()
    third: Any = missing

    def look(step: float) -> tuple[float, float, bool, bool]:
        nonlocal count, best
        count += 1
        value, slope = phi(step)
        enough = value <= value0 + slope_rtol * step * slope0
        if enough:
            best = (value, step) if third is missing else min(best, (value, step))
        return value, slope, enough, abs(slope) <= curv_rtol * abs(slope0)

    before, step = (0.0, value0, slope0), first
    while True:
        value, slope, enough, flat_enough = look(step)
        if enough and flat_enough:  # the book looks for a lower value first
            return step, count
        if not enough or (value >= before[1] and count > 1):
            low, high = before, (step, value, slope)
            break
        if slope >= 0:
            low, high = (step, value, slope), before
            break
        if count == max_steps:
            return best[1], count
        before, step = (step, value, slope), 2 * step

    third = None
    while count < max_steps:
        left, width = min(low[0], high[0]), abs(high[0] - low[0])
        step = (low[0] + high[0]) / 2
        parabola = lowest_of_parabola(low, high)
        if parabola is not None and left + 0.1 * width < parabola < left + 0.9 * width:
            step = parabola
        cubic = lowest_of_cubic(low, high, third) if third else None
        if cubic is not None and left + 0.2 * width < cubic < left + 0.8 * width:
            step = cubic
        value, slope, enough, flat_enough = look(step)
        if enough and flat_enough:
            return step, count
        if width <= 1e-5 and best[1] > 0:
            break
        if not enough or value >= low[1]:
            third, high = high, (step, value, slope)
        elif slope * (high[0] - low[0]) >= 0:
            third, high, low = high, low, (step, value, slope)
        else:
            third, low = low, (step, value, slope)
    return best[1], count


def lowest_of_parabola(low: tuple, high: tuple) -> float | None:
    """Through the value and the slope at `low` and the value at `high`; `None` where it has no stationary point."""
    a, b, _ = np.linalg.solve(
        [[low[0] ** 2, low[0], 1], [2 * low[0], 1, 0], [high[0] ** 2, high[0], 1]], [low[1], low[2], high[1]]
    )
    return float(-b / (2 * a)) if a else None


def lowest_of_cubic(low: tuple, high: tuple, third: tuple) -> float | None:
    """Through the value and the slope at `low` and the values of the two others; `None` where it has no minimum."""
    rows = [[0, 0, 0, 1], [0, 0, 1, 0]]
    values = [low[1], low[2]]
    for point in (high, third):
        x = point[0] - low[0]
        rows.append([x**3, x**2, x, 1])
        values.append(point[1])
    a, b, c, _ = np.linalg.solve(rows, values)
    if b * b - 3 * a * c < 0 or a == 0:
        return None
    return float(low[0] + (-b + np.sqrt(b * b - 3 * a * c)) / (3 * a))


def calm(step: int, grads: Tree) -> Tree:
    """Take the noise out: divided by small steps it makes pairs that bend down, and float32 wander."""
    return {name: g - NOISE[name][step].astype(g.dtype) for name, g in grads.items()}


def uneven(step: int, grads: Tree) -> Tree:
    """Let the gradient grow on the way down at two steps of three: a function that bends down."""
    return {name: ((1 + 0.2 * (step % 3)) * g).astype(g.dtype) for name, g in calm(step, grads).items()}


def _row(name: str, make: Callable[..., Any], **hyper: Any) -> Row:
    return Row(
        name,
        ours=lambda: make(gradx, **hyper),
        reference=lambda **changes: DenseBFGS(**(hyper | changes)),
        optax=lambda optax: make(optax, **hyper),
        hyper=hyper,
        corrupt=calm,
    )


def _block(library: Any, learning_rate: float, **hyper: Any) -> Any:
    return library.chain(library.scale_by_lbfgs(**hyper), library.sgd(learning_rate))


def _without_search(library: Any, **hyper: Any) -> Any:
    return library.lbfgs(**hyper, linesearch=None)


def value_and_slope(params: Tree, updates: Tree) -> Callable[[float], tuple[float, float]]:
    """Return the loss without noise and its derivative by the step, along the updates."""

    def phi(step: float) -> tuple[float, float]:
        moved = {name: p + step * updates[name] for name, p in params.items()}
        slopes = {name: CURVATURE[name] * (p - TARGET[name]) + 0.3 * np.sin(2 * p) for name, p in moved.items()}
        return float(loss(moved)), float(sum(np.sum(slopes[name] * updates[name]) for name in moved))

    return phi


class Searched:
    """A step of descent times what a search finds on the loss without noise; 0 where the update does not descend.

    `find(phi, last)` returns the step, `last` that of the search before, 1 at first.
    """

    def __init__(self, find: Callable[[Phi, float], float]) -> None:
        self.find, self.last = find, 1.0

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        updates = {name: -g for name, g in grads.items()}
        phi = value_and_slope(params, updates)
        self.last = self.find(phi, self.last) if phi(0.0)[1] < 0 else 0.0
        return {name: self.last * u for name, u in updates.items()}


def by_backtracking(phi: Phi, last: float) -> float:
    return backtrack(phi, min(1.5 * last, 1.0) if last else 1.0, 0.6, 0.1, 20)[0]


def by_zoom(phi: Phi, last: float) -> float:
    return zoom(phi, last or 1.0, 1e-4, 0.3, 20)[0]


def by_scipy(phi: Phi, last: float) -> float:
    """Moré and Thuente's search as SciPy has it."""
    from scipy.optimize._dcsrch import DCSRCH

    search = DCSRCH(lambda a: phi(a)[0], lambda a: phi(a)[1], 1e-3, 0.3, 0.1, 0.0, 1e10)
    found, *_ = search(1.0, *phi(0.0), maxiter=20)
    assert found is not None
    return float(found)


def jax_loss(params: Any) -> Any:
    """`loss` of the trajectories for JAX."""

    def of(name: str, p: Any) -> Any:
        curvature, target = (jnp.asarray(x[name], p.dtype) for x in (CURVATURE, TARGET))
        return jnp.sum(curvature * (p - target) ** 2 / 2 + 0.15 * (1 - jnp.cos(2 * p)))

    return sum(of(name, jnp.asarray(p)) for name, p in params.items())


def searching(library: Any, search: Any) -> Any:
    """Return descent and a search on the loss without noise, compiled: a value would be run as Python beside it."""
    tx = library.chain(library.sgd(1.0), search)

    @jax.jit
    def update(grads: Tree, state: Any, params: Tree) -> Any:
        value, grad = jax.value_and_grad(jax_loss)(params)
        return tx.update(grads, state, params, value=value, grad=grad, value_fn=jax_loss)

    return library.GradientTransformation(tx.init, update)


SEARCHES32 = 1e-3
"""Steps are found by differences of losses, of which float32 leaves few digits."""


def _search(name: str, find: Callable, has_peer: bool = True, **hyper: Any) -> Row:
    def made(library: Any) -> Any:
        return searching(library, getattr(library, name)(**hyper))

    return Row(name, lambda: made(gradx), lambda: Searched(find), made if has_peer else None, float32=SEARCHES32)


TRAJECTORIES = [
    _search(
        "scale_by_backtracking_linesearch",
        by_backtracking,
        max_backtracking_steps=20,
        slope_rtol=0.1,
        decrease_factor=0.6,
    ),
    _search(
        "scale_by_zoom_linesearch",
        by_zoom,
        max_linesearch_steps=20,
        curv_rtol=0.3,
        approx_dec_rtol=None,
        initial_guess_strategy="keep",
    ),
    _search("scale_by_more_thuente_linesearch", by_scipy, has_peer=False, curv_rtol=0.3, approx_dec_rtol=0.0),
    _row("scale_by_lbfgs", _block, learning_rate=RATE, memory_size=3, scale_init_precond=True),
    _row("lbfgs", _without_search, learning_rate=RATE, memory_size=5, scale_init_precond=False),
]
