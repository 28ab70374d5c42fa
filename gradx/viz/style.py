"""How lines and axes look in every picture."""

from itertools import cycle
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito (2008), "Color universal design"; their yellow is left out, too pale on white."""
DASHES = ((), (5, 1.5), (1.2, 1.2), (5, 1.5, 1.2, 1.5), (9, 2))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKS_PER_LINE = 8
FEW_DECADES = 100


def line_styles() -> list[dict[str, Any]]:
    """Return 35 styles, no two alike in colour, dashes and marker together."""
    rows = zip(COLOURS * len(DASHES), cycle(DASHES), cycle(MARKERS), strict=False)
    return [{"color": color, "dashes": dashes, "marker": marker} for color, dashes, marker in rows]


def marks(points: int, shift: float) -> tuple[int, int]:
    """Return the first marked point and the stride; `shift`, 0 to 1, keeps marks of other lines from hiding these."""
    stride = max(1, points // MARKS_PER_LINE)
    return int(shift * stride), stride


def finish(axes: Axes, title: str, *, log: bool = False, xlabel: str = "step") -> None:
    """Give axes their title, a quiet grid and plain numbers."""
    axes.set_title(title, fontsize=10, loc="left")
    axes.set_xlabel(xlabel)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color="0.9", linewidth=0.6)
    axes.set_xlim(left=0)
    if log:
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)


def plain_numbers(axis: Any) -> None:
    """Write 0.001 instead of 10 to the -3 on a logarithmic axis, with 2 and 5 between when it spans few decades."""
    low, high = axis.get_view_interval()
    if high < FEW_DECADES * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def new_figure(width: float = 6.5, height: float = 4.0) -> Figure:
    """Return an empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=105, layout="constrained")
