"""A schedule in the size of a word: where it is worth looking at, its values, and a line in SVG."""

import html
from collections.abc import Iterator, Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx.typing import Schedule
from gradx.value import Value

SPAN = 100
"""How many steps of a schedule are looked at that names no number of steps."""
TURNS = 4
"""Of a schedule that never settles, so many times the steps that it names are shown."""
PROBES = 480
LATEST = 2**31 - 2
"""The last step that an int32 counts."""
NEVER = 0.95
"""What still moves after this share of them does not settle."""
BEHIND = 10
"""A picture goes on behind the end, so many hundredths of it, so that one sees that it is one."""
WIDTH, HEIGHT, MARGIN = 120, 24, 2


def horizon(schedule: Schedule) -> int:
    """Return the last step worth showing: a little behind the one from which on nothing changes.

    >>> import gradx
    >>> horizon(gradx.linear_schedule(1e-3, 0.0, 100)), horizon(gradx.constant_schedule(0.1))
    (110, 100)
    """
    return int(_seen(schedule)[0][-1])


def _seen(schedule: Schedule) -> tuple[np.ndarray, np.ndarray]:
    """Return the steps of a coarse grid that are worth showing, and the values there."""
    span = sum(_integers(schedule)) or SPAN
    last = min(TURNS * span, LATEST)
    at = np.unique(np.linspace(0, last, PROBES + 1).astype(int))
    values = sampled(schedule, at)
    moving = np.flatnonzero(np.any(np.reshape(values != values[-1], (len(at), -1)), 1))
    if not len(moving):
        until = span
    elif at[moving[-1]] >= NEVER * last:
        until = last
    else:
        until = _rounded_up(int(at[moving[-1] + 1]) * (100 + BEHIND) // 100)
    end = min(np.count_nonzero(at < until), len(at) - 1)
    return np.append(at[:end], until), values[: end + 1]


def sampled(schedule: Schedule, at: np.ndarray) -> np.ndarray:
    """Return the schedule's values at the steps `at`, all in one go where it is no ordinary Python."""
    try:
        return np.asarray(jax.jit(jax.vmap(schedule))(jnp.asarray(at)), float)
    except TypeError:  # it branches on the step, or hands it to `math`
        return np.array([float(schedule(int(step))) for step in at])


def sparkline(schedule: Schedule) -> str:
    """Return a line of the schedule as SVG, in the colour of the text around it; nothing where it is no such line.

    What can be told from the line is said to a screen reader too.
    """
    at, values = _seen(schedule)
    last = int(at[-1])
    if values.ndim != 1 or not np.isfinite(values).all():
        return ""
    low, high = min(0.0, values.min()), max(0.0, values.max())
    x = MARGIN + (WIDTH - 2 * MARGIN) * at / last
    y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (values - low) / ((high - low) or 1.0)
    shown = np.unique(np.linspace(0, len(at) - 1, WIDTH).astype(int))
    points = " ".join(f"{x[k]:.1f},{y[k]:.1f}" for k in shown)
    first, end = values[0], values[-1]
    words = f"{first:.3g} at step 0, {values.max():.3g} at most, {end:.3g} at step {last:,}"
    return (
        f'<svg role="img" aria-label="{html.escape(words)}" viewBox="0 0 {WIDTH} {HEIGHT}" width="{WIDTH}" '
        f'height="{HEIGHT}" style="vertical-align: middle"><title>{html.escape(words)}</title>'
        f'<polyline points="{points}" fill="none" stroke="currentColor" stroke-width="1.5"/></svg>'
    )


def _integers(x: Any) -> Iterator[int]:
    """Go through the integers among the arguments of a schedule, and of those inside it: numbers of steps."""
    if isinstance(x, Value):
        x = x.arguments
    if isinstance(x, Mapping):
        x = [*x.keys(), *x.values()]
    if isinstance(x, list | tuple):
        for inner in x:
            yield from _integers(inner)
    elif isinstance(x, int | np.integer) and not isinstance(x, bool):
        yield max(int(x), 0)


def _rounded_up(x: int) -> int:
    """Return the next number of two significant digits.

    >>> _rounded_up(5501), _rounded_up(550), _rounded_up(7)
    (5600, 550, 7)
    """
    unit = 10 ** max(len(str(x)) - 2, 0)
    return int(-(-x // unit) * unit)
