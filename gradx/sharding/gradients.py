"""Gradients of each device's own rows of a batch, and how they become one."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import AxisType, PartitionSpec

from gradx import tree
from gradx.sharding import specs as sp
from gradx.sharding.specs import AnyMesh, Axes
from gradx.typing import PyTree

KINDS = ("mean", "scatter", "stack", "concat")


def data_parallel(
    fun: Callable,
    axis: Axes = "data",
    out: PyTree = ("mean", "scatter"),
    *,
    batch_argnums: int | Sequence[int] = 1,
    specs: PyTree | None = None,
) -> Callable:
    """Return `fun(params, batch, ...)` on each device's own rows, each of its results combined by one collective.

    Whatever `fun` does before it returns, a loop over microbatches say, does not communicate along `axis`: sums over
    the devices stay open until then. Needs a mesh: that of the arguments, or of `jax.set_mesh`.

    Args:
      fun: `jax.value_and_grad(loss)`, or another function whose first argument is the parameters; its results are means
        over the rows.
      axis: the mesh axis over which the rows are spread, or a tuple of them.
      out: for each result, or in a tree that is a prefix of them, how those of the devices combine: "mean"; "scatter",
        for gradients: the mean, of which each device gets the part that `zero1` updates there; "stack", along a new
        first axis, for `no_sync`; "concat", along their first axis, for what has a row for each of the batch.
      batch_argnums: the arguments that have rows, along axis 0.
      specs: how parameters lie, as in `zero1`.

    >>> import gradx, jax, jax.numpy as jnp
    >>> value_and_grad = gradx.sharding.data_parallel(jax.value_and_grad(lambda w, x: jnp.mean(w * x)))
    >>> with jax.set_mesh(jax.make_mesh((1,), ("data",))):
    ...     value, grad = value_and_grad(jnp.ones(4), jnp.ones((2, 4)))
    >>> float(value), grad.sharding.spec
    (1.0, P('data',))
    """
    kinds, treedef = jax.tree.flatten(out)
    if unknown := [kind for kind in kinds if kind not in KINDS]:
        raise ValueError(f"data_parallel: out must be made of {KINDS}, got {unknown[0]!r}")
    batched = {batch_argnums} if isinstance(batch_argnums, int | np.integer) else set(batch_argnums)

    def run(params: PyTree, *others: Any) -> Any:
        mesh = sp.required_mesh("data_parallel", None, (params, others), axis)
        own = sp.own_specs("data_parallel", params, mesh, axis, specs)
        _check_whole(params, own, axis)
        mapped = _on_own_rows(fun, mesh, axis, out, batched)
        results: list = treedef.flatten_up_to(mapped(params, *others))
        parts = sp.parts_of(params, own, mesh, axis)
        for i, kind in enumerate(kinds):
            if kind == "scatter":
                results[i] = closed(results[i], own, parts, mesh, axis)
        return treedef.unflatten(results)

    return run


def closed(stacked: PyTree, own: PyTree, parts: PyTree, mesh: AnyMesh, axis: Axes) -> PyTree:
    """Return the means of arrays whose first axis goes over the devices: reduce-scattered where a part is asked for.

    Args:
      stacked: gradients, (devices, *shape) each.
      own: how the parameters lie.
      parts: how the means shall lie: as the parameters, or with one axis more that is split.
    """
    names = sp.names_of(axis)
    leaves, treedef = jax.tree.flatten(stacked)
    own, parts = (jax.tree.leaves(sp.map_leaves(lambda x, spec: spec, stacked, y)) for y in (own, parts))
    devices = sp.size_of(mesh, axis)

    def reduce(arrays: list[jax.Array]) -> list[jax.Array]:
        return [one(x[0], i) for i, x in enumerate(arrays)]

    def one(x: jax.Array, i: int) -> jax.Array:
        changed = [k for k, (before, after) in enumerate(zip(own[i], parts[i], strict=True)) if before != after]
        if not changed:
            return jax.lax.psum(x, names) / devices
        return jax.lax.psum_scatter(x, names, scatter_dimension=changed[0], tiled=True) / devices

    in_specs = [PartitionSpec(axis, *spec) for spec in own]
    # Over all axes of the mesh: beside one that is not mapped over, XLA gathers what a reduce-scatter needs.
    return treedef.unflatten(jax.shard_map(reduce, mesh=mesh, in_specs=(in_specs,), out_specs=parts)(leaves))


def _on_own_rows(fun: Callable, mesh: AnyMesh, axis: Axes, out: PyTree, batched: set[int]) -> Callable:
    """Return `fun` on each device's rows, its means taken, and all else along a first axis over the devices."""
    names = sp.names_of(axis)

    def own(x: Any) -> jax.Array:
        x = jnp.asarray(x)
        missing = tuple(name for name in names if name not in jax.typeof(x).manual_axis_type.varying)
        return jax.lax.pcast(x, missing, to="varying") if missing else x

    def combine(kind: str, x: jax.Array) -> jax.Array:
        return jax.lax.pmean(own(x), names) if kind == "mean" else own(x) if kind == "concat" else own(x)[None]

    def local(*args: Any) -> Any:
        # What all devices share becomes each one's own: of the other, JAX would sum up the gradient at once.
        results = fun(*jax.tree.map(own, args))
        return jax.tree.map(lambda kind, part: jax.tree.map(lambda x: combine(kind, x), part), out, results)

    def rows(x: Any) -> Any:
        """Split the rows, where their type must say so before they may be mapped over."""
        if not set(names) <= sp.names_with(mesh, AxisType.Explicit):
            return x
        return sp.place(x, mesh, PartitionSpec(axis, *sp.spec_of(x)[1:]))

    def mapped(*args: Any) -> Any:
        args = tuple(jax.tree.map(rows, x) if i in batched else x for i, x in enumerate(args))
        specs = tuple(PartitionSpec(axis) if i in batched else PartitionSpec() for i in range(len(args)))
        out_specs = jax.tree.map(lambda kind: PartitionSpec() if kind == "mean" else PartitionSpec(axis), out)
        return jax.shard_map(local, mesh=mesh, axis_names=set(names), in_specs=specs, out_specs=out_specs)(*args)

    return mapped


def _check_whole(params: PyTree, own: PyTree, axis: Axes) -> None:
    for name, spec in zip(tree.paths(params), jax.tree.leaves(own), strict=True):
        if sp.names_in(spec) & set(sp.names_of(axis)):
            cure = "let jit place the collectives of parameters that are split: it needs no data_parallel"
            raise ValueError(f"data_parallel: the parameter at '{name}' is split over {axis!r} itself; {cure}")
