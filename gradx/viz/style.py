"""How lines, axes and legends look in every picture."""

import textwrap
from collections.abc import Mapping, Sequence
from itertools import cycle
from typing import Any

from matplotlib import pyplot
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

from gradx.value import Value

SIZE, DPI = (6.5, 4.0), 105
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#E69F00")
"""Okabe and Ito (2008), "Color universal design"; their yellow is left out, too pale on white."""
DASHES = ((), (5, 1.5), (1.2, 1.2), (5, 1.5, 1.2, 1.5), (9, 2))
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*")
MARKS_PER_LINE = 8
FEW_DECADES = 100
LESS_THAN_A_DECADE = 3
"""A logarithmic axis from low to so many times low has round numbers at equal distances, not powers."""
LEGEND_CHARACTERS = 78
"""What a line of a legend holds, in an ordinary figure; each entry takes `HANDLE_CHARACTERS` beside its label."""
HANDLE_CHARACTERS = 9
LEGEND_LINE = 0.19
"""Inches for each line of a legend."""


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
    if high < LESS_THAN_A_DECADE * low:
        axis.set_major_locator(MaxNLocator(6, steps=[1, 2, 5, 10]))
    elif high < FEW_DECADES * low:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())


def whole_ticks(axes: Axes) -> None:
    """Label whole numbers only: there is no step 2.5."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=True, steps=[1, 2, 5, 10]))


def by_label(many: Any) -> dict[str, Any]:
    """Return a dict as it is, one thing or a list of them under short labels: names, or calls where names repeat."""
    if isinstance(many, Mapping):
        return dict(many)
    things = list(many) if type(many) in (list, tuple) else [many]  # an optimizer of Optax is a kind of tuple
    labels = [getattr(thing, "name", None) or getattr(thing, "__name__", type(thing).__name__) for thing in things]
    labels = _told_apart(labels, [repr(thing) if isinstance(thing, Value) else "" for thing in things])
    labels = _told_apart(labels, [f"{label} ({i})" for i, label in enumerate(labels, 1)])
    return dict(zip(labels, things, strict=True))


def _told_apart(labels: Sequence[str], longer: Sequence[str]) -> list[str]:
    """Return each label, the longer one (if there is one) where the label is not alone."""
    return [long if long and labels.count(label) > 1 else label for label, long in zip(labels, longer, strict=True)]


def legend_below(figure: Figure, handles: Sequence[Artist], labels: Sequence[str], title: str | None = None) -> None:
    """Name the lines below the axes, where they cover nothing; the figure grows by what the names take.

    Call it last: long names are wrapped, and as many columns are made as the longest allows.
    """
    if not labels:
        return
    wrapped = [textwrap.fill(str(label), LEGEND_CHARACTERS - HANDLE_CHARACTERS) for label in labels]
    longest = max(len(line) for label in wrapped for line in label.split("\n"))
    columns = min(len(labels), max(1, LEGEND_CHARACTERS // (longest + HANDLE_CHARACTERS)))
    rows = -(-len(labels) // columns)  # matplotlib fills the columns one after the other
    lines = sum(max(label.count("\n") + 1 for label in wrapped[i::rows]) for i in range(rows)) + (title is not None)
    figure.set_figheight(figure.get_figheight() + LEGEND_LINE * lines)
    figure.legend(
        handles,
        wrapped,
        loc="outside lower center",
        title=title,
        ncols=columns,
        frameon=False,
        handlelength=3.5,
        fontsize=9,
        title_fontsize=9,
    )


def shown_axes(ax: Axes | None) -> Axes:
    """Return the axes as given, or those of a new figure that pyplot knows of: a notebook shows it by itself."""
    return pyplot.figure(figsize=SIZE, dpi=DPI, layout="constrained").subplots() if ax is None else ax


def new_figure(width: float = SIZE[0], height: float = SIZE[1]) -> Figure:
    """Return an empty figure, in inches."""
    return Figure(figsize=(width, height), dpi=DPI, layout="constrained")
