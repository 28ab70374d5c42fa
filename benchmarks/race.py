"""A race: one task, one training for each optimizer and seed, a table, a picture.

python -m benchmarks.race images --optimizers sgd adamw --steps 600 --seeds 0 1 2 --out out/race/images
python -m benchmarks.race all --budget short

A race that was interrupted goes on where it stopped when it is started again with the same folder.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from benchmarks import tasks
from benchmarks.pictures import draw
from benchmarks.progress import Progress
from benchmarks.report import Race, Run
from benchmarks.roster import ROSTER
from benchmarks.task import Task
from benchmarks.training import Problem

EVERY = "all"
BUDGETS = {"full": 1.0, "short": 0.25}
"""The share of a task's steps that are done; schedules are as much shorter."""
INTERRUPTED = 130
"""The exit status of a program that Ctrl-C ended, by the shells' convention."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = _parser()
    args = parser.parse_args(arguments)
    chosen = tasks.names() if args.task == EVERY else [args.task]
    loaded = {name: tasks.load(name) for name in chosen}
    for name, task in loaded.items():
        if unknown := [x for x in args.optimizers or [] if x not in task.learning_rates]:
            parser.error(
                f"unknown optimizer {', '.join(map(repr, unknown))}; {name} has {', '.join(task.learning_rates)}"
            )
    console = Console(highlight=False)
    for name, task in loaded.items():
        out = Path("out", "race", name) if args.out is None else args.out / name if args.task == EVERY else args.out
        if status := race(name, task, args, out, console):
            return status
    return 0


def race(name: str, task: Task, args: argparse.Namespace, out: Path, console: Console) -> int:
    """Run one race, show and keep what it measured; return the exit status."""
    steps = max(1, round(BUDGETS[args.budget] * task.steps)) if args.steps is None else args.steps
    result = Race(name, task.title, task.metric, steps, task.batch_size)
    result.resume(out / "results.json")
    optimizers = list(dict.fromkeys(args.optimizers or task.learning_rates))
    try:
        run_all(result, task, optimizers, list(dict.fromkeys(args.seeds)), out, console)
    except KeyboardInterrupt:
        console.print("interrupted: what was measured so far follows; the same command goes on from here")
    if not result.optimizers:
        return INTERRUPTED
    draw(result, out / "curves.png")
    result.write_table(out / "table.md")
    console.print(result.table())
    console.print(f"results.json, curves.png and table.md are in {out}", soft_wrap=True)
    return 0 if result.finished else INTERRUPTED


def run_all(
    result: Race, task: Task, optimizers: Sequence[str], seeds: Sequence[int], out: Path, console: Console
) -> None:
    """Train each optimizer with each seed; `result` and the JSON file hold all that was measured, at any time."""
    planned = [(name, seed) for name in optimizers for seed in seeds]
    problem = Problem(task)
    earlier, result.runs = result.runs, []
    with Progress(console, task.title, task.metric, planned) as progress:
        for name, seed in planned:
            tx = ROSTER[name](task.learning_rates[name], result.steps)
            run = next((x for x in earlier if (x.optimizer, x.seed, x.recipe) == (name, seed, repr(tx))), None)
            if run is None:
                training = problem.start(tx, seed, result.steps)
                run = Run(name, seed, repr(tx), result.steps, training.parameters, training.state_bytes)
            result.runs.append(run)
            progress.show(run)
            while not run.finished:
                run.points.append(training.advance(task.evaluate_every))
                result.finished = len(result.runs) == len(planned) and run.finished
                result.write(out / "results.json")
                progress.show(run)
    result.finished = True
    result.write(out / "results.json")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.race", description="Race optimizers on a task.")
    parser.add_argument("task", choices=[*tasks.names(), EVERY], help="what is learnt; all: each in turn")
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", help="default: all that the task has")
    parser.add_argument("--budget", choices=BUDGETS, default="full", help="short: a quarter of the task's steps")
    parser.add_argument("--steps", type=_positive, metavar="N", help="of each training; default: the task's")
    parser.add_argument("--seeds", type=_seed, nargs="+", default=[0], metavar="N", help="default: 0")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="for the results; default: out/race/TASK")
    return parser


def _positive(text: str) -> int:
    if (number := int(text)) < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def _seed(text: str) -> int:
    if (number := int(text)) < 0:
        raise argparse.ArgumentTypeError(f"must be at least 0, got {text}")
    return number


if __name__ == "__main__":
    sys.exit(main())
