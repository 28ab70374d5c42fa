"""Meshes of virtual devices, a problem that lies on them, and what a compiled step communicates."""

import re

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

AUTO, EXPLICIT = AxisType.Auto, AxisType.Explicit
KINDS = [AUTO, EXPLICIT]
COLLECTIVES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")
ROUNDING = {"rtol": 2e-5, "atol": 2e-6}
"""Float32: sums over the batch, and of squares, in another order."""


def mesh_of(kind, shape=(8,), names=("data",)):
    return jax.make_mesh(shape, names, axis_types=(kind,) * len(shape))


def put(mesh, tree, spec=P()):
    return jax.device_put(tree, NamedSharding(mesh, spec))


def collectives(compiled):
    """Count what a program communicates; sums of single numbers, as for a norm, apart from those of arrays."""
    counts = {}
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    for result, name in re.findall(rf"= (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(", text):
        is_scalar = all(not sizes for sizes in re.findall(r"\w+\[([\d,]*)\]", result))
        key = f"{name} of a scalar" if is_scalar else name
        counts[key] = counts.get(key, 0) + 1
    return counts


def params():
    rng = np.random.default_rng(0)
    shapes = {"hidden": {"kernel": (12, 16), "bias": (16,)}, "out": {"kernel": (16, 3), "bias": (3,)}}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape) / 4, jnp.float32), shapes, is_leaf=lambda x: isinstance(x, tuple)
    )


def batch(step, rows=32):
    rng = np.random.default_rng(step + 1)
    x = rng.normal(size=(rows, 12)).astype(np.float32)
    return x, np.tanh(x[:, :3])


def loss(params, batch):
    x, y = batch
    hidden = jnp.tanh(x @ params["hidden"]["kernel"] + params["hidden"]["bias"])
    return jnp.mean((hidden @ params["out"]["kernel"] + params["out"]["bias"] - y) ** 2)


def assert_close(got, wanted, **tolerance):
    jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, **(ROUNDING | tolerance)), got, wanted)


def bytes_each(tree):
    """Return the bytes of a tree on each device."""
    held = {}
    for x in jax.tree.leaves(tree):
        for shard in x.addressable_shards:
            held[shard.device] = held.get(shard.device, 0) + shard.data.nbytes
    return held
