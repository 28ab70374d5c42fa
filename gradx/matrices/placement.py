"""Where a batch of matrices lies on a mesh: each matrix whole on one device, so that no product communicates.

A batch is moved there one mesh axis at a time, the last first: each move is one all-to-all of what a device holds.
Under automatic axes the compiler is told so in constraints. Nothing is known there of how the leaves are sharded, and
leaves that lie differently and share a batch may end alike: give `out_shardings` to the step.
"""

import itertools
import math
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer
from jax.sharding import AxisType, NamedSharding, PartitionSpec

FREE = PartitionSpec.UNCONSTRAINED


def together(pieces: list[jax.Array], like: list[jax.Array] | None = None) -> jax.Array:
    """Return batches (b, ...) of one size as one, with whole matrices on each device.

    Of several matrices each device gets its share, the batch being filled up by copies of the last; a single one is
    gathered on all, and all compute the same. What goes with other matrices, `like`, lies as those do. With fewer
    matrices than half of the devices, copies are made where they are needed, and not sent back.
    """
    total, stages = sum(map(len, pieces)), _stages(pieces, like)
    if stages and _axes(pieces[0])[2] is AxisType.Explicit:
        pieces = [_put(piece, stages[0]) for piece in pieces]
    missing = -total % _devices(pieces[0]) if stages and total > 1 else 0
    are_few = _are_few(total, stages, pieces)
    if missing and not are_few:
        last = pieces[-1][-1:]
        pieces = [*pieces, jnp.broadcast_to(last, (missing, *last.shape[1:]))]
    batch = jnp.concatenate(pieces) if len(pieces) > 1 else pieces[0]
    if are_few:
        batch = _spread(batch, total + missing, stages[1])
    for stage in stages[1:] if are_few else stages:
        batch = _put(batch, stage)
    return batch


def apart(batch: jax.Array, pieces: list[jax.Array], like: list[jax.Array] | None = None) -> list[jax.Array]:
    """Take a batch to pieces as long as those of which `together` made it, and move it back.

    Under automatic axes the array to which a piece belongs says where it lies: see `alike`.
    """
    stages, ends = _stages(pieces, like), list(itertools.accumulate(map(len, pieces)))
    are_few = _are_few(ends[-1], stages, pieces)
    for stage in reversed(stages[1:] if are_few else stages):  # the last too: else what follows shards what was before
        batch = _put(batch, stage)
    batch = _chosen(batch, ends[-1]) if are_few else batch[: ends[-1]]
    return jnp.split(batch, ends[:-1]) if len(pieces) > 1 else [batch]


def alike(x: jax.Array, other: jax.Array) -> jax.Array:
    """Return `x`, of the shape of `other`, sharded as it is.

    The compiler, which alone knows how that is, lays out alike what it chooses between: here always `x`, but that it
    does not know.
    """
    _, names, kind = _axes(other)
    if not names or kind is AxisType.Explicit:
        return x
    never = jax.lax.optimization_barrier(jnp.zeros((), bool))
    return jnp.where(never, jax.lax.stop_gradient(other).astype(x.dtype), x)


def _are_few(total: int, stages: list[PartitionSpec], pieces: list[jax.Array]) -> bool:
    """Whether more than half of a filled-up batch were copies, and the matrices come from where all of them lie."""
    if total < 2 or len(stages) < 2 or 2 * total > _devices(pieces[0]):
        return False
    return not any(_uses(stages[0], name) for name in _names(stages[1][0]))


def _spread(batch: jax.Array, size: int, spec: PartitionSpec) -> jax.Array:
    """Return a batch of that size, the last matrix being repeated: each device takes its own, and nothing moves."""
    mesh, names, _ = _axes(batch)
    which = jnp.minimum(jnp.arange(size), len(batch) - 1)
    which = jax.sharding.reshard(which, NamedSharding(mesh, PartitionSpec(spec[0])))
    specs = tuple(jax.typeof(x).sharding.spec for x in (batch, which))
    own = jax.shard_map(
        lambda batch, which: batch.at[which].get(mode="promise_in_bounds"),
        mesh=mesh, in_specs=specs, out_specs=spec, axis_names=set(names),
    )  # fmt: skip
    return own(batch, which)


def _chosen(batch: jax.Array, total: int) -> jax.Array:
    """Return the first matrices of a spread batch on all devices: one sum of as many, where a gather had the copies."""
    mesh, spec = _axes(batch)[0], jax.typeof(batch).sharding.spec
    is_own = jnp.arange(total)[:, None] == jnp.arange(len(batch))
    is_own = jax.sharding.reshard(is_own, NamedSharding(mesh, PartitionSpec(None, spec[0])))
    return jnp.where(jnp.expand_dims(is_own, range(2, batch.ndim + 1)), batch, 0).sum(1)


def _devices(x: jax.Array) -> int:
    mesh, names, _ = _axes(x)
    return math.prod(mesh.shape[name] for name in names)


def _stages(pieces: list[jax.Array], like: list[jax.Array] | None) -> list[PartitionSpec]:
    """Return where the batch lies on its way, from how the first of its pieces lies to whole matrices."""
    _, names, _ = _axes(pieces[0])
    if not names:
        return []
    start, order = _start(pieces), _order(_start(like or pieces), names)
    if sum(map(len, pieces)) == 1:
        return [start, PartitionSpec(*(None,) * pieces[0].ndim)]
    first = next((k for k, name in enumerate(order) if _uses(start, name)), len(order))
    moves = [order[:k] for k in range(max(first, 1), len(order) + 1)]  # mesh axes that it does not use go at once
    return [start, *(PartitionSpec(x, *(_without(entry, x) for entry in start[1:])) for x in moves)]


def _start(pieces: list[jax.Array]) -> PartitionSpec:
    """Return how a batch lies when its pieces have come together."""
    is_explicit = _axes(pieces[0])[2] is AxisType.Explicit
    spec = jax.typeof(pieces[0]).sharding.spec if is_explicit else (FREE,) * pieces[0].ndim
    keeps_own = len(pieces) == 1 and len(pieces[0]) % _devices(pieces[0]) == 0  # nothing comes behind its matrices
    return PartitionSpec(*spec) if keeps_own else PartitionSpec(None, *spec[1:])


def _order(start: PartitionSpec, names: tuple[str, ...]) -> tuple[str, ...]:
    """Return the mesh axes in the order in which they come to the batch that lies as `start`: those it uses last."""
    own = [name for name in names if name in _names(start[0])]
    used = [name for name in names if name not in own and _uses(start, name)]
    return (*own, *(name for name in names if name not in (*own, *used)), *reversed(used))


def _uses(start: PartitionSpec, name: str) -> bool:
    """Whether a batch is, or may be, sharded over a mesh axis elsewhere than along its first axis."""
    return any(entry is FREE or name in _names(entry) for entry in start[1:])


def _without(entry: Any, names: tuple[str, ...]) -> Any:
    return entry if entry is FREE else tuple(name for name in _names(entry) if name not in names) or None


def _names(entry: Any) -> tuple[str, ...]:
    return () if entry is None or entry is FREE else (entry,) if isinstance(entry, str) else tuple(entry)


def _axes(x: jax.Array) -> tuple[Any, tuple[str, ...], AxisType]:
    """Return the mesh on which x lies, and those of its axes over which whole matrices may be spread, all of a kind."""
    mesh = jax.typeof(x).sharding.mesh
    for kind in (AxisType.Explicit, AxisType.Auto):
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
