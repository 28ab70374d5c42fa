"""What a race shows while it runs: a live table in a terminal, one line for each run elsewhere."""

import time
from typing import Self

from rich import box
from rich.console import Console
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table

from benchmarks.results import NOTHING, Run
from benchmarks.task import Metric

BAR_WIDTH = 24


class Progress:
    """A context in which runs are announced and then change; `planned` are all (optimizer, seed) to come."""

    def __init__(self, console: Console, title: str, metric: Metric, planned: list[tuple[str, int]]) -> None:
        self.console, self.title, self.metric, self.planned = console, title, metric, planned
        self.runs: dict[tuple[str, int], Run] = {}
        self.started = time.monotonic()
        self.live = Live(console=console, get_renderable=self._table, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self.console.is_terminal:
            self.live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self.console.is_terminal:
            self.live.stop()

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
        """Say something; on a terminal above the table."""
        self.console.print(text, highlight=False, soft_wrap=True)

    def _label(self, optimizer: str, seed: int) -> str:
        seeds = {s for _, s in self.planned}
        return optimizer if len(seeds) == 1 else f"{optimizer}, seed {seed}"

    def _table(self) -> Table:
        minutes, seconds = divmod(int(time.monotonic() - self.started), 60)
        table = Table(title=f"{self.title}  [dim]{minutes}:{seconds:02}[/dim]", box=box.SIMPLE, title_justify="left")
        for heading in ("optimizer", "", "step", "loss", self.metric.name, "learning rate"):
            table.add_column(heading, justify="right" if heading not in ("optimizer", "") else "left", no_wrap=True)
        for optimizer, seed in self.planned:
            run = self.runs.get((optimizer, seed))
            table.add_row(self._label(optimizer, seed), *self._cells(run))
        return table

    def _cells(self, run: Run | None) -> list:
        if run is None or not run.points:
            text = "waiting" if run is None else "compiling"
            return [f"[dim]{text}[/dim]", *[f"[dim]{NOTHING}[/dim]"] * 4]
        last = run.points[-1]
        style = "bold" if self.metric.reached(last.metric) else ""
        metric = self.metric.show(last.metric)
        return [
            ProgressBar(total=run.steps, completed=last.step, width=BAR_WIDTH),
            str(last.step),
            f"{last.train_loss:.4f}",
            f"[{style}]{metric}[/{style}]" if style else metric,
            f"{last.learning_rate:.2e}",
        ]
