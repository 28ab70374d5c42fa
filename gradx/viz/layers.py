"""A heat map of numbers by layer and step: where gradients vanish or explode."""

from collections.abc import Sequence

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gradx.viz.style import new_figure, plain_numbers, whole_ticks

ROW = 0.28
"""Inches for each layer."""
FEW = 8
"""So many layers or fewer have a short colour bar beside them."""


def layer_heat_map(
    values: ArrayLike, names: Sequence[str], *, title: str = "gradient norm", label: str | None = None
) -> Figure:
    """Draw positive numbers by layer (rows, the first on top) and step (columns), coloured on a logarithmic scale.

    Zeros and numbers that are not finite stay white with a cross-hatch: they have no logarithm.

    Args:
      values: [steps, layers], the norms that `gradx.diagnose` keeps, say.
      names: of the layers.
      title: what is shown, above.
      label: what the numbers are, beside the colour bar; the title unless given.

    Raises ValueError when shapes and names differ, or no entry is positive and finite.

    >>> from gradx import viz
    >>> import numpy as np
    >>> figure = viz.layer_heat_map(np.ones((5, 2)), ["first", "second"])
    """
    figure = new_figure(7.0, 1.4 + ROW * len(names))
    axes = figure.subplots()
    draw_heat_map(axes, values, names, title=title, label=label or title)
    whole_ticks(axes)
    return figure


def draw_heat_map(
    axes: Axes, values: ArrayLike, names: Sequence[str], *, title: str, label: str | None = None, every: int = 1
) -> None:
    """Draw it on axes, with a colour bar beside them, and the name of each `every`-th layer.

    Raises ValueError when shapes and names differ, or, if there is a `label`, no entry is positive and finite.
    """
    table = np.asarray(values, float).T
    if table.ndim != 2 or len(table) != len(names):
        raise ValueError(f"viz.layer_heat_map: values are {np.shape(values)}, wanted [steps, {len(names)}]")
    good = np.isfinite(table) & (table > 0)
    if label and not good.any():
        raise ValueError("viz.layer_heat_map: no value is positive and finite")
    hatched = {"facecolor": "white", "edgecolor": "0.7", "hatch": "xxx", "zorder": 0}
    axes.add_patch(Rectangle((-0.5, -0.5), table.shape[1], table.shape[0], **hatched))
    low, high = (table[good].min(), table[good].max()) if good.any() else (1.0, 1.0)
    low, high = (low, high) if high > low else (low / 2, high * 2)
    image = axes.imshow(
        np.where(good, table, np.nan),
        aspect="auto",
        norm=LogNorm(low, high),
        cmap="cividis",
        interpolation="nearest",
    )
    axes.set_yticks(range(0, len(names), every), names[::every], fontsize=8)
    axes.set_xlabel("step")
    axes.set_title(title, fontsize=10, loc="left")
    bar = axes.figure.colorbar(image, ax=axes, label=label, aspect=20 if len(names) > FEW else 8)
    bar.minorticks_off()
    plain_numbers(bar.ax.yaxis)
