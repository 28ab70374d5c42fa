"""How a batch divides into microbatches: sizes, checks, and the reshaping that leaves rows on their devices.

>>> import jax.numpy as jnp
>>> from gradx.microbatching import reshape_batch_axis
>>> reshape_batch_axis(jnp.arange(6), microbatch_size=3)
Array([[0, 2, 4],
       [1, 3, 5]], dtype=int32)
"""

import math
import operator
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp

from gradx import checks
from gradx.typing import PyTree


class Plan(NamedTuple):
    """How many rows go where."""

    size: int  # rows of a full microbatch
    full: int  # how many of them
    rest: int  # rows of the smaller last one, 0 where there is none

    @property
    def count(self) -> int:
        """Return the number of microbatches, the smaller one included."""
        return self.full + (self.rest > 0)

    @property
    def weight_of_last(self) -> float:
        """Return the weight in a mean of the smaller one, where a full one has 1."""
        return self.rest / self.size if self.rest else 1.0


def reshape_batch_axis(tree: PyTree, microbatch_size: int, axis: int = 0) -> PyTree:
    """Split the batch axis of every leaf in two, (n, microbatch_size), where it was: row [i, j] is row i + j n.

    So each microbatch [i] has rows from every device that holds a part of the batch, and the second of the two axes has
    the sharding that the batch axis had.

    Args:
      microbatch_size: rows at a time.
      axis: the batch axis, the same in every leaf.

    Raises:
      ValueError: a `microbatch_size` that does not divide the rows, or that the devices cannot share.

    >>> from gradx import microbatching
    >>> import jax.numpy as jnp
    >>> microbatching.reshape_batch_axis(jnp.arange(6), 3).tolist()
    [[0, 2, 4], [1, 3, 5]]
    """
    tree = jax.tree.map(jnp.asarray, tree)
    plan = make_plan([tree], (axis,), ("tree",), microbatch_size)
    if plan.rest or plan.size != microbatch_size:
        rows = plan.full * plan.size + plan.rest
        raise ValueError(f"reshape_batch_axis: microbatch_size {microbatch_size} must divide the {rows} rows")

    def split(x: jax.Array) -> jax.Array:
        at = axis % x.ndim
        return jnp.swapaxes(split_columns(x, at, plan), at, at + 1)

    return jax.tree.map(split, tree)


def make_plan(batched: Sequence[PyTree], axes: Sequence[int], names: Sequence, size: int | None) -> Plan:
    """Return how the rows divide, after checking that all leaves have as many and that devices can share them."""
    size = None if size is None else operator.index(size)  # a narrow NumPy integer's products would wrap round
    rows = None
    for argument, axis, name in zip(batched, axes, names, strict=True):
        for path, leaf in jax.tree_util.tree_leaves_with_path(argument):
            place = "/".join(part for part in (str(name), checks.path_name(path)) if part)
            if not -leaf.ndim <= axis < leaf.ndim:
                raise ValueError(f"microbatch: {place} is {checks.describe(leaf)}, which has no axis {axis}")
            if rows is not None and leaf.shape[axis] != rows:
                message = f"{place} has {leaf.shape[axis]} rows on axis {axis}, but those before it {rows}"
                raise ValueError(f"microbatch: {message}")
            rows = leaf.shape[axis]
            shards = _shards(leaf, axis % leaf.ndim)
            if size is not None and size < rows and size % shards:
                message = f"microbatch_size {size} must be a multiple of the {shards} shards of {place}'s batch axis"
                raise ValueError(f"microbatch: {message}")
    if rows is None:
        raise ValueError(f"microbatch: no array among the batch arguments {tuple(names)}")
    if size is not None and size < 1:
        raise ValueError(f"microbatch: microbatch_size must be at least 1, got {size}")
    size = rows if size is None else min(size, rows)
    return Plan(size, rows // size, rows % size) if size else Plan(0, 1, 0)


def _shards(x: jax.Array, axis: int) -> int:
    """Return into how many parts an explicitly sharded axis is divided; 1 for every other."""
    sharding = jax.typeof(x).sharding
    names = sharding.spec[axis]
    names = () if names is None else names if isinstance(names, tuple) else (names,)
    return math.prod(sharding.mesh.shape[name] for name in names)


def split_columns(x: jax.Array, axis: int, plan: Plan) -> jax.Array:
    """Return the full microbatches, the batch axis made (size, full): column i is microbatch i.

    The rows of one device lie together in the batch, and so in the first of the two axes: it takes the sharding.
    """
    if plan.rest:
        x = jax.lax.slice_in_dim(x, 0, plan.size * plan.full, axis=axis)
    return jnp.reshape(x, (*x.shape[:axis], plan.size, plan.full, *x.shape[axis + 1 :]))
