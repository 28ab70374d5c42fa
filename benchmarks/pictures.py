"""The pictures of races: the curves of one, with their ends enlarged, and the ends of all.

An optimizer has one colour, one kind of line and one marker wherever it appears. Lines look as in `gradx.viz`.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from benchmarks.results import Race, Run
from gradx.viz.style import COLOURS, DASHES, MARKERS, finish, line_styles, marks, plain_numbers, whole_ticks

NAMES = (
    ("sgd", "batch", "hyperball"),
    ("momentum", "mini-batch", "prodigy", "soap"),
    ("rmsprop", "stochastic", "adafactor", "shampoo"),
    ("adam", "mini-batch-cosine", "radam", "kron"),
    ("adamw", "schedule-free", "lamb", "adamw-cautious"),
    ("adam-constant", "adam-0.5", "lion"),
    ("recipe", "muon", "normuon"),
)
"""Who shares one of the seven colours, in other dashes and with another marker."""
DPI = 220
"""Of a PNG file: twice what a page shows."""
PALETTE = 256
"""Colours of a PNG file."""
HIDDEN = 0.05
"""The share of the points, the worst (the beginning, a spike), that may lie outside the metric's axis."""
END = 2 / 3
"""Where the last third of the steps begins, which is shown once more."""
BEST = 4
"""So many optimizers are shown there, by their means at the end."""
PANELS = 4
"""Side by side in an overview."""
NARROW = 4.2
"""Inches: the width of a picture for a telephone, whose panels stand below each other."""
LEGEND_COLUMNS = 4
ROUND = (1, 2, 5, 10)
"""Leading digits of the distance between ticks; a quarter would need more digits than are shown."""
FAR = 8
"""Metrics whose ends are so many times apart get a logarithmic axis."""
TARGET = {"color": "0.4", "linewidth": 1.1, "dashes": (6, 3), "zorder": 0.6}
CEILING = {"color": "0.4", "linewidth": 1.3, "dashes": (1, 2), "zorder": 0.6}
INKS = {"#000000": "var(--ink)", "#666666": "var(--quiet)", "#e6e6e6": "var(--grid)", "#0072b2": "var(--blue)"}
"""What a picture on a dark page draws otherwise: text and sgd, target and ceiling, the grid, the darkest colour."""
LONG_NUMBER = re.compile(r"\d+\.\d{3,}")
"""In points; a tenth of one is enough. An opacity is shorter, and a label is no part of a tag."""
SVG_STYLE = """<style>
svg { --ink: #000; --quiet: #666; --grid: #e6e6e6; --blue: #0072b2; fill: var(--ink); }
@media (prefers-color-scheme: dark) { svg { --ink: #e4e4e4; --quiet: #aaa; --grid: #3a3a3a; --blue: #4aa8e0; } }
text { font-family: "DejaVu Sans", Verdana, sans-serif }
</style>"""


def style(name: str) -> dict[str, Any]:
    """Return the colour, dashes and marker of an optimizer; of one without a place here, by its name alone."""
    for i, names in enumerate(NAMES):
        if name in names:
            marker = MARKERS[(i + len(COLOURS) * names.index(name)) % len(MARKERS)]
            dashes = DASHES[(i + names.index(name)) % len(DASHES)]
            return {"color": COLOURS[i], "dashes": dashes, "marker": marker}
    return line_styles()[len(NAMES) + sum(map(ord, name)) % (len(line_styles()) - len(NAMES))]


def draw(race: Race, path: Path) -> None:
    """Draw the curves into a PNG file."""
    save(curves(race), path)


def curves(race: Race, *, narrow: bool = False) -> Figure:
    """Return metric, the metric's end, and loss against steps; of several seeds a line at the mean, a band over all."""
    size = (NARROW, 9.5 + 0.2 * len(race.optimizers)) if narrow else (11, 4.6)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(3, 1) if narrow else figure.subplots(1, 3, width_ratios=(1.2, 1.3, 1))
    whole, end, loss = panels
    order = _best_first(race)
    for i, name in enumerate(race.optimizers):
        runs, look = race.of(name), style(name)
        look["markevery"] = marks(len(runs[0].points), i / len(race.optimizers))
        _line(whole, runs, "metric", look, f"{name}  {race.metric.show(race.mean(name))}")
        _line(loss, runs, "test_loss", look)
        if name in order[:BEST]:
            _line(end, _ends(runs, race.steps), "metric", look | {"markevery": 1})
    _finish_metric(whole, race, race.runs)
    whole.set_title(race.metric.name, fontsize=10, loc="left")
    _finish_metric(end, race, [x for name in order[:BEST] for x in _ends(race.of(name), race.steps)], enlarged=True)
    best = f", the best {BEST}" if len(order) > BEST else ""
    end.set_title(f"the last third{best}", fontsize=10, loc="left")
    end.set_xlim(END * race.steps, race.steps * 1.01)
    finish(loss, "test loss", log=True)
    for axes in panels:
        whole_ticks(axes)
        axes.margins(x=0.01)
    _legend(figure, whole, order, columns=2 if narrow else LEGEND_COLUMNS)
    title = f"{race.title}:{chr(10) if narrow else ' '}{race.steps} steps of {race.step}"
    figure.suptitle(title, x=0.01, ha="left", fontsize=10 if narrow else 12)
    return figure


def overview(races: Sequence[Race], *, narrow: bool = False) -> Figure:
    """Return a panel for each race: a dot for each seed's end, a bar at their median, lines at target and ceiling."""
    columns = 1 if narrow else PANELS
    rows = -(-len(races) // columns)
    size = (NARROW, 2.5 * rows + 0.9) if narrow else (12, 3.0 * rows + 0.4)
    figure = Figure(figsize=size, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).flat
    for race, axes in zip(races, panels, strict=False):
        _panel(axes, race)
    for axes in list(panels):
        axes.axis("off")
    grey = {"color": "0.4", "linestyle": "none"}
    known = {
        "a seed": Line2D([], [], marker="o", markersize=5, **grey),
        "a seed that diverged": Line2D([], [], marker="x", markersize=6, **grey),
        "median of the seeds": Line2D([], [], color="0.4", linewidth=2),
        "target": Line2D([], [], **TARGET),
        "the best value that there is": Line2D([], [], **CEILING),
    }
    figure.legend(
        list(known.values()), list(known), loc="outside lower center", ncols=1 if narrow else len(known), frameon=False
    )
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file with a palette of 256 colours: a third of the size, and nobody sees the difference."""
    buffer = io.BytesIO()
    figure.savefig(buffer, dpi=DPI)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(PALETTE, dither=Image.Dither.NONE).save(path, optimize=True)


def svg(figure: Figure) -> str:
    """Return a picture that is sharp at every size, without a background, its ink light where the page is dark."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "gradx"}):
        figure.savefig(buffer, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    for colour, ink in INKS.items():
        text = text.replace(colour, ink)
    text = re.sub(r"<[^>]*>", lambda tag: LONG_NUMBER.sub(lambda x: f"{float(x[0]):.1f}", tag[0]), text)
    text = re.sub(r"<!--.*?-->|<metadata>.*?</metadata>", "", text, flags=re.S)
    text = re.sub(
        r'(; )?font-family: [^;"]*|; stroke-linejoin: miter', "", text
    )  # the style above has one family for all
    text = " ".join(text.split()).replace(" L ", "L")
    head, body = text.split(">", 1)
    return f"{head}>{SVG_STYLE}{body}"


def _panel(axes: Axes, race: Race) -> None:
    metric, ends = race.metric, [race.ends(name) for name in race.optimizers]
    known = sorted(x for values in ends for x in values if np.isfinite(x))
    worst = (known[0] if metric.higher_is_better else known[-1]) if known else metric.target
    for i, (name, values) in enumerate(zip(race.optimizers, ends, strict=True)):
        colour = style(name)["color"]
        for j, value in enumerate(values):
            at = i + 0.3 * ((j + 0.5) / len(values) - 0.5)  # beside each other, or equal ones would be one
            shown, marker = (value, "o") if np.isfinite(value) else (worst, "x")
            axes.plot([at], [shown], marker, color=colour, alpha=0.7, markersize=5)
        if np.isfinite(middle := np.median(np.nan_to_num(values, nan=-np.inf if metric.higher_is_better else np.inf))):
            axes.plot([i - 0.35, i + 0.35], [middle] * 2, color=colour, linewidth=2)
    better = "more" if metric.higher_is_better else "less"
    finish(axes, race.task, xlabel="")
    axes.set_axisbelow(True)
    axes.set_ylabel(f"{metric.name} ({better} is better)", fontsize=8)
    axes.set_xlim(-0.6, len(ends) - 0.4)
    axes.set_xticks(range(len(ends)), race.optimizers, rotation=40, ha="right", rotation_mode="anchor", fontsize=8)
    axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=ROUND))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: metric.show(value)))
    _reference_lines(axes, race)
    if _far_apart(race, known):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)


def _reference_lines(axes: Axes, race: Race) -> None:
    axes.axhline(race.metric.target, **TARGET)
    if race.metric.ceiling is not None:
        axes.axhline(race.metric.ceiling, **CEILING)


def _ends(runs: Sequence[Run], steps: int) -> list[Run]:
    """Return the runs with their last third alone."""
    shown = [[p for p in run.points if p.step >= END * steps] or run.points[-1:] for run in runs]
    fixed = [(x.optimizer, x.seed, x.rate, x.recipe, x.steps, x.parameters, x.state_bytes, 0) for x in runs]
    return [Run(*given, points) for given, points in zip(fixed, shown, strict=True)]


def _line(axes: Axes, runs: Sequence[Run], name: str, look: dict, label: str = "") -> None:
    length = min(len(run.points) for run in runs)
    steps = [p.step for p in runs[0].points[:length]]
    heights = np.array([[getattr(p, name) for p in run.points[:length]] for run in runs])
    axes.plot(steps, heights.mean(0), label=label, linewidth=1.6, markersize=5, **look)
    if len(runs) > 1:
        axes.fill_between(steps, heights.min(0), heights.max(0), color=look["color"], alpha=0.12, linewidth=0)


def _finish_metric(axes: Axes, race: Race, runs: Sequence[Run], *, enlarged: bool = False) -> None:
    """Give the metric's axis its numbers, and limits that show the target and these runs; enlarged: the runs alone."""
    metric = race.metric
    finish(axes, "")
    _reference_lines(axes, race)
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: metric.show(value)))
    values = sorted(p.metric for run in runs for p in run.points if np.isfinite(p.metric))
    dropped = 0 if enlarged else int(HIDDEN * len(values))
    values = values[dropped:] if metric.higher_is_better else values[: len(values) - dropped]
    shown = values if enlarged and values else [*values, metric.target]
    low, high = min(shown), max(shown)
    if _far_apart(race, values):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        margin = 0.04 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)


def _best_first(race: Race) -> list[str]:
    worse = -1 if race.metric.higher_is_better else 1
    names = race.optimizers
    return [names[i] for i in np.argsort([worse * race.mean(name) for name in names])]  # NaN comes last either way


def _legend(figure: Figure, axes: Axes, order: Sequence[str], *, columns: int) -> None:
    """Name the lines below all axes, the best first, where they cover nothing."""
    handles, labels = axes.get_legend_handles_labels()
    found = {label.split()[0]: (handle, label) for handle, label in zip(handles, labels, strict=True)}
    shown = [found[name] for name in order]
    look = {"ncols": columns, "frameon": False, "handlelength": 3.5, "fontsize": 8 if columns == 2 else 10}
    figure.legend([x[0] for x in shown], [x[1] for x in shown], loc="outside lower center", **look)


def _far_apart(race: Race, values: Sequence[float]) -> bool:
    """Return whether sorted values need a logarithmic axis: errors, some many times as large as others."""
    return not race.metric.higher_is_better and bool(values) and values[-1] > FAR * values[0] > 0
