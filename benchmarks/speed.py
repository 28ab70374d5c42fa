"""How long updates take, beside Optax and torch: `python -m benchmarks.speed`.

The two libraries take turns in one process, each turn twice in either order; what is kept is the median of the paired
ratios with its quartiles, for a machine that others use too makes single times worthless. Writes
`benchmarks/results/speed.{md,json}`; `--gpu` writes `speed_gpu.{md,json}` and refuses to run without one.
"""

import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import optax

from benchmarks import loops
from benchmarks.cases import CASES, LIBRARIES
from benchmarks.command import Parser, Refused, check_folder, positive
from benchmarks.cost import step_of, tree_of
from benchmarks.results import computer, versions

RESULTS = Path(__file__).parent / "results"
SHAPES = {"16 x 1M": (16, 1000, 1000), "150 x 20k": (150, 100, 200), "1000 x 1k": (1000, 25, 40)}
"""Trees: leaves, rows, columns."""
Run = Callable[[], float]


def paired(runs: dict[str, Run], repeats: int) -> dict[str, Any]:
    """Return the median time of each run, and the median and quartiles of the ratios of runs side by side."""
    (ours, run), (theirs, other) = runs.items()
    times: dict[str, list[float]] = {ours: [], theirs: []}
    for i in range(repeats):
        for name, f in ((ours, run), (theirs, other)) if i % 2 else ((theirs, other), (ours, run)):
            times[name].append(f())
    ratios = [a / b for a, b in zip(times[ours], times[theirs], strict=True)]
    low, middle, high = statistics.quantiles(ratios, n=4)
    return {name: statistics.median(x) for name, x in times.items()} | {"ratio": middle, "quartiles": [low, high]}


def seconds(f: Callable[[], Any]) -> float:
    """Return how long a call takes until its results are there."""
    start = time.perf_counter()
    jax.block_until_ready(f())
    return time.perf_counter() - start


def jitted(name: str, shape: str) -> dict[str, Run]:
    """Return a jitted, donated step of both libraries over a tree of one of the shapes."""

    def runner(lib: Any) -> Run:
        case = CASES[name]
        tx, params = case.make(lib), tree_of(*SHAPES[shape])
        held = {"params": params, "state": jax.jit(tx.init)(params)}
        grads = jax.tree.map(lambda x: 1e-3 * x, params)
        step = step_of(tx, case.extras)

        def run() -> float:
            def once() -> Any:
                held["params"], held["state"] = step(held["params"], held["state"], grads)
                return held

            return seconds(once)

        run()
        return run

    return {library: runner(lib) for library, lib in LIBRARIES.items()}


def un_jitted(name: str, what: str) -> dict[str, Run]:
    """Return an un-jitted `init` or `update` of both libraries, 150 leaves."""

    def runner(lib: Any) -> Run:
        tx, params = CASES[name].make(lib), tree_of(150, 16, 16)
        state = tx.init(params)
        call = {"init": lambda: tx.init(params), "update": lambda: tx.update(params, state, params)}[what]
        call()
        return lambda: seconds(call)

    return {library: runner(lib) for library, lib in LIBRARIES.items()}


def traced(name: str) -> dict[str, Run]:
    """Return tracing and lowering of an update of 1000 leaves in both libraries, nothing cached."""

    def runner(lib: Any) -> Run:
        params = tree_of(1000, 10, 10)

        def run() -> float:
            jax.clear_caches()
            tx = CASES[name].make(lib)
            state = tx.init(params)
            step = jax.jit(lambda grads, state, params: tx.update(grads, state, params))
            return seconds(lambda: step.lower(params, state, params) and None)

        return run

    return {library: runner(lib) for library, lib in LIBRARIES.items()}


def first_call(name: str) -> dict[str, Run]:
    """Return init and a first jitted update of 150 leaves in both libraries, nothing compiled before."""

    def runner(lib: Any) -> Run:
        params = tree_of(150, 16, 16)

        def run() -> float:
            jax.clear_caches()
            tx = CASES[name].make(lib)
            return seconds(lambda: jax.jit(tx.update)(params, tx.init(params), params))

        return run

    return {library: runner(lib) for library, lib in LIBRARIES.items()}


def in_loop(name: str, kind: str) -> dict[str, Run]:
    """Return a step of one of flax's loops over 200 small leaves, beside the same network under plain `jit`."""
    tx = CASES[name].make(LIBRARIES["gradx"])
    once = {kind: loops.LOOPS[kind](tx), "plain jit": loops.plain(tx)}

    def runner(step: Callable[[], Any]) -> Run:
        step()
        return lambda: seconds(step)

    return {name: runner(step) for name, step in once.items()}


def torch_adamw(shape: str, kind: str) -> Run | None:
    """Return a step of torch's AdamW, fused or foreach, or nothing where torch is not installed."""
    try:
        import torch
    except ModuleNotFoundError:
        return None
    leaves, rows, columns = SHAPES[shape]
    params = [torch.nn.Parameter(torch.ones(rows, columns)) for _ in range(leaves)]
    for p in params:
        p.grad = 1e-3 * torch.ones_like(p)
    optimizer = torch.optim.AdamW(params, lr=1e-3, **{kind: True})

    def run() -> float:
        start = time.perf_counter()
        optimizer.step()
        return time.perf_counter() - start

    run()
    return run


def measure(repeats: int, names: Sequence[str]) -> dict[str, Any]:
    """Return every comparison, a row each."""
    rows: list[dict[str, Any]] = []

    def add(what: str, runs: dict[str, Run], times: int = repeats) -> None:
        rows.append({"what": what, **paired(runs, times)})
        print(f"{what}: {rows[-1]['ratio']:.2f}", flush=True)

    for name in names:
        add(f"jitted step, {name}, 16 x 1M", jitted(name, "16 x 1M"))
    for shape in list(SHAPES)[1:]:
        add(f"jitted step, adamw, {shape}", jitted("adamw", shape))
    for name in ("adamw", "adam, schedule", "adamw, mask"):
        for what in ("update", "init"):
            add(f"un-jitted {what}, {name}, 150 leaves", un_jitted(name, what))
    add("trace and lower, adamw, 1000 leaves", traced("adamw"), max(repeats // 4, 3))
    add("first call, adamw, 150 leaves", first_call("adamw"), max(repeats // 4, 3))
    for kind in loops.LOOPS:
        add(f"{kind} beside plain jit, adamw, 200 leaves", in_loop("adamw", kind))
    for shape in SHAPES:
        for kind in ("fused", "foreach"):
            if (run := torch_adamw(shape, kind)) is not None:
                ours = jitted("adamw", shape)["gradx"]
                add(f"jitted step beside torch {kind}, adamw, {shape}", {"gradx": ours, f"torch {kind}": run})
    return {"versions": versions() | {"optax": optax.__version__}, "platform": computer(), "rows": rows}


HEADLINE = (" step, adamw, 16", "clip + adamw", "MultiSteps", "un-jitted", "trace", "nnx", "first")
"""Of the rows that the README shows, a part of what they are called."""


def mean_of_steps(rows: Sequence[dict[str, Any]]) -> float:
    """Return the geometric mean of the ratios of jitted steps to Optax's."""
    ratios = [row["ratio"] for row in rows if row["what"].startswith("jitted") and "optax" in row]
    return math.exp(statistics.fmean(map(math.log, ratios)))


def short(results: dict[str, Any]) -> str:
    """Write some of the ratios as Markdown."""
    rows = [row for row in results["rows"] if any(part in row["what"] for part in HEADLINE)]
    return _rows(rows)


def table(results: dict[str, Any]) -> str:
    """Write the ratios as Markdown."""
    around = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# How long updates take",
        "",
        f"`python -m benchmarks.speed`; {around}; {results['platform']['device']}. Medians; the ratio is that of runs",
        "side by side, with its quartiles: below 1 the first is faster. Geometric mean of the jitted steps beside",
        f"Optax's: {mean_of_steps(results['rows']):.2f}.",
        "",
    ]
    return "\n".join(lines) + "\n" + _rows(results["rows"])


def _rows(rows: Sequence[dict[str, Any]]) -> str:
    lines = ["| what | first, ms | second, ms | second is | ratio | quartiles |", "|---|---:|---:|---|---:|---|"]
    for row in rows:
        first, second = [name for name in row if name not in ("what", "ratio", "quartiles")]
        low, high = row["quartiles"]
        times = f"{1e3 * row[first]:.3g} | {1e3 * row[second]:.3g}"
        lines.append(f"| {row['what']} | {times} | {second} | {row['ratio']:.2f} | {low:.2f} to {high:.2f} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: measure, print and write."""
    description = "Time updates beside Optax and torch in one process; takes a quarter of an hour."
    parser = Parser(prog="python -m benchmarks.speed", description=description)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for speed.md and speed.json")
    parser.add_argument("--repeats", type=positive, default=15, metavar="N", help="pairs of runs; default: 15")
    parser.add_argument("--only", nargs="+", metavar="NAME", help="optimizers for the jitted steps; default: all")
    parser.add_argument("--gpu", action="store_true", help="write speed_gpu; there must be one")
    given = parser.parse_args(arguments)
    names = given.only or list(CASES)
    if unknown := [name for name in names if name not in CASES]:
        parser.error(f"unknown optimizer {unknown[0]!r}; choose from {', '.join(CASES)}")
    if given.gpu and jax.default_backend() != "gpu":
        parser.error(f"--gpu: jax found no GPU, it runs on {jax.default_backend()}")
    try:
        check_folder(given.out)
    except Refused as problem:
        parser.error(str(problem))
    results = measure(given.repeats, names)
    stem = "speed_gpu" if given.gpu else "speed"
    (given.out / f"{stem}.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / f"{stem}.md").write_text(table(results))
    (given.out / f"{stem}_short.md").write_text(short(results))
    print(table(results))


if __name__ == "__main__":
    main()
