"""Where a task's learning rates come from: a grid around each, judged on a fifth of the training set held out.

python -m benchmarks.rates images --optimizers sgd adamw
"""

import argparse
import dataclasses
import math
import statistics
import sys
from collections.abc import Sequence

import jax
import numpy as np
from rich.console import Console

from benchmarks import tasks
from benchmarks.roster import ROSTER
from benchmarks.task import Batch, Task
from benchmarks.training import Point, Problem

REACH = 2
"""So many rates to either side of the one in the task's table: ten times less to ten times more."""
HELD_OUT = 0.2
SPLIT_SEED = 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.rates", description="Try learning rates on a task.")
    parser.add_argument("task", choices=tasks.names())
    parser.add_argument("--optimizers", nargs="+", metavar="NAME", choices=list(ROSTER))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0], metavar="N", help="default: 0")
    args = parser.parse_args(arguments)
    task = without_test(tasks.load(args.task))
    console, problem = Console(highlight=False), Problem(task)
    for name in args.optimizers or task.learning_rates:
        for rate in grid(task.learning_rates[name]):
            ends = [train(problem, name, rate, seed) for seed in args.seeds]
            metrics = [end.metric for end in ends]
            low, mean, high = map(task.metric.show, (min(metrics), statistics.mean(metrics), max(metrics)))
            console.print(f"{name:<10} {rate:<8g} {mean} on held-out data ({low} to {high})")
    return 0


def grid(centre: float) -> list[float]:
    """Return the rates of 1, 3, 10, 30 ... around one of them."""
    middle = round(2 * math.log10(centre))
    return [float(f"{(1, 3)[i % 2]}e{i // 2}") for i in range(middle - REACH, middle + REACH + 1)]


def without_test(task: Task) -> Task:
    """Return the task with a fifth of its training set, drawn at random, in place of its test set."""
    train, _ = task.data()
    order = np.random.default_rng(SPLIT_SEED).permutation(len(jax.tree.leaves(train)[0]))
    cut = int(HELD_OUT * len(order))

    def part(chosen: np.ndarray) -> Batch:
        return jax.tree.map(lambda x: x[chosen], train)

    return dataclasses.replace(task, data=lambda: (part(order[cut:]), part(order[:cut])))


def train(problem: Problem, optimizer: str, rate: float, seed: int) -> Point:
    """Return what is seen after a whole training."""
    steps = problem.task.steps
    return problem.start(ROSTER[optimizer](rate, steps), seed, steps).advance(steps)


if __name__ == "__main__":
    sys.exit(main())
