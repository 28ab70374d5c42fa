"""How an array is a batch of matrices: which axes are rows, which are columns, and which count the matrices."""

import math
from typing import NamedTuple

import jax

from gradx.linalg import sharding


class Layout(NamedTuple):
    """The axes of an array's matrices; the axes that are neither rows nor columns count the matrices.

    >>> import jax.numpy as jnp
    >>> heads = Layout(rows=(0,), columns=(2,))  # kernels (inputs, heads, outputs of a head)
    >>> heads.batch_of(jnp.ones((8, 4, 2))).shape
    (4, 8, 2)
    """

    rows: tuple[int, ...]
    """The axes of the inputs, from 0."""
    columns: tuple[int, ...]
    """The axes of the outputs, from 0."""
    splits: int = 1
    """So many matrices lie side by side along the columns, as in a fused query-key-value kernel."""

    def batch_of(self, x: jax.Array) -> jax.Array:
        """Return `x` as matrices (b, m, n)."""
        rows, columns = self.fans(x.shape)
        turned = sharding.gather(x, axes=x.ndim).transpose(self._order(x.ndim))
        apart = turned.reshape(-1 if x.size else self.count(x.shape) // self.splits, rows, self.splits, columns)
        return apart.swapaxes(1, 2).reshape(self.count(x.shape), rows, columns)

    def array_of(self, matrices: jax.Array, like: jax.Array) -> jax.Array:
        """Return matrices (b, m, n) as an array of the shape of `like`, sharded as it is."""
        rows, columns = self.fans(like.shape)
        order = self._order(like.ndim)
        apart = matrices.reshape(self.count(like.shape) // self.splits, self.splits, rows, columns).swapaxes(1, 2)
        turned = apart.reshape([like.shape[i] for i in order])
        return sharding.shard_like(turned.transpose([order.index(i) for i in range(like.ndim)]), like)

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the rows and columns of each matrix: its inputs and its outputs."""
        rows, columns = (math.prod(shape[i] for i in side) for side in (self.rows, self.columns))
        return rows, columns // self.splits

    def count(self, shape: tuple[int, ...]) -> int:
        """Return the number of matrices."""
        return self.splits * math.prod(shape[i] for i in self._batch(len(shape)))

    def _batch(self, ndim: int) -> tuple[int, ...]:
        return tuple(i for i in range(ndim) if i not in (*self.rows, *self.columns))

    def _order(self, ndim: int) -> tuple[int, ...]:
        return (*self._batch(ndim), *self.rows, *self.columns)
