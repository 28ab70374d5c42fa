"""ZeRO-1: every device keeps one part of the state and computes one part of the update, and all have the parameters."""

from typing import Any

import jax

from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.sharding import specs as sp
from gradx.sharding.layout import plan
from gradx.sharding.specs import AnyMesh, Axes
from gradx.typing import Params, PyTree, State, Updates


@transformation
def zero1(tx: GradientTransformation, axis: Axes = "data", specs: PyTree | None = None) -> Any:
    """Split state and work over the devices along `axis`; parameters and updates lie as they did.

    Gradients are reduce-scattered, where `data_parallel` has not done it, each device updates its part, and the updates
    are gathered. It is the program of one device with a word on where arrays lie, so whatever `tx` does means the same:
    the norm of a clipping is that of all parts, for one number more that is summed over the devices.

    An array is split along its largest axis that the devices divide and that is not taken; one that has none stays
    replicated. `state_shardings(tx, params, rule="zero1")` says where everything is. On one device it is `tx`.

    Args:
      axis: the mesh axis, or a tuple of them.
      specs: how parameters lie, a tree of PartitionSpecs or a prefix of one; asked for only where a trace does not see
        it: under automatic axes beside `axis`.

    State: that of `tx`, split. Errors: a mesh without the axis; a call inside a shard_map over it.
    Rajbhandari et al. 2020, arXiv:1910.02054, stage 1.

    >>> import gradx, jax, jax.numpy as jnp
    >>> mesh = jax.make_mesh((1,), ("data",))
    >>> params = jax.device_put({"w": jnp.ones((4, 2))}, jax.NamedSharding(mesh, jax.P()))
    >>> gradx.sharding.zero1(gradx.adam(0.1)).init(params)[0].mu["w"].sharding.spec
    P('data', None)
    """

    def init(params: Params) -> State:
        mesh = _mesh(axis, params)
        if mesh is None:
            return run_init(tx, params)
        own = sp.own_specs("zero1", params, mesh, axis, specs)
        state = run_init(tx, _put(params, sp.parts_of(params, own, mesh, axis), mesh))
        _, kept = _layouts(tx, params, own, mesh, axis)
        return sp.tied(_put(state, kept, mesh), params)

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        mesh = _mesh(axis, updates, params, state)
        if mesh is None:
            return run_update(tx, updates, state, params, extras)
        like = updates if params is None else params
        own = sp.own_specs("zero1", like, mesh, axis, specs)
        if params is None:  # gradients may be scattered already
            own = jax.tree.map(lambda spec: sp.without(spec, axis), own)
        parts = sp.parts_of(like, own, mesh, axis)
        used, kept = _layouts(tx, like, own, mesh, axis)
        params = None if params is None else _put(params, parts, mesh)
        updates, state = run_update(tx, _put(updates, parts, mesh), _put(state, used, mesh), params, extras)
        return _put(updates, own, mesh), _put(state, kept, mesh)

    return Wrapper(init, update, lambda state: [("", tx, state)])


def _mesh(axis: Axes, *trees: PyTree) -> AnyMesh | None:
    mesh = sp.mesh_of(*trees)
    if mesh is not None:
        sp.check_axis("zero1", mesh, axis)
    return mesh


def _layouts(tx: Any, params: Params, own: PyTree, mesh: AnyMesh, axis: Axes) -> tuple[State, State]:
    """Return how the state lies for the update, and how between updates."""
    leaves, treedef = plan(tx, params, own, mesh, "zero1", axis)
    return treedef.unflatten([leaf.used for leaf in leaves]), treedef.unflatten([leaf.kept for leaf in leaves])


def _put(values: PyTree, specs: PyTree, mesh: AnyMesh) -> PyTree:
    return sp.map_leaves(lambda x, spec: sp.place(x, mesh, spec), values, specs)
