"""Past one device: `python -m benchmarks.scale`, and `--plan` for devices that are not there.

Processes with two CPU devices each train the language task together, over `jax.distributed` on this machine. Every
layout must train as one process does; what a device holds and sends comes from the arrays and the compiled step.
Writes `benchmarks/results/scale.{md,json}`, and plans for larger models to `plan.md`.
"""

import argparse
import itertools
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.command import Parser, Refused, check_folder, positive
from benchmarks.results import computer, versions
from benchmarks.scaling import launch
from benchmarks.scaling.plan import LAYOUTS, MODELS, OPTIMIZERS, Planned, plan
from benchmarks.scaling.tables import plan_page, planned, report
from benchmarks.scaling.worker import RATES, Leg

RESULTS = Path(__file__).parent / "results"
PROCESSES, DEVICES = (1, 2, 4), 2
STEPS, BATCH = 48, 16
ROWS = 4
"""Windows for each device in the table where they do not become fewer with more devices."""
MESHES = ({"data": 64}, {"data": 1024, "model": 8}, {"data": 1250, "model": 8})


def measure(processes: Sequence[int], steps: int) -> dict[str, Any]:
    """Train in every layout with every number of processes; save with the most, go on with one, and go back."""
    most, third = max(processes), steps // 3
    combinations = list(itertools.product(RATES, LAYOUTS))
    found: dict[str, Any] = {
        "steps": steps,
        "batch": BATCH,
        "rows": ROWS,
        "devices": DEVICES,
        "trained": [],
        "weak": [],
    }

    def keep(key: str, count: int, legs: list[Leg], seen: list[dict]) -> None:
        rows = [{"processes": count, "optimizer": leg.optimizer, "layout": leg.layout} for leg in legs]
        found[key] += [row | x for row, x in zip(rows, seen, strict=True)]

    with tempfile.TemporaryDirectory() as folder:

        def path(name: str, where: str) -> str:
            return str(Path(folder, name, where))

        def zero(name: str, first: int, last: int, **places: str) -> Leg:
            return Leg(name, "ZeRO-1", BATCH, steps, first, last, **places)

        resumed = {}
        for count in sorted(processes, reverse=True):
            whole = [Leg(*x, BATCH, steps, 0, steps) for x in combinations]
            weak = [Leg(*x, ROWS * DEVICES * count, steps, 0, 1) for x in combinations]
            more = []
            if count == most:
                more = [zero(name, 0, third, save=path(name, "all")) for name in RATES]
            elif count == min(processes):
                places = {name: {"restore": path(name, "all"), "save": path(name, "one")} for name in RATES}
                more = [zero(name, third, 2 * third, **places[name]) for name in RATES]
            seen = launch.run(count, [*whole, *more], DEVICES)
            keep("trained", count, whole, seen[: len(whole)])
            keep("weak", count, weak, launch.run(1, weak, DEVICES * count))  # one compiles what all would
            resumed[count] = {leg.optimizer: x["losses"] for leg, x in zip(more, seen[len(whole) :], strict=True)}
        back = [zero(name, 2 * third, steps, restore=path(name, "one")) for name in RATES]
        seen = launch.run(most, back, DEVICES)
    found["resumed"] = {
        name: {"one": resumed[min(processes)][name], "back": x["losses"]} for name, x in zip(RATES, seen, strict=True)
    }
    return found


def plans(
    models: Sequence[str], optimizers: Sequence[str], meshes: Sequence[Mapping[str, int]]
) -> list[dict[str, Any]]:
    """Return what a step needs, for each model, optimizer, layout and mesh."""
    rows = []
    for model, name, sizes, layout in itertools.product(models, optimizers, meshes, LAYOUTS):
        found: Planned = plan(OPTIMIZERS[name](), MODELS[model], layout, sizes)
        rows.append({"model": model, "optimizer": name, "layout": layout, "mesh": dict(sizes), **found._asdict()})
    return rows


def axis(text: str) -> tuple[str, int]:
    """Return the name and the size of a mesh axis."""
    name, _, size = text.partition("=")
    if name not in ("data", "model"):
        raise argparse.ArgumentTypeError(f"must be data=N or model=N, got {text!r}")
    return name, positive(size)


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: train or plan, print and write."""
    parser = Parser(prog="python -m benchmarks.scale", description="Train on many devices, or plan to.")
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for scale.{md,json} and plan.md")
    parser.add_argument("--processes", type=positive, nargs="+", default=PROCESSES, metavar="N", help="two or more")
    parser.add_argument("--steps", type=positive, default=STEPS, metavar="N", help="a multiple of 3 (default 48)")
    parser.add_argument("--plan", action="store_true", help="predict what a step of the optimizer needs, and stop")
    parser.add_argument("--models", nargs="+", choices=MODELS, default=list(MODELS))
    parser.add_argument("--optimizers", nargs="+", choices=OPTIMIZERS, default=list(OPTIMIZERS))
    parser.add_argument("--mesh", type=axis, nargs="+", metavar="AXIS=N", help="data=512 model=8, of the plan")
    given = parser.parse_args(arguments)
    meshes = [{"data": 1} | dict(given.mesh)] if given.mesh else MESHES
    if given.plan:
        print(planned(plans(given.models, given.optimizers, meshes)))
        return
    try:
        check_folder(given.out)
        if len(set(given.processes)) < 2 or given.steps % 3:
            raise Refused("--processes needs two numbers, --steps a multiple of 3")
    except Refused as problem:
        parser.error(str(problem))
    (given.out / "plan.md").write_text(plan_page(plans(given.models, given.optimizers, meshes)))
    found = measure(given.processes, given.steps) | {"versions": versions(), "platform": computer()}
    (given.out / "scale.json").write_text(json.dumps(found, indent=1, default=np.ndarray.tolist) + "\n")
    (given.out / "scale.md").write_text(report(found))
    print(report(found))


if __name__ == "__main__":
    main()
