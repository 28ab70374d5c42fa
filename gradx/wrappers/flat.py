"""All parameters as one vector."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.typing import Params, State, Updates


@transformation
def flatten(inner: GradientTransformation) -> Any:
    """Show `inner` all parameters as one vector, and all gradients.

    What it does with one array, a norm or a memory of steps, it then does with all of them together. Many small arrays
    become one large one; arrays that are spread over devices are gathered first.

    Args:
      inner: the transformation inside; it sees the leaves in the tree's order, each flattened, in their widest
        precision.

    State: the inner state of one vector.

    >>> import gradx
    >>> tx = gradx.flatten(gradx.sgd(0.5))
    >>> updates, _ = tx.update({"w": 4.0, "b": 2.0}, tx.init({"w": 0.0, "b": 0.0}))
    >>> float(updates["w"]), float(updates["b"])
    (-2.0, -1.0)
    """

    def init(params: Params) -> State:
        return run_init(inner, _joined(params))

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        gradients = updates if params is None else _filled(updates, params)
        joined = None if params is None else _joined(params)
        vector, state = run_update(inner, _joined(gradients), state, joined, extras)
        return _without_filling(_split_like(vector, gradients), updates), state

    return Wrapper(init, update, lambda state: [("", inner, state)], runs_as_given=False)


def _filled(updates: Updates, params: Params) -> Updates:
    """Put zeros where a parameter has no gradient: it has its place in the vector all the same."""
    return jax.tree.map(lambda g, p: tree.zeros_like(p) if g is None else g, updates, params, is_leaf=_is_none)


def _without_filling(filled: Updates, updates: Updates) -> Updates:
    return jax.tree.map(lambda g, x: None if g is None else x, updates, filled, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


def _joined(params: Params) -> jax.Array:
    """Return the entries of all leaves in one vector, in their common dtype, float32 at least."""
    leaves = [jnp.asarray(x) for x in jax.tree.leaves(params)]
    dtype = jnp.result_type(jnp.float32, *(numerics.at_least_float32(x.dtype) for x in leaves))
    flat = [jnp.reshape(_whole(x), (x.size,)).astype(dtype) for x in leaves]
    return jnp.concatenate(flat) if flat else jnp.zeros(0, dtype)


def _split_like(vector: jax.Array, updates: Updates) -> Updates:
    """Return the pieces of the vector in the shapes, dtypes and shardings of a tree's leaves."""
    leaves, treedef = jax.tree.flatten(updates)
    pieces, start = [], 0
    for x in leaves:
        piece = jax.lax.slice_in_dim(vector, start, start + x.size).reshape(x.shape)
        real = piece if jnp.iscomplexobj(x) else piece.real
        pieces.append(_as_spread(real.astype(x.dtype), x))
        start += x.size
    return treedef.unflatten(pieces)


def _whole(x: jax.Array) -> jax.Array:
    """Gather an array over explicit mesh axes, over which no reshape may go; elsewhere leave it."""
    spec = jax.typeof(x).sharding.spec
    if all(name is None for name in spec):
        return x
    return jax.sharding.reshard(x, jax.sharding.PartitionSpec(*(None for _ in spec)))


def _as_spread(piece: jax.Array, x: jax.Array) -> jax.Array:
    """Spread a piece over explicit mesh axes as its leaf is."""
    spec = jax.typeof(x).sharding.spec
    return piece if all(name is None for name in spec) else jax.sharding.reshard(piece, spec)
