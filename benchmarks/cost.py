"""What an update costs, beside Optax in the same process: `python -m benchmarks.cost`.

Counts (bytes, temporaries) come from XLA's own analysis of the compiled step and do not move. Times are medians of runs
that alternate between the two libraries; the ratio is what to read, for the machine is noisy. Writes
`benchmarks/results/cost.{md,json}`.
"""

import functools
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradx
from benchmarks.command import Parser, Refused, check_folder, positive

RESULTS = Path(__file__).parent / "results"
LIBRARIES = {"gradx": gradx, "optax": optax}
OPTIMIZERS: dict[str, Callable[[Any], Any]] = {
    "sgd": lambda lib: lib.sgd(0.1),
    "sgd + momentum": lambda lib: lib.sgd(0.1, momentum=0.9),
    "rmsprop": lambda lib: lib.rmsprop(1e-3),
    "adam": lambda lib: lib.adam(1e-3),
    "adamw": lambda lib: lib.adamw(1e-3),
    "clip + adamw": lambda lib: lib.chain(lib.clip_by_global_norm(1.0), lib.adamw(1e-3)),
    "clip + adamw, 4 mini-steps": lambda lib: accumulated(lib),
}


def accumulated(lib: Any) -> Any:
    """Gather four mini-steps; Optax's class has to be turned into a transformation."""
    steps = lib.MultiSteps(OPTIMIZERS["clip + adamw"](lib), 4)
    return steps.gradient_transformation() if hasattr(steps, "gradient_transformation") else steps


def tree_of(leaves: int, rows: int, columns: int) -> dict[str, jax.Array]:
    """Return that many matrices of ones."""
    return {f"p{i}": jnp.ones((rows, columns)) for i in range(leaves)}


def step_of(lib: Any, tx: Any) -> Callable:
    """Return a whole step, parameters and state donated in the order in which they are returned."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params)
        return lib.apply_updates(params, updates), state

    return step


def counts() -> list[dict[str, Any]]:
    """Return bytes accessed and temporaries per parameter of each compiled step."""
    params = tree_of(2, 500, 1000)
    size = gradx.tree.size(params)
    rows = []
    for name, make in OPTIMIZERS.items():
        for library, lib in LIBRARIES.items():
            tx = make(lib)
            compiled = step_of(lib, tx).lower(params, tx.init(params), params).compile()
            accessed = compiled.cost_analysis()["bytes accessed"] / size
            temporary = compiled.memory_analysis().temp_size_in_bytes / size
            rows.append({"optimizer": name, "library": library, "bytes": accessed, "temporaries": temporary})
    return rows


def alternate(runs: dict[str, Callable[[], float]], repeats: int) -> dict[str, float]:
    """Return the median of each run, the runs taking turns."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeats):
        for name, run in runs.items():
            times[name].append(run())
    return {name: statistics.median(taken) for name, taken in times.items()}


def un_jitted(leaves: int = 150, repeats: int = 21) -> dict[str, float]:
    """Return the milliseconds of one un-jitted `tx.update` of AdamW."""
    params = tree_of(leaves, 16, 16)

    def runner(lib: Any) -> Callable[[], float]:
        tx = lib.adamw(1e-3)
        state = tx.init(params)

        def run() -> float:
            start = time.perf_counter()
            jax.block_until_ready(tx.update(params, state, params))
            return 1e3 * (time.perf_counter() - start)

        run()
        return run

    return alternate({name: runner(lib) for name, lib in LIBRARIES.items()}, repeats)


def trace_and_lower(leaves: int = 1000, repeats: int = 7) -> dict[str, float]:
    """Return the seconds to trace and lower AdamW, nothing of it cached but what `init` left."""
    params = tree_of(leaves, 10, 10)

    def runner(lib: Any) -> Callable[[], float]:
        def run() -> float:
            jax.clear_caches()
            tx = lib.adamw(1e-3)
            state = tx.init(params)
            start = time.perf_counter()
            jax.jit(lambda grads, state, params: tx.update(grads, state, params)).lower(params, state, params)
            return time.perf_counter() - start

        return run

    return alternate({name: runner(lib) for name, lib in LIBRARIES.items()}, repeats)


def jitted(name: str, leaves: int = 20, repeats: int = 31) -> dict[str, float]:
    """Return the milliseconds of one jitted, donated step over `leaves` matrices of a million entries."""

    def runner(lib: Any) -> Callable[[], float]:
        tx = OPTIMIZERS[name](lib)
        params = tree_of(leaves, 1000, 1000)
        held = {"params": params, "state": tx.init(params)}
        grads = jax.tree.map(lambda x: 1e-3 * x, params)
        step = step_of(lib, tx)

        def run() -> float:
            start = time.perf_counter()
            held["params"], held["state"] = jax.block_until_ready(step(held["params"], held["state"], grads))
            return 1e3 * (time.perf_counter() - start)

        run()
        return run

    return alternate({name: runner(lib) for name, lib in LIBRARIES.items()}, repeats)


def measure(leaves: int) -> dict[str, Any]:
    """Return everything, with the versions and the kind of device."""
    return {
        "versions": {name: metadata.version(name) for name in ("gradx", "jax", "jaxlib", "optax")}
        | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "counts": counts(),
        "times": {
            "un-jitted update of AdamW, 150 leaves, ms": un_jitted(),
            "trace and lower AdamW, 1000 leaves, s": trace_and_lower(),
            f"jitted step of AdamW, {leaves} M parameters, ms": jitted("adamw", leaves),
            f"jitted step of clip + AdamW, {leaves} M parameters, ms": jitted("clip + adamw", leaves),
        },
    }


def table(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# What an update costs",
        "",
        f"`python -m benchmarks.cost`; {versions}; device: {results['device']}.",
        "",
        "| compiled step | bytes per parameter | Optax | temporaries | Optax |",
        "|---|---:|---:|---:|---:|",
    ]
    by_name: dict[str, dict[str, Any]] = {}
    for row in results["counts"]:
        by_name.setdefault(row["optimizer"], {})[row["library"]] = row
    for name, row in by_name.items():
        cells = [f"{row[lib][key]:.1f}" for key in ("bytes", "temporaries") for lib in LIBRARIES]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| time, median | gradx | Optax | Optax / gradx |", "|---|---:|---:|---:|"]
    for name, times in results["times"].items():
        ratio = times["optax"] / times["gradx"]
        lines.append(f"| {name} | {times['gradx']:.3g} | {times['optax']:.3g} | {ratio:.1f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: measure, print and write."""
    description = "Measure what an update costs, beside Optax in the same process; takes minutes."
    parser = Parser(prog="python -m benchmarks.cost", description=description)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for cost.md and cost.json")
    leaves = "matrices of a million entries in the jitted step; default: 20"
    parser.add_argument("--leaves", type=positive, default=20, metavar="N", help=leaves)
    given = parser.parse_args(arguments)
    try:
        check_folder(given.out)
    except Refused as problem:
        parser.error(str(problem))
    results = measure(given.leaves)
    (given.out / "cost.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "cost.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
