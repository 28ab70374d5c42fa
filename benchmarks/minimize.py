"""`gradx.minimize` beside SciPy's L-BFGS-B and Optax's L-BFGS: `python -m benchmarks.minimize`.

All three keep ten pairs and stop when no entry of the gradient is larger than 1e-5, in float64. What is compared is the
number of evaluations of the function with its gradient; it does not move. Times are the shortest of some, on small
functions, where the calls themselves are what costs. Writes `benchmarks/results/minimize.{md,json}`.
"""

import argparse
import json
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib import metadata
from pathlib import Path
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import gradx
from benchmarks.command import Parser, Refused, check_folder, positive
from benchmarks.functions import PROBLEMS, Problem

RESULTS = Path(__file__).parent / "results"
TOLERANCE = 1e-5
MOST_STEPS = 2000
MEMORY = 10


class Found(NamedTuple):
    """Where one of them ended."""

    value: float
    gradient: float
    """The largest entry."""
    evaluations: int
    seconds: float


def by_gradx(problem: Problem, tolerance: float, repeats: int = 1) -> Found:
    """Return what `gradx.minimize` finds."""
    start = jax.tree.map(jnp.asarray, problem.start)
    tx = gradx.lbfgs(memory_size=MEMORY)
    run = jax.jit(lambda params: gradx.minimize(problem.fun, params, tx, MOST_STEPS, tolerance))
    found, seconds = timed(lambda: jax.block_until_ready(run(start)), repeats)
    return Found(float(found.value), float(found.grad_norm), int(found.evaluations), seconds)


def by_scipy(problem: Problem, tolerance: float, repeats: int = 1) -> Found:
    """Return what SciPy finds with a compiled function."""
    import scipy.optimize

    start, unravel = ravel_pytree(jax.tree.map(jnp.asarray, problem.start))
    value_and_grad = jax.jit(jax.value_and_grad(lambda x: problem.fun(unravel(x))))
    options = {"maxcor": MEMORY, "gtol": tolerance, "ftol": 0.0, "maxiter": MOST_STEPS, "maxfun": 10 * MOST_STEPS}

    def fun(x: np.ndarray) -> tuple[float, np.ndarray]:
        value, grad = value_and_grad(x)
        return float(value), np.asarray(grad)

    def run() -> Any:
        return scipy.optimize.minimize(fun, np.asarray(start), jac=True, method="L-BFGS-B", options=options)

    found, seconds = timed(run, repeats)
    return Found(float(found.fun), float(np.max(np.abs(found.jac))), int(found.nfev), seconds)


def by_optax(problem: Problem, tolerance: float, repeats: int = 1) -> Found:
    """Return what Optax's `lbfgs` finds in the loop of its documentation, which reuses value and gradient."""
    import optax

    start = jax.tree.map(jnp.asarray, problem.start)
    tx = optax.lbfgs(memory_size=MEMORY)
    value_and_grad = optax.value_and_grad_from_state(problem.fun)

    @jax.jit
    def run(params: Any) -> tuple:
        def step(carry: tuple) -> tuple:
            params, state, evaluations, steps = carry
            value, grad = value_and_grad(params, state=state)
            updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=problem.fun)
            evaluations += optax.tree.get(state, "num_linesearch_steps")
            return optax.apply_updates(params, updates), state, evaluations, steps + 1

        def goes_on(carry: tuple) -> jax.Array:
            _, state, _, steps = carry
            grad = optax.tree.get(state, "grad")
            return (steps == 0) | ((gradx.tree.norm(grad, "inf") > tolerance) & (steps < MOST_STEPS))

        _, state, evaluations, _ = jax.lax.while_loop(goes_on, step, (params, tx.init(params), 1, 0))
        return optax.tree.get(state, "value"), optax.tree.get(state, "grad"), evaluations

    (value, grad, evaluations), seconds = timed(lambda: jax.block_until_ready(run(start)), repeats)
    return Found(float(value), float(gradx.tree.norm(grad, "inf")), int(evaluations), seconds)


METHODS: dict[str, Callable[..., Found]] = {"gradx": by_gradx, "scipy": by_scipy, "optax": by_optax}


def timed(run: Callable[[], Any], repeats: int) -> tuple[Any, float]:
    """Return the result and the shortest of the seconds, the first call, which compiles, left out."""
    result, taken = run(), []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return result, min(taken)


def measure(repeats: int) -> dict[str, Any]:
    """Return what each finds on each problem, with the versions and the kind of device."""
    rows = []
    with jax.enable_x64(True):
        for problem in PROBLEMS:
            found = {name: method(problem, TOLERANCE, repeats)._asdict() for name, method in METHODS.items()}
            rows.append({"problem": problem.name, "minimum": problem.minimum, **found})
    return {
        "versions": {name: metadata.version(name) for name in ("gradx", "jax", "jaxlib", "optax", "scipy")}
        | {"python": platform.python_version()},
        "device": jax.devices()[0].device_kind,
        "tolerance": TOLERANCE,
        "rows": rows,
    }


def table(results: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    versions = ", ".join(f"{name} {version}" for name, version in results["versions"].items())
    lines = [
        "# Evaluations to a minimum",
        "",
        f"`python -m benchmarks.minimize`; {versions}; device: {results['device']}.",
        "",
        f"L-BFGS with {MEMORY} pairs in float64, until no entry of the gradient is larger than"
        f" {results['tolerance']:g}; a star where it stopped before. Evaluations are with the gradient.",
        "",
        "| problem | evaluations | SciPy | Optax | gradx / SciPy | value | SciPy | Optax | ms | SciPy | Optax |",
        "|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|",
    ]
    ratios = {"scipy": [], "optax": []}
    for row in results["rows"]:
        found = [row[name] for name in METHODS]
        stars = ["" if x["gradient"] <= results["tolerance"] else "*" for x in found]
        counts = [f"{x['evaluations']}{star}" for x, star in zip(found, stars, strict=True)]
        for name, kept in ratios.items():
            kept.append(row["gradx"]["evaluations"] / row[name]["evaluations"])
        cells = [*counts, f"{ratios['scipy'][-1]:.2f}", *(f"{x['value']:.4g}" for x in found)]
        cells += [f"{1e3 * x['seconds']:.2g}" for x in found]
        lines.append(f"| {row['problem']} | {' | '.join(cells)} |")
    means = {name: statistics.geometric_mean(kept) for name, kept in ratios.items()}
    lines += [
        "",
        f"Evaluations of gradx, geometric mean: {means['scipy']:.2f} of SciPy's (at most {max(ratios['scipy']):.2f}),"
        f" {means['optax']:.2f} of Optax's.",
    ]
    return "\n".join(lines) + "\n"


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line: measure, print and write."""
    description = "Count what L-BFGS needs on classic functions, beside SciPy and Optax; takes a few minutes."
    parser: argparse.ArgumentParser = Parser(prog="python -m benchmarks.minimize", description=description)
    parser.add_argument("--out", type=Path, default=RESULTS, metavar="FOLDER", help="for minimize.md and minimize.json")
    repeats = "how often to time each; default: 11"
    parser.add_argument("--repeats", type=positive, default=11, metavar="N", help=repeats)
    given = parser.parse_args(arguments)
    try:
        check_folder(given.out)
    except Refused as problem:
        parser.error(str(problem))
    results = measure(given.repeats)
    (given.out / "minimize.json").write_text(json.dumps(results, indent=1) + "\n")
    (given.out / "minimize.md").write_text(table(results))
    print(table(results))


if __name__ == "__main__":
    main()
