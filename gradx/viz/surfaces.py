"""Functions of two variables on which optimizers show their ways, and the way of an optimizer down one of them."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.core import GradientTransformation, apply_updates

Point = tuple[float, float]


class Surface(NamedTuple):
    """A function to minimise, and the window in which it is looked at."""

    height: Callable[[jax.Array], jax.Array]
    """From a point, float[2], to a number."""
    start: Point
    minima: tuple[Point, ...]
    """Where it is lowest; empty when it has no lowest point."""
    window: tuple[float, float, float, float]
    """Left, right, bottom, top."""


def _ravine(p: jax.Array) -> jax.Array:
    return 0.5 * (p[0] ** 2 + 30 * p[1] ** 2)


def _rosenbrock(p: jax.Array) -> jax.Array:
    return (1 - p[0]) ** 2 + 100 * (p[1] - p[0] ** 2) ** 2


def _beale(p: jax.Array) -> jax.Array:
    x, y = p
    return (1.5 - x + x * y) ** 2 + (2.25 - x + x * y**2) ** 2 + (2.625 - x + x * y**3) ** 2


def _himmelblau(p: jax.Array) -> jax.Array:
    return (p[0] ** 2 + p[1] - 11) ** 2 + (p[0] + p[1] ** 2 - 7) ** 2


def _saddle(p: jax.Array) -> jax.Array:
    return p[0] ** 2 - p[1] ** 2 + 0.25 * p[1] ** 4


SURFACES = {
    "ravine": Surface(_ravine, (-4.0, 1.2), ((0.0, 0.0),), (-4.6, 1.6, -1.8, 1.8)),
    "rosenbrock": Surface(_rosenbrock, (-1.2, 1.0), ((1.0, 1.0),), (-1.8, 1.8, -0.6, 2.2)),
    "beale": Surface(_beale, (1.0, 1.5), ((3.0, 0.5),), (-0.5, 4.2, -1.5, 2.0)),
    "himmelblau": Surface(
        _himmelblau,
        (-0.5, -1.0),
        ((3.0, 2.0), (-2.805118, 3.131312), (-3.779310, -3.283186), (3.584428, -1.848126)),
        (-5.0, 5.0, -5.0, 5.0),
    ),
    "saddle": Surface(_saddle, (-1.5, 1e-3), ((0.0, 2**0.5), (0.0, -(2**0.5))), (-1.9, 1.2, -2.0, 2.0)),
}
"""A valley 30 times steeper across than along; Rosenbrock's (1960) bent one; Beale's (1958) plateaus with a steep edge;
Himmelblau's (1972) four minima; a saddle between two minima, with the start a thousandth beside its ridge."""


def descend(
    tx: GradientTransformation, surface: Surface, steps: int, start: ArrayLike | Point | None = None
) -> jax.Array:
    """Return the points that an optimizer goes through, float32[steps + 1, 2], the start first.

    Args:
      tx: the optimizer.
      surface: one of `SURFACES`, or one of your own.
      steps: how many.
      start: where from; the surface's own by default.

    >>> import gradx
    >>> from gradx import viz
    >>> viz.descend(gradx.sgd(0.05), viz.SURFACES["ravine"], 10).shape
    (11, 2)
    """
    first = jnp.asarray(surface.start if start is None else start, jnp.float32)

    def step(carry: tuple, _: None) -> tuple:
        point, state = carry
        value, slope = jax.value_and_grad(surface.height)(point)
        updates, state = tx.update(slope, state, point, value=value, grad=slope)
        point = apply_updates(point, updates)
        return (point, state), point

    _, points = jax.lax.scan(step, (first, tx.init(first)), None, length=steps)
    return jnp.concatenate([first[None], points])
