"""What a race measured: kept as JSON while it runs, shown as a table when it ends."""

import functools
import json
import math
import os
import platform
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import jax

import gradx
from benchmarks.task import Metric
from benchmarks.training import Point

LIBRARIES = ("gradx", "jax", "jaxlib", "flax", "numpy")
NOTHING = "–"
NUMBERS = Point._fields[:-1]
"""What every point has; the others are the task's own."""
NUMBERS_ON_LINES = re.compile(r'\[\n[^][{}"]*\]')
"""A list of numbers as indented JSON has it; on one line a curve reads better."""


@dataclass
class Tuning:
    """The learning rates that were tried for an optimizer, and what each reached on data held out."""

    optimizer: str
    recipe: str
    """With the rate in the middle."""
    rates: list[float]
    metrics: list[float]

    def best(self, metric: Metric) -> float:
        """Return the rate that reached the best metric; the lower one of equals."""
        best = 0
        for i, value in enumerate(self.metrics):
            if metric.better(value, self.metrics[best]):
                best = i
        return self.rates[best]


@dataclass
class Run:
    """One training: one optimizer, one seed."""

    optimizer: str
    seed: int
    rate: float
    recipe: str
    steps: int
    parameters: int
    state_bytes: int
    temporary_bytes: int = 0
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
    step: str
    """What one step is."""
    textbook: str = ""
    source: str = ""
    alternatives: Sequence[str] = ()
    """What the textbook names in the same breath."""
    schedules: Mapping[str, str] = field(default_factory=dict)
    """Who has another schedule, and whose optimizer it is."""
    tunings: list[Tuning] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    finished: bool = False
    seconds: float = 0.0
    """From the start to the last measurement, compiling included; of an interrupted race, its parts together."""
    origin: dict[str, Any] = field(default_factory=lambda: {"versions": versions(), "platform": computer()})
    """What was measured, and on what."""

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

    def resume(self, path: Path, *, finished: bool = False) -> None:
        """Take what was finished of a race that was interrupted, if it was this one, on this machine and versions.

        A race that went to its end is not resumed, unless `finished`: to start it again means to measure again.
        """
        if not path.exists():
            return
        kept = json.loads(path.read_text(encoding="utf-8"))
        mine = self.as_json()
        same = all(kept.get(key) == mine[key] for key in ("task", "metric", "steps", "step", "versions", "platform"))
        if same and (finished or not kept["finished"]):
            self._take(kept)

    @classmethod
    def read(cls, path: Path) -> "Race":
        """Return the finished runs of a race that was written."""
        kept = json.loads(path.read_text(encoding="utf-8"))
        metric = Metric(**kept["metric"])
        race = cls(kept["task"], kept["title"], metric, *(kept[x] for x in ("steps", "step", "textbook", "source")))
        race.alternatives, race.schedules = kept.get("alternatives", ()), kept.get("schedules", {})
        race.origin = {name: kept[name] for name in race.origin}
        race._take(kept)
        race.finished = kept["finished"]
        return race

    def _take(self, kept: dict[str, Any]) -> None:
        self.seconds = kept["seconds"]
        self.runs = [_run_from_json(run, self.steps) for run in kept["runs"] if run["finished"]]
        self.tunings = [
            Tuning(name, tried["recipe"], tried["rates"], [math.nan if x is None else x for x in tried["metrics"]])
            for name, tried in kept["tuning"].items()
        ]

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
                "style": metric.style,
                "ceiling": metric.ceiling,
                "examples": metric.examples,
            },
            "steps": self.steps,
            "step": self.step,
            "textbook": self.textbook,
            "source": self.source,
            "alternatives": list(self.alternatives),
            "schedules": dict(self.schedules),
            "finished": self.finished,
            "seconds": round(self.seconds, 1),
            **self.origin,
            "tuning": {
                tuning.optimizer: {
                    "recipe": tuning.recipe,
                    "rates": tuning.rates,
                    "metrics": [_finite(x) for x in tuning.metrics],
                }
                for tuning in self.tunings
            },
            "runs": [_run_as_json(run, metric) for run in self.runs],
        }

    def write_table(self, path: Path) -> None:
        """Write the table as Markdown."""
        write_whole(path, markdown_table(self.headings(), self.rows()))

    def headings(self) -> list[str]:
        """Return the titles of the table's columns."""
        target = self.metric.show(self.metric.target)
        first = ["optimizer", "learning rate", self.metric.name, "test loss", f"steps to {target}"]
        return [*first, "ms/step", "state B/param", "temporary MB", *self._others()]

    def _others(self) -> list[str]:
        points = [point for run in self.runs for point in run.points]
        return list(dict.fromkeys(name for point in points for name in point.others))

    def best(self) -> str:
        """Return the optimizer with the best mean of the metric at the end; of equals the textbook's choice."""
        best = self.textbook if self.textbook in self.optimizers else self.optimizers[0]
        for name in self.optimizers:
            if self.metric.better(self.mean(name), self.mean(best)):
                best = name
        return best

    def ends(self, optimizer: str) -> list[float]:
        """Return the metric at the end, for each seed."""
        return [run.points[-1].metric for run in self.of(optimizer)]

    def mean(self, optimizer: str) -> float:
        """Return the mean of the metric at the end, over the seeds."""
        return statistics.mean(self.ends(optimizer))

    def rows(self) -> list[list[str]]:
        """Return the table's rows."""
        return [self._row(name) for name in self.optimizers]

    def _row(self, optimizer: str) -> list[str]:
        runs = self.of(optimizer)
        last = [run.points[-1] for run in runs]
        reached = [step for run in runs if (step := run.steps_to_target(self.metric)) is not None]
        return [
            optimizer if all(run.finished for run in runs) else f"{optimizer} (unfinished)",
            f"{runs[0].rate:g}",
            _mean_and_range([p.metric for p in last], self.metric.show),
            _mean_and_range([p.test_loss for p in last], "{:.3f}".format),
            f"{statistics.mean(reached):.0f}" if len(reached) == len(runs) else NOTHING,
            _mean_and_range([run.milliseconds_per_step for run in runs], "{:.3g}".format, show_range=False),
            f"{runs[0].state_bytes / runs[0].parameters:.1f}",
            f"{runs[0].temporary_bytes / 1e6:.1f}",
            *(
                _mean_and_range([p.others[name] for p in last], "{:.3g}".format) if name in last[0].others else NOTHING
                for name in self._others()
            ),
        ]


def markdown_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table as Markdown; all columns but the first are right-aligned."""
    lines = [headings, ["---", *["---:"] * (len(headings) - 1)], *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of what was measured."""
    found = {name: _version(name) for name in LIBRARIES}
    return found | {"python": platform.python_version()}


def _version(name: str) -> str:
    return gradx.__version__ if name == "gradx" else metadata.version(name)


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
    others = run.points[0].others if run.points else {}
    return {
        "optimizer": run.optimizer,
        "seed": run.seed,
        "learning_rate": run.rate,
        "recipe": run.recipe,
        "finished": run.finished,
        "parameters": run.parameters,
        "state_bytes_per_parameter": run.state_bytes / run.parameters,
        "temporary_bytes": run.temporary_bytes,
        "steps_to_target": run.steps_to_target(metric),
        "milliseconds_per_step": _finite(run.milliseconds_per_step),
        "curves": {name: [_finite(getattr(point, name)) for point in run.points] for name in NUMBERS}
        | {name: [_finite(point.others[name]) for point in run.points] for name in others},
    }


def _run_from_json(kept: dict[str, Any], steps: int) -> Run:
    state_bytes = round(kept["state_bytes_per_parameter"] * kept["parameters"])
    described = (kept[name] for name in ("optimizer", "seed", "learning_rate", "recipe"))
    run = Run(*described, steps, kept["parameters"], state_bytes, kept["temporary_bytes"])
    columns = {name: [math.nan if x is None else x for x in column] for name, column in kept["curves"].items()}
    for i in range(len(columns["step"])):
        others = {name: column[i] for name, column in columns.items() if name not in NUMBERS}
        run.points.append(Point(*(columns[name][i] for name in NUMBERS), others))
    return run


def _finite(x: float) -> float | None:
    return x if math.isfinite(x) else None


def _mean_and_range(values: Sequence[float], show: Any, *, show_range: bool = True) -> str:
    mean = show(statistics.mean(values))
    if len(values) == 1 or not show_range:
        return mean
    return f"{mean} ({show(min(values))} to {show(max(values))})"
