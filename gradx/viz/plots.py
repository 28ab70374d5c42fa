"""What `.plot()` draws: schedules, what the finder found, sweeps; each on axes that are given, or on new ones."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes

from gradx.description.sparklines import horizon, sampled
from gradx.typing import Schedule
from gradx.value import Value, spell
from gradx.viz.curves import draw_learning_rate_curve
from gradx.viz.style import finish, legend_below, line_styles, plain_numbers, shown_axes, whole_ticks

POINTS = 2000
"""So many steps of a schedule are drawn each, more are thinned out."""
FAR_APART = 20
"""Values whose largest is so many times the smallest stand on a logarithmic axis."""
FAR_ABOVE = 1000
ROOM = 0.08
LABEL, TITLE, TICK = 44, 80, 18
"""Letters in a line."""
STAR = {"marker": "*", "color": "#E69F00", "markeredgecolor": "black", "markersize": 13, "linestyle": "", "zorder": 5}
CROSS = {"marker": "X", "color": "#D55E00", "markeredgecolor": "white", "markersize": 8, "linestyle": "", "zorder": 4}


def plot_schedule(schedule: Schedule, steps: int | None, *, ax: Axes | None, log: bool) -> Axes:
    """Draw a schedule from step 0 on; several on the same axes get a legend."""
    if steps is not None and (isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 1):
        raise ValueError(f"plot: steps must be an integer of at least 1, got {steps!r}")
    before = len(ax.lines) if ax is not None else 0
    right = ax.get_xlim()[1] if ax is not None and before else 0
    last = int(max(horizon(schedule), right)) if steps is None else int(steps)
    at = np.unique(np.linspace(0, last, min(last, POINTS) + 1).astype(int))
    values = sampled(schedule, at)
    if values.ndim != 1:
        raise ValueError(f"plot: the schedule's value must be one number, got an array {values.shape[1:]} at each step")
    axes = shown_axes(ax)
    style = {key: x for key, x in line_styles()[before % len(line_styles())].items() if key != "marker"}
    full, short = repr(schedule), repr(schedule).partition("(")[0]
    taken = {line.get_label() for line in axes.lines}
    label = short if short and short not in taken else textwrap.fill(full, LABEL)
    axes.plot(at, values, label=label, linewidth=1.6, **style)
    finish(axes, "schedules" if before else short or full, log=log)
    axes.set_xlim(0, max(last, right))
    whole_ticks(axes)
    if before:
        axes.legend(framealpha=0.8, edgecolor="none", fontsize=8)
    return axes


def plot_learning_rate_curve(curve: Any, *, ax: Axes | None) -> Axes:
    """Draw what the finder found, with a legend below a figure of its own."""
    axes = shown_axes(ax)
    draw_learning_rate_curve(axes, curve)
    _name_lines(axes, own=ax is None)
    return axes


def plot_sweep(
    values: Mapping[str, Sequence], scores: np.ndarray, over: str | None, *, ax: Axes | None, log: bool
) -> Axes:
    """Draw scores [members, seeds] over the hyperparameter `over`, a line for each combination of the others."""
    if over is not None and over not in values:
        raise ValueError(f"plot: nothing swept is called {over!r}; there are {', '.join(values)}")
    over = over or max(values, key=lambda name: len(set(map(spell, values[name]))))
    shown = {name: _labels(x) for name, x in values.items()}
    numbers = all(np.ndim(x) == 0 and isinstance(x, int | float | np.number) for x in values[over])
    names = list(dict.fromkeys(shown[over]))
    places = np.array(values[over] if numbers else [names.index(x) for x in shown[over]], float)
    means = scores.mean(1)
    if not np.isfinite(means).any():
        raise ValueError("plot: the score of every member is NaN or infinite")
    lost = _lost(means)
    axes, edge = shown_axes(ax), _edge(means[~lost], log)
    rest = [", ".join(f"{name} {x[k]}" for name, x in shown.items() if name != over) for k in range(len(means))]
    for i, label in enumerate(dict.fromkeys(rest)):
        rows = np.array(sorted((k for k, x in enumerate(rest) if x == label), key=lambda k: places[k]))
        style = line_styles()[i % len(line_styles())]
        seen = np.where(lost[rows, None], np.nan, scores[rows])
        axes.plot(places[rows], seen.mean(1), label=label, linewidth=1.6, markersize=5, **style)
        if scores.shape[1] > 1:
            axes.fill_between(places[rows], seen.min(1), seen.max(1), color=style["color"], alpha=0.15, linewidth=0)
    if lost.any():
        axes.plot(places[lost], np.full(lost.sum(), edge), label="not finite, or far off", **CROSS)
    best = int(np.nanargmin(np.where(lost, np.nan, means)))
    axes.plot(places[best], means[best], label="best", **STAR)
    told = ", ".join(f"{name} {x[best]}" for name, x in shown.items())
    finish(axes, textwrap.fill(f"score, best {means[best]:.3g}: {told}", TITLE), log=log, xlabel=over)
    _scale(axes, places, None if numbers else names)
    _name_lines(axes, own=ax is None)
    return axes


def _labels(swept: Sequence) -> list[str]:
    """Return a short text for each value: of schedules of one kind the arguments in which they differ."""
    if len({x.factory if isinstance(x, Value) else None for x in swept}) == 1 and isinstance(swept[0], Value):
        differ = [k for k in swept[0].arguments if len({spell(x.arguments[k]) for x in swept}) > 1]
        return [", ".join(f"{k} {_spelt(x.arguments[k])}" for k in differ) or x.name for x in swept]
    return [_spelt(x) for x in swept]


def _spelt(x: Any) -> str:
    return f"{x:.4g}" if isinstance(x, float | np.floating) else spell(x)


def _lost(means: np.ndarray) -> np.ndarray:
    """Return which scores are not finite, or so far above the usual ones that these would lie on one line."""
    usual = np.median(means[np.isfinite(means)])
    return ~np.isfinite(means) | ((usual > 0) & (means > FAR_ABOVE * usual))


def _edge(means: np.ndarray, log: bool) -> float:
    """Return the height of the crosses: a little above all that is shown."""
    low, high = means.min(), means.max()
    if log and low > 0:
        return float(high * max(high / low, 2.0) ** ROOM)
    return float(high + ROOM * ((high - low) or 1.0))


def _scale(axes: Axes, places: np.ndarray, names: list[str] | None) -> None:
    if names is not None:
        axes.set_xticks(range(len(names)), [textwrap.fill(x, TICK) for x in names], fontsize=8)
        axes.set_xlim(-0.3, len(names) - 0.7)
        return
    low, high = places.min(), places.max()
    if low > 0 and high > FAR_APART * low:
        axes.set_xscale("log")
        reach = (high / low) ** 0.03
        axes.set_xlim(low / reach, high * reach)
        plain_numbers(axes.xaxis)
    else:
        room = 0.03 * ((high - low) or 1.0)
        axes.set_xlim(low - room, high + room)


def _name_lines(axes: Axes, *, own: bool) -> None:
    """Name the lines that have a name: below a figure of one's own, inside axes that were given."""
    handles, labels = axes.get_legend_handles_labels()
    figure = axes.get_figure(root=True)
    if own and figure is not None:
        legend_below(figure, handles, labels)
    elif labels:
        axes.legend(handles, labels, frameon=False, fontsize=8)
