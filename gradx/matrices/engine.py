"""The engine of the matrix methods: a rule on a batch of matrices, carried over the leaves of a tree."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
from jax.core import Tracer

from gradx.matrices.layout import Layout
from gradx.matrices.placement import alike, apart, together
from gradx.typing import PyTree


def map_matrices(
    rule: Callable,
    layouts: Sequence[Layout | None],
    trees: Sequence[PyTree],
    factors: Sequence[PyTree] = (),
    *,
    wide: bool = False,
    renews: int | None = None,
    **hyper: Any,
) -> Any:
    """Apply `rule(x, ..., factor, ..., **hyper)` to the matrices of a tree, those of one size as one batch.

    Args:
      rule: a function of arrays (b, m, n), one for each tree, then of one (b, ...) for each tree of factors. It returns
        the new values of the first of them, in this order: one array, or a tuple.
      layouts: of each leaf of the first tree; None is no matrix.
      trees: of equal structure, with leaves of equal shapes.
      factors: trees of the same structure whose leaves have a first axis of matrices: what a method keeps of each.
      wide: whether matrices with more rows than columns come transposed, and share the batch of those that are so.
      renews: how many values the rule returns, for trees that may hold no matrix and cannot ask it.

    Returns a tree for each result, with the shapes of what it renews. A leaf that is no matrix, or empty, stays as it
    is. Where the first tree is None its result is None, and the others keep what they hold.

    On a mesh the batch is sharded along its first axis over all devices, so that the rule sees whole matrices and
    communicates nothing: what moves are the matrices, once in and once out.

    >>> import jax.numpy as jnp
    >>> from gradx.matrices import Layout, map_matrices
    >>> params = {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    >>> plain = Layout((0,), (1,))
    >>> shapes = []
    >>> _ = map_matrices(lambda x: shapes.append(x.shape) or x, [plain, plain, None], [params])
    >>> shapes
    [(2, 2, 3)]
    """
    leaves, treedef = jax.tree.flatten(trees[0], is_leaf=_is_none)
    columns = [leaves, *(treedef.flatten_up_to(tree) for tree in (*trees[1:], *factors))]
    present = [i for i, x in enumerate(leaves) if x is not None]
    layout_of = {i: x for i, x in zip(present, layouts, strict=True) if x is not None and leaves[i].size}
    turned = {i for i, layout in layout_of.items() if wide and _is_tall(layout, leaves[i])}
    results: list[dict[int, Any]] = []
    is_tuple = renews is not None and renews > 1

    def batch_of(i: int, x: jax.Array) -> jax.Array:
        return layout_of[i].batch_of(x).mT if i in turned else layout_of[i].batch_of(x)

    def array_of(i: int, matrices: jax.Array, like: jax.Array) -> jax.Array:
        x = layout_of[i].array_of(matrices.mT if i in turned else matrices, like)
        return alike(x, like)

    for members in _buckets(layout_of, turned, columns, len(trees)):
        pieces = [[batch_of(i, column[i]) for i in members] for column in columns[: len(trees)]]
        pieces += [[column[i] for i in members] for column in columns[len(trees) :]]
        new = rule(*(together(x, pieces[0]) for x in pieces), **hyper)
        is_tuple = isinstance(new, tuple)
        new = new if is_tuple else (new,)
        if renews not in (None, len(new)):
            raise ValueError(f"map_matrices: the rule returns {len(new)} values where renews={renews}")
        results = results or [{} for _ in new]
        for k, (x, like) in enumerate(zip(new, pieces, strict=False)):
            for i, piece in zip(members, apart(x, like, pieces[0]), strict=True):
                results[k][i] = array_of(i, piece, columns[k][i]) if k < len(trees) else piece
    results = results or [{} for _ in range(renews or 1)]
    renewed = [
        treedef.unflatten([found.get(i, x) for i, x in enumerate(column)])
        for found, column in zip(results, columns, strict=False)
    ]
    return tuple(renewed) if is_tuple else renewed[0]


def _buckets(layout_of: dict[int, Layout], turned: set[int], columns: list[list], trees: int) -> list[list[int]]:
    """Return the leaves whose matrices, and what is kept of them, have equal sizes and may lie in one array."""
    buckets: dict[Any, list[int]] = {}
    for i, layout in layout_of.items():
        fans = layout.fans(columns[0][i].shape)
        kept = tuple((column[i].shape[1:], column[i].dtype) for column in columns[trees:])
        dtypes = tuple(column[i].dtype for column in columns[:trees])
        buckets.setdefault((fans[::-1] if i in turned else fans, dtypes, kept, _place(columns[0][i])), []).append(i)
    return list(buckets.values())


def _place(x: jax.Array) -> Any:
    """Return where a concrete array lies: it may lie apart from others."""
    return None if isinstance(x, Tracer) or not isinstance(x, jax.Array) else frozenset(x.sharding.device_set)


def _is_tall(layout: Layout, x: jax.Array) -> bool:
    rows, columns = layout.fans(x.shape)
    return rows > columns


def _is_none(x: Any) -> bool:
    return x is None
