"""Kronecker factors: an array for each side of a matrix, and what becomes of sides that are too large for one.

A factor of side m is (b, m, m) where it is full, (b, m) where it is a diagonal, and (b, 0) where the side has none; the
functions below tell them apart by their shapes, which are known while tracing.
"""

import functools
from collections.abc import Callable, Sequence
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import numerics, tree
from gradx.linalg import sharding
from gradx.matrices.engine import map_matrices
from gradx.matrices.layout import Layout
from gradx.typing import Params, PyTree

Kind = Literal["full", "diagonal", "none"]
WhenLarger = Literal["blocks", "diagonal", "one_sided"]
"""What becomes of a side above the bound: it is cut, or has a diagonal for a factor, or none."""


class Blocks(NamedTuple):
    """A layout whose matrices are cut into blocks of one size, each a matrix of its own.

    >>> import jax.numpy as jnp
    >>> from gradx.matrices import Blocks, Layout
    >>> Blocks(Layout((0,), (1,)), 2, 3).batch_of(jnp.ones((8, 3))).shape
    (4, 2, 3)
    """

    layout: Layout
    rows: int
    """Rows of a block; they divide the layout's."""
    columns: int
    """Columns of a block; they divide the layout's."""

    def batch_of(self, x: jax.Array) -> jax.Array:
        """Return `x` as blocks (b, m, n)."""
        whole = sharding.gather(self.layout.batch_of(x), axes=3)
        count, m, n = whole.shape
        grid = whole.reshape(count, m // self.rows, self.rows, n // self.columns, self.columns)
        return grid.swapaxes(2, 3).reshape(-1, self.rows, self.columns)

    def array_of(self, matrices: jax.Array, like: jax.Array) -> jax.Array:
        """Return blocks (b, m, n) as an array of the shape of `like`, sharded as it is."""
        m, n = self.layout.fans(like.shape)
        grid = matrices.reshape(-1, m // self.rows, n // self.columns, self.rows, self.columns)
        return self.layout.array_of(grid.swapaxes(2, 3).reshape(-1, m, n), like)

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the rows and columns of a block."""
        return self.rows, self.columns

    def count(self, shape: tuple[int, ...]) -> int:
        """Return the number of blocks."""
        m, n = self.layout.fans(shape)
        return self.layout.count(shape) * (m // self.rows) * (n // self.columns)


class Sides(NamedTuple):
    """The matrices of a leaf, and what kind of factor each of their sides has."""

    layout: Layout | Blocks
    rows: Kind
    columns: Kind

    @property
    def whole(self) -> Layout:
        """The layout of the matrices before they were cut."""
        return self.layout.layout if isinstance(self.layout, Blocks) else self.layout


def sides_of(
    layout: Layout, shape: tuple[int, ...], max_size: int, when_larger: WhenLarger, one_sided: bool = False
) -> Sides | None:
    """Return the factors that the matrices of an array have, or `None` where neither side has one.

    Args:
      layout: of the array.
      shape: of the array.
      max_size: the largest side with a full factor.
      when_larger: what becomes of a larger side. "blocks" cuts it into the largest equal parts that the bound admits:
        their size divides the side, so that nothing is padded.
      one_sided: give the larger side no factor; of equal sides, the columns.

    >>> from gradx.matrices.factors import Layout, sides_of
    >>> sides_of(Layout((0,), (1,)), (6, 100), 8, "diagonal")[1:]
    ('full', 'diagonal')
    >>> sides_of(Layout((0,), (1,)), (6, 100), 8, "blocks").layout[1:]
    (6, 5)
    """
    sizes = layout.fans(shape)
    kinds: list[Kind] = ["full", "full"]
    for i, size in enumerate(sizes):
        if size > max_size and when_larger != "blocks":
            kinds[i] = "diagonal" if when_larger == "diagonal" else "none"
    if one_sided:
        kinds[0 if sizes[0] > sizes[1] else 1] = "none"
    if kinds == ["none", "none"]:
        return None
    cut = [_largest_part(n, max_size) if kind == "full" else n for n, kind in zip(sizes, kinds, strict=True)]
    return Sides(layout if cut == list(sizes) else Blocks(layout, *cut), *kinds)


def _largest_part(size: int, bound: int) -> int:
    return next(part for part in range(min(size, bound), 0, -1) if size % part == 0)


def plan(
    layouts: Sequence[Layout | None], params: Params, max_size: int, when_larger: WhenLarger, one_sided: bool = False
) -> list[Sides | None]:
    """Return `sides_of` each leaf of a tree, `None` where it is no matrix or there is no gradient.

    Args:
      layouts: of each leaf that is not `None`.
      params: the tree, of parameters or of gradients.
      max_size, when_larger, one_sided: as for `sides_of`.
    """
    each = iter(layouts)
    known = [(None if x is None else next(each), x) for x in leaves_of(params)]
    return [
        None
        if layout is None or x is None or not x.size
        else sides_of(layout, x.shape, max_size, when_larger, one_sided)
        for layout, x in known
    ]


def leaves_of(tree: PyTree) -> list:
    """Return the leaves, `None` among them."""
    return jax.tree.leaves(tree, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


def zeros(sides: Sequence[Sides | None], params: Params, **instead: Kind) -> tuple[PyTree, PyTree]:
    """Return a tree of zeros for the factors of the rows, and one for those of the columns; `None` for other leaves.

    Args:
      sides: the plan.
      params: the parameters, where the zeros are made.
      **instead: from a kind to the one that stands for it: full="diagonal" makes room for eigenvalues.
    """
    leaves, treedef = jax.tree.flatten(params, is_leaf=_is_none)
    rows: list[Any] = [None] * len(leaves)
    columns: list[Any] = [None] * len(leaves)
    for i, (s, x) in enumerate(zip(sides, leaves, strict=True)):
        if s is not None:
            batch = sharding.gather(s.layout.batch_of(x), axes=3)
            rows[i] = _zeros(batch, instead.get(s.rows, s.rows))
            columns[i] = _zeros(batch.mT, instead.get(s.columns, s.columns))
    return treedef.unflatten(rows), treedef.unflatten(columns)


def _zeros(batch: jax.Array, kind: Kind) -> jax.Array:
    count, size, _ = batch.shape
    if kind == "full":
        return tree.zeros_like(jnp.broadcast_to(batch[..., :1], (count, size, size)))
    # On explicit axes outside of `jax.set_mesh` an index does not give an array without entries, and a slice does
    kept = jax.lax.slice_in_dim(batch[..., 0], 0, size if kind == "diagonal" else 0, axis=1)
    return tree.real_full_like(kept, 0.0)


def on_matrices(
    rule: Callable,
    sides: Sequence[Sides | None],
    trees: Sequence[PyTree],
    factors: Sequence[PyTree] = (),
    *,
    results: int,
    whole: bool = False,
    **hyper: Any,
) -> tuple:
    """Carry a leaf rule on batches (b, m, n) over the leaves that are matrices, in the precision of `tree.map_leaves`.

    Args:
      rule: as for `map_matrices`; always a tuple.
      sides: the plan; where it has `None`, a leaf is left alone.
      trees, factors: as for `map_matrices`.
      results: how many the rule returns.
      whole: take matrices as they were before they were cut.
    """
    leaves, treedef = jax.tree.flatten(trees[0], is_leaf=_is_none)
    columns = [leaves, *(treedef.flatten_up_to(x) for x in (*trees[1:], *factors))]
    chosen = [i for i, s in enumerate(sides) if s is not None]
    picked = [[column[i] for i in chosen] for column in columns]
    if chosen:
        on_batch = functools.partial(tree.map_leaves, rule)
        layouts: Any = [s.whole if whole else s.layout for s in sides if s is not None]
        picked = map_matrices(on_batch, layouts, picked[: len(trees)], picked[len(trees) :], **hyper)
    renewed = []
    for column, new in zip(columns[:results], picked[:results], strict=True):
        for i, x in zip(chosen, new, strict=True):
            column[i] = x
        renewed.append(treedef.unflatten(column))
    return tuple(renewed)


def only(updates: PyTree, flags: Sequence[bool]) -> PyTree:
    """Return the tree with `None` for the leaves whose flag is False."""
    leaves, treedef = jax.tree.flatten(updates, is_leaf=_is_none)
    return treedef.unflatten([x if flag else None for x, flag in zip(leaves, flags, strict=True)])


def said_of(sides: Sequence[Sides | None], updates: PyTree) -> PyTree:
    """Return a tree that says of each leaf whether it is a matrix with a factor."""
    treedef = jax.tree.structure(updates, is_leaf=_is_none)
    return treedef.unflatten([np.bool_(s is not None) for s in sides])


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return x @ y in full precision."""
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)


def adjoint(x: jax.Array) -> jax.Array:
    """Return the conjugate transpose of matrices; a diagonal, which is real, as it is."""
    return x.mT.conj() if x.ndim == 3 else x


def left(p: jax.Array, x: jax.Array) -> jax.Array:
    """Return p x for a factor p of the rows."""
    if p.ndim == 3:
        return product(p, x)
    return p[..., None] * x if p.size else x


def right(x: jax.Array, p: jax.Array) -> jax.Array:
    """Return x p for a factor p of the columns."""
    if p.ndim == 3:
        return product(x, p)
    return p[..., None, :] * x if p.size else x


def gram(x: jax.Array, like: jax.Array) -> jax.Array:
    """Return x xᴴ for the rows, as the factor `like`: full, its diagonal, or nothing."""
    if like.ndim == 3:
        return product(x, adjoint(x))
    return jnp.sum(numerics.abs_sq(x), axis=-1) if like.size else like


def largest(x: jax.Array) -> jax.Array:
    """Return the largest number along the last axis, which stays.

    Its derivative asks where it is, and does not look for an equal number, as that of `max` does: XLA may compute the
    numbers twice and round them otherwise, and 0 of them are equal then.
    """
    return jnp.take_along_axis(x, jnp.argmax(jax.lax.stop_gradient(x), axis=-1, keepdims=True), axis=-1)


def norms(x: jax.Array) -> jax.Array:
    """Return the Frobenius norms of matrices (b, m, n) as (b, 1, 1), by their largest entries first."""
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True))
    unit = numerics.safe_divide(x, scale.astype(x.dtype))
    return scale * numerics.safe_sqrt(jnp.sum(numerics.abs_sq(unit), axis=(-2, -1), keepdims=True))


def one_of(owner: str, **given: tuple[Any, Sequence]) -> None:
    """Raise ValueError for an argument that is none of its options: name=(value, options)."""
    for name, (value, options) in given.items():
        if value not in options:
            raise ValueError(f"{owner}: {name} must be one of {', '.join(map(repr, options))}, got {value!r}")
