"""How an array is a batch of matrices: which axes are rows, which are columns, and which count the matrices."""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

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
        """Return `x` as matrices (b, m, n); what must be merged is gathered, else sharded axes stay sharded."""
        rows, columns = self.fans(x.shape)
        order = self._order(x.ndim)
        if self._is_plain(x.ndim):
            return x.transpose(order) if x.ndim == 3 else x.transpose(order)[None]
        turned = sharding.gather(x, axes=x.ndim).transpose(order)
        apart = turned.reshape(self.count(x.shape) // self.splits, rows, self.splits, columns)
        return apart.swapaxes(1, 2).reshape(self.count(x.shape), rows, columns)

    def array_of(self, matrices: jax.Array, like: jax.Array) -> jax.Array:
        """Return matrices (b, m, n) as an array of the shape of `like`, sharded as it is."""
        rows, columns = self.fans(like.shape)
        order = self._order(like.ndim)
        if self._is_plain(like.ndim):
            turned = matrices if like.ndim == 3 else matrices[0]
        else:
            whole = sharding.gather(matrices, axes=matrices.ndim)
            apart = whole.reshape(self.count(like.shape) // self.splits, self.splits, rows, columns).swapaxes(1, 2)
            turned = apart.reshape([like.shape[i] for i in order])
        return sharding.shard_like(turned.transpose([order.index(i) for i in range(like.ndim)]), like)

    def fans(self, shape: tuple[int, ...]) -> tuple[int, int]:
        """Return the rows and columns of each matrix: its inputs and its outputs."""
        rows, columns = (math.prod(shape[i] for i in side) for side in (self.rows, self.columns))
        return rows, columns // self.splits

    def count(self, shape: tuple[int, ...]) -> int:
        """Return the number of matrices."""
        return self.splits * math.prod(shape[i] for i in self._batch(len(shape)))

    def total(self, x: jax.Array) -> jax.Array:
        """Return the sum over each matrix, in a shape that goes with that of `x`, whose axes stay where they are."""
        if self.splits == 1:
            return jnp.sum(x, axis=(*self.rows, *self.columns), keepdims=True)
        sums = jnp.sum(self.batch_of(x), axis=(1, 2), keepdims=True)
        return self.array_of(jnp.broadcast_to(sums, (len(sums), *self.fans(x.shape))), x)

    def _is_plain(self, ndim: int) -> bool:
        """Whether the array is the batch, but for the order of its axes."""
        return self.splits == len(self.rows) == len(self.columns) == 1 and ndim <= 3

    def _batch(self, ndim: int) -> tuple[int, ...]:
        return tuple(i for i in range(ndim) if i not in (*self.rows, *self.columns))

    def _order(self, ndim: int) -> tuple[int, ...]:
        return (*self._batch(ndim), *self.rows, *self.columns)
