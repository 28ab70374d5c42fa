"""How soon each optimizer of a race has what tuned AdamW has at its end: in steps, and in seconds."""

import math
import statistics

from benchmarks.results import NOTHING, Race, Run, markdown_table

REFERENCE = "adamw"


def steps_until(run: Run, loss: float) -> float | None:
    """Return the steps until the test loss is no more than that, between two looks along a straight line, or None."""
    before = None
    for point in run.points:
        if point.test_loss <= loss:
            if before is None or math.isnan(before.test_loss):
                return float(point.step)
            share = (before.test_loss - loss) / (before.test_loss - point.test_loss)
            return before.step + share * (point.step - before.step)
        before = point
    return None


def pursuit(race: Race) -> str:
    """Return a table of the steps and seconds to AdamW's mean final test loss; empty where AdamW did not race.

    Schedules are as long as the race, so that AdamW itself is there at the end alone.
    """
    if REFERENCE not in race.optimizers:
        return ""
    loss = statistics.fmean(run.points[-1].test_loss for run in race.of(REFERENCE))
    found = {name: [steps_until(run, loss) for run in race.of(name)] for name in race.optimizers}
    order = sorted(
        found, key=lambda name: math.fsum(race.steps if x is None else x for x in found[name]) / len(found[name])
    )
    rows = [_row(race, name, found[name]) for name in order]
    headings = [f"to {REFERENCE}'s {loss:.3f}", "seeds that reach it", "steps", "of all steps", "seconds"]
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
