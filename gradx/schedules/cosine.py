"""Schedules that fall along half a cosine, once or again and again."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import jax
from jax.typing import ArrayLike

from gradx.scheduled import schedule
from gradx.schedules.piecewise import join_schedules
from gradx.schedules.polynomial import as_real, half_cosine, interpolate, progress
from gradx.schedules.warmup import warmup_cosine_decay_schedule
from gradx.typing import PositiveInt, PositiveReal, Real, Schedule


@schedule
def cosine_decay_schedule(
    init_value: Real, decay_steps: PositiveInt, alpha: Real = 0.0, exponent: PositiveReal = 1.0
) -> Any:
    """Fall along half a cosine: init_value · ((1 - alpha) · h^exponent + alpha), h = (1 + cos(pi · x)) / 2.

    x is the share of `decay_steps` that has passed.

    Step 0: init_value. Step decay_steps and all later: alpha · init_value. Loshchilov and Hutter 2017,
    arXiv:1608.03983.

    >>> import gradx
    >>> round(float(gradx.cosine_decay_schedule(1.0, 100)(50)), 6)
    0.5
    """

    def at(step: ArrayLike) -> jax.Array:
        remaining = half_cosine(progress(step, 0, decay_steps)) ** as_real(exponent)
        return interpolate(as_real(alpha) * as_real(init_value), init_value, remaining)

    return at


@schedule
def cosine_restarts_schedule(
    init_value: Real,
    first_period: PositiveInt,
    cycles: PositiveInt,
    period_factor: PositiveInt = 1,
    peak_factor: PositiveReal = 1.0,
    alpha: Real = 0.0,
) -> Any:
    """Fall along half a cosine `cycles` times, jumping back to the peak in between (SGDR).

    Step 0: init_value. Cycle i has length first_period · period_factor^i and peak init_value · peak_factor^i; each
    falls to alpha times its peak. From the end of the last cycle on: alpha times the last peak.

    Loshchilov and Hutter 2017, arXiv:1608.03983, eq. 5.

    Args:
      first_period: the steps of the first cycle.
      cycles: how many.
      period_factor: from the length of one cycle to the next's.
      peak_factor: from the peak of one cycle to the next's, above 0.

    >>> import gradx
    >>> schedule = gradx.cosine_restarts_schedule(1.0, first_period=10, cycles=2, peak_factor=0.5)
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 15, 20)]
    [1.0, 0.5, 0.5, 0.25, 0.0]
    """
    lengths = [first_period * period_factor**i for i in range(cycles)]
    ends = [sum(lengths[: i + 1]) for i in range(cycles - 1)]

    peaks = [as_real(init_value) * as_real(peak_factor) ** i for i in range(cycles)]
    falls = [cosine_decay_schedule(peak, n, alpha) for peak, n in zip(peaks, lengths, strict=True)]
    return join_schedules(falls, ends)


def sgdr_schedule(cosine_kwargs: Iterable[Mapping[str, float]]) -> Schedule:
    """Run one `warmup_cosine_decay_schedule` after the other, each of its own `decay_steps`.

    Step 0: the first one's init_value. From the end of the last on: its end_value. Loshchilov and Hutter 2017,
    arXiv:1608.03983.

    Args:
      cosine_kwargs: for each cycle the arguments of `warmup_cosine_decay_schedule`; a generator will do.

    >>> import gradx
    >>> cycle = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 5, "decay_steps": 10}
    >>> schedule = gradx.sgdr_schedule([cycle, cycle])
    >>> [round(float(schedule(step)), 4) for step in (0, 5, 10, 15, 20)]
    [0.0, 1.0, 0.0, 1.0, 0.0]
    """
    # A value is built from its arguments again and again, and a generator can be read but once.
    return _sgdr_schedule([dict(kwargs) for kwargs in cosine_kwargs])


@schedule
def _sgdr_schedule(cosine_kwargs: Sequence[Mapping[str, float]]) -> Any:
    cycles = [warmup_cosine_decay_schedule(**kwargs) for kwargs in cosine_kwargs]
    if not cycles:
        raise ValueError("sgdr_schedule: needs at least one cycle")
    lengths = [int(cycle.arguments["decay_steps"]) for cycle in cycles]
    return join_schedules(cycles, [sum(lengths[: i + 1]) for i in range(len(cycles) - 1)])


_sgdr_schedule.__name__ = "sgdr_schedule"  # what the value prints as; pickle goes by the qualified name
