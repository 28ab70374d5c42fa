"""What a race shows: a live table in a terminal, one line for each run elsewhere, and the table at the end."""

import textwrap
import time
from collections.abc import Sequence
from typing import Any, Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.measure import Measurement
from rich.progress_bar import ProgressBar
from rich.table import Table

from benchmarks.results import NOTHING, Race, Run
from benchmarks.task import Metric

BAR_WIDTH = 24
NARROW = 100
"""Columns of a terminal, below which the bar is short and a seed is a number."""
NARROW_BAR_WIDTH = 10
HEADING = 10
"""Characters of a heading's line where headings have to take several."""
ENDLESS = 10_000
"""Columns in which every table fits."""
LEAST_NEEDED = ("", "learning rate", "loss")
"""Columns of the live table that go first where the terminal is narrower still."""


class Progress:
    """A context in which runs are announced and then change; `planned` are all (optimizer, seed) to come."""

    def __init__(self, console: Console, title: str, metric: Metric, planned: list[tuple[str, int]]) -> None:
        self.console, self.title, self.metric, self.planned = console, title, metric, planned
        self.runs: dict[tuple[str, int], Run] = {}
        self.started = time.monotonic()
        self.planned_steps = self.done_steps = 0
        self.tuning, self.tuning_steps, self.tuned_steps = "", 1, 0
        self.live = Live(console=console, get_renderable=self._table, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

    def plan(self, steps: int) -> None:
        """Add steps, of all members together, to what is to be done; fewer than 0 where something is done already."""
        self.planned_steps += steps

    def tune(self, optimizer: str, rates: int, steps: int) -> None:
        """Say that learning rates are tried for an optimizer, and in how many steps of all members together."""
        self.tuning, self.tuning_steps, self.tuned_steps = optimizer, steps, 0
        left = f"; {self.left}" if self.left and not self.console.is_terminal else ""
        self.note(f"{optimizer}: trying {rates} learning rates{left}")

    def advance(self, steps: int, *, tuning: bool = False) -> None:
        """Count steps, of all members together, as done."""
        self.done_steps += steps
        self.tuned_steps += steps if tuning else 0

    @property
    def left(self) -> str:
        """The time left, if what is to come goes as fast as what was done, compiling included; empty at the start."""
        if not self.done_steps or self.done_steps >= self.planned_steps:
            return ""
        passed = time.monotonic() - self.started
        return f"about {_clock(passed / self.done_steps * (self.planned_steps - self.done_steps))} left"

    def show(self, run: Run) -> None:
        """Show the run as it is now."""
        self.runs[run.optimizer, run.seed] = run
        if run.finished and not self.console.is_terminal:
            last = run.points[-1]
            self.console.print(
                f"{self._label(run.optimizer, run.seed):<12} {run.steps} steps: test loss {last.test_loss:.4f}, "
                f"{self.metric.name} {self.metric.show(last.metric)}, {run.milliseconds_per_step:.3g} ms/step",
                highlight=False,
                soft_wrap=True,
            )

    def note(self, text: str) -> None:
        """Say something; on a terminal above the table, and broken between words."""
        self.console.print(text, highlight=False, soft_wrap=not self.console.is_terminal)

    def _label(self, optimizer: str, seed: int, *, narrow: bool = False) -> str:
        seeds = {s for _, s in self.planned}
        return optimizer if len(seeds) == 1 else f"{optimizer}{' ' if narrow else ', seed '}{seed}"

    def _table(self) -> Table:
        narrow = self.console.width < NARROW
        bar = NARROW_BAR_WIDTH if narrow else BAR_WIDTH
        title = f"{self.title}  [dim]{_clock(time.monotonic() - self.started)}  {self.left}[/dim]"
        headings = ["optimizer", "", "step", "loss", self.metric.name, "learning rate"]
        rows = []
        for optimizer, seed in self.planned:
            run = self.runs.get((optimizer, seed))
            label = self._label(optimizer, seed, narrow=narrow)
            rows.append([label, *self._cells(run, bar, first=seed == self.planned[0][1], optimizer=optimizer)])
        dropped = [headings.index(x) for x in LEAST_NEEDED]
        return _fitting(self.console, title, headings, rows, dropped, left=(0, 1), style=box.SIMPLE)[0]

    def _cells(self, run: Run | None, bar: int, *, first: bool, optimizer: str) -> list[Any]:
        if run is None and first and self.tuning == optimizer:
            return [
                ProgressBar(total=self.tuning_steps, completed=self.tuned_steps, width=bar),
                "[dim]tuning[/dim]",
                *[f"[dim]{NOTHING}[/dim]"] * 3,
            ]
        if run is None or not run.points:
            text = "waiting" if run is None else "compiling"
            return [f"[dim]{text}[/dim]", *[f"[dim]{NOTHING}[/dim]"] * 4]
        last = run.points[-1]
        style = "bold" if self.metric.reached(last.metric) else ""
        metric = self.metric.show(last.metric)
        return [
            ProgressBar(total=run.steps, completed=last.step, width=bar),
            str(last.step),
            f"{last.train_loss:.4f}",
            f"[{style}]{metric}[/{style}]" if style else metric,
            f"{last.learning_rate:.2e}",
        ]


def final_table(race: Race, console: Console) -> list[Any]:
    """Return the table, a row for each optimizer, means over the seeds, and a line on columns there is no room for."""
    headings = race.headings()
    dropped = list(range(len(headings) - 1, 2, -1))  # from the right; who, its rate and the metric stay
    table, missing = _fitting(console, race.title, headings, race.rows(), dropped, left=(0,), style=box.SIMPLE_HEAD)
    names = ", ".join(headings[i] for i in sorted(missing))
    return [table, f"no room here for {names}: table.md has them"] if names else [table]


def _fitting(
    console: Console,
    title: str,
    headings: Sequence[str],
    rows: Sequence[Sequence[Any]],
    dropped: Sequence[int],
    *,
    left: Sequence[int],
    style: box.Box,
) -> tuple[Table, list[int]]:
    """Return a table that fits into the console, and the columns that it lacks, taken from `dropped` in that order.

    First the headings take several lines, and the range of a mean another; at the very last cells break between words.
    """
    missing: list[int] = []
    compact = breaks = False
    while True:
        table = Table(title=title, box=style, title_justify="left", pad_edge=False)
        kept = [i for i in range(len(headings)) if i not in missing]
        for i in kept:
            heading = "\n".join(textwrap.wrap(headings[i], HEADING)) if compact else headings[i]
            table.add_column(heading, justify="left" if i in left else "right", no_wrap=not breaks, overflow="fold")
        for row in rows:
            table.add_row(*(_stacked(row[i]) if compact else row[i] for i in kept))
        needed = Measurement.get(console, console.options.update_width(ENDLESS), table).maximum
        if needed <= console.width or breaks:
            return table, missing
        if compact and len(missing) < len(dropped):
            missing.append(dropped[len(missing)])
        elif compact:
            breaks = True
        compact = True


def _stacked(cell: Any) -> Any:
    """Put the range of a mean on a line of its own."""
    return cell.replace(" (", "\n(") if isinstance(cell, str) else cell


def _clock(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    return f"{minutes}:{seconds:02}"
