"""Lines over steps or over learning rates."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.figure import Figure

from gradx.typing import Schedule
from gradx.viz.style import finish, line_styles, marks, new_figure, plain_numbers


def schedules(named: Mapping[str, Schedule] | Schedule, steps: int, *, log: bool = False) -> Figure:
    """Draw schedules from step 0 to step `steps`.

    Args:
      named: a schedule, or a dict from label to schedule.
      steps: the last step shown, at least 1.
      log: whether the values stand on a logarithmic axis.

    >>> import gradx
    >>> from gradx import viz
    >>> figure = viz.schedules({"cosine": gradx.cosine_decay_schedule(1.0, 100)}, 100)
    """
    if steps < 1:
        raise ValueError(f"viz.schedules: steps must be at least 1, got {steps}")
    many = named if isinstance(named, Mapping) else {str(named): named}
    at = np.arange(steps + 1)
    values = {label: np.array([float(schedule(step)) for step in at]) for label, schedule in many.items()}
    return training_curves(values, at, title="learning rate", log=log)


def training_curves(
    curves: Mapping[str, ArrayLike],
    steps: ArrayLike | None = None,
    *,
    title: str = "loss",
    xlabel: str = "step",
    log: bool = False,
    target: float | None = None,
) -> Figure:
    """Draw one line for each entry; of several seeds the mean, in a band from the lowest to the highest.

    Args:
      curves: from label to values, [points] or [seeds, points]. NaN leaves a gap.
      steps: where the points stand, [points]; 0, 1, 2, ... by default.
      title: what the values are.
      xlabel: what `steps` counts.
      log: whether they stand on a logarithmic axis.
      target: drawn as a thin horizontal line.

    Raises ValueError when there is nothing to draw, or a curve and the steps differ in length.
    """
    if not curves:
        raise ValueError("viz.training_curves: there is no curve to draw")
    figure = new_figure()
    axes = figure.subplots()
    for i, (label, values) in enumerate(curves.items()):
        lines = np.atleast_2d(np.asarray(values, float))
        at = np.arange(lines.shape[-1]) if steps is None else np.asarray(steps)
        if lines.ndim != 2 or at.shape != lines.shape[1:]:
            raise ValueError(
                f"viz.training_curves: {label!r} has shape {np.shape(values)}; wanted [points] or [seeds, points] "
                f"with {len(at)} points"
            )
        style = line_styles()[i % len(line_styles())]
        every = marks(len(at), i / len(curves))
        axes.plot(at, lines.mean(0), label=label, linewidth=1.6, markersize=5, markevery=every, **style)
        if len(lines) > 1:
            axes.fill_between(at, lines.min(0), lines.max(0), color=style["color"], alpha=0.15, linewidth=0)
    if target is not None:
        axes.axhline(target, color="0.4", linewidth=0.8)
    finish(axes, title, log=log, xlabel=xlabel)
    axes.set_xlim(left=min(0, axes.dataLim.x0))
    axes.legend(framealpha=0.9, edgecolor="white", handlelength=3.5)
    return figure


def learning_rate_curve(curve: Any) -> Figure:
    """Draw what `gradx.tune.lr_find` found: the last loss of each learning rate, and the suggestion.

    A rate whose loss rose or left the finite numbers is drawn at the top edge, so that it is seen to have failed.

    Args:
      curve: has `learning_rates` [K], `losses` [K, steps] and `suggestion`.
    """
    rates, losses = np.asarray(curve.learning_rates), np.asarray(curve.losses, float)
    first, last = np.nanmedian(losses[:, 0]), losses[:, -1]
    worst = 1.5 * first if first > 0 else np.nanmax(last)
    failed = ~np.isfinite(last) | (last > worst)
    figure = new_figure()
    axes = figure.subplots()
    axes.plot(rates, np.where(failed, worst, last), color="#0072B2", linewidth=1.6)
    axes.plot(rates[failed], np.full(failed.sum(), worst), "X", color="#D55E00", label="loss rose or overflowed")
    axes.axhline(first, color="0.6", linewidth=0.8, label="loss before the first step")
    suggestion = float(curve.suggestion)
    axes.axvline(suggestion, color="black", dashes=(5, 1.5), linewidth=1.2, label=f"suggestion: {suggestion:.2g}")
    finish(axes, f"loss after {losses.shape[1]} steps", xlabel="learning rate")
    axes.set_xscale("log")
    axes.set_xlim(rates.min(), rates.max())
    plain_numbers(axes.xaxis)
    axes.legend(framealpha=0.9, edgecolor="white")
    return figure
