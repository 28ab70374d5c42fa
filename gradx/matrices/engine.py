"""The engine of the matrix methods: a rule on a batch of matrices, carried over the leaves of a tree."""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradx.matrices.layout import Layout
from gradx.typing import PyTree


def map_matrices(
    rule: Callable,
    layouts: Sequence[Layout | None],
    trees: Sequence[PyTree],
    factors: Sequence[PyTree] = (),
    **hyper: Any,
) -> Any:
    """Apply `rule(x, ..., factor, ..., **hyper)` to the matrices of a tree, those of one size as one batch.

    Args:
      rule: a function of arrays (b, m, n), one for each tree, then of one (b, ...) for each tree of factors. It returns
        the new values of the first of them, in this order: one array, or a tuple.
      layouts: of each leaf of the first tree; None is no matrix.
      trees: of equal structure, with leaves of equal shapes.
      factors: trees of the same structure whose leaves have a first axis of matrices: what a method keeps of each.

    Returns a tree for each result, with the shapes of what it renews; a leaf that is no matrix stays as it is.

    >>> import jax.numpy as jnp
    >>> from gradx.matrices import Layout, map_matrices
    >>> params = {"a": jnp.ones((2, 3)), "b": jnp.ones((2, 3)), "bias": jnp.ones(3)}
    >>> plain = Layout((0,), (1,))
    >>> shapes = []
    >>> _ = map_matrices(lambda x: shapes.append(x.shape) or x, [plain, plain, None], [params])
    >>> shapes
    [(2, 2, 3)]
    """
    leaves, treedef = jax.tree.flatten(trees[0])
    columns = [leaves, *(treedef.flatten_up_to(tree) for tree in (*trees[1:], *factors))]
    buckets: dict[Any, list[int]] = {}
    for i, layout in enumerate(layouts):
        if layout is not None:
            kept = tuple((column[i].shape[1:], column[i].dtype) for column in columns[len(trees) :])
            buckets.setdefault((layout.fans(leaves[i].shape), leaves[i].dtype, kept), []).append(i)
    results, is_tuple = {}, False
    for members in buckets.values():
        counts = [layouts[i].count(leaves[i].shape) for i in members]
        batches = [
            _together([layouts[i].batch_of(column[i]) if k < len(trees) else column[i] for i in members])
            for k, column in enumerate(columns)
        ]
        new = rule(*batches, **hyper)
        is_tuple = isinstance(new, tuple)
        rows = zip(*(_apart(x, counts) for x in (new if is_tuple else (new,))), strict=True)
        results.update(zip(members, rows, strict=True))
    wanted = len(next(iter(results.values()), (None,)))
    renewed = []
    for k, column in enumerate(columns[:wanted]):
        new = list(column)
        for i, row in results.items():
            new[i] = layouts[i].array_of(row[k], column[i]) if k < len(trees) else row[k]
        renewed.append(treedef.unflatten(new))
    return tuple(renewed) if is_tuple else renewed[0]


def _together(batches: list[jax.Array]) -> jax.Array:
    return jnp.concatenate(batches) if len(batches) > 1 else batches[0]


def _apart(batch: jax.Array, counts: list[int]) -> list[jax.Array]:
    ends = [sum(counts[:k]) for k in range(1, len(counts))]
    return jnp.split(batch, ends) if ends else [batch]
