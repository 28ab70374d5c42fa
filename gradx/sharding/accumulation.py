"""Gradient accumulation over mini-steps that communicates once per update."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.sharding import PartitionSpec

from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.sharding import specs as sp
from gradx.sharding.gradients import closed
from gradx.sharding.specs import AnyMesh, Axes
from gradx.typing import Params, PyTree, State, Updates
from gradx.wrappers.accumulate import AccumulatedTransformation


@transformation
def no_sync(tx: AccumulatedTransformation, axis: Axes = "data", specs: PyTree | None = None) -> Any:
    """Gather gradients on each device for itself, and sum them over the devices only where `MultiSteps` updates.

    The gradients come from `data_parallel(..., out=("mean", "stack"))`: with a first axis over the devices, the sum
    left open. With `zero1` inside they are reduce-scattered once per update, else all-reduced.

    Args:
      tx: a `MultiSteps(...)`; what it asks of a mini-step, whether to skip it say, it asks of all devices' gradients.
      axis: the mesh axis over which the batch is spread, or a tuple of them.
      specs: how parameters lie, as in `zero1`.

    State: that of `tx`; each device has an accumulator of its own, in full. Needs: params, and the mesh, by
    `jax.set_mesh`.

    >>> import gradx, jax, jax.numpy as jnp
    >>> tx = gradx.sharding.no_sync(gradx.MultiSteps(gradx.sgd(1.0), 2))
    >>> with jax.set_mesh(jax.make_mesh((1,), ("data",))):
    ...     state = tx.init(jnp.array(0.0))
    ...     updates, state = tx.update(jnp.array([4.0]), state, jnp.array(0.0))
    ...     updates, state = tx.update(jnp.array([2.0]), state, jnp.array(0.0))
    >>> float(updates)
    -3.0
    """
    if not isinstance(tx, AccumulatedTransformation):
        raise TypeError(f"no_sync: tx must be a MultiSteps(...), got {tx!r}")
    stepwise = tx.replace(opt=_on_mean(tx.inner_opt, axis, specs))

    def init(params: Params) -> State:
        mesh = _context(axis)
        own = sp.own_specs("no_sync", params, mesh, axis, specs)
        state = run_init(stepwise, _each(params, own, mesh, axis))
        return sp.tied(state._replace(acc_grads=_placed(state.acc_grads, own, mesh, axis)), params)

    def update(updates: Updates, state: State, params: Params, **extras: Any) -> tuple[Updates, State]:
        mesh = _context(axis)
        own = sp.own_specs("no_sync", params, mesh, axis, specs)
        stacked, shown = _placed(updates, own, mesh, axis), _each(params, own, mesh, axis)
        new, state = run_update(stepwise, stacked, state, shown, extras)
        return _same(new, own, mesh, axis), state

    vars(update)["takes_examples"] = True
    return Wrapper(init, update, lambda state: [("", tx, state)])


@transformation
def _on_mean(opt: GradientTransformation, axis: Axes, specs: PyTree | None) -> Any:
    """Show `opt` the parameters, and the mean over the devices of gradients whose first axis goes over them.

    Its update leaves as it came, along a first axis over the devices: it takes the place of what was gathered.
    """
    scatters = isinstance(opt, GradientTransformation) and opt.name == "zero1" and opt.arguments["axis"] == axis

    def init(params: Params) -> State:
        mesh = _context(axis)
        own = sp.own_specs("no_sync", params, mesh, axis, specs, first=1)
        return run_init(opt, _same(params, own, mesh, axis))

    def update(updates: Updates, state: State, params: Params, **extras: Any) -> tuple[Updates, State]:
        mesh = _context(axis)
        own = sp.own_specs("no_sync", params, mesh, axis, specs, first=1)
        params = _same(params, own, mesh, axis)
        parts = sp.parts_of(params, own, mesh, axis) if scatters else own
        updates, state = run_update(opt, closed(updates, own, parts, mesh, axis), state, params, extras)
        return _each(updates, own, mesh, axis), state

    return Wrapper(init, update, lambda state: [("", opt, state)])


def _context(axis: Axes) -> AnyMesh:
    return sp.required_mesh("no_sync", None, (), axis)


def _placed(stacked: PyTree, own: PyTree, mesh: AnyMesh, axis: Axes) -> PyTree:
    return sp.map_leaves(lambda x, spec: sp.place(x, mesh, PartitionSpec(axis, *spec)), stacked, own)


def _each(tree: PyTree, own: PyTree, mesh: AnyMesh, axis: Axes) -> PyTree:
    """Return what all devices have along a first axis over them: each keeps its copy, and nothing moves."""

    def each(x: jax.Array, spec: PartitionSpec) -> jax.Array:
        return sp.place(jnp.broadcast_to(x, (sp.size_of(mesh, axis), *x.shape)), mesh, PartitionSpec(axis, *spec))

    return sp.map_leaves(each, tree, own)


def _same(stacked: PyTree, own: PyTree, mesh: AnyMesh, axis: Axes) -> PyTree:
    """Return what is the same along the first axis, which goes over the devices, without it: nothing moves."""

    def same(x: jax.Array, spec: PartitionSpec) -> jax.Array:
        stacked = PartitionSpec(axis, *spec)
        # Unchecked: that it is the same is our word.
        return jax.shard_map(lambda x: x[0], mesh=mesh, in_specs=stacked, out_specs=spec, check_vma=False)(x)

    return sp.map_leaves(same, stacked, own)
