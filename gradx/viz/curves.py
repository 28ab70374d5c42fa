"""Lines over steps or over learning rates."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from jax.typing import ArrayLike
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gradx.typing import Schedule
from gradx.viz.style import (
    by_label,
    finish,
    legend_below,
    line_styles,
    marks,
    new_figure,
    plain_numbers,
    whole_ticks,
)

END = {"marker": "X", "markersize": 9, "linestyle": "", "markeredgecolor": "white", "zorder": 4}
"""The mark at the last point of a curve that leaves the finite numbers and does not come back."""


def schedules(
    named: Mapping[str, Schedule] | Sequence[Schedule] | Schedule, steps: int, *, log: bool = False
) -> Figure:
    """Draw schedules from step 0 to step `steps`.

    Args:
      named: a schedule, a list of them, or a dict from label to schedule.
      steps: the last step shown, at least 1.
      log: whether the values stand on a logarithmic axis.

    Raises TypeError for what is no schedule, ValueError when there is none.

    >>> import gradx
    >>> from gradx import viz
    >>> figure = viz.schedules(gradx.warmup_cosine_decay_schedule(0.0, 1e-3, 50, 500), 500)
    >>> figure = viz.schedules({"cosine": gradx.cosine_decay_schedule(1.0, 100)}, 100)
    """
    if steps < 1:
        raise ValueError(f"viz.schedules: steps must be at least 1, got {steps}")
    many = by_label(named)
    for label, schedule in many.items():
        if not callable(schedule):
            raise TypeError(
                f"viz.schedules: {label!r} must be a schedule, got {schedule!r}; a number that stays is "
                "gradx.constant_schedule(number)"
            )
    at = np.arange(steps + 1)
    values = {label: np.array([float(schedule(step)) for step in at]) for label, schedule in many.items()}
    if len(many) == 1 and not isinstance(named, Mapping):
        label, only = values.popitem()
        return training_curves(only, at, title=f"learning rate: {label}", log=log)
    return training_curves(values, at, title="learning rate", log=log)


def training_curves(
    curves: Mapping[str, ArrayLike] | ArrayLike,
    steps: ArrayLike | None = None,
    *,
    title: str = "loss",
    xlabel: str = "step",
    log: bool = False,
    target: float | None = None,
) -> Figure:
    """Draw one line for each entry; of several seeds the mean, in a band from the lowest to the highest.

    A cross marks the last finite value of a curve that ends in NaN or infinity. The labels stand below the axes.

    Args:
      curves: from label to values, [points] or [seeds, points]; or the values of one curve. NaN leaves a gap.
      steps: where the points stand, [points]; 0, 1, 2, ... by default.
      title: what the values are.
      xlabel: what `steps` counts.
      log: whether they stand on a logarithmic axis.
      target: drawn as a thin horizontal line.

    Raises ValueError when there is nothing to draw, or a curve and the steps differ in length.

    >>> from gradx import viz
    >>> figure = viz.training_curves({"sgd": [3.0, 2.0, 1.5], "adam": [3.0, 1.0, 0.5]}, title="loss")
    """
    named = curves if isinstance(curves, Mapping) else {"": curves}
    if not named:
        raise ValueError("viz.training_curves: there is no curve to draw")
    figure = new_figure()
    axes = figure.subplots()
    handles, labels = [], []
    for i, (label, values) in enumerate(named.items()):
        lines = np.atleast_2d(np.asarray(values, float))
        at = np.arange(lines.shape[-1]) if steps is None else np.asarray(steps)
        if lines.ndim != 2 or at.shape != lines.shape[1:]:
            raise ValueError(
                f"viz.training_curves: {label!r} has shape {np.shape(values)}; wanted [points] or [seeds, points] "
                f"with {len(at)} points"
            )
        style = line_styles()[i % len(line_styles())]
        every, mean = marks(len(at), i / len(named)), lines.mean(0)
        handles += axes.plot(at, mean, label=label, linewidth=1.6, markersize=5, markevery=every, **style)
        labels.append(str(label))
        if not np.isfinite(mean[-1:]).all():
            labels[-1] = f"{label} ({mark_end(axes, at, mean, style['color'])})".lstrip()
        if len(lines) > 1:
            axes.fill_between(at, lines.min(0), lines.max(0), color=style["color"], alpha=0.15, linewidth=0)
    if target is not None:
        axes.axhline(target, color="0.4", linewidth=0.8)
    finish(axes, title, log=log, xlabel=xlabel)
    axes.set_xlim(left=min(0, axes.dataLim.x0))
    if all((np.mod(line.get_xdata(), 1) == 0).all() for line in handles):
        whole_ticks(axes)
    if any(labels):
        legend_below(figure, handles, labels)
    return figure


def mark_end(axes: Axes, at: np.ndarray, mean: np.ndarray, color: str) -> str:
    """Mark the last finite value of a curve, and return what its label must say."""
    finite = np.flatnonzero(np.isfinite(mean))
    if not len(finite):
        return "nowhere finite"
    last = finite[-1]
    axes.plot(at[last], mean[last], color=color, **END)
    return f"not finite after {at[last]:g}"


def learning_rate_curve(curve: Any) -> Figure:
    """Draw what `gradx.tune.lr_find` found: the last loss of each learning rate, and the suggestion.

    A rate whose loss rose or left the finite numbers is drawn at the top edge, so that it is seen to have failed.

    Args:
      curve: has `learning_rates` [K], `losses` [K, steps] and `suggestion`.

    >>> import gradx
    >>> from gradx import viz
    >>> curve = gradx.tune.lr_find(gradx.sgd(1.0), lambda w, batch: 5.0 * w**2, 1.0, steps=20)
    >>> figure = viz.learning_rate_curve(curve)
    """
    figure = new_figure()
    axes = figure.subplots()
    draw_learning_rate_curve(axes, curve)
    legend_below(figure, *axes.get_legend_handles_labels())
    return figure


def draw_learning_rate_curve(axes: Axes, curve: Any) -> None:
    """Draw it on axes, without a legend."""
    rates, losses = np.asarray(curve.learning_rates), np.asarray(curve.losses, float)
    first, last = np.nanmedian(losses[:, 0]), losses[:, -1]
    worst = 1.5 * first if first > 0 else np.nanmax(last)
    failed = ~np.isfinite(last) | (last > worst)
    axes.plot(rates, np.where(failed, worst, last), color="#0072B2", linewidth=1.6)
    if failed.any():
        axes.plot(rates[failed], np.full(failed.sum(), worst), "X", color="#D55E00", label="loss rose or overflowed")
    axes.axhline(first, color="0.6", linewidth=0.8, label="loss before the first step")
    suggestion = float(curve.suggestion)
    axes.axvline(suggestion, color="black", dashes=(5, 1.5), linewidth=1.2, label=f"suggestion: {suggestion:.2g}")
    finish(axes, f"loss after {losses.shape[1]} steps", xlabel="learning rate")
    axes.set_xscale("log")
    axes.set_xlim(rates.min(), rates.max())
    plain_numbers(axes.xaxis)
