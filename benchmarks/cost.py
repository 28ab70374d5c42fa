"""What an update costs, in counts that do not move, beside Optax in the same process: `python -m benchmarks.cost`.

XLA's own analysis of a whole compiled step, parameters and state donated: bytes accessed, temporaries and state for
each parameter, fusions, instructions. The floor is what a step cannot do without: gradients, parameters and state read
once, parameters and state written once. Writes `benchmarks/results/cost.{md,json}`; the tests hold the counts there.
"""

import functools
import json
import math
import re
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import optax

import gradx
from benchmarks.cases import CASES, LIBRARIES, Case
from benchmarks.command import Parser, Refused, check_folder
from benchmarks.results import computer, versions

RESULTS = Path(__file__).parent / "results"
COUNTS = ("bytes", "temporaries", "state", "fusions", "instructions")
"""Of a compiled step; the first three in bytes for each parameter."""


def tree_of(leaves: int, rows: int, columns: int) -> dict[str, jax.Array]:
    """Return that many matrices of ones."""
    return {f"p{i}": jnp.ones((rows, columns)) for i in range(leaves)}


def step_of(tx: Any, extras: Any) -> Callable:
    """Return a whole step, parameters and state donated in the order in which they are returned."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        updates, state = tx.update(grads, state, params, **extras)
        # The same addition for both libraries: what is compared is the update.
        return jax.tree.map(lambda p, u: (p + u).astype(p.dtype), params, updates), state

    return step


def count(case: Case, lib: Any, params: Any = None) -> dict[str, float]:
    """Return the counts of one compiled step, over two matrices of half a million entries where none are given."""
    params = tree_of(2, 500, 1000) if params is None else params
    size = gradx.tree.size(params)
    tx = case.make(lib)
    state = jax.jit(tx.init)(params)
    compiled = step_of(tx, case.extras).lower(params, state, params).compile()
    text = compiled.as_text()
    return {
        "bytes": compiled.cost_analysis()["bytes accessed"] / size,
        "temporaries": compiled.memory_analysis().temp_size_in_bytes / size,
        "state": sum(x.nbytes for x in jax.tree.leaves(state) if hasattr(x, "nbytes")) / size,
        "fusions": len(re.findall(r" fusion\(", text)),
        "instructions": len(re.findall(r"^\s+(?:ROOT )?%", text, flags=re.MULTILINE)),
    }


HEADLINE = (
    "sgd", "adam", "adamw", "clip + adamw", "adabelief", "adafactor", "adan", "lamb", "lion", "muon", "prodigy",
    "schedule_free_adamw", "MultiSteps(adamw, 4)",
)  # fmt: skip
"""The rows that the README shows."""


def floor(state: float) -> float:
    """Return the bytes for each parameter that a step cannot do without, given those of its state."""
    return 4 + 2 * 4 + 2 * state


def measure() -> dict[str, Any]:
    """Return the counts of every case in both libraries, with versions and device."""
    rows = []
    for name, case in CASES.items():
        counted = {library: count(case, lib) for library, lib in LIBRARIES.items()}
        rows.append({"optimizer": name, "floor": floor(counted["gradx"]["state"]), **counted})
    return {"versions": versions() | {"optax": optax.__version__}, "platform": computer(), "rows": rows}


def mean_ratio(rows: Sequence[dict[str, Any]], key: str) -> float:
    """Return the geometric mean of gradx's counts over Optax's."""
    return math.exp(statistics.fmean(math.log(row["gradx"][key] / row["optax"][key]) for row in rows))


def short(results: dict[str, Any]) -> str:
    """Write some of the counts as Markdown."""
    lines = ["| optimizer | bytes per parameter | Optax | temporaries | Optax |", "|---|---:|---:|---:|---:|"]
    for row in results["rows"]:
        if row["optimizer"] in HEADLINE:
            cells = [f"{row[lib][key]:.1f}" for key in ("bytes", "temporaries") for lib in ("gradx", "optax")]
            lines.append(f"| {row['optimizer']} | {' | '.join(cells)} |")
    mean = mean_ratio(results["rows"], "bytes")
    lines.append(f"| geometric mean of all {len(results['rows'])}, gradx / Optax | {mean:.2f} | | | |")
    return "\n".join(lines) + "\n"


def table(results: dict[str, Any]) -> str:
    """Write the counts as Markdown."""
    rows = results["rows"]
    around = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# What an update costs",
        "",
        f"`python -m benchmarks.cost`; {around}; {results['platform']['device']}. Bytes for each parameter of a whole",
        "compiled step, buffers donated; the floor reads gradients, parameters and state once, writes the last two.",
        f"Geometric mean of bytes, gradx / Optax, over {len(rows)} optimizers: {mean_ratio(rows, 'bytes'):.2f}.",
        "",
        "| optimizer | bytes | Optax | floor | temporaries | Optax | state | Optax | fusions | Optax |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    for row in rows:
        ours, theirs = row["gradx"], row["optax"]
        cells = [f"{ours['bytes']:.1f}", f"{theirs['bytes']:.1f}", f"{row['floor']:.1f}"]
        cells += [f"{lib[key]:.1f}" for key in ("temporaries", "state") for lib in (ours, theirs)]
        cells += [f"{lib['fusions']}" for lib in (ours, theirs)]
        lines.append(f"| {row['optimizer']} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: count, print and write."""
    description = "Count what an update costs, beside Optax in the same process; takes a minute."
    parser = Parser(prog="python -m benchmarks.cost", description=description)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for cost.{md,json}, cost_short.md")
    given = parser.parse_args(arguments)
    try:
        check_folder(given.out)
    except Refused as problem:
        parser.error(str(problem))
    results = measure()
    (given.out / "cost.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "cost.md").write_text(table(results))
    (given.out / "cost_short.md").write_text(short(results))
    print(table(results))


if __name__ == "__main__":
    main()
