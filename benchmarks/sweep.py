"""A sweep over 32 learning rates as one program, beside 32 jitted runs of Optax: python -m benchmarks.sweep

All train the perceptron of the `tabular` task with AdamW on the same batches from the same start, compilation included.
"32 jitted runs" compile a program for each rate, as happens where the rate is a constant; "one jitted run" takes it as
an argument.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

import gradx
from benchmarks.command import Parser, Refused, check_folder
from benchmarks.results import computer, versions, write_whole
from benchmarks.tasks import tabular
from gradx import tune

OUT = Path("benchmarks", "results")
RATES = np.geomspace(1e-5, 1e-1, 32).astype(np.float32)
STEPS = 300
REPEATS = 3
EQUAL = 1e-5
"""How far a member of the sweep may be from its own run, relative to the largest loss: sums in another order."""
STABLE = 5e-3
"""Up to this rate. Beyond, a training on small batches is chaotic: a rounding in one step is another loss 200 later."""

TRAIN, _ = jax.device_put(tabular.table())
GRAPH, START = nnx.split(tabular.MLP(nnx.Rngs(0)))
BATCHES = jnp.asarray(np.random.default_rng(0).integers(0, len(TRAIN.label), (STEPS, 64)))


def loss(params: Any, batch: Any) -> jax.Array:
    return tabular.loss(nnx.merge(GRAPH, params), batch, jax.random.key(0))


def train(tx: Any, apply: Callable) -> jax.Array:
    """Return the loss of every step."""

    def step(carry: tuple, chosen: jax.Array) -> tuple:
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params, jax.tree.map(lambda x: x[chosen], TRAIN))
        updates, state = tx.update(gradients, state, params)
        return (apply(params, updates), state), value

    return jax.lax.scan(step, (START, tx.init(START)), BATCHES)[1]


def one_program() -> np.ndarray:
    """Return the losses of all rates, by a sweep."""
    result = tune.sweep(gradx.adamw(1e-3), lambda tx, key: train(tx, gradx.apply_updates), {"learning_rate": RATES})
    return np.asarray(result.results)[:, 0]


def gradx_once() -> np.ndarray:
    """Return the losses of all rates, by one program called with another optimizer each time."""
    run = jax.jit(lambda tx: train(tx, gradx.apply_updates))
    return np.stack([run(gradx.adamw(rate)) for rate in RATES])


def optax_each() -> np.ndarray:
    """Return the losses of all rates, by a program for each."""
    return np.stack([jax.jit(lambda r=float(rate): train(optax.adamw(r), optax.apply_updates))() for rate in RATES])


def optax_once() -> np.ndarray:
    """Return the losses of all rates, by one program called once for each."""
    run = jax.jit(lambda rate: train(optax.adamw(rate), optax.apply_updates))
    return np.stack([run(rate) for rate in RATES])


WAYS = {
    "gradx.tune.sweep, one program": one_program,
    "gradx, 32 calls of one jitted run": gradx_once,
    "Optax, 32 calls of one jitted run": optax_once,
    "Optax, 32 jitted runs": optax_each,
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line: measure each way in turn, several times, compilation included; write the medians."""
    parser = Parser(prog="python -m benchmarks.sweep", description="Measure a sweep beside 32 runs; takes minutes.")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help=f"for sweep.*; default: {OUT}")
    out = parser.parse_args(arguments).out
    try:
        check_folder(out)
    except Refused as problem:
        parser.error(str(problem))
    seconds: dict[str, list[float]] = {name: [] for name in WAYS}
    losses = {}
    for _ in range(REPEATS):
        for name, way in WAYS.items():
            jax.clear_caches()
            began = time.perf_counter()
            losses[name] = way()
            seconds[name].append(time.perf_counter() - began)
    sweep, alone = (losses[name][RATES <= STABLE] for name in list(WAYS)[:2])
    furthest = float(np.max(np.abs(sweep - alone)) / np.max(alone))
    medians = {name: statistics.median(x) for name, x in seconds.items()}
    first = medians[next(iter(WAYS))]
    rows = [f"| {name} | {x:.2f} | {x / first:.1f} |" for name, x in medians.items()]
    text = "\n".join(["| 32 learning rates | seconds | of the sweep's |", "| --- | ---: | ---: |", *rows]) + "\n"
    kept = {
        "seconds": seconds,
        "furthest_from_separate_runs": furthest,
        "steps": STEPS,
        "versions": versions() | {"optax": optax.__version__},
        "platform": computer(),
    }
    write_whole(out / "sweep.json", json.dumps(kept, indent=1) + "\n")
    write_whole(out / "sweep.md", text)
    print(
        text,
        f"sweep and separate runs differ by {furthest:.1e} of the largest loss, at rates up to {STABLE:g}",
        sep="\n",
    )
    return 0 if furthest <= EQUAL else 1


if __name__ == "__main__":
    sys.exit(main())
