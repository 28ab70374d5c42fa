"""How soon each optimizer of a race has what tuned AdamW has at its end: in steps, and in seconds.

That is the metric where less is better, the test loss where the metric is an accuracy; other tasks have no such table.
"""

import math
import statistics
from collections.abc import Sequence

from benchmarks.results import NOTHING, Race, Run, markdown_table

REFERENCE = "adamw"


def steps_until(level: float, steps: Sequence[int], values: Sequence[float]) -> float | None:
    """Return the steps until a value is no more than the level, between two looks along a straight line, or None."""
    looks = list(zip(steps, values, strict=True))
    for i, (step, value) in enumerate(looks):
        if value <= level:
            before, last = looks[i - 1] if i else (step, math.nan)
            return float(step) if math.isnan(last) else before + (last - level) / (last - value) * (step - before)
    return None


def pursuit(race: Race) -> str:
    """Return a table of the steps and seconds to AdamW's mean at the end; empty where there is nothing to compare.

    Schedules are as long as the race, so that AdamW itself is there at the end alone.
    """
    metric = race.metric
    if REFERENCE not in race.optimizers or (metric.higher_is_better and not metric.examples):
        return ""
    seen, show = ("test_loss", "{:.3f}".format) if metric.higher_is_better else ("metric", metric.show)

    def values(run: Run) -> list[float]:
        return [getattr(point, seen) for point in run.points]

    level = statistics.fmean(values(run)[-1] for run in race.of(REFERENCE))
    found = {
        name: [steps_until(level, [point.step for point in run.points], values(run)) for run in race.of(name)]
        for name in race.optimizers
    }
    order = sorted(
        found, key=lambda name: math.fsum(race.steps if x is None else x for x in found[name]) / len(found[name])
    )
    rows = [_row(race, name, found[name]) for name in order]
    what = "test loss" if metric.higher_is_better else metric.name
    headings = [f"to {REFERENCE}'s {what} {show(level)}", "seeds that reach it", "steps", "of all steps", "seconds"]
    return markdown_table(headings, rows)


def _row(race: Race, name: str, steps: list[float | None]) -> list[str]:
    there = [x for x in steps if x is not None]
    count = f"{len(there)} of {len(steps)}"
    if len(there) < len(steps):
        return [name, count, *[NOTHING] * 3]
    shares = [x / race.steps for x in there]
    spread = f" ({min(shares):.2f} to {max(shares):.2f})" if len(shares) > 1 else ""
    seconds = [x * run.milliseconds_per_step / 1000 for x, run in zip(there, race.of(name), strict=True)]
    mean = statistics.fmean
    return [name, count, f"{mean(there):.0f}", f"{mean(shares):.2f}{spread}", f"{mean(seconds):.3g}"]
