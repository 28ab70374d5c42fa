"""A whole run in one picture: its loss, its learning rate, the norms of its layers, and what `explain` finds."""

import io
import sys
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gradx.diagnose import Finding, StepStatistics, explain, stack
from gradx.diagnose.findings import read
from gradx.viz.curves import mark_end
from gradx.viz.layers import draw_heat_map
from gradx.viz.style import finish, legend_below, new_figure, whole_ticks

ALARM = "#D55E00"
FAR_APART = 50
"""Losses whose largest is so many times the smallest stand on a logarithmic axis."""
CURVE, RATE, LAYER, LOWEST, HIGHEST, LEAST = 1.7, 0.9, 0.17, 0.8, 4.2, 0.15
"""Inches: of the curves, of each layer, of the least and the greatest map of layers, and of a layer's name."""
NEAR = 0.02
"""Marks closer than this share of the steps have their numbers side by side."""
ROOM = 0.008
"""Beside the first and the last step, as a share of all, so that a mark there is seen."""
SHARPNESS = 2
"""Pixels of a live picture for each that it takes on the page."""
_live: dict[tuple[int, str], Any] = {}
"""The display of the notebook's cell that runs: the next picture takes the place of the last."""


def dashboard(
    history: StepStatistics | Sequence[StepStatistics],
    names: Sequence[str] | None = None,
    *,
    learning_rate: ArrayLike | Callable[[int], ArrayLike] | None = None,
    title: str = "",
) -> Figure | None:
    """Draw a run: loss, learning rate, gradient norms and update/weight ratios by layer, findings as numbered marks.

    Call it every so many steps of a loop in a notebook: the picture of the cell is renewed in its place, and None is
    returned. Elsewhere the figure is.

    Args:
      history: what `gradx.diagnose.step_statistics` returned for each step, in a list, or stacked as by `scan`.
      names: of the leaves, `gradx.tree.paths(params)`; numbers by default.
      learning_rate: a schedule, a number, or one number for each step; None leaves it out.
      title: of the run; in one cell each title has a picture of its own.

    Raises ValueError as `gradx.diagnose.explain` does, and for another number of learning rates than steps.

    >>> import gradx
    >>> from gradx import viz
    >>> params, tx, seen = {"w": 1.0}, gradx.sgd(0.1), []
    >>> state = tx.init(params)
    >>> for _ in range(20):
    ...     loss, grads = params["w"] ** 2, {"w": 2 * params["w"]}
    ...     updates, state = tx.update(grads, state, params)
    ...     seen.append(gradx.diagnose.step_statistics(grads, updates, params, loss))
    ...     params = gradx.apply_updates(params, updates)
    >>> figure = viz.dashboard(seen, ["w"], learning_rate=0.1)
    """
    stats = history if isinstance(history, StepStatistics) else stack(history)
    findings = explain(stats, names)
    figure = _drawn(stats, names, findings, _rates(learning_rate, len(stats.gradient_norm)), title)
    notebook = _notebook()
    return figure if notebook is None else _renew(notebook, figure, title)


def _drawn(
    stats: StepStatistics,
    names: Sequence[str] | None,
    findings: Sequence[Finding],
    rates: np.ndarray | None,
    title: str,
) -> Figure:
    steps, leaves = np.shape(stats.gradient_norm)
    names = [f"layer {i}" for i in range(leaves)] if names is None else list(names)
    seen = read(stats, names, steps)
    ratio = np.divide(seen.update, seen.weight, out=np.zeros_like(seen.update), where=seen.weight > 0)
    maps = [("gradient norm", seen.gradient), ("update / weight", ratio)] if seen.names else []
    of_map = float(np.clip(LAYER * len(seen.names), LOWEST, HIGHEST))
    every = int(np.ceil(LEAST * len(seen.names) / of_map)) or 1
    heights = [CURVE, *([RATE] if rates is not None else []), *[of_map for _ in maps]]
    figure = new_figure(7.5, sum(heights) + 0.45 * len(heights) + 0.3)
    panels = list(figure.subplots(len(heights), 1, sharex=True, squeeze=False, height_ratios=heights)[:, 0])
    if stats.loss is not None:
        _curve(panels[0], "loss", np.asarray(stats.loss, float))
    else:
        _curve(panels[0], "gradient norm", np.sqrt(np.sum(np.square(seen.gradient), 1)))
    if rates is not None:
        _curve(panels[1], "learning rate", rates)
        if panels[1].get_yscale() == "linear":
            panels[1].set_ylim(bottom=min(0.0, panels[1].get_ylim()[0]))
    for axes, (label, values) in zip(panels[len(panels) - len(maps) :], maps, strict=True):
        draw_heat_map(axes, values, [_shortened(x) for x in seen.names], title=label, every=every)
        _mark_layers(axes, findings, seen.names)
    for axes in panels:
        axes.set_xlim(-0.5 - ROOM * steps, steps - 0.5 + ROOM * steps)
        axes.set_xlabel("")
    panels[-1].set_xlabel("step")
    whole_ticks(panels[-1])
    if title:
        figure.suptitle(title, fontsize=11)
    handles = [_mark_step(panels, findings[:k]) for k in range(1, len(findings) + 1)]
    sentences = [str(finding) for finding in findings] or [f"Nothing found in {steps} steps."]
    legend_below(figure, handles or [Line2D([], [], linestyle="")], sentences)
    return figure


def _curve(axes: Axes, label: str, values: np.ndarray) -> None:
    at, finite = np.arange(len(values)), values[np.isfinite(values)]
    axes.plot(at, values, color="#0072B2", linewidth=1.3, marker="." if len(values) == 1 else "")
    far = len(finite) > 0 and finite.min() > 0 and finite.max() > FAR_APART * finite.min()
    if len(values) and not np.isfinite(values[-1]):
        label = f"{label} ({mark_end(axes, at, values, '#0072B2')})"
    finish(axes, label, log=bool(far))


def _mark_step(panels: Sequence[Axes], findings: Sequence[Finding]) -> Line2D:
    """Draw a line through the step of the last of these findings, and its number beside those near it.

    It stands at the foot: there a loss is not that begins high, or that leaps up.
    """
    step, k = findings[-1].step, len(findings)
    for axes in panels:
        axes.axvline(step, color=ALARM, linewidth=1.0, dashes=(4, 2), zorder=3)
    left, right = panels[0].get_xlim()
    near = sum(abs(finding.step - step) < NEAR * (right - left) for finding in findings[:-1])
    side = 1 if step < (1 - 3 * NEAR) * right else -1  # of the line, where there is room
    panels[0].annotate(
        str(k),
        (step, 0.0),
        (side * (5 + 11 * near), 3),
        xycoords=("data", "axes fraction"),
        textcoords="offset points",
        color=ALARM,
        weight="bold",
        fontsize=9,
        ha="left" if side > 0 else "right",
        va="bottom",
        zorder=6,
        bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 0.8},
    )
    return Line2D([], [], linestyle="", marker=f"${k}$", markersize=7, color=ALARM)


def _mark_layers(axes: Axes, findings: Sequence[Finding], modules: Sequence[str]) -> None:
    """Put a mark where the step of a finding meets its layers; a finding may name leaves of them."""
    for finding in findings:
        rows = [i for i, name in enumerate(modules) if any(f"{x}/".startswith(f"{name}/") for x in finding.layers)]
        if rows:
            style = {"linestyle": "", "marker": "D", "markersize": 4, "color": ALARM, "markeredgecolor": "white"}
            axes.plot([finding.step] * len(rows), rows, zorder=4, **style)


def _shortened(name: str, most: int = 24) -> str:
    return name if len(name) <= most else f"…{name[1 - most :]}"


def _rates(learning_rate: Any, steps: int) -> np.ndarray | None:
    if learning_rate is None:
        return None
    if callable(learning_rate):
        return np.array([float(np.asarray(learning_rate(step))) for step in range(steps)])
    rates = np.asarray(learning_rate, float)
    if rates.ndim == 0:
        return np.full(steps, float(rates))
    if rates.shape != (steps,):
        raise ValueError(f"viz.dashboard: learning_rate must be [{steps}], one a step, got {rates.shape}")
    return rates


def _notebook() -> Any:
    """Return the shell of the notebook that this runs in, or None; where IPython is not loaded there is none."""
    ipython = sys.modules.get("IPython")
    shell = ipython.get_ipython() if ipython is not None else None
    return shell if getattr(shell, "kernel", None) is not None else None


def _renew(shell: Any, figure: Figure, title: str) -> None:
    """Show the figure in the place of the last one of this cell, or as its first."""
    show = sys.modules["IPython"].display
    file = io.BytesIO()
    figure.savefig(file, format="png", dpi=SHARPNESS * figure.dpi)
    image = show.Image(file.getvalue(), format="png", width=round(figure.get_figwidth() * figure.dpi))
    place = (shell.execution_count, title)
    if place in _live:
        _live[place].update(image)
        return
    for old in [x for x in _live if x[0] != shell.execution_count]:
        del _live[old]
    _live[place] = show.display(image, display_id=True)
