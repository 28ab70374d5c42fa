"""What a step of Muon costs beside Optax's: `python -m benchmarks.matrix`.

FLOPs, bytes and temporaries of the compiled step, from XLA; collectives of the step over eight devices, where the
matrices are sharded; milliseconds, in turns. Writes `benchmarks/results/matrix.{md,json}`.
"""

import json
import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

import gradx
from benchmarks.command import Parser, Refused, check_folder
from benchmarks.cost import step_of
from benchmarks.results import computer, versions
from benchmarks.speed import paired, seconds

RESULTS = Path(__file__).parent / "results"
DEVICES = 8
WIDTH, LAYERS = 768, 12
COLLECTIVES = re.compile(r" (all-gather|all-reduce|all-to-all|reduce-scatter|collective-permute)(?:-start)?\(")
SLOW = 20e9
"""FLOPs of a step from which on it is timed `FEW` times: a second and more."""
FEW = 3
PRODUCT = 2048
"""Rows and columns of the product whose speed is taken for the peak."""


class Case(NamedTuple):
    """Leaves that are matrices."""

    shapes: dict[str, tuple[int, ...]]
    stacked: bool = False
    """Whether a first axis counts the matrices of a leaf."""


LAYER = {"qkv": (WIDTH, 3 * WIDTH), "out": (WIDTH, WIDTH), "up": (WIDTH, 4 * WIDTH), "down": (4 * WIDTH, WIDTH)}
CASES = {
    "8 x (1024 x 1024)": Case({f"w{i}": (1024, 1024) for i in range(8)}),
    "24 x (1024 x 4096)": Case({f"w{i}": (1024, 4096) for i in range(24)}),
    "GPT-2 small, 12 layers": Case({f"{name}{i}": shape for i in range(LAYERS) for name, shape in LAYER.items()}),
    "GPT-2 small, stacked": Case({name: (LAYERS, *shape) for name, shape in LAYER.items()}, stacked=True),
}


def optimizers(case: Case) -> dict[str, Any]:
    """Return Muon of both libraries."""
    ours: Any = True  # the last two axes are a matrix's, the others count matrices
    numbers = optax.contrib.MuonDimensionNumbers(1, 2) if case.stacked else optax.contrib.MuonDimensionNumbers(0, 1)

    def theirs(params: Any) -> Any:
        return jax.tree.map(lambda _: numbers, params)

    return {
        "gradx": gradx.muon(0.02, muon_weight_dimension_numbers=ours),
        "optax": optax.contrib.muon(0.02, muon_weight_dimension_numbers=theirs),
    }


def count(case: Case, tx: Any) -> dict[str, float]:
    """Return the counts of one compiled step on one device."""
    params = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in case.shapes.items()}
    state = jax.eval_shape(tx.init, params)
    compiled = step_of(tx, {}).lower(params, state, params).compile()
    analysis = compiled.cost_analysis()
    return {
        "flops": analysis["flops"],
        "bytes": analysis["bytes accessed"],
        "temporaries": compiled.memory_analysis().temp_size_in_bytes,
    }


def collectives(case: Case, tx: Any) -> int:
    """Return how often a step communicates where each matrix is sharded along its rows over eight devices."""
    mesh = jax.make_mesh((DEVICES,), ("x",), axis_types=(AxisType.Auto,))

    def placed(x: jax.ShapeDtypeStruct) -> jax.ShapeDtypeStruct:
        spec = PartitionSpec(*(None,) * (len(x.shape) - 2), "x") if len(x.shape) > 1 else PartitionSpec()
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))

    with jax.set_mesh(mesh):
        params = {name: placed(jax.ShapeDtypeStruct(shape, jnp.float32)) for name, shape in case.shapes.items()}
        state = jax.tree.map(placed, jax.eval_shape(tx.init, params))
        step = step_of(tx, {})
        shardings = jax.tree.map(lambda x: x.sharding, (params, state))
        compiled = jax.jit(step, out_shardings=shardings).lower(params, state, params).compile()
    return sum(Counter(COLLECTIVES.findall(compiled.as_text())).values())


def runner(case: Case, tx: Any) -> Any:
    """Return what runs a jitted, donated step and says how long it took."""
    keys = jax.random.split(jax.random.key(0), len(case.shapes))
    grads = {name: jax.random.normal(key, shape) for key, (name, shape) in zip(keys, case.shapes.items(), strict=True)}
    held: dict[str, Any] = {"params": jax.tree.map(jnp.zeros_like, grads)}
    held["state"] = jax.jit(tx.init)(held["params"])
    step = step_of(tx, {})

    def run() -> float:
        def once() -> Any:
            held["params"], held["state"] = step(held["params"], held["state"], grads)
            return held

        return seconds(once)

    run()
    return run


def product_peak(repeats: int) -> float:
    """Return how many FLOPs a second a large product of matrices does here: the most that a step can."""
    x = jnp.ones((PRODUCT, PRODUCT))
    product = jax.jit(jnp.matmul)
    product(x, x).block_until_ready()
    return 2 * PRODUCT**3 / min(seconds(lambda: product(x, x)) for _ in range(repeats))


def measure(repeats: int) -> dict[str, Any]:
    """Return counts and times of every case in both libraries."""
    rows = []
    for name, case in CASES.items():
        txs = optimizers(case)
        row: dict[str, Any] = {"matrices": name}
        for library, tx in txs.items():
            row[library] = count(case, tx) | {"collectives": collectives(case, tx)}
        if repeats:
            times = min(repeats, FEW) if row["optax"]["flops"] > SLOW else repeats
            row["time"] = paired({library: runner(case, tx) for library, tx in txs.items()}, max(times, 2))
        rows.append(row)
    found = {"versions": versions() | {"optax": optax.__version__}, "platform": computer(), "rows": rows}
    return found | ({"product_peak": product_peak(repeats)} if repeats else {})


def table(results: dict[str, Any]) -> str:
    """Write what was measured as Markdown."""
    peak = results.get("product_peak")
    around = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# What a step of Muon costs",
        "",
        f"`python -m benchmarks.matrix`; {around}; {results['platform']['device']}. A whole step, five steps of",
        f"Newton-Schulz in float32, buffers donated. Collectives over {DEVICES} devices, rows sharded; times in turns,",
        "medians, and the ratio of those side by side. The least ms: our FLOPs at the speed of a product",
        f"of {PRODUCT} x {PRODUCT}" + (f", {peak / 1e9:.0f} GFLOP/s here." if peak else "."),
        "",
        "| matrices | GFLOP | Optax | ratio | GB | Optax | temporary MB | Optax | collectives | Optax"
        " | least ms | ms | Optax | ratio |",
        "|---|" + "---:|" * 13,
    ]
    for row in results["rows"]:
        ours, theirs, timed = row["gradx"], row["optax"], row.get("time")
        cells = [f"{ours['flops'] / 1e9:.0f}", f"{theirs['flops'] / 1e9:.0f}", f"{ours['flops'] / theirs['flops']:.2f}"]
        cells += [f"{x['bytes'] / 1e9:.1f}" for x in (ours, theirs)]
        cells += [f"{x['temporaries'] / 1e6:.0f}" for x in (ours, theirs)]
        cells += [str(x["collectives"]) for x in (ours, theirs)]
        cells.append(f"{1000 * ours['flops'] / peak:.0f}" if peak else "–")
        times = (
            [f"{1000 * timed[x]:.0f}" for x in ("gradx", "optax")] + [f"{timed['ratio']:.2f}"] if timed else ["–"] * 3
        )
        lines.append(f"| {row['matrices']} | {' | '.join([*cells, *times])} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: count, time, print and write."""
    description = "Count and time a step of Muon beside Optax's; takes ten minutes, one with --repeats 0."
    parser = Parser(prog="python -m benchmarks.matrix", description=description)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for matrix.{md,json}")
    parser.add_argument("--repeats", type=int, default=7, metavar="N", help="pairs of steps; 0 counts alone")
    given = parser.parse_args(arguments)
    try:
        check_folder(given.out)
    except Refused as problem:
        parser.error(str(problem))
    jax.config.update("jax_num_cpu_devices", DEVICES)
    results = measure(given.repeats)
    (given.out / "matrix.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "matrix.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
