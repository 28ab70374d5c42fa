"""Where a batch of matrices lies on a mesh: each matrix whole on one device, so that no product communicates.

A batch is moved there one mesh axis at a time, the last first: each move is one all-to-all of what a device holds.
Under automatic axes the compiler is told so in constraints. Nothing is known there of how the leaves are sharded, and
leaves that lie differently and share a batch may end alike: give `out_shardings` to the step. Where JAX has no
`shard_alike`, from 0.12 on, automatic axes are left to the compiler, and every product communicates.
"""

import importlib
import importlib.util
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec

FREE = PartitionSpec.UNCONSTRAINED
_NAME = "jax.experimental.shard_alike"
SHARD_ALIKE: Any = importlib.import_module(_NAME).shard_alike if importlib.util.find_spec(_NAME) else None
"""From two arrays to two that are sharded alike; None where JAX has no such function."""


def together(pieces: list[jax.Array]) -> jax.Array:
    """Return batches (b, ...) of one size as one, with whole matrices on each device.

    Of several matrices each device gets its share, the batch being filled up by copies of the last; a single one is
    gathered on all, and all compute the same.
    """
    total, stages = sum(map(len, pieces)), _stages(pieces)
    if stages and _axes(pieces[0])[2] is AxisType.Explicit:
        pieces = [_put(piece, stages[0]) for piece in pieces]
    if stages and total > 1 and (missing := -total % _devices(pieces[0])):
        last = pieces[-1][-1:]
        pieces = [*pieces, jnp.broadcast_to(last, (missing, *last.shape[1:]))]
    batch = jnp.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    for stage in stages:
        batch = _put(batch, stage)
    return batch


def apart(batch: jax.Array, like: list[jax.Array]) -> list[jax.Array]:
    """Take a batch to pieces as long as those of `like`, of which it was made, and move it back.

    Under automatic axes the array to which a piece belongs says where it lies: see `alike`.
    """
    for stage in reversed(_stages(like)):  # the last too: else what comes behind would shard what came before
        batch = _put(batch, stage)
    ends = [sum(map(len, like[: k + 1])) for k in range(len(like))]
    return jnp.split(batch[: ends[-1]], ends[:-1]) if len(like) > 1 else [batch[: ends[-1]]]


def alike(x: jax.Array, other: jax.Array) -> jax.Array:
    """Return `x`, of the shape of `other`, sharded as it is."""
    _, names, kind = _axes(other)
    return SHARD_ALIKE(x, other)[0] if SHARD_ALIKE and names and kind is AxisType.Auto else x


def _devices(x: jax.Array) -> int:
    mesh, names, _ = _axes(x)
    return math.prod(mesh.shape[name] for name in names)


def _stages(pieces: list[jax.Array]) -> list[PartitionSpec]:
    """Return where the batch lies on its way, from how the first of its pieces lies to whole matrices."""
    _, names, kind = _axes(pieces[0])
    if not names:
        return []
    ndim, total = pieces[0].ndim, sum(map(len, pieces))
    spec = jax.typeof(pieces[0]).sharding.spec if kind is AxisType.Explicit else (FREE,) * ndim
    keeps_own = len(pieces) == 1 and total % _devices(pieces[0]) == 0  # nothing is put behind the matrices of one leaf
    start = PartitionSpec(*spec) if keeps_own else PartitionSpec(None, *spec[1:])
    return [start, *(_moves(start, names) if total > 1 else [PartitionSpec(*(None,) * ndim)])]


def _moves(start: PartitionSpec, names: tuple[str, ...]) -> list[PartitionSpec]:
    """Return where a batch that lies as `start` lies after each move; mesh axes that it does not use go at once."""
    own = [name for name in names if name in _names(start[0])]
    used = [name for name in names if FREE in start or any(name in _names(entry) for entry in start[1:])]
    order = [*own, *(name for name in names if name not in (*own, *used)), *reversed(used)]
    first = max(len(order) - len(used), 1)
    return [
        PartitionSpec(tuple(order[:k]), *(_without(entry, order[:k]) for entry in start[1:]))
        for k in range(first, len(order) + 1)
    ]


def _without(entry: Any, names: list[str]) -> Any:
    return entry if entry is FREE else tuple(name for name in _names(entry) if name not in names) or None


def _names(entry: Any) -> tuple[str, ...]:
    return () if entry is None or entry is FREE else (entry,) if isinstance(entry, str) else tuple(entry)


def _axes(x: jax.Array) -> tuple[Any, tuple[str, ...], AxisType]:
    """Return the mesh on which x lies, and those of its axes over which whole matrices may be spread, all of a kind."""
    mesh = jax.typeof(x).sharding.mesh
    for kind in (AxisType.Explicit, AxisType.Auto) if SHARD_ALIKE else (AxisType.Explicit,):
        names = tuple(
            name
            for name, own in zip(mesh.axis_names, mesh.axis_types, strict=True)
            if own is kind and mesh.shape[name] > 1
        )
        if names and (kind is AxisType.Explicit or isinstance(x, Tracer)):  # the compiler is told, and nobody else
            return mesh, names, kind
    return mesh, (), AxisType.Auto


def _put(x: jax.Array, spec: PartitionSpec) -> jax.Array:
    mesh, _, kind = _axes(x)
    if kind is AxisType.Explicit:
        return x if jax.typeof(x).sharding.spec == spec else jax.sharding.reshard(x, NamedSharding(mesh, spec))
    return jax.lax.with_sharding_constraint(x, NamedSharding(mesh, spec))
