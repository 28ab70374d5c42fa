"""The ways of optimizers down a surface, as a picture and as a film."""

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.animation import FuncAnimation
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradx.core import GradientTransformation
from gradx.viz.style import by_label, legend_below, line_styles, marks, new_figure
from gradx.viz.surfaces import SURFACES, Surface, descend

GRID = 300
LEVELS = 16
LOWEST = 0.13
"""The fourth root of the lowest line's height, of the highest: in a narrow valley a lower one would fall between the
points of the grid, and come out in pieces."""
FRAMES_PER_SECOND = 15

Optimizers = Mapping[str, GradientTransformation] | Sequence[GradientTransformation] | GradientTransformation


def trajectories(surface: str | Surface, optimizers: Optimizers, steps: int = 100) -> Figure:
    """Draw the contours of a surface and the way of each optimizer over it; stars are minima.

    Args:
      surface: a name in `SURFACES`, or a surface of your own.
      optimizers: an optimizer, a list of them, or a dict from label to optimizer.
      steps: of each.

    The legend says how high each ends. A way that leaves the window goes on outside of it. Where the surface is below
    zero its contours are dashed.

    >>> import gradx
    >>> from gradx import viz
    >>> figure = viz.trajectories("ravine", {"sgd": gradx.sgd(0.06), "adam": gradx.adam(0.3)})
    """
    name, surface = _named(surface)
    figure = new_figure()
    axes = figure.subplots()
    _contours(axes, surface)
    named = by_label(optimizers)
    for i, (label, tx) in enumerate(named.items()):
        points = np.asarray(descend(tx, surface, steps))
        style = line_styles()[i % len(line_styles())]
        every = marks(len(points), i / len(named))
        ends = f"{label}: {_height(surface, points[-1])}"
        axes.plot(*points.T, label=ends, linewidth=1.6, markersize=5, markevery=every, **style)
    axes.set_title(f"{name}, {steps} steps", fontsize=10, loc="left")
    legend_below(figure, *axes.get_legend_handles_labels(), title=f"height after {steps} steps")
    return figure


def animate_trajectories(
    surface: str | Surface, optimizers: Optimizers, steps: int = 100, every: int = 2
) -> FuncAnimation:
    """Return a film of the optimizers on their ways, a frame for each `every` steps.

    `animation.save("x.gif", writer="pillow")` writes it; in a notebook `HTML(animation.to_jshtml())` shows it.

    Args:
      surface: a name in `SURFACES`, or a surface of your own.
      optimizers: an optimizer, a list of them, or a dict from label to optimizer.
      steps: of each.
      every: how many steps a frame stands for.

    >>> import gradx
    >>> from gradx import viz
    >>> film = viz.animate_trajectories("ravine", gradx.sgd(0.06), steps=4)
    >>> page = film.to_jshtml()  # what a notebook shows
    """
    name, surface = _named(surface)
    figure = new_figure()
    axes = figure.subplots()
    _contours(axes, surface)
    named = by_label(optimizers)
    ways = [np.asarray(descend(tx, surface, steps)) for tx in named.values()]
    lines, heads = [], []
    for label, style in zip(named, line_styles(), strict=False):
        plain = {key: x for key, x in style.items() if key != "marker"}
        lines += axes.plot([], [], linewidth=1.6, **plain)
        heads += axes.plot(
            [], [], linestyle="", markersize=7, label=label, color=style["color"], marker=style["marker"]
        )
    legend_below(figure, *axes.get_legend_handles_labels())

    def show(step: int) -> list:
        axes.set_title(f"{name}, step {step}", fontsize=10, loc="left")
        for line, head, way in zip(lines, heads, ways, strict=True):
            line.set_data(*way[: step + 1].T)
            head.set_data(*way[step : step + 1].T)
        return [*lines, *heads]

    return FuncAnimation(figure, show, frames=range(0, steps + 1, every), interval=1000 // FRAMES_PER_SECOND)


def _named(surface: str | Surface) -> tuple[str, Surface]:
    if isinstance(surface, Surface):
        return getattr(surface.height, "__name__", "surface"), surface
    if surface not in SURFACES:
        raise ValueError(f"viz: no surface {surface!r}; there are {', '.join(SURFACES)}")
    return surface, SURFACES[surface]


def _contours(axes: Axes, surface: Surface) -> None:
    """Draw lines of equal height, closer together near the lowest point: at equal steps of the fourth root.

    Those below zero are dashed, as matplotlib does for lines of one colour.
    """
    left, right, bottom, top = surface.window
    x, y, height, levels = contour_grid(surface, GRID)
    axes.contour(x, y, height, levels=levels, colors="0.75", linewidths=0.7)
    for minimum in surface.minima:
        axes.plot(*minimum, "*", color="#D55E00", markersize=12, zorder=5)
    axes.set_xlim(left, right)
    axes.set_ylim(bottom, top)
    axes.spines[["top", "right"]].set_visible(False)


def contour_grid(surface: Surface, points: int) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Return x, y and height on a grid of the window, `points` along each side, and the heights worth a line."""
    left, right, bottom, top = surface.window
    x, y = jnp.meshgrid(jnp.linspace(left, right, points), jnp.linspace(bottom, top, points))
    height = np.asarray(jax.vmap(jax.vmap(surface.height))(jnp.stack([x, y], -1)))
    low, high = height.min(), height.max()
    return np.asarray(x), np.asarray(y), height, low + (high - low) * np.linspace(LOWEST, 1, LEVELS) ** 4


def _height(surface: Surface, point: np.ndarray) -> str:
    height = float(surface.height(jnp.asarray(point)))
    return f"{height:.2g}" if np.isfinite(height) else "diverged"
