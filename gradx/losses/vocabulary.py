"""Cross-entropy over a vocabulary too large for its logits to be held.

The logits of n rows over V classes are n V numbers, and their gradient as many again. Here the vocabulary is gone
through in chunks, twice: forward for the sum of exponentials, backward for the gradients, each chunk's logits anew.

>>> import jax
>>> import jax.numpy as jnp
>>> hidden, matrix, labels = jnp.ones((2, 3)), jnp.eye(5, 3), jnp.array([0, 1])
>>> print(vocabulary_cross_entropy(hidden, matrix, labels, chunk_size=2).round(4))
[1.318 1.318]
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import NamedSharding, PartitionSpec
from jax.typing import ArrayLike

from gradx import checks, numerics
from gradx.losses import arguments
from gradx.typing import Range


def vocabulary_cross_entropy(
    hidden: ArrayLike,
    output_matrix: ArrayLike,
    labels: ArrayLike,
    *,
    chunk_size: int = 1024,
    z_loss: ArrayLike = 0.0,
    label_smoothing: ArrayLike = 0.0,
    ignore_index: int | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return softmax cross-entropy of the logits x = hidden @ output_matrixᵀ, which are never held as a whole.

    log Z - (1 - a) x[label] - a mean(x) + z_loss (log Z)², with Z = Σ exp(x) and a = label_smoothing.

    Args:
      hidden: (..., d).
      output_matrix: (vocabulary, d).
      labels: (...), integers in [0, vocabulary).
      chunk_size: classes at a time, of each shard; temporaries are a few times rows · chunk_size numbers.
      z_loss: at least 0, holds log Z near 0 (1e-4 is usual).
      label_smoothing: the share of the target spread over all classes, in [0, 1].
      ignore_index: rows with this label are left out.
      where: (...), the rows to include.

    Reduction: none; the shape is that of `labels`, float32 or wider. Rows left out are 0 and carry no gradient: for a
    mean, divide the sum by the number of the others. A label out of range gives NaN.

    Sharding: rows and vocabulary may be sharded over different explicit mesh axes. Each device goes through its own
    part of the vocabulary; a few numbers a row and the gradients are communicated. No forward-mode derivatives.

    Raises: TypeError for labels that are no integers; ValueError for shapes that do not fit and numbers out of range.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.vocabulary_cross_entropy(jnp.zeros(4), jnp.ones((2, 4)), 1)), 4)  # log 2
    0.6931
    """
    owner = "vocabulary_cross_entropy"
    hidden, matrix, labels = _check(owner, hidden, output_matrix, labels)
    dtype = arguments.precision(hidden, matrix)
    z_loss = arguments.number(owner, "z_loss", z_loss, arguments.NON_NEGATIVE, dtype)
    smoothing = arguments.number(owner, "label_smoothing", label_smoothing, arguments.FRACTION, dtype)
    chunk_size = checks.hyperparameter(owner, "chunk_size", chunk_size, Range(low=1, integer=True))
    keep = arguments.mask(owner, where, labels.shape)
    if ignore_index is not None:
        counted = labels != jnp.asarray(ignore_index).astype(labels.dtype)
        keep = counted if keep is None else keep & counted
    if keep is not None:
        hidden = jnp.where(keep[..., None], hidden, 0)
    log_z, own, total = _statistics(*numerics.vary_together(hidden, matrix, labels), chunk_size)
    classes = matrix.shape[0]
    loss = log_z - (1 - smoothing) * own - smoothing / classes * total + z_loss * log_z * log_z
    return arguments.keep(keep, arguments.nan_unless((labels >= 0) & (labels < classes), loss))


def _check(
    owner: str, hidden: ArrayLike, output_matrix: ArrayLike, labels: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    hidden, matrix = jnp.asarray(hidden), jnp.asarray(output_matrix)
    for name, x in {"hidden": hidden, "output_matrix": matrix}.items():
        if not jnp.issubdtype(x.dtype, jnp.floating):
            raise TypeError(f"{owner}: {name} must be real floats, got {checks.describe(x)}")
    if matrix.ndim != 2 or matrix.shape[0] == 0 or hidden.shape[-1:] != matrix.shape[1:]:
        shapes = f"{hidden.shape} and {matrix.shape}"
        raise ValueError(f"{owner}: wants hidden (..., d) and output_matrix (vocabulary, d), got {shapes}")
    labels = arguments.integers(owner, "labels", labels)
    if labels.shape != hidden.shape[:-1]:
        raise ValueError(f"{owner}: labels must have the shape {hidden.shape[:-1]}, got {labels.shape}")
    return hidden, matrix, labels


def _sums(
    hidden: jax.Array, matrix: jax.Array, labels: jax.Array, chunk_size: int
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return for each row log Σ exp(x), x[label] and Σ x, of which every option of the loss is a plain function."""
    layout = _Layout.of(hidden, matrix)

    def step(carry: tuple, block: "_Block") -> tuple:
        largest, scaled, own, total = carry
        x = layout.logits(hidden, block.matrix)
        fresh = layout.across_rows(block.fresh[None, :])
        new = jnp.maximum(largest, jnp.max(jnp.where(fresh, x, largest[..., None]), axis=-1))
        scaled = scaled * jnp.exp(largest - new)
        scaled += jnp.sum(jnp.where(fresh, jnp.exp(x - new[..., None]), 0), axis=-1)
        hot = fresh & (labels[..., None, None] == layout.across_rows(block.classes.astype(labels.dtype)))
        own += jnp.sum(jnp.where(hot, x, 0), axis=-1)
        total += jnp.sum(jnp.where(fresh, x, 0), axis=-1)
        return new, scaled, own, total

    zeros = jnp.zeros_like(layout.logits(hidden, layout.blocks(matrix)[:, :1])[..., 0])
    lowest = zeros + jnp.finfo(zeros.dtype).min
    largest, scaled, own, total = layout.scan(step, (lowest, zeros, zeros, zeros), matrix, chunk_size)
    # Until here every shard of the vocabulary kept to itself; now the few numbers of each row meet.
    top = jnp.max(largest, axis=-1)
    z = jnp.sum(scaled * jnp.exp(largest - top[..., None]), axis=-1)
    return top + jnp.log(z), jnp.sum(own, axis=-1), jnp.sum(total, axis=-1)


def _sums_forward(hidden: jax.Array, matrix: jax.Array, labels: jax.Array, chunk_size: int) -> tuple:
    results = _sums(hidden, matrix, labels, chunk_size)
    return results, (hidden, matrix, labels, results[0])


def _sums_backward(chunk_size: int, residuals: tuple, cotangents: tuple) -> tuple:
    hidden, matrix, labels, log_z = residuals
    layout = _Layout.of(hidden, matrix)
    d_log_z, d_own, d_total = (x[..., None, None] for x in cotangents)

    def step(carry: tuple, block: "_Block") -> tuple:
        d_hidden, d_matrix = carry
        probability = jnp.exp(layout.logits(hidden, block.matrix) - log_z[..., None, None])
        hot = labels[..., None, None] == layout.across_rows(block.classes.astype(labels.dtype))
        dx = d_log_z * probability + jnp.where(hot, d_own, 0) + d_total
        # Classes that the chunk before had too get the same gradient again; only sums must not count them twice.
        d_block = layout.matrix_gradient(dx, hidden).astype(matrix.dtype)
        d_matrix = jax.lax.dynamic_update_slice_in_dim(d_matrix, d_block, block.start, axis=1)
        fresh = layout.across_rows(block.fresh[None, :])
        return d_hidden + layout.hidden_gradient(jnp.where(fresh, dx, 0), block.matrix), d_matrix

    # Zeros like results of the step: they are sharded, and vary over a shard_map's axes, as its results will be.
    blocks = layout.blocks(matrix)
    few = layout.logits(hidden, blocks[:, :1])
    d_hidden = jnp.zeros_like(layout.hidden_gradient(few, blocks[:, :1]))
    d_matrix = jnp.zeros_like(blocks)
    d_hidden, d_matrix = layout.scan(step, (d_hidden, d_matrix), matrix, chunk_size)
    return jnp.sum(d_hidden, axis=-2).astype(hidden.dtype), d_matrix.reshape(matrix.shape), None


_statistics = jax.custom_vjp(_sums, nondiff_argnums=(3,))
_statistics.defvjp(_sums_forward, _sums_backward)


class _Block(NamedTuple):
    """A chunk of each shard's part of the vocabulary."""

    matrix: jax.Array
    """(shards, chunk, d)."""
    start: jax.Array
    """int32[]: where in its shard the chunk begins."""
    classes: jax.Array
    """int32 (shards, chunk): the numbers of the classes."""
    fresh: jax.Array
    """bool (chunk,): False for classes that the chunk before had too; the last chunk is moved back to fit."""


class _Layout(NamedTuple):
    """Shapes of the problem, and the mesh axes over which they are sharded (None and 1 shard without a mesh).

    The vocabulary is seen as (shards, classes of a shard): slicing the second axis then moves nothing between devices.
    """

    rows: tuple[int, ...]
    shards: int
    dtype: Any
    mesh: Any
    row_axes: tuple
    vocabulary_axis: Any
    width_axis: Any

    @classmethod
    def of(cls, hidden: jax.Array, matrix: jax.Array) -> "_Layout":
        rows, sharding = hidden.shape[:-1], jax.typeof(matrix).sharding
        dtype = arguments.precision(hidden, matrix)
        if sharding.mesh.empty:
            return cls(rows, 1, dtype, None, (None,) * len(rows), None, None)
        row_axes = tuple(jax.typeof(hidden).sharding.spec)[:-1]
        vocabulary_axis, width_axis = sharding.spec
        names = _names(vocabulary_axis)
        if shared := {name for axis in row_axes for name in _names(axis)} & set(names):
            raise ValueError(
                f"vocabulary_cross_entropy: rows and vocabulary are both sharded over the mesh axis {min(shared)!r}; "
                "reshard one of them"
            )
        shards = math.prod(sharding.mesh.shape[name] for name in names)
        return cls(rows, shards, dtype, sharding.mesh, row_axes, vocabulary_axis, width_axis)

    def sharding(self, axes: tuple) -> NamedSharding | None:
        return None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec(*axes))

    def across_rows(self, x: jax.Array) -> jax.Array:
        return jnp.expand_dims(x, tuple(range(len(self.rows))))

    def blocks(self, matrix: jax.Array) -> jax.Array:
        """Return the matrix as (shards, classes of a shard, d)."""
        return matrix.reshape(self.shards, matrix.shape[0] // self.shards, matrix.shape[1])

    def scan(self, step: Callable, carry: tuple, matrix: jax.Array, chunk_size: int) -> tuple:
        """Carry `step(carry, block)` over the vocabulary, a chunk of every shard at a time."""
        blocks = self.blocks(matrix)
        local = blocks.shape[1]
        chunk = min(chunk_size, local)
        offset = jnp.arange(chunk, dtype=jnp.int32)

        def body(carry: tuple, i: jax.Array) -> tuple:
            start = jnp.minimum(i * chunk, local - chunk)
            part = jax.lax.dynamic_slice_in_dim(blocks, start, chunk, axis=1)
            first = local * jnp.arange(self.shards, dtype=jnp.int32)
            classes = first[:, None] + (start + offset)[None, :]
            return step(carry, _Block(part, start, classes, start + offset >= i * chunk)), None

        return jax.lax.scan(body, carry, jnp.arange(-(-local // chunk), dtype=jnp.int32))[0]

    def logits(self, hidden: jax.Array, block: jax.Array) -> jax.Array:
        """Return (..., shards, chunk). Products of one narrow dtype are exact in the wide one, and faster unlifted."""
        if hidden.dtype != block.dtype:
            hidden, block = hidden.astype(self.dtype), block.astype(self.dtype)
        return self._einsum("{r}d,scd->{r}sc", hidden, block, (*self.row_axes, self.vocabulary_axis, None))

    def hidden_gradient(self, dx: jax.Array, block: jax.Array) -> jax.Array:
        """Return each shard's part, (..., shards, d), to be summed over shards at the end."""
        axes = (*self.row_axes, self.vocabulary_axis, self.width_axis)
        return self._einsum("{r}sc,scd->{r}sd", dx, block.astype(self.dtype), axes)

    def matrix_gradient(self, dx: jax.Array, hidden: jax.Array) -> jax.Array:
        """Return (shards, chunk, d)."""
        axes = (self.vocabulary_axis, None, self.width_axis)
        return self._einsum("{r}sc,{r}d->scd", dx, hidden.astype(self.dtype), axes)

    def _einsum(self, formula: str, x: jax.Array, y: jax.Array, axes: tuple) -> jax.Array:
        letters = "abefghijklmnopqr"[: len(self.rows)]
        out = self.sharding(axes)
        return jnp.einsum(formula.format(r=letters), x, y, preferred_element_type=self.dtype, out_sharding=out)


def _names(axis: Any) -> tuple[str, ...]:
    """Return the mesh axes in one entry of a partition spec."""
    if axis is None:
        return ()
    return axis if isinstance(axis, tuple) else (axis,)
