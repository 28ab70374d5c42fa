"""One of the processes that train the language task together; `benchmarks.scaling.launch` starts them."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gradx
from benchmarks.prose import Windows, windows
from benchmarks.roster import ROSTER
from benchmarks.scaling.hlo import collectives
from benchmarks.supervised import batches
from benchmarks.tasks import language
from gradx import checkpoint
from gradx.sharding import data_parallel, init, state_shardings, zero1
from gradx.sharding.specs import split

RATES = {"adamw": 0.01, "muon": 0.01}
"""The highest learning rate of each optimizer, by its name in the roster."""


class Leg(NamedTuple):
    """A stretch of a training."""

    optimizer: str
    layout: str
    batch: int
    """Windows in a step, over all devices."""
    steps: int
    """Of the whole training: the schedule's length."""
    first: int = 0
    last: int = 0
    """The steps that are done are first to last - 1."""
    restore: str = ""
    """The directory that has parameters and state at `first`; else both start anew."""
    save: str = ""
    """The directory that gets parameters and state at `last`."""


class Program(NamedTuple):
    """A compiled step, and what it starts from."""

    tx: Any
    params: Any
    state: Any
    shardings: Any
    step: Any


def build(leg: Leg, mesh: Mesh) -> Program:
    """Compile a step of the language task in a layout."""
    graph, params, others = nnx.split(language.Transformer(nnx.Rngs(0)), nnx.Param, ...)
    tx: Any = ROSTER[leg.optimizer](RATES[leg.optimizer], leg.steps)

    def loss_of(params: Any, batch: Windows) -> jax.Array:
        return language.loss(nnx.merge(graph, params, others, copy=True), batch, jax.random.key(0))

    gradient: Callable = jax.value_and_grad(loss_of)
    spec = (lambda x: split(x.shape, P(), mesh, "data")) if leg.layout == "FSDP" else lambda x: P()
    places = jax.tree.map(lambda x: NamedSharding(mesh, spec(x)), params)
    if leg.layout != "FSDP":
        gradient = data_parallel(gradient, out=("mean", "scatter" if leg.layout == "ZeRO-1" else "mean"))
    if leg.layout == "ZeRO-1":
        tx = zero1(tx)
    params = jax.tree.map(_placed, params, places)
    shardings = state_shardings(tx, params, mesh)

    def step(params: Any, state: Any, batch: Windows) -> tuple[Any, Any, jax.Array]:
        value, grads = gradient(params, batch)
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state, value

    jitted = jax.jit(step, donate_argnums=(0, 1), out_shardings=(places, shardings, None))
    state = init(tx, params, mesh)
    return Program(tx, params, state, shardings, jitted.lower(params, state, drawn(leg, 0, mesh)).compile())


def run(leg: Leg, program: Program, mesh: Mesh) -> dict[str, Any]:
    """Train, and return losses, and what each device holds, computes and sends."""
    params, state = (jax.tree.map(lambda x: x.copy(), x) for x in (program.params, program.state))  # they are donated
    if leg.restore:
        found = checkpoint.restore(leg.restore, program.tx, params, step=leg.first, shardings=program.shardings)
        params, state = found.params, found.state
    losses = []
    for i in range(leg.first, leg.last):
        batch = drawn(leg, i, mesh)
        params, state, value = program.step(params, state, batch)
        losses.append(float(value))
    if leg.save:
        checkpoint.save(leg.save, leg.last, program.tx, state, params)
    memory, text = program.step.memory_analysis(), program.step.as_text()
    counts, sent = collectives(text)
    return {
        "losses": losses,
        "params": _bytes_here(params),
        "state": _bytes_here(state),
        "temporaries": memory.temp_size_in_bytes,
        "flops": program.step.cost_analysis()["flops"],
        "collectives": counts,
        "sent": sent,
    }


def drawn(leg: Leg, step: int, mesh: Mesh) -> Windows:
    """Return the batch of a step; each process reads the rows of its own devices alone."""
    train, _ = windows()
    chosen = batches(len(train.text), leg.batch, 0, step + 1)[step]
    return jax.tree.map(lambda x: _placed(x[chosen], NamedSharding(mesh, P("data"))), train)


def _placed(x: Any, sharding: NamedSharding) -> jax.Array:
    """Return an array that every process has as one that lies on the devices of all."""
    x = np.asarray(x)
    return jax.make_array_from_callback(x.shape, sharding, lambda part: x[part])


def _bytes_here(tree: Any) -> int:
    """Return the bytes on the first device of this process."""
    device = jax.local_devices()[0]
    shards = (shard for x in jax.tree.leaves(tree) for shard in x.addressable_shards if shard.device == device)
    return sum(shard.data.nbytes for shard in shards)


def main() -> None:
    """Join the others, run all legs, and write what was seen."""
    given = json.loads(sys.argv[1])
    jax.config.update("jax_num_cpu_devices", given["devices"])
    jax.config.update("jax_disable_most_optimizations", True)  # LLVM's: for few steps they take longer than they save
    if given["processes"] > 1:
        jax.distributed.initialize(f"127.0.0.1:{given['port']}", given["processes"], given["process"])
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    programs: dict[tuple, Program] = {}
    found = []
    for leg in (Leg(**x) for x in given["legs"]):
        key = leg[:4]
        programs[key] = programs.get(key) or build(leg, mesh)
        found.append(run(leg, programs[key], mesh))
    if jax.process_index() == 0:
        Path(given["out"]).write_text(json.dumps(found))


if __name__ == "__main__":
    main()
