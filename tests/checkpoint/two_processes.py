"""One of two processes that save together and restore together; `test_processes.py` starts both."""

import sys

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec as P

import gradx
from gradx import checkpoint

STEPS = 4
TX = gradx.adamw(gradx.linear_schedule(0.1, 0.0, 10))


def host() -> dict[str, np.ndarray]:
    """Return the first parameters."""
    return {"w": np.arange(32, dtype=np.float32).reshape(8, 4) / 32, "b": np.ones(4, np.float32)}


@jax.jit
def train(params: gradx.Params, state: gradx.State) -> tuple[gradx.Params, gradx.State]:
    """Take one step."""
    updates, state = TX.update(jax.tree.map(lambda x: x + 0.1, params), state, params)
    return gradx.apply_updates(params, updates), state


def main(directory: str, port: str, index: int) -> None:
    """Save in the foreground and the background, and restore by rows and by columns."""
    jax.distributed.initialize(f"127.0.0.1:{port}", 2, index)
    mesh = jax.make_mesh((2,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    rows, columns, whole = (NamedSharding(mesh, spec) for spec in (P("data"), P(None, "data"), P()))
    params = {name: jax.device_put(x, rows if name == "w" else whole) for name, x in host().items()}
    state = TX.init(params)
    for step in range(1, STEPS + 1):
        params, state = train(params, state)
        saving = checkpoint.save(directory, step, TX, state, params, keep=2, asynchronous=step % 2 == 0)
    saving.wait()
    shapes = {"w": jax.ShapeDtypeStruct((8, 4), jnp.float32, sharding=columns)}
    shapes["b"] = jax.ShapeDtypeStruct((4,), jnp.float32, sharding=whole)
    restored = checkpoint.restore(directory, TX, shapes)
    assert restored.step == STEPS
    assert restored.report.is_complete
    for x in (restored.params["w"], restored.state[0].mu["w"]):
        assert x.sharding.is_equivalent_to(columns, 2)
    (mine,) = restored.params["w"].addressable_shards
    again, _ = train(jax.device_put(restored.params, {"w": rows, "b": whole}), restored.state)
    print("shard", index, np.asarray(mine.data).tolist(), float(again["b"].addressable_shards[0].data[0]), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
