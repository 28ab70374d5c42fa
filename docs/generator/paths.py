"""The path of an optimizer on three surfaces, as a small SVG picture that takes the page's colours."""

import functools
import inspect
import math
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib
import numpy as np

import gradx
from docs.generator.kept import kept
from docs.generator.names import Name
from gradx.viz import SURFACES, Surface

matplotlib.use("agg")

SHOWN = ("ravine", "rosenbrock", "saddle")
STEPS = 120
RATES = tuple(float(f"{x:.2g}") for x in np.geomspace(1e-3, 10.0, 17))
"""Tried on each surface, all at once, by `vmap` over the optimizer; that which ends lowest is drawn,
of those that stay in the window if any does: a leap out of it and back by luck shows nothing."""
SIZE = 200
"""Of a panel, in units of the picture."""
MARGIN = 0.6
"""How far outside of the window a path is followed, in windows."""
GRID = 240
LEVELS = 11
LOWEST = 0.13
FAR = 1e6
ARGUMENTS: dict[str, dict[str, Any]] = {
    "adamc": {"max_learning_rate": 1.0},
    "dpsgd": {"l2_norm_clip": 1.0, "noise_multiplier": 0.1, "seed": 0},
    "noisy_sgd": {"seed": 0},
}
"""What must be given beside the learning rate."""
EXAMPLES = ("dpsgd",)
"""Those that want the gradients of single examples: here of one."""


def made(name: Name, rate: Any) -> gradx.GradientTransformation:
    """Return the optimizer of a name with a learning rate, and whatever else it cannot do without."""
    return name.thing(rate, **ARGUMENTS.get(name.short, {}))


def _ends(name: Name, surface: Surface, rate: Any) -> jax.Array:
    """Return the points of a path: float32[STEPS + 1, 2]."""
    tx = made(name, rate)
    first = jnp.asarray(surface.start, jnp.float32)

    def step(carry: tuple, _: None) -> tuple:
        point, state = carry
        value, slope = jax.value_and_grad(surface.height)(point)
        given = slope[None] if name.short in EXAMPLES else slope
        extras = {"value": value, "grad": slope, "value_fn": surface.height, "obj_fn": surface.height}
        updates, state = tx.update(given, state, point, **extras)
        point = gradx.apply_updates(point, updates)
        return (point, state), point

    _, points = jax.lax.scan(step, (first, tx.init(first)), None, length=STEPS)
    return jnp.concatenate([first[None], points])


def path(name: Name, surface: str) -> dict[str, Any]:
    """Return the best path of an optimizer on a surface: its rate, its points, how high it ends."""
    key = f"{name.short}|{surface}|{STEPS}|{RATES}|{inspect.getsource(_best)}"
    return kept("path", key, lambda: _best(name, surface))


def _best(name: Name, on: str) -> dict[str, Any]:
    rates, surface = jnp.asarray(RATES), SURFACES[on]
    many = np.asarray(jax.jit(jax.vmap(functools.partial(_ends, name, surface)))(rates), np.float64)
    heights = np.asarray(jax.vmap(jax.vmap(surface.height))(jnp.asarray(many, jnp.float32)), np.float64)
    ends = np.where(np.isfinite(heights[:, -1]), heights[:, -1], np.inf)
    stays = np.array([np.all((way >= 0) & (way <= SIZE)) for way in (_placed(points, on) for points in many)])
    best = int(np.argmin(np.where(stays, ends, np.inf) if stays.any() else ends))
    points = np.clip(np.nan_to_num(many[best], nan=FAR), -FAR, FAR)
    return {"rate": RATES[best], "points": np.round(points, 3).tolist(), "end": float(ends[best])}


@functools.cache
def _contours(surface: str) -> str:
    """Return the lines of equal height of a surface as the data of one SVG path."""
    import contourpy

    left, right, bottom, top = SURFACES[surface].window
    xs, ys = np.linspace(left, right, GRID), np.linspace(bottom, top, GRID)
    grid = jnp.stack(jnp.meshgrid(jnp.asarray(xs), jnp.asarray(ys)), -1)
    height = np.asarray(jax.vmap(jax.vmap(SURFACES[surface].height))(grid))
    low, high = height.min(), height.max()
    lines = contourpy.contour_generator(xs, ys, height)
    drawn = []
    for level in low + (high - low) * np.linspace(LOWEST, 1, LEVELS, endpoint=False) ** 4:
        for line in lines.lines(float(level)):
            drawn.append(_line(_placed(np.asarray(line), surface), 4.0))
    return "".join(drawn)


def _placed(points: np.ndarray, surface: str) -> np.ndarray:
    left, right, bottom, top = SURFACES[surface].window
    x = (points[:, 0] - left) / (right - left) * SIZE
    y = (top - points[:, 1]) / (top - bottom) * SIZE
    return np.stack([x, y], 1)


def _line(points: np.ndarray, least: float = 0.5) -> str:
    """Return the points of a line as path data, without those nearer than `least` to the one before."""
    kept_points, last = [], None
    for i, (x, y) in enumerate(points):
        at = (round(float(x), 1), round(float(y), 1))
        if last is None or math.dist(at, last) >= least or i == len(points) - 1:
            kept_points.append(f"{at[0]:g} {at[1]:g}")
            last = at
    return "M" + "L".join(kept_points) if len(kept_points) > 1 else ""


def picture(name: Name) -> str:
    """Return the three panels of an optimizer, side by side where there is room."""
    panels = []
    for surface in SHOWN:
        found = path(name, surface)
        points = np.asarray(found["points"])
        inside = np.all(np.abs(_placed(points, surface) - SIZE / 2) <= SIZE * (0.5 + MARGIN), axis=1)
        upto = len(points) if inside.all() else int(np.argmin(inside)) + 1
        line = np.clip(_placed(points[:upto], surface), -SIZE * MARGIN, SIZE * (1 + MARGIN))
        start = line[0]
        stars = "".join(
            f'<text class="minimum" x="{x:.1f}" y="{y + 5:.1f}">★</text>'
            for x, y in _placed(np.asarray(SURFACES[surface].minima, float).reshape(-1, 2), surface)
        )
        dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="1.7"/>' for x, y in line[:: STEPS // 24])
        end = f"{found['end']:.2g}" if math.isfinite(found["end"]) else "diverged"
        panels.append(
            f'<svg role="img" aria-label="{name.short} on {surface}" viewBox="0 0 {SIZE} {SIZE + 22}">'
            f'<svg width="{SIZE}" height="{SIZE}" viewBox="0 0 {SIZE} {SIZE}">'
            f'<path class="contour" d="{_contours(surface)}"/>'
            f'{stars}<path class="way" d="{_line(line)}"/><g class="dots">{dots}</g>'
            f'<circle class="start" cx="{start[0]:.1f}" cy="{start[1]:.1f}" r="4"/></svg>'
            f'<text class="label" x="0" y="{SIZE + 16}">'
            f"{surface}: rate {found['rate']:g}, ends {end}</text></svg>"
        )
    return f'<div class="paths">{"".join(panels)}</div>'
