"""A race: one task, learning rates tuned for each optimizer, then a training for each seed, a table, a picture.

python -m benchmarks.race images --optimizers sgd adamw --seeds 3
python -m benchmarks.race all --budget short

The rates are tuned on data held out from the training set: the same grid for every optimizer, around the rate in the
task's file. All rates of an optimizer train as one program, then all its seeds. A race that was interrupted goes on
where it stopped when it is started again with the same folder.
"""

import argparse
import math
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import jax
from rich.console import Console

from benchmarks import report, tasks
from benchmarks.pictures import draw
from benchmarks.progress import Progress
from benchmarks.results import Race, Run, Tuning, write_whole
from benchmarks.task import Learner, Task
from benchmarks.training import Programs, Training
from gradx import GradientTransformation

EVERY = "all"
FULL = "full"
BUDGETS = {FULL: (1.0, None), "short": (0.25, 1)}
"""The share of a task's steps that are done (schedules are as much shorter), and the seeds: `None`, the task's own."""
REACH = 2
"""So many rates to either side of the one in the task's file, in the series 1, 3, 10, 30 ..."""
WIDTH = 140
"""Of the table in a file."""
LAST = 4
"""A rate is judged by the mean metric over the last quarter of the looks, so that one lucky look does not decide."""
FIRST_TUNING_SEED = 1000
"""And those that follow: none of those that race."""
DONE = ".done"
"""In the folder of all races while they run: the names of those that went to their end."""
INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, by the shells' convention."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    arguments = sys.argv[1:] if arguments is None else arguments
    parser = _parser()
    args = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    loaded = {}
    for name in tasks.names() if args.task == EVERY else [args.task]:
        try:
            loaded[name] = tasks.load(name)
        except tasks.Unavailable as problem:
            if args.task != EVERY:
                parser.error(str(problem))
            console.print(f"{problem}; left out", soft_wrap=True)
    for name, task in loaded.items():
        if unknown := [x for x in args.optimizers or [] if x not in task.learning_rates]:
            parser.error(
                f"unknown optimizer {', '.join(map(repr, unknown))}; {name} has {', '.join(task.learning_rates)}"
            )
    root = args.out or Path("out", "race")
    if args.task != EVERY:
        return Runner(args.task, loaded[args.task], args, args.out or root / args.task, console).race()
    if status := race_each(list(loaded), arguments, root):
        return status
    report.build(root)
    console.print(f"README.md and report.html are in {root}", soft_wrap=True)
    return 0


def race_each(names: Sequence[str], arguments: Sequence[str], root: Path) -> int:
    """Run each race with the arguments given for all; where one was interrupted, keep those that were done by then."""
    done_file = root / DONE
    done = done_file.read_text(encoding="utf-8").split() if done_file.exists() else []
    for name in names:
        given = [name if x == EVERY else x for x in arguments]
        keep = ["--add"] if name in done else []
        if status := alone([*given, *keep, "--out", str(root / name)]):
            return status
        done.append(name)
        write_whole(done_file, "\n".join(done))
    done_file.unlink()
    return 0


def alone(arguments: Sequence[str]) -> int:
    """Run a race in a process of its own, where no other has left memory in use; return the exit status."""
    process = subprocess.Popen([sys.executable, "-m", "benchmarks.race", *arguments])
    interrupted = False
    while True:
        try:
            status = process.wait()
        except KeyboardInterrupt:  # Ctrl-C reaches both: the race writes what it has, and ends
            interrupted = True
        else:
            return INTERRUPTED if interrupted else status


@dataclass
class Runner:
    """One race, as the command line asks for it."""

    name: str
    task: Task
    args: argparse.Namespace
    out: Path
    console: Console
    result: Race = field(init=False)
    progress: Progress = field(init=False)
    began: float = field(init=False)
    """When the race would have started had it not been interrupted; by the clock that only tells differences."""

    def race(self) -> int:
        """Run the race, show and keep what it measured; return the exit status."""
        task, budget = self.task, self.args.budget
        share, seeds = BUDGETS.get(budget, BUDGETS[FULL])
        steps = max(1, round(share * task.steps)) if budget in BUDGETS else budget
        described = (task.title, task.metric, steps, task.step, task.textbook, task.source)
        self.result = Race(self.name, *described, task.alternatives, task.schedules)
        self.result.resume(self.out / "results.json", finished=self.args.add)
        try:
            self.run_all(
                list(dict.fromkeys(self.args.optimizers or task.learning_rates)), self.args.seeds or seeds or task.seeds
            )
        except KeyboardInterrupt:
            self.console.print("interrupted: what was measured so far follows; the same command goes on from here")
        if not self.result.optimizers:
            return INTERRUPTED
        draw(self.result, self.out / "curves.png")
        self.result.write_table(self.out / "table.md")
        self.console.print(self.result.table())
        self.console.print(f"results.json, curves.png and table.md are in {self.out}", soft_wrap=True)
        return 0 if self.result.finished else INTERRUPTED

    def run_all(self, optimizers: Sequence[str], seeds: int) -> None:
        """Tune and train each optimizer; the result and the JSON file hold all that was measured, at any time."""
        self.began = time.perf_counter() - self.result.seconds
        planned = [(name, seed) for name in optimizers for seed in range(seeds)]
        earlier, self.result.runs = self.result.runs, []
        tuned, self.result.tunings = self.result.tunings, []
        with Progress(self.console, self.task.title, self.task.metric, planned) as self.progress:
            for name in optimizers:
                rate = self.rate(name, tuned)
                recipe = repr(self.optimizer(name, rate, self.task.learner(name, False)))
                runs = [x for x in earlier if (x.optimizer, x.recipe) == (name, recipe) and x.seed < seeds]
                missing = [seed for seed in range(seeds) if seed not in {x.seed for x in runs}]
                self.result.runs += runs
                for run in runs:
                    self.progress.show(run)
                programs = Programs(self.task.learner(name, False))
                for members in self.groups(missing):
                    self.train(name, rate, members, programs)
        self.result.finished = True
        self.keep()

    def rate(self, name: str, earlier: list[Tuning]) -> float:
        """Return the learning rate to race with, tuned unless the command line says otherwise."""
        centre = self.task.learning_rates[name]
        if not self.args.tune:
            return centre
        learner, rates = self.task.learner(name, True), grid(centre)
        recipe = repr(self.optimizer(name, centre, learner))
        tuning = next((x for x in earlier if (x.optimizer, x.recipe, x.rates) == (name, recipe, rates)), None)
        if tuning is None:
            self.progress.note(f"{name}: trying {len(rates)} learning rates")
            seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.task.tuning_seeds)
            ends = {rate: [] for rate in rates}
            programs = Programs(learner)
            for members in self.groups([(rate, seed) for rate in rates for seed in seeds]):
                txs = [self.optimizer(name, rate, learner) for rate, _ in members]
                training = Training(programs, txs, [seed for _, seed in members], self.result.steps)
                curves = list(zip(*training.run(self.task.evaluate_every), strict=True))
                last = -(-len(curves[0]) // LAST)
                for (rate, _), curve in zip(members, curves, strict=True):
                    ends[rate].append(statistics.mean(point.metric for point in curve[-last:]))
            tuning = Tuning(name, recipe, rates, [statistics.mean(ends[rate]) for rate in rates])
        self.result.tunings.append(tuning)
        self.keep()
        best, show = tuning.best(self.task.metric), self.task.metric.show
        tried = ", ".join(f"{rate:g}: {show(x)}" for rate, x in zip(rates, tuning.metrics, strict=True))
        self.progress.note(f"{name}: learning rate {best:g}; {self.task.metric.name} on held-out data {tried}")
        return best

    def train(self, name: str, rate: float, seeds: Sequence[int], programs: Programs) -> None:
        """Train with each of the seeds, side by side."""
        steps = self.result.steps
        tx = self.optimizer(name, rate, programs.learner)
        training = Training(programs, [tx] * len(seeds), seeds, steps)
        sizes = training.parameters, training.state_bytes
        runs = [Run(name, seed, rate, repr(tx), steps, *sizes) for seed in seeds]
        self.result.runs += runs
        for run in runs:
            self.progress.show(run)
        for points in training.run(self.task.evaluate_every):
            for run, point in zip(runs, points, strict=True):
                run.points.append(point)
                run.temporary_bytes = programs.temporary_bytes
                self.progress.show(run)
            self.keep()
        if self.task.picture is not None and seeds[0] == 0:
            self.task.picture(training.params(0), self.out / f"{name}.png")

    def optimizer(self, name: str, rate: float, learner: Learner) -> GradientTransformation:
        """Return the optimizer for a learning rate; its schedule is as long as the training."""
        return self.task.roster[name](rate, self.result.steps * learner.updates_per_step)

    def groups(self, members: Sequence) -> Iterator[Sequence]:
        """Cut into groups that train side by side."""
        size = self.args.at_once or (jax.default_backend() == "cpu" and self.task.at_once) or max(1, len(members))
        return (members[i : i + size] for i in range(0, len(members), size))

    def keep(self) -> None:
        """Write what was measured."""
        self.result.seconds = time.perf_counter() - self.began
        self.result.write(self.out / "results.json")


def grid(centre: float) -> list[float]:
    """Return the rates of 1, 3, 10, 30 ... around one of them."""
    middle = round(2 * math.log10(centre))
    return [float(f"{(1, 3)[i % 2]}e{i // 2}") for i in range(middle - REACH, middle + REACH + 1)]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description="Race optimizers on a task.")
    parser.add_argument("task", choices=[*tasks.names(), EVERY], help="what is learnt; all: each in turn, and a report")
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help="default: all that the task has")
    budget = "full (the default), short (a quarter of the steps, one seed), or the steps of each training"
    parser.add_argument("--budget", type=_budget, default=FULL, help=budget)
    parser.add_argument("--seeds", type=_positive, metavar="N", help="how many; default: 3, or 5 where a race is short")
    tune = {"action": argparse.BooleanOptionalAction, "default": True}
    parser.add_argument("--tune", **tune, help="--no-tune: race with the rates in the task's file")
    parser.add_argument(
        "--at-once", type=_positive, metavar="N", help="trainings in one program; default: all, or the task's"
    )
    parser.add_argument("--add", action="store_true", help="keep what a finished race measured; train what is missing")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the results; default: out/race/TASK")
    return parser


def _budget(text: str) -> str | int:
    if text in BUDGETS:
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be {', '.join(BUDGETS)} or a number of steps, got {text!r}")
    return _positive(text)


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
