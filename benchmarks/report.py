"""What a race measured: kept as JSON while it runs, shown as a table when it ends."""

import functools
import json
import math
import os
import platform
import re
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
from rich import box
from rich.table import Table

from benchmarks.task import Metric
from benchmarks.training import Point

LIBRARIES = ("gradx", "jax", "jaxlib", "flax", "numpy")
NOTHING = "–"
NUMBERS_ON_LINES = re.compile(r'\[\n[^][{}"]*\]')
"""A list of numbers as indented JSON has it; on one line a curve reads better."""


@dataclass
class Run:
    """One training: one optimizer, one seed."""

    optimizer: str
    seed: int
    recipe: str
    steps: int
    parameters: int
    state_bytes: int
    points: list[Point] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether all steps were done."""
        return bool(self.points) and self.points[-1].step == self.steps

    @property
    def milliseconds_per_step(self) -> float:
        """The median over the stretches between two looks at the test set; NaN when none was timed."""
        timed = [p.seconds_per_step for p in self.points if math.isfinite(p.seconds_per_step)]
        return 1000 * statistics.median(timed) if timed else math.nan

    def steps_to_target(self, metric: Metric) -> int | None:
        """Return the steps done at the first look that found the target reached, or None."""
        return next((p.step for p in self.points if metric.reached(p.metric)), None)


@dataclass
class Race:
    """All runs of one task."""

    task: str
    title: str
    metric: Metric
    steps: int
    batch_size: int
    runs: list[Run] = field(default_factory=list)
    finished: bool = False

    def of(self, optimizer: str) -> list[Run]:
        """Return the runs of an optimizer that have something to show."""
        return [run for run in self.runs if run.optimizer == optimizer and run.points]

    @property
    def optimizers(self) -> list[str]:
        """The optimizers that have something to show, in the order of the race."""
        return list(dict.fromkeys(run.optimizer for run in self.runs if run.points))

    def write(self, path: Path) -> None:
        """Write everything as JSON; a reader finds the file before or after, never a part of it."""
        text = json.dumps(self.as_json(), indent=1, allow_nan=False)
        write_whole(path, re.sub(NUMBERS_ON_LINES, lambda found: " ".join(found[0].split()), text) + "\n")

    def resume(self, path: Path) -> None:
        """Take the finished runs of a race that was interrupted, if it was this one, on this machine and versions.

        A race that went to its end is not resumed: to start it again means to measure again.
        """
        if not path.exists():
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
        mine = self.as_json()
        same = all(
            kept.get(key) == mine[key] for key in ("task", "metric", "steps", "batch_size", "versions", "platform")
        )
        if same and not kept["finished"]:
            self.runs = [_run_from_json(run, self.steps) for run in kept["runs"] if run["finished"]]

    def as_json(self) -> dict[str, Any]:
        """Return everything as lists, dicts, strings and numbers; what is not finite is null."""
        metric = self.metric
        return {
            "task": self.task,
            "title": self.title,
            "metric": {
                "name": metric.name,
                "target": metric.target,
                "higher_is_better": metric.higher_is_better,
            },
            "steps": self.steps,
            "batch_size": self.batch_size,
            "finished": self.finished,
            "versions": versions(),
            "platform": computer(),
            "runs": [_run_as_json(run, metric) for run in self.runs],
        }

    def table(self) -> Table:
        """Return the final table, a row for each optimizer; numbers are means over the seeds."""
        table = Table(title=self.title, box=box.SIMPLE_HEAD, title_justify="left", pad_edge=False)
        for i, heading in enumerate(self.headings()):
            table.add_column(heading, justify="right" if i else "left")
        for row in self.rows():
            table.add_row(*row)
        return table

    def write_table(self, path: Path) -> None:
        """Write the table as Markdown."""
        lines = [self.headings(), ["---", *["---:"] * (len(self.headings()) - 1)], *self.rows()]
        write_whole(path, "".join(f"| {' | '.join(line)} |\n" for line in lines))

    def headings(self) -> list[str]:
        """Return the titles of the table's columns."""
        target = self.metric.show(self.metric.target)
        return ["optimizer", self.metric.name, "test loss", f"steps to {target}", "ms/step", "state B/param"]

    def rows(self) -> list[list[str]]:
        """Return the table's rows."""
        return [self._row(name) for name in self.optimizers]

    def _row(self, optimizer: str) -> list[str]:
        runs = self.of(optimizer)
        last = [run.points[-1] for run in runs]
        reached = [step for run in runs if (step := run.steps_to_target(self.metric)) is not None]
        return [
            optimizer if all(run.finished for run in runs) else f"{optimizer} (unfinished)",
            _mean_and_range([p.metric for p in last], self.metric.show),
            _mean_and_range([p.test_loss for p in last], "{:.3f}".format),
            f"{statistics.mean(reached):.0f}" if len(reached) == len(runs) else NOTHING,
            _mean_and_range([run.milliseconds_per_step for run in runs], "{:.1f}".format, show_range=False),
            f"{runs[0].state_bytes / runs[0].parameters:.1f}",
        ]


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    found = {name: _version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version()}


def _version(name: str) -> str:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return "not installed, from source"


@functools.cache
def computer() -> dict[str, Any]:
    """Return what is worth knowing about the machine, and nothing that says which one it is."""
    return {
        "system": platform.system(),
        "machine": platform.machine(),
        "processors": os.cpu_count(),
        "backend": jax.default_backend(),
        "device": jax.devices()[0].device_kind,
    }


def write_whole(path: Path, text: str) -> None:
    """Replace a file in one step."""
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.draft")
    draft.write_text(text, encoding="utf-8")
    draft.replace(path)


def _run_as_json(run: Run, metric: Metric) -> dict[str, Any]:
    return {
        "optimizer": run.optimizer,
        "seed": run.seed,
        "recipe": run.recipe,
        "finished": run.finished,
        "parameters": run.parameters,
        "state_bytes_per_parameter": run.state_bytes / run.parameters,
        "steps_to_target": run.steps_to_target(metric),
        "milliseconds_per_step": _finite(run.milliseconds_per_step),
        "curves": {name: [_finite(getattr(point, name)) for point in run.points] for name in Point._fields},
    }


def _run_from_json(kept: dict[str, Any], steps: int) -> Run:
    state_bytes = round(kept["state_bytes_per_parameter"] * kept["parameters"])
    run = Run(kept["optimizer"], kept["seed"], kept["recipe"], steps, kept["parameters"], state_bytes)
    columns = [[math.nan if x is None else x for x in kept["curves"][name]] for name in Point._fields]
    run.points = [Point(*row) for row in zip(*columns, strict=True)]
    return run


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _mean_and_range(values: Sequence[float], show: Any, *, show_range: bool = True) -> str:
    mean = show(statistics.mean(values))
    if len(values) == 1 or not show_range:
        return mean
    return f"{mean} ({show(min(values))} to {show(max(values))})"
