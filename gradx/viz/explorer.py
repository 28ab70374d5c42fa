"""A page on which sliders move an optimizer's learning rate and momentum, and its way down a surface follows."""

import base64
import html
import json
from importlib import resources
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from gradx.core import GradientTransformation
from gradx.optimizers import adam, lion, rmsprop, sgd
from gradx.tune import grid, stack
from gradx.viz.surfaces import SURFACES, Surface, descend
from gradx.viz.trajectories import contour_grid

METHODS: dict[str, tuple[GradientTransformation, str]] = {
    "Gradient descent": (sgd(0.1, momentum=0.9), "momentum"),
    "Nesterov": (sgd(0.1, momentum=0.9, nesterov=True), "momentum"),
    "RMSProp": (rmsprop(0.1, momentum=0.9), "momentum"),
    "Adam": (adam(0.1, b1=0.9), "b1"),
    "Lion": (lion(0.1, b1=0.9, weight_decay=0.0), "b1"),
}
"""What the page compares, and which argument of each its momentum is."""
PLACES = ("ravine", "rosenbrock", "himmelblau")
RATES = tuple(float(f"{rate:.2g}") for rate in 10.0 ** np.arange(-4, 0.1, 0.25))
MOMENTA = (0.0, 0.3, 0.6, 0.8, 0.9, 0.95, 0.99)
STEPS = 75
WIDTH, HEIGHT = 600, 420
"""Of a surface, in the units of the page."""
GRID = 200
LOST = 255
"""The height of a point that is not finite; `LOW` to `HIGH`, powers of ten, are 0 to 254."""
LOW, HIGH = -6.0, 4.0


class Page(str):
    """A web page in one string, which needs nothing else; a notebook shows it in a frame.

    >>> page = Page("<!doctype html><title>x</title>")
    >>> page._repr_html_().startswith("<iframe")
    True
    """

    __slots__ = ()

    def save(self, path: str | Path) -> None:
        """Write the page to a file."""
        Path(path).write_text(self, encoding="utf-8")

    def _repr_html_(self) -> str:
        frame = 'title="Explorer of optimizers" style="width: 100%; height: 940px; border: 0"'
        return f'<iframe {frame} srcdoc="{html.escape(self)}"></iframe>'


def explorer() -> Page:
    """Return a page on which one moves learning rate, momentum and method, on three surfaces, without a server.

    All ways are computed beforehand, those of one method by one program under `jax.vmap`. The page
    follows the light or dark of its reader, works by keyboard, and is about a megabyte.

    >>> from gradx import viz
    >>> viz.explorer.__name__  # page = viz.explorer(); page.save("explorer.html")
    'explorer'
    """
    points, heights = _ways()
    data = {
        "surfaces": [_described(name) for name in PLACES],
        "methods": [{"name": name, "momentum": argument} for name, (_, argument) in METHODS.items()],
        "rates": RATES,
        "momenta": MOMENTA,
        "steps": STEPS,
        "scale": {"low": LOW, "high": HIGH, "lost": LOST},
        "points": base64.b64encode(points.astype("<u2").tobytes()).decode(),
        "heights": base64.b64encode(heights.tobytes()).decode(),
    }
    page = (resources.files("gradx.viz") / "explorer.html").read_text(encoding="utf-8")
    return Page(page.replace("/*DATA*/null", json.dumps(data, separators=(",", ":"))))


def _ways() -> tuple[np.ndarray, np.ndarray]:
    """Return points uint16[surfaces, methods, momenta, rates, steps + 1, 2], and heights uint8[..., steps + 1]."""
    found = [_descents(tx, momentum) for tx, momentum in METHODS.values()]
    shape = (len(PLACES), len(METHODS), len(MOMENTA), len(RATES), STEPS + 1)
    points, heights = (np.stack(x, 1).reshape(shape + np.shape(x[0])[3:]) for x in zip(*found, strict=True))
    surfaces = [SURFACES[name] for name in PLACES]
    packed = [_packed_points(x, surface.window) for x, surface in zip(points, surfaces, strict=True)]
    above = [_packed_heights(x - _lowest(surface)) for x, surface in zip(heights, surfaces, strict=True)]
    return np.stack(packed), np.stack(above)


def _descents(tx: GradientTransformation, momentum: str) -> tuple[np.ndarray, np.ndarray]:
    """Return points [surfaces, members, steps + 1, 2] and heights; a member for each momentum and learning rate."""
    members = stack(tx, grid(**{momentum: MOMENTA, "learning_rate": RATES}))
    surfaces = [SURFACES[name] for name in PLACES]
    each = [surface.height for surface in surfaces]

    def way(tx: GradientTransformation, which: jax.Array, start: jax.Array) -> tuple[jax.Array, jax.Array]:
        chosen = surfaces[0]._replace(height=lambda point: jax.lax.switch(which, each, point))
        points = descend(tx, chosen, STEPS, start)
        return points, jax.vmap(chosen.height)(points)

    along_members = jax.vmap(way, (0, None, None))
    starts = jnp.array([surface.start for surface in surfaces], jnp.float32)
    points, heights = jax.jit(jax.vmap(along_members, (None, 0, 0)))(members, jnp.arange(len(surfaces)), starts)
    return np.asarray(points, float), np.asarray(heights, float)


def _lowest(surface: Surface) -> float:
    return min((float(surface.height(jnp.asarray(x, jnp.float32))) for x in surface.minima), default=0.0)


def _packed_points(points: np.ndarray, window: tuple[float, float, float, float]) -> np.ndarray:
    """Return points in 65535ths of three windows, the middle one of which is shown; others at its border."""
    left, right, bottom, top = window
    low, size = np.array([left, bottom]), np.array([right - left, top - bottom])
    share = np.nan_to_num((points - low) / size, nan=2.0, posinf=2.0, neginf=-1.0)
    return np.round((np.clip(share, -1, 2) + 1) / 3 * 65535).astype(np.uint16)


def _packed_heights(heights: np.ndarray) -> np.ndarray:
    with np.errstate(invalid="ignore"):
        powers = np.log10(np.maximum(heights, 10.0**LOW))
    level = np.round((np.clip(powers, LOW, HIGH) - LOW) / (HIGH - LOW) * (LOST - 1))
    return np.where(np.isfinite(heights), level, LOST).astype(np.uint8)


def _described(name: str) -> dict[str, Any]:
    """Return what the page needs of a surface: contours as a path, and where the minima are, in its units."""
    surface = SURFACES[name]
    x, y, height, levels = contour_grid(surface, GRID)
    paths = Figure().subplots().contour(*_to_page(surface, x, y), height, levels=levels).get_paths()
    lines = [np.asarray(line) for path in paths for line in path.to_polygons(closed_only=False)]
    minima = [[round(float(a), 1) for a in _to_page(surface, *point)] for point in surface.minima]
    return {"name": name, "contours": "".join(map(_spelt, lines)), "minima": minima}


def _to_page(surface: Surface, x: Any, y: Any) -> tuple[Any, Any]:
    left, right, bottom, top = surface.window
    return (x - left) / (right - left) * WIDTH, (top - y) / (top - bottom) * HEIGHT


def _spelt(line: np.ndarray) -> str:
    """Return a line as SVG spells it."""
    return "M" + "L".join(f"{x:.0f} {y:.0f}" for x, y in line)
