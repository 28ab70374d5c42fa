"""Meshes of virtual devices, a problem that lies on them, and what a compiled step communicates."""

import re
from collections import Counter

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
    """Count the arrays that a program communicates, single numbers apart: a collective may take several together."""
    counts = Counter()
    text = compiled if isinstance(compiled, str) else compiled.as_text()
    for result, name in re.findall(rf"= (.*?) ({'|'.join(COLLECTIVES)})(?:-start)?\(", text):
        for sizes in re.findall(r"\w+\[([\d,]*)\]", result):
            counts[name if sizes else f"{name} of a scalar"] += 1
    return dict(counts)


def branches_of(compiled):
    """Return the text of the branches of conditionals, and the text of all else."""
    blocks = dict(re.findall(r"^(?:ENTRY )?(%[\w.\-]+) .*?\{\n(.*?)^\}", compiled.as_text(), flags=re.S | re.M))
    named = re.findall(r"(?:true_computation|false_computation)=(%[\w.\-]+)", compiled.as_text())
    for several in re.findall(r"branch_computations=\{(.*?)\}", compiled.as_text()):
        named += several.split(", ")
    inside = "".join(blocks[name] for name in set(named))
    return inside, "".join(block for name, block in blocks.items() if name not in named)


def loops_of(compiled):
    """Return the text of the bodies of loops, and the text of all else."""
    blocks = dict(re.findall(r"^(?:ENTRY )?(%[\w.\-]+) .*?\{\n(.*?)^\}", compiled.as_text(), flags=re.S | re.M))
    named = set(re.findall(r"body=(%[\w.\-]+)", compiled.as_text()))
    return "".join(blocks[name] for name in named), "".join(x for name, x in blocks.items() if name not in named)


def params():
    rng = np.random.default_rng(0)
    shapes = {"hidden": {"kernel": (12, 16), "bias": (16,)}, "out": {"kernel": (16, 3), "bias": (3,)}}
    return jax.tree.map(
        lambda shape: jnp.asarray(rng.normal(size=shape) / 4, jnp.float32),
        shapes,
        is_leaf=lambda x: isinstance(x, tuple),
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
