"""How the state of an optimizer is laid out over a mesh: a sharding for every leaf, told or applied.

What a leaf of a state follows is not guessed. `tx.init` runs abstractly, on parameters whose types say how they are
split, and JAX's own rules carry that through whatever the state is made by: zeros like a parameter, sums over its rows,
memories of several steps.
"""

import contextlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.sharding import AbstractMesh, AxisType, Mesh, NamedSharding, PartitionSpec

from gradx import checks, tree
from gradx.sharding.offload import HOST, check_memory
from gradx.sharding.specs import (
    AnyMesh,
    Axes,
    full,
    names_in,
    names_of,
    parts_of,
    place,
    required_mesh,
    spec_of,
    split,
    tied,
)
from gradx.tree import states
from gradx.typing import Params, PyTree, State

Rule = str | Callable[[str, jax.ShapeDtypeStruct, jax.ShapeDtypeStruct | None], PartitionSpec]
"""How to lay out: "like_params", "zero1", or a function (path, leaf, param) -> PartitionSpec."""
RULES = ("like_params", "zero1")


class Leaf(NamedTuple):
    """A leaf of a state, and where it goes."""

    path: str
    value: jax.ShapeDtypeStruct
    param: str | None
    """The name of the parameter to which it belongs."""
    used: PartitionSpec
    """How it must lie for the update."""
    kept: PartitionSpec
    """How it lies between updates."""
    why: str


def state_shardings(
    tx: Any,
    params: Params,
    mesh: Mesh | None = None,
    rule: Rule = "like_params",
    *,
    axis: Axes = "data",
    memory_kind: str | None = None,
) -> State:
    """Return a sharding for every leaf of the state that `tx.init(params)` gives: for `jit` and for checkpoints.

    * "like_params": what is made from a parameter lies as it does, axis by axis; all else is replicated.
    * "zero1": the same of parameters split over `axis` along their largest axis that it divides and that is not taken.
      What cannot follow (columns of a factored moment, matrix factors, a vector of all parameters) is split for itself;
      what nothing divides is replicated. `zero1` is the transformation that goes with it.
    * `rule(path, leaf, param)` returns the PartitionSpec of a leaf. `leaf.sharding.spec` is what "like_params" says;
      `param` is None where the leaf belongs to no parameter.

    Args:
      tx: the transformation, of gradx or not.
      params: arrays or `jax.ShapeDtypeStruct`s; those without a NamedSharding count as replicated.
      mesh: by default that of the parameters, or else that of `jax.set_mesh`.
      rule: one of the two names, or a function.
      axis: the mesh axis of "zero1", or a tuple of them.
      memory_kind: where arrays lie, "pinned_host" say, with `offload` around `tx`; scalars stay on the device.

    Raises ValueError where there is no mesh, axis or memory of that name, or an array cannot be split so.

    >>> import gradx, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> layout = gradx.sharding.state_shardings(gradx.adam(1e-3), {"w": jnp.ones((4, 2))}, mesh, "zero1")
    >>> layout[0].mu["w"].spec, layout[0].count.spec
    (P('data', None), P())
    """
    where, leaves, treedef = _planned("state_shardings", tx, params, mesh, rule, axis)
    if memory_kind is not None and isinstance(where, Mesh):
        check_memory("state_shardings", where.devices.flat[0], memory_kind)

    def sharding(leaf: Leaf) -> NamedSharding:
        return NamedSharding(where, leaf.kept, memory_kind=memory_kind if leaf.value.ndim else None)

    return treedef.unflatten(list(map(sharding, leaves)))


def describe_shardings(
    tx: Any, params: Params, mesh: Mesh | None = None, rule: Rule = "like_params", *, axis: Axes = "data"
) -> str:
    """Return a table of the state's leaves: type, spec, why it is that, and the bytes on each device.

    Arguments as in `state_shardings`.

    >>> import gradx, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> print(gradx.sharding.describe_shardings(gradx.sgd(0.1, momentum=0.9), {"w": jnp.ones((4, 2))}, mesh, "zero1"))
    data 1, rule zero1: 32 bytes of state, 32 on each device
    0/trace/w  float32[4,2]  P('data', None)  as w, split over 'data'
    """
    where, leaves, _ = _planned("describe_shardings", tx, params, mesh, rule, axis)
    whole = sum(_bytes(leaf.value, leaf.value.shape) for leaf in leaves)
    each = sum(_bytes(leaf.value, NamedSharding(where, leaf.kept).shard_shape(leaf.value.shape)) for leaf in leaves)
    rows = [(leaf.path, checks.describe(leaf.value), str(leaf.kept), leaf.why) for leaf in leaves]
    widths = [max((len(row[i]) for row in rows), default=0) for i in range(3)]
    lines = ["  ".join([*(x.ljust(n) for x, n in zip(row, widths, strict=False)), row[3]]) for row in rows]
    axes = " x ".join(f"{name} {size}" for name, size in where.shape.items())
    shown = rule if isinstance(rule, str) else getattr(rule, "__name__", rule)
    return "\n".join([f"{axes}, rule {shown}: {whole} bytes of state, {each} on each device", *lines])


def init(
    tx: Any,
    params: Params,
    mesh: Mesh | None = None,
    rule: Rule = "like_params",
    *,
    axis: Axes = "data",
    memory_kind: str | None = None,
) -> State:
    """Return `tx.init(params)`, made where `state_shardings` says: no device ever holds more than its part.

    Arguments and errors as in `state_shardings`. Inside `jit` it does the same; `tx.init` alone, under automatic axes,
    would leave moments on one device there.

    >>> import gradx, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> state = gradx.sharding.init(gradx.adam(1e-3), {"w": jnp.ones((4, 2))}, mesh, "zero1")
    >>> state[0].mu["w"].sharding.spec
    P('data', None)
    """
    shardings = state_shardings(tx, params, mesh, rule, axis=axis, memory_kind=memory_kind)
    if not any(isinstance(x, Tracer) for x in jax.tree.leaves(params)):
        return jax.jit(tx.init, out_shardings=shardings)(params)

    if memory_kind not in (None, "device", HOST):
        raise ValueError(f"init: in a trace JAX knows of no memory but the device's and {HOST!r}, got {memory_kind!r}")

    def put(x: jax.Array, sharding: NamedSharding) -> jax.Array:
        x = place(x, sharding.mesh, sharding.spec)
        return jax.device_put(x, jax.memory.Space.Host) if memory_kind == HOST and x.ndim else x

    return tied(jax.tree.map(put, tx.init(params), shardings), params)


def plan(tx: Any, params: Params, specs: PyTree, mesh: AnyMesh, rule: Rule, axis: Axes) -> tuple[list[Leaf], Any]:
    """Return the leaves of the state of `tx` with their places, and the structure of the state.

    Args:
      params: arrays or their shapes.
      specs: of the parameters, a tree like them; under "zero1" before they are split.
    """
    if rule == "zero1":
        specs = parts_of(params, specs, mesh, axis)
    names = tree.paths(params)
    shapes = jax.tree.map(lambda x: jax.ShapeDtypeStruct(np.shape(x), checks.dtype_of(x)), params)
    state, owners = _followed(tx, shapes, specs, mesh)
    known = list(zip(names, jax.tree.leaves(shapes), jax.tree.leaves(specs), strict=True))
    largest = max((x.size for _, x, _ in known), default=0)
    leaves = []
    for path, x, owner in zip(tree.paths(state), jax.tree.leaves(state), owners, strict=True):
        param = None if owner < 0 else known[owner]
        value = jax.ShapeDtypeStruct(x.shape, x.dtype)
        used = spec_of(x)
        if param and x.shape == param[1].shape and not names_in(used):
            used = param[2]  # zeros of its shape, made without it
        kept = used
        if rule == "zero1" and (param or x.size >= largest):
            kept = split(x.shape, used, mesh, axis)
        elif not isinstance(rule, str):
            placed = jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, used))
            kept = rule(path, placed, param and param[1])
            _check_divides(path, value, mesh, kept)
            kept = full(kept, x.ndim)
        why = _reason(value, used, kept, param, rule, axis)
        leaves.append(Leaf(path, value, param and param[0], used, kept, why))
    return leaves, jax.tree.structure(state)


def _planned(
    owner: str, tx: Any, params: Params, mesh: Mesh | None, rule: Rule, axis: Axes
) -> tuple[AnyMesh, list[Leaf], Any]:
    if isinstance(rule, str) and rule not in RULES:
        raise ValueError(f"{owner}: rule must be one of {RULES} or a function, got {rule!r}")
    found = required_mesh(owner, mesh, params, axis if rule == "zero1" else None)
    return found, *plan(tx, params, jax.tree.map(spec_of, params), found, rule, axis)


def _followed(tx: Any, shapes: Params, specs: PyTree, mesh: AnyMesh) -> tuple[State, list[int]]:
    """Return the shapes of the state, split as they follow the parameters, and for each leaf the parameter's index.

    The index is -1 for what belongs to no parameter. An init of others that does not take the boxes in which parameters
    are marked runs without, and names tell whose a leaf is; one that explicit axes refuse (products of what is spread
    over devices, say) runs on whole parameters, and what has the shape of its parameter follows it.
    """
    explicit = AbstractMesh(mesh.axis_sizes, mesh.axis_names, axis_types=(AxisType.Explicit,) * len(mesh.axis_names))

    def typed(x: Any, spec: PartitionSpec) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(explicit, spec))

    split_shapes = jax.tree.map(typed, shapes, specs)
    with jax.sharding.use_abstract_mesh(explicit):
        try:
            nodes, treedef = jax.tree.flatten(states.marked_init(tx, split_shapes), is_leaf=states.is_marked)
            owned = [(x.value, x.index) if states.is_marked(x) else (x, -1) for x in nodes]
            owners = [index for node, index in owned for _ in jax.tree.leaves(node)]
            return treedef.unflatten([node for node, _ in owned]), owners
        except Exception:  # what is wrong for other reasons is so below too
            with contextlib.suppress(Exception):
                return _with_owners(jax.eval_shape(tx.init, split_shapes), shapes)
    return _with_owners(jax.eval_shape(tx.init, shapes), shapes)


def _with_owners(state: State, params: Params) -> tuple[State, list[int]]:
    names = tree.paths(params)
    return state, [_named_by(names, path) for path in tree.paths(state)]


def _named_by(names: list[str], path: str) -> int:
    """Return the index of the parameter with whose name a path ends, the longest of several."""
    found = [i for i, name in enumerate(names) if name and f"/{path}".endswith(f"/{name}")]
    return max(found, key=lambda i: len(names[i]), default=-1)


def _reason(
    value: jax.ShapeDtypeStruct, used: PartitionSpec, kept: PartitionSpec, param: tuple | None, rule: Rule, axis: Axes
) -> str:
    if not isinstance(rule, str):
        return "by the rule"
    followed = "" if param is None else f"as {param[0]}" if value.shape == param[1].shape else f"from {param[0]}"
    if kept != used:
        return f"{followed or 'from all parameters'}, split over {axis!r} by itself"
    if names_in(used):
        is_split = rule == "zero1" and names_in(used) & set(names_of(axis))
        return (followed or "from all parameters") + f", split over {axis!r}" * bool(is_split)
    if not value.ndim:
        return "replicated: a scalar"
    if param is None:
        return "replicated: of no parameter"
    return f"replicated: {followed}" + f", no axis that {axis!r} divides" * (rule == "zero1")


def _check_divides(path: str, value: jax.ShapeDtypeStruct, mesh: AnyMesh, spec: PartitionSpec) -> None:
    fault = f"it has {value.ndim} axes" if len(spec) > value.ndim else ""
    try:
        if not fault:
            NamedSharding(mesh, spec).shard_shape(value.shape)
    except ValueError as error:
        fault = str(error)
    if fault:
        raise ValueError(f"state_shardings: {checks.describe(value)} at '{path}' cannot be split as {spec}: {fault}")


def _bytes(value: jax.ShapeDtypeStruct, shape: tuple[int, ...]) -> int:
    if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
        return 8
    return value.dtype.itemsize * int(np.prod(shape))
