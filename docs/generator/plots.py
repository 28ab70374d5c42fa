"""Schedules as small curves that take the page's colours."""

from typing import Any

import numpy as np

import gradx
from docs.generator.names import Name

STEPS = 100
WIDTH, HEIGHT = 420, 150
PAD = 34
EXAMPLES: dict[str, str] = {
    "constant_schedule": "gradx.constant_schedule(0.5)",
    "cosine_decay_schedule": "gradx.cosine_decay_schedule(1.0, 100, alpha=0.1)",
    "cosine_onecycle_schedule": "gradx.cosine_onecycle_schedule(100, 1.0)",
    "cosine_restarts_schedule": "gradx.cosine_restarts_schedule(1.0, 14, 3, period_factor=2, peak_factor=0.8)",
    "cyclic_schedule": "gradx.cyclic_schedule(0.1, 1.0, 12, 24)",
    "exponential_decay": "gradx.exponential_decay(1.0, 20, 0.5)",
    "inverse_sqrt_schedule": "gradx.inverse_sqrt_schedule(1.0, 10)",
    "join_schedules": "gradx.join_schedules([gradx.linear_schedule(0.0, 1.0, 20), gradx.constant_schedule(0.6)], [20])",
    "linear_onecycle_schedule": "gradx.linear_onecycle_schedule(100, 1.0)",
    "linear_schedule": "gradx.linear_schedule(0.0, 1.0, 60)",
    "multi_step_schedule": "gradx.multi_step_schedule(1.0, [30, 60, 80], 0.4)",
    "piecewise_constant_schedule": "gradx.piecewise_constant_schedule(1.0, {25: 0.5, 70: 0.3})",
    "piecewise_interpolate_schedule": 'gradx.piecewise_interpolate_schedule("cosine", 0.2, {30: 5.0, 90: 0.1})',
    "polynomial_schedule": "gradx.polynomial_schedule(1.0, 0.0, 2.0, 90)",
    "sgdr_schedule": "gradx.sgdr_schedule([dict(init_value=0.0, peak_value=p, warmup_steps=5, decay_steps=50)"
    " for p in (1.0, 0.6)])",
    "step_decay_schedule": "gradx.step_decay_schedule(1.0, 25, 0.5)",
    "warmup_constant_schedule": "gradx.warmup_constant_schedule(0.0, 1.0, 20)",
    "warmup_cosine_decay_schedule": "gradx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)",
    "warmup_exponential_decay_schedule": "gradx.warmup_exponential_decay_schedule(0.0, 1.0, 10, 20, 0.5)",
    "warmup_linear_decay_schedule": "gradx.warmup_linear_decay_schedule(0.0, 1.0, 10, 100)",
    "warmup_stable_decay_schedule": "gradx.warmup_stable_decay_schedule(1.0, 10, 60, 30)",
}  # fmt: skip
"""A call for each schedule: a new one without a line here fails the build."""


def curve(values: np.ndarray, width: int = WIDTH, height: int = HEIGHT, pad: int = PAD) -> str:
    """Return values over steps as one SVG element, with the lowest and highest of both axes."""
    low, high = min(0.0, float(values.min())), float(values.max())
    xs = pad + np.linspace(0, width - pad - 8, len(values))
    ys = height - 22 - (values - low) / ((high - low) or 1.0) * (height - 34)
    points = " ".join(f"{x:.1f},{y:.1f}" for x, y in zip(xs, ys, strict=True))
    base = height - 22
    return (
        f'<svg class="curve" viewBox="0 0 {width} {height}" role="img">'
        f'<path class="axis" d="M{pad} 8V{base}H{width - 8}"/><polyline class="way" points="{points}"/>'
        f'<text x="{pad - 5}" y="16" text-anchor="end">{high:g}</text>'
        f'<text x="{pad - 5}" y="{base}" text-anchor="end">{low:g}</text><text x="{pad}" y="{height - 6}">0</text>'
        f'<text x="{width - 8}" y="{height - 6}" text-anchor="end">{len(values) - 1} steps</text></svg>'
    )


def values_of(call: str) -> np.ndarray:
    """Return what the schedule of a call gives at each step."""
    schedule: Any = eval(call, {"gradx": gradx})
    return np.asarray([float(schedule(step)) for step in range(STEPS + 1)])


def schedule(name: Name) -> str:
    """Return the picture of a schedule, with the call that draws it."""
    call = EXAMPLES[name.short]
    return f'<figure class="curve">{curve(values_of(call))}<figcaption markdown="span">`{call}`</figcaption></figure>'


def overview() -> str:
    """Return all schedules side by side, each a link to its section."""
    cells = "".join(
        f'<a href="#gradx.{name}">{curve(values_of(call), 200, 90, 26)}'
        f"<span>{name.removesuffix('_schedule')}</span></a>"
        for name, call in EXAMPLES.items()
    )
    return f'<div class="curves">{cells}</div>'
