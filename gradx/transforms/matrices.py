"""Which leaves are matrices, and arrays as batches of them: for optimizers of matrices."""

import functools
import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradx import checks, tree
from gradx.linalg import sharding
from gradx.typing import Labels, Params

Axes = tuple[tuple[int, ...], tuple[int, ...]]
"""The axes of the rows, or inputs, and of the columns, or outputs."""


def as_matrices(
    x: jax.Array, axes: Axes, turn_square: bool = False
) -> tuple[jax.Array, Callable[[jax.Array], jax.Array]]:
    """Return (b, m, n) with m at most n, and the way back; square matrices are transposed if asked."""
    batch = tuple(i for i in range(x.ndim) if i not in (*axes[0], *axes[1]))
    order = (*batch, *axes[0], *axes[1])
    turned = sharding.gather(x, axes=x.ndim).transpose(order)
    rows, columns = fans(x, axes)
    matrices = turned.reshape(math.prod(x.shape[i] for i in batch), rows, columns)
    is_tall = rows > columns or (turn_square and rows == columns)

    def back(y: jax.Array) -> jax.Array:
        y = (y.mT if is_tall else y).reshape(turned.shape)
        return sharding.shard_like(y.transpose([order.index(i) for i in range(x.ndim)]), x)

    return (matrices.mT if is_tall else matrices), back


def fans(x: jax.Array, axes: Axes) -> tuple[int, int]:
    """Return the number of inputs and of outputs of each matrix."""
    rows, columns = (math.prod(x.shape[i] for i in side) for side in axes)
    return rows, columns


def matrix_axes(owner: str, given: Labels | None, params: Params) -> list[Axes | None]:
    """Say for each leaf which axes are rows and columns of its matrices, or None."""
    bare = tree.unbox(params)
    rule: Any = given
    answer: Any = rule(bare) if checks.is_function(rule) else rule
    if answer is None:
        return [axes_of(owner, jnp.ndim(x) == 2, x) for x in jax.tree.leaves(bare)]
    rules = jax.tree.map(lambda x: functools.partial(axes_of, owner, x), answer, is_leaf=is_dimension_numbers)
    rules = tree.broadcast(rules, bare, f"{owner}: the dimension numbers")
    return [rule(x) for rule, x in zip(jax.tree.leaves(rules), jax.tree.leaves(bare), strict=True)]


def axes_of(owner: str, given: Any, x: jax.Array) -> Axes | None:
    """Return the axes of one leaf, counted from the front; True stands for the last two."""
    if given is None or given is False:
        return None
    ndim, sides = jnp.ndim(x), ((-2, -1) if given is True else (given.reduction_axis, given.output_axis))
    if ndim < 2:
        raise ValueError(f"{owner}: {checks.describe(x)} is no matrix: give None or False for it")
    rows, columns = (tuple(i % ndim for i in ((s,) if isinstance(s, int) else s)) for s in sides)
    if set(rows) & set(columns):
        raise ValueError(f"{owner}: rows and columns share an axis in {given}, for {checks.describe(x)}")
    return rows, columns


def is_dimension_numbers(x: Any) -> bool:
    """Whether `x` says which axes of a leaf are rows and columns, and is no tree of such."""
    return x is None or isinstance(x, bool) or hasattr(x, "reduction_axis")
