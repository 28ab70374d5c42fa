"""Train a small network to predict the next byte of Python's own documentation, on all devices of all processes.

    python examples/many_processes/train.py --layout zero1

On several machines one process runs on each, or one for each GPU, all with the same command: `slurm.sh`,
`kubernetes.yaml` and `tpu_pod.sh` start them. By hand, the first of two:

    python examples/many_processes/train.py --coordinator 127.0.0.1:9000 --processes 2 --process 0
"""

import argparse
import functools
from collections.abc import Sequence
from pydoc_data.topics import topics
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec as P

import gradx
from gradx import sharding

CONTEXT, BATCH = 16, 64
LAYOUTS = ("data_parallel", "zero1", "fsdp")


def start(key: jax.Array) -> dict[str, Any]:
    """Return the parameters of a perceptron over the last 16 bytes."""
    embedding, hidden, out = jax.random.split(key, 3)
    kernel = jax.nn.initializers.lecun_normal()
    return {
        "embedding": jax.random.normal(embedding, (256, 32)),
        "hidden": {"kernel": kernel(hidden, (CONTEXT * 32, 256)), "bias": jnp.zeros(256)},
        "out": {"kernel": kernel(out, (256, 256)), "bias": jnp.zeros(256)},
    }


def loss(params: dict[str, Any], batch: tuple[jax.Array, jax.Array]) -> jax.Array:
    """Return the mean cross-entropy of the next byte, in nats."""
    text, following = batch
    x = params["embedding"][text].reshape(len(text), -1)
    x = jax.nn.relu(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    logits = x @ params["out"]["kernel"] + params["out"]["bias"]
    return gradx.losses.softmax_cross_entropy_with_integer_labels(logits, following).mean()


def rows(step: int, place: NamedSharding) -> tuple[jax.Array, jax.Array]:
    """Return the batch of a step; each process reads the rows of its own devices alone."""
    text = np.frombuffer("\n".join(topics[name] for name in sorted(topics)).encode(), np.uint8).astype(np.int32)
    starts = np.random.default_rng(step).integers(0, len(text) - CONTEXT, BATCH)
    own = np.split(starts, jax.process_count())[jax.process_index()]
    batch = np.stack([text[i : i + CONTEXT] for i in own]), text[own + CONTEXT]
    return jax.tree.map(lambda x: jax.make_array_from_process_local_data(place, x), batch)


def part(x: Any, mesh: Mesh) -> NamedSharding:
    """Return how FSDP splits a parameter: along the largest axis that the devices divide."""
    divisible = [i for i, size in enumerate(x.shape) if size % mesh.size == 0]
    axis = max(divisible, key=lambda i: x.shape[i], default=None)
    return NamedSharding(mesh, P(*("data" if i == axis else None for i in range(x.ndim))))


def train(layout: str, steps: int, mesh: Mesh) -> list[float]:
    """Return the loss of each step."""
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(3e-3))
    gradient = jax.value_and_grad(loss)
    if layout == "fsdp":  # the compiler gathers parameters where they are used, and scatters their gradients
        places = jax.tree.map(lambda x: part(x, mesh), jax.eval_shape(start, jax.random.key(0)))
    else:
        places = NamedSharding(mesh, P())
        gradient = sharding.data_parallel(gradient, out=("mean", "scatter" if layout == "zero1" else "mean"))
    if layout == "zero1":
        tx = sharding.zero1(tx)
    params = jax.jit(start, out_shardings=places)(jax.random.key(0))
    state = sharding.init(tx, params, mesh)
    kept = places, sharding.state_shardings(tx, params, mesh), None

    @functools.partial(jax.jit, donate_argnums=(0, 1), out_shardings=kept)
    def step(params: Any, state: Any, batch: Any) -> tuple[Any, Any, jax.Array]:
        value, grads = gradient(params, batch)
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state, value

    values = []
    for i in range(steps):
        params, state, value = step(params, state, rows(i, NamedSharding(mesh, P("data"))))
        values.append(float(value))
        if jax.process_index() == 0 and (i % 10 == 0 or i == steps - 1):
            print(f"step {i}: {values[-1]:.4f} nats", flush=True)
    return values


def options(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Return what the command line says."""
    parser = argparse.ArgumentParser(description="Train on all devices of all processes.")
    parser.add_argument("--layout", choices=LAYOUTS, default="zero1")
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--cluster", action="store_true", help="SLURM or a TPU pod says who takes part")
    parser.add_argument("--coordinator", help="address and port of process 0, where nobody else says so")
    parser.add_argument("--processes", type=int)
    parser.add_argument("--process", type=int)
    return parser.parse_args(arguments)


def main() -> None:
    """Join the other processes, and train."""
    given = options()
    if given.cluster or given.coordinator:
        jax.distributed.initialize(given.coordinator, given.processes, given.process)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(AxisType.Auto,))
    train(given.layout, given.steps, mesh)


if __name__ == "__main__":
    main()
