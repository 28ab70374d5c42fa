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

from benchmarks import INTERRUPTED, catch_interrupts, report, tasks
from benchmarks.command import RESULTS, Parser, Refused, Selection, check_folder, check_kept, positive, read, unknown
from benchmarks.pictures import draw
from benchmarks.progress import Progress, final_table
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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    console = Console(highlight=False, width=None if sys.stdout.isatty() else WIDTH)
    try:
        runners = [Runner(name, task, args, out, console) for name, task, out in chosen(parser, args, console)]
        for runner in runners:
            check_folder(runner.out)
            check_kept(runner.out, runner.selection, add=runner.adds, overwrite=args.overwrite)
        catch_interrupts()
        if args.task != EVERY:
            return runners[0].race()
        root = _root(args)
        if status := race_each(runners, root):
            return status
        report.build(root)
        console.print(f"README.md and report.html are in {root}", soft_wrap=True)
    except Refused as problem:
        parser.error(str(problem))
    except KeyboardInterrupt:
        console.print("interrupted")
        return INTERRUPTED
    return 0


def chosen(parser: Parser, args: argparse.Namespace, console: Console) -> Iterator[tuple[str, Task, Path]]:
    """Yield each task that is to be raced, with its folder; of all, those that can run and have such an optimizer."""
    everything = args.task == EVERY
    loaded = {}
    for name in tasks.names() if everything else [args.task]:
        try:
            loaded[name] = tasks.load(name)
        except tasks.Unavailable as problem:
            if not everything:
                parser.error(str(problem))
            console.print(f"{problem}; left out", soft_wrap=True)
    known = list(dict.fromkeys(x for task in loaded.values() for x in task.learning_rates))
    for name in args.optimizers or []:
        if name not in known:
            what = "optimizer" if everything else f"optimizer of {args.task}"
            parser.error(unknown(what, name, known))
    for name, task in loaded.items():
        if not raced(args, task):
            console.print(f"{name} has no {' and no '.join(args.optimizers)}; left out", soft_wrap=True)
            continue
        yield name, task, _root(args) / name if everything else args.out or _root(args) / name


def raced(args: argparse.Namespace, task: Task) -> list[str]:
    """Return the optimizers that a task has of those that are asked for."""
    return list(dict.fromkeys(x for x in args.optimizers or task.learning_rates if x in task.learning_rates))


def race_each(runners: Sequence["Runner"], root: Path) -> int:
    """Run each race as it would be alone; where one was interrupted, keep those that were done by then."""
    done_file, done = root / DONE, _done(root)
    for runner in runners:
        keep = ["--add"] if runner.name in done and not runner.args.add else []
        if status := alone([*runner.command, *keep]):
            return status
        done.append(runner.name)
        write_whole(done_file, "\n".join(done))
    done_file.unlink(missing_ok=True)
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

    @property
    def selection(self) -> Selection:
        """What the command line asks for."""
        share, seeds = BUDGETS.get(self.args.budget, BUDGETS[FULL])
        steps = max(1, round(share * self.task.steps)) if self.args.budget in BUDGETS else self.args.budget
        seeds = self.args.seeds or seeds or self.task.seeds
        return Selection(self.name, raced(self.args, self.task), seeds, steps, self.args.tune)

    @property
    def adds(self) -> bool:
        """Whether what a finished race measured stays; of all races, where this one was done when they were stopped."""
        return self.args.add or (self.args.task == EVERY and self.name in _done(_root(self.args)))

    @property
    def command(self) -> list[str]:
        """The arguments with which this race, of all, runs by itself."""
        args, picked = self.args, self.selection
        flags = {"--no-tune": not args.tune, "--add": args.add, "--overwrite": args.overwrite}
        numbers = {"--budget": args.budget, "--seeds": args.seeds, "--at-once": args.at_once, "--out": self.out}
        return [
            self.name,
            *(["--optimizers", *picked.optimizers] if args.optimizers else []),
            *(flag for flag, given in flags.items() if given),
            *(str(x) for pair in numbers.items() if pair[1] is not None for x in pair),
        ]

    def race(self) -> int:
        """Run the race, show and keep what it measured; return the exit status."""
        task, picked = self.task, self.selection
        described = (task.title, task.metric, picked.steps, task.step, task.textbook, task.source)
        asides = {aside: base for aside, base in task.schedules.items() if aside in task.learning_rates}
        self.result = Race(self.name, *described, task.alternatives, asides)
        self.resume()
        try:
            self.run_all(picked.optimizers, picked.seeds)
        except KeyboardInterrupt:
            self.console.print("interrupted: what was measured so far follows; the same command goes on from here")
        if not self.result.optimizers:
            return INTERRUPTED
        draw(self.result, self.out / "curves.png")
        self.result.write_table(self.out / "table.md")
        self.console.print(*final_table(self.result, self.console))
        self.console.print(f"results.json, curves.png and table.md are in {self.out}", soft_wrap=True)
        return 0 if self.result.finished else INTERRUPTED

    def resume(self) -> None:
        """Take what the folder holds of this race; what is no result was given up on the command line."""
        path = self.out / RESULTS
        try:
            if path.exists():
                anew = read(path)["finished"] and not self.args.add
                self.result.resume(path, finished=self.args.add)
                if anew:
                    self.console.print(f"{path} has a finished race, which is measured anew", soft_wrap=True)
        except Refused:
            if not self.args.overwrite:
                raise

    def run_all(self, optimizers: Sequence[str], seeds: int) -> None:
        """Tune and train each optimizer; the result and the JSON file hold all that was measured, at any time."""
        self.began = time.perf_counter() - self.result.seconds
        planned = [(name, seed) for name in optimizers for seed in range(seeds)]
        if not self.args.add:
            self.result.runs = [x for x in self.result.runs if (x.optimizer, x.seed) in planned]
            self.result.tunings = [x for x in self.result.tunings if x.optimizer in optimizers]
        with Progress(self.console, self.task.title, self.task.metric, planned) as self.progress:
            trials = len(optimizers) * (2 * REACH + 1) * self.task.tuning_seeds if self.args.tune else 0
            self.progress.plan((trials + len(planned)) * self.result.steps)
            for name in optimizers:
                rate = self.rate(name)
                recipe = repr(self.optimizer(name, rate, self.task.learner(name, False)))
                others = [x for x in self.result.runs if x.optimizer != name]
                runs = [x for x in self.result.runs if (x.optimizer, x.recipe) == (name, recipe)]
                missing = [seed for seed in range(seeds) if seed not in {x.seed for x in runs}]
                self.result.runs = others + runs
                for run in runs:
                    self.progress.show(run)
                self.progress.plan(-(seeds - len(missing)) * self.result.steps)
                programs = Programs(self.task.learner(name, False))
                for members in self.groups(missing):
                    self.train(name, rate, members, programs)
        self.result.finished = True
        self.keep()

    def rate(self, name: str) -> float:
        """Return the learning rate to race with, tuned unless the command line says otherwise."""
        centre = self.task.learning_rates[name]
        if not self.args.tune:
            return centre
        learner, rates = self.task.learner(name, True), grid(centre)
        recipe = repr(self.optimizer(name, centre, learner))
        others = [x for x in self.result.tunings if x.optimizer != name]
        kept = [x for x in self.result.tunings if (x.optimizer, x.recipe, x.rates) == (name, recipe, rates)]
        if kept:
            self.progress.plan(-len(rates) * self.task.tuning_seeds * self.result.steps)
        tuning = kept[0] if kept else Tuning(name, recipe, rates, self.tried(name, learner, rates))
        self.result.tunings = [*others, tuning]
        self.keep()
        best, show = tuning.best(self.task.metric), self.task.metric.show
        tried = ", ".join(f"{rate:g}: {show(x)}" for rate, x in zip(rates, tuning.metrics, strict=True))
        self.progress.note(f"{name}: learning rate {best:g}; {self.task.metric.name} on held-out data {tried}")
        return best

    def tried(self, name: str, learner: Learner, rates: Sequence[float]) -> list[float]:
        """Return the mean metric that each rate reaches on held-out data."""
        seeds = range(FIRST_TUNING_SEED, FIRST_TUNING_SEED + self.task.tuning_seeds)
        ends = {rate: [] for rate in rates}
        programs = Programs(learner)
        members = [(rate, seed) for rate in rates for seed in seeds]
        self.progress.tune(name, len(rates), len(members) * self.result.steps)
        for group in self.groups(members):
            txs = [self.optimizer(name, rate, learner) for rate, _ in group]
            training, curves = Training(programs, txs, [seed for _, seed in group], self.result.steps), []
            for points in training.run(self.task.evaluate_every):
                steps = points[0].step - (curves[-1][0].step if curves else 0)
                self.progress.advance(steps * len(group), tuning=True)
                curves.append(points)
            last = -(-len(curves) // LAST)
            for i, (rate, _) in enumerate(group):
                ends[rate].append(statistics.mean(points[i].metric for points in curves[-last:]))
        return [statistics.mean(ends[rate]) for rate in rates]

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
            before = runs[0].points[-1].step if runs[0].points else 0
            self.progress.advance((points[0].step - before) * len(runs))
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
        self.result.write(self.out / RESULTS)


def grid(centre: float) -> list[float]:
    """Return the rates of 1, 3, 10, 30 ... around one of them."""
    middle = round(2 * math.log10(centre))
    return [float(f"{(1, 3)[i % 2]}e{i // 2}") for i in range(middle - REACH, middle + REACH + 1)]


def _parser() -> Parser:
    parser = Parser(prog="python -m benchmarks.race", description="Race optimizers on a task.")
    of_tasks = f"what is learnt: {', '.join(tasks.names())}; or {EVERY}: each in turn, and a report"
    parser.add_argument("task", type=_task, metavar="TASK", help=of_tasks)
    asked = "default: all that the task has; with all: of each task those that it has"
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help=asked)
    budget = "full (the default), short (a quarter of the steps, one seed), or the steps of each training"
    parser.add_argument("--budget", "--steps", type=_budget, default=FULL, metavar="STEPS", help=budget)
    seeds = "how many; default: 3, or 5 where a race is short"
    parser.add_argument("--seeds", type=positive, metavar="N", help=seeds)
    tune = {"action": argparse.BooleanOptionalAction, "default": True}
    parser.add_argument("--tune", **tune, help="--no-tune: race with the rates in the task's file")
    at_once = "trainings in one program; default: all, or the task's"
    parser.add_argument("--at-once", type=positive, metavar="N", help=at_once)
    parser.add_argument("--add", action="store_true", help="keep what a finished race measured; train what is missing")
    parser.add_argument("--overwrite", action="store_true", help="replace the results of another selection")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the results; default: out/race/TASK")
    return parser


def _task(text: str) -> str:
    known = [*tasks.names(), EVERY]
    if text not in known:
        raise argparse.ArgumentTypeError(unknown("task", text, known))
    return text


def _budget(text: str) -> str | int:
    if text in BUDGETS:
        return text
    if not text.isdecimal():
        raise argparse.ArgumentTypeError(f"must be {', '.join(BUDGETS)} or a number of steps, got {text!r}")
    return positive(text)


def _root(args: argparse.Namespace) -> Path:
    """Return the folder of all races."""
    return args.out if args.out and args.task == EVERY else Path("out", "race")


def _done(root: Path) -> list[str]:
    file = root / DONE
    return file.read_text(encoding="utf-8").split() if file.exists() else []


if __name__ == "__main__":
    sys.exit(main())
