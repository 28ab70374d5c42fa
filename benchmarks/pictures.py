"""The picture of a race: metric, loss and learning rate against the steps.

Lines look as in `gradx.viz`.
"""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, MaxNLocator
from PIL import Image

from benchmarks.results import Race, Run
from gradx.viz.style import finish, line_styles, marks, plain_numbers

COLOURS = 256
"""Of a PNG file."""
HIDDEN = 0.05
"""The share of the points, the worst (the beginning, a spike), that may lie outside the metric's axis."""
PANELS = 4
"""Side by side in an overview."""
LEGEND_COLUMNS = 4
ROUND = (1, 2, 5, 10)
"""Leading digits of the distance between ticks; a quarter would need more digits than are shown."""
FAR = 8
"""Metrics whose ends are so many times apart get a logarithmic axis."""
RATE_DECADES = 1e4
"""From the highest learning rate shown to the lowest: one that falls to zero has no end on a logarithmic scale."""


def draw(race: Race, path: Path) -> None:
    """Draw the curves into a PNG file; with several seeds the line is their mean, and a band goes from end to end."""
    figure = Figure(figsize=(11, 4.4), dpi=130, layout="constrained")
    metric_axes, loss_axes, rate_axes = figure.subplots(1, 3, width_ratios=(1.5, 1.2, 0.9))
    for i, (optimizer, style) in enumerate(zip(race.optimizers, line_styles(), strict=False)):
        style["markevery"] = marks(len(race.of(optimizer)[0].points), i / len(race.optimizers))
        runs = race.of(optimizer)
        label = f"{optimizer}  {race.metric.show(race.mean(optimizer))}"
        _line(metric_axes, runs, "metric", style, label)
        _line(loss_axes, runs, "test_loss", style)
        _line(rate_axes, runs[:1], "learning_rate", style)
    _finish_metric(metric_axes, race)
    _legend(figure, metric_axes, race)
    finish(loss_axes, "test loss", log=True)
    finish(rate_axes, "learning rate", log=True)
    rates = [p.learning_rate for run in race.runs for p in run.points if p.learning_rate > 0]
    if rates:
        highest = max(rates)
        rate_axes.set_ylim(max(min(rates) / 2, highest / RATE_DECADES), 2 * highest)
    figure.suptitle(f"{race.title}: {race.steps} steps of {race.step}", x=0.01, ha="left", fontsize=12)
    save(figure, path)


def overview(races: Sequence[Race]) -> Figure:
    """Return a panel for each race: a dot for each seed's end, a bar at their mean, a line at the target."""
    rows = -(-len(races) // PANELS)
    figure = Figure(figsize=(11, 2.6 * rows), dpi=130, layout="constrained")
    panels = figure.subplots(rows, PANELS, squeeze=False).flat
    for race, axes in zip(races, panels, strict=False):
        ends = [race.ends(name) for name in race.optimizers]
        known = sorted(x for values in ends for x in values if np.isfinite(x))
        worst = known[0] if race.metric.higher_is_better else known[-1]
        for i, (values, style) in enumerate(zip(ends, line_styles(), strict=False)):
            colour = style["color"]
            axes.plot([i] * len(values), np.nan_to_num(values, nan=worst), "o", color=colour, alpha=0.7, markersize=5)
            axes.plot([i - 0.3, i + 0.3], [race.mean(race.optimizers[i])] * 2, color=colour, linewidth=2)
        axes.axhline(race.metric.target, color="0.4", linewidth=0.8, zorder=0)
        finish(axes, f"{race.task}: {race.metric.name}", xlabel="")
        axes.set_xlim(-0.6, len(ends) - 0.4)
        axes.set_xticks(range(len(ends)), race.optimizers, rotation=40, ha="right", fontsize=8)
        axes.yaxis.set_major_locator(MaxNLocator(nbins=5, steps=ROUND))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _, show=race.metric.show: show(value)))
        if _far_apart(race, known):
            axes.set_yscale("log")
            plain_numbers(axes.yaxis)
    for axes in list(panels):
        axes.axis("off")
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a PNG file with a palette of 256 colours: a third of the size, and nobody sees the difference."""
    buffer = io.BytesIO()
    figure.savefig(buffer)
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.open(buffer).convert("RGB").quantize(COLOURS, dither=Image.Dither.NONE).save(path, optimize=True)


def _line(axes: Axes, runs: Sequence[Run], name: str, style: dict, label: str = "") -> None:
    length = min(len(run.points) for run in runs)
    steps = [p.step for p in runs[0].points[:length]]
    curves = np.array([[getattr(p, name) for p in run.points[:length]] for run in runs])
    axes.plot(steps, curves.mean(0), label=label, linewidth=1.6, markersize=5, **style)
    if len(runs) > 1:
        axes.fill_between(steps, curves.min(0), curves.max(0), color=style["color"], alpha=0.15, linewidth=0)


def _finish_metric(axes: Axes, race: Race) -> None:
    metric = race.metric
    finish(axes, metric.name)
    axes.axhline(metric.target, color="0.4", linewidth=0.8, zorder=1.6)  # above the grid, below the curves
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: metric.show(value)))
    values = sorted(p.metric for run in race.runs for p in run.points if np.isfinite(p.metric))
    hidden = int(HIDDEN * len(values))
    values = values[hidden:] if metric.higher_is_better else values[: len(values) - hidden]
    low, high = min([*values, metric.target]), max([*values, metric.target])
    if _far_apart(race, values):
        axes.set_yscale("log")
        plain_numbers(axes.yaxis)
        axes.set_ylim(low / 1.2, high * 1.2)
    else:
        margin = 0.04 * (high - low) or 0.01
        axes.set_ylim(low - margin, high + margin)


def _legend(figure: Figure, axes: Axes, race: Race) -> None:
    """Name the lines below all axes, the best first, where they cover nothing."""
    handles, labels = axes.get_legend_handles_labels()
    worse = -1 if race.metric.higher_is_better else 1
    order = np.argsort([worse * race.mean(name) for name in race.optimizers])  # NaN comes last either way
    style = {"ncols": LEGEND_COLUMNS, "frameon": False, "handlelength": 3.5}
    figure.legend([handles[i] for i in order], [labels[i] for i in order], loc="outside lower center", **style)


def _far_apart(race: Race, values: Sequence[float]) -> bool:
    """Return whether sorted values need a logarithmic axis: errors, some many times as large as others."""
    return not race.metric.higher_is_better and bool(values) and values[-1] > FAR * values[0] > 0
