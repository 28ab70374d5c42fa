"""Which mesh arrays lie on, how they are split over its axes, and how to put them elsewhere."""

import math
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from gradx import tree
from gradx.typing import PyTree

Axes = str | tuple[str, ...]
"""A mesh axis, or several that are split over as one."""
AnyMesh = Mesh | AbstractMesh


def names_of(axis: Axes) -> tuple[str, ...]:
    """Return the mesh axes as a tuple."""
    return (axis,) if isinstance(axis, str) else tuple(axis)


def size_of(mesh: AnyMesh, axis: Axes) -> int:
    """Return over how many devices the axis splits."""
    return math.prod(mesh.shape[name] for name in names_of(axis))


def mesh_of(*trees: PyTree) -> AnyMesh | None:
    """Return the mesh on which leaves lie, else the one that `jax.set_mesh` has set, else `None`.

    A trace knows the mesh of its arguments from their types, under automatic axes too, though not how they are split.
    """
    for x in jax.tree.leaves(trees):
        sharding = _sharding_of(x)
        if isinstance(sharding, NamedSharding) and not sharding.mesh.empty:
            return sharding.mesh
    context = jax.sharding.get_abstract_mesh()
    if context.empty:
        return None
    try:
        return jax.sharding.get_mesh()
    except ValueError:  # in a trace
        return context


def required_mesh(owner: str, mesh: AnyMesh | None, arrays: PyTree, axis: Axes | None = None) -> AnyMesh:
    """Return the mesh given or found; raise ValueError where there is none, or none with the axis."""
    found = mesh_of(arrays) if mesh is None else mesh
    if found is None:
        raise ValueError(f"{owner}: no mesh: give mesh=, call it under jax.set_mesh(mesh), or put params on a mesh")
    if axis is not None:
        check_axis(owner, found, axis)
    return found


def check_axis(owner: str, mesh: AnyMesh, axis: Axes) -> None:
    """Raise ValueError unless the mesh has the axis, for the compiler or the types to split over."""
    if missing := [name for name in names_of(axis) if name not in mesh.axis_names]:
        raise ValueError(f"{owner}: the mesh has the axes {mesh.axis_names}, no {missing[0]!r}")
    kinds = dict(zip(mesh.axis_names, mesh.axis_types, strict=True))
    if any(kinds[name] == AxisType.Manual for name in names_of(axis)):
        cure = "call it outside of the shard_map, with gradients from gradx.sharding.data_parallel"
        raise ValueError(f"{owner}: inside a shard_map over {axis!r} a norm would be that of one shard; {cure}")


def spec_of(x: Any) -> PartitionSpec:
    """Return how an array is split, an entry for each of its axes; under automatic axes a trace says nothing of it."""
    sharding = _sharding_of(x)
    return full(sharding.spec if isinstance(sharding, NamedSharding) else PartitionSpec(), len(np.shape(x)))


def own_specs(owner: str, params: PyTree, mesh: AnyMesh, axis: Axes, given: PyTree | None, first: int = 0) -> PyTree:
    """Return how the parameters lie, from their types or as it is given.

    Args:
      first: so many axes stand before a parameter's own.

    Raises ValueError where a trace does not see it and it is not given.
    """
    if given is not None:
        specs = jax.tree.leaves(tree.broadcast(given, tree.unbox(params), f"{owner}: specs"))
        own = [full(spec, np.ndim(x) - first) for spec, x in zip(specs, jax.tree.leaves(params), strict=True)]
        return jax.tree.unflatten(jax.tree.structure(params), own)
    beside = names_with(mesh, AxisType.Auto) - set(names_of(axis))
    unseen = [name for name in mesh.axis_names if name in beside and mesh.shape[name] > 1]
    if unseen and any(isinstance(x, Tracer) for x in jax.tree.leaves(params)):
        cure = "give specs=, PartitionSpec() where they are not"
        raise ValueError(f"{owner}: a trace does not see how parameters are split over the automatic {unseen}: {cure}")
    return jax.tree.map(lambda x: PartitionSpec(*spec_of(x)[first:]), params)


def parts_of(params: PyTree, own: PyTree, mesh: AnyMesh, axis: Axes) -> PyTree:
    """Return how each parameter's part lies: see `split`."""
    return jax.tree.map(lambda x, spec: split(np.shape(x), spec, mesh, axis), params, own)


def map_leaves(f: Callable, values: PyTree, specs: PyTree) -> PyTree:
    """Apply `f(leaf, spec)`; a gradient that is left out, `None`, has a spec too, and stays."""
    return jax.tree.map(lambda x, spec: None if x is None else f(x, spec), values, specs, is_leaf=lambda x: x is None)


def full(spec: PartitionSpec, ndim: int) -> PartitionSpec:
    """Return the spec with an entry for each of `ndim` axes."""
    return PartitionSpec(*spec, *(None,) * (ndim - len(spec)))


def names_in(spec: PartitionSpec) -> set[str]:
    """Return the mesh axes that a spec names."""
    return {name for entry in spec if entry is not None for name in names_of(entry)}


def split(shape: Sequence[int], spec: PartitionSpec, mesh: AnyMesh, axis: Axes) -> PartitionSpec:
    """Return the spec with the largest free axis that the mesh axis divides split over it, the first of equals.

    An array that is split over it already, or has no such axis, keeps its spec.

    >>> import jax
    >>> from gradx.sharding.specs import split
    >>> mesh = jax.sharding.AbstractMesh((4, 2), ("data", "model"))
    >>> split((3, 8, 16), jax.P(None, None, "model"), mesh, "data")
    P(None, 'data', 'model')
    """
    spec, size = full(spec, len(shape)), size_of(mesh, axis)
    free = [i for i, n in enumerate(shape) if spec[i] is None and n and n % size == 0]
    if not free or names_in(spec) & set(names_of(axis)):
        return spec
    chosen = max(free, key=lambda i: (shape[i], -i))
    return PartitionSpec(*spec[:chosen], axis, *spec[chosen + 1 :])


def place(x: Any, mesh: AnyMesh, spec: PartitionSpec) -> jax.Array:
    """Return the array with that sharding: moved, resharded, or constrained, as the axes of the mesh ask for."""
    sharding = NamedSharding(mesh, spec)
    if not isinstance(x, Tracer) and isinstance(mesh, Mesh):
        return jax.device_put(x, sharding)
    explicit = names_with(mesh, AxisType.Explicit)
    if explicit:
        x = jax.sharding.reshard(x, NamedSharding(mesh, only(spec, explicit)))
    if automatic := names_with(mesh, AxisType.Auto):
        x = jax.lax.with_sharding_constraint(x, NamedSharding(mesh, only(spec, automatic)))
    return x


def without(spec: PartitionSpec, axis: Axes) -> PartitionSpec:
    """Return the spec without the mesh axis."""
    return only(spec, names_in(spec) - set(names_of(axis)))


def tied(state: PyTree, params: PyTree) -> PyTree:
    """Return the state, a leaf of it tied to a parameter in a trace.

    `jit` drops arguments that nothing uses, as a state of zeros uses none, and would run on one device then.
    """
    used = next((x for x in jax.tree.leaves(params) if isinstance(x, Tracer)), None)
    leaves, treedef = jax.tree.flatten(state)
    chosen = next((i for i, x in enumerate(leaves) if jnp.issubdtype(x.dtype, np.number)), None)
    if used is not None and chosen is not None:
        leaves[chosen], _ = jax.lax.optimization_barrier((leaves[chosen], used))
    return treedef.unflatten(leaves)


def names_with(mesh: AnyMesh, kind: AxisType) -> set[str]:
    """Return the mesh axes of that type."""
    return {name for name, own in zip(mesh.axis_names, mesh.axis_types, strict=True) if own == kind}


def only(spec: PartitionSpec, names: set[str]) -> PartitionSpec:
    """Return the spec without the mesh axes that are not among `names`."""

    def kept(entry: Any) -> Any:
        left = tuple(name for name in names_of(entry or ()) if name in names)
        return None if not left else left[0] if len(left) == 1 else left

    return PartitionSpec(*map(kept, spec))


def _sharding_of(x: Any) -> Any:
    if isinstance(x, Tracer):
        return jax.typeof(x).sharding
    return getattr(x, "sharding", None)
