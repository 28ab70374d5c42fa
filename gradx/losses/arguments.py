"""What every loss does with its arguments before the formula: one precision, matching shapes, a mask.

>>> import jax.numpy as jnp
>>> labels, logits = floats("example", labels=jnp.array([0, 1]), logits=jnp.ones((2,), jnp.bfloat16))
>>> labels.dtype, logits.dtype
(dtype('float32'), dtype('float32'))
"""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks, numerics
from gradx.typing import Range

POSITIVE = Range(low=0.0, closed="(]")
NON_NEGATIVE = Range(low=0.0)
FRACTION = Range(low=0.0, high=1.0)


def floats(owner: str, **arrays: ArrayLike) -> list[jax.Array]:
    """Return the arrays in the widest real precision among them, float32 at least; refuse complex ones."""
    given = {name: jnp.asarray(x) for name, x in arrays.items()}
    for name, x in given.items():
        if jnp.issubdtype(x.dtype, jnp.complexfloating):
            raise TypeError(f"{owner}: {name} must be real, got {checks.describe(x)}")
    dtype = precision(*given.values())
    return [x.astype(dtype) for x in given.values()]


def precision(*arrays: jax.Array) -> np.dtype:
    """Return the dtype in which to compute with these together, whatever the promotion mode."""
    return functools.reduce(np.promote_types, [numerics.at_least_float32(x.dtype) for x in arrays])


def number(owner: str, name: str, value: ArrayLike, allowed: Range, dtype: np.dtype) -> jax.Array:
    """Return a scalar argument in `dtype`; refuse a concrete one outside `allowed`."""
    return jnp.asarray(checks.hyperparameter(owner, name, value, allowed), dtype)


def integers(owner: str, name: str, labels: ArrayLike) -> jax.Array:
    """Return integer labels as an array, signed and of 32 bits at least; refuse floats and bools.

    Arithmetic in their own dtype would wrap round: the number of the last class need not fit into a uint8.
    """
    array = jnp.asarray(labels)
    if not jnp.issubdtype(array.dtype, jnp.integer):
        raise TypeError(f"{owner}: {name} must be integers, got {checks.describe(array)}")
    return array.astype(jnp.int64 if array.dtype.itemsize > 4 else jnp.int32)


def same_shape(owner: str, **arrays: jax.Array) -> None:
    """Raise ValueError unless all arrays have one shape."""
    if len({x.shape for x in arrays.values()}) > 1:
        shown = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
        raise ValueError(f"{owner}: shapes must be equal, got {shown}")


def expand_to(owner: str, name: str, x: jax.Array, shape: tuple[int, ...], other: str) -> jax.Array:
    """Broadcast `x` to the shape of the argument `other`; it never makes the other larger.

    So (batch,) beside (batch, 1) is refused instead of becoming (batch, batch).
    """
    try:
        return jnp.broadcast_to(x, shape)
    except ValueError:
        raise ValueError(f"{owner}: {name} {x.shape} does not broadcast to {other} {shape}") from None


def common_shape(owner: str, **arrays: jax.Array) -> tuple[int, ...]:
    """Return the shape to which arrays of one rank broadcast."""
    shapes = [x.shape for x in arrays.values()]
    try:
        if len({len(shape) for shape in shapes}) == 1:
            return np.broadcast_shapes(*shapes)
    except ValueError:
        pass
    shown = ", ".join(f"{name} {x.shape}" for name, x in arrays.items())
    raise ValueError(f"{owner}: shapes must have one rank and broadcast, got {shown}")


def axes(owner: str, axis: int | tuple[int, ...], ndim: int) -> tuple[int, ...]:
    """Return the axes as non-negative numbers in the order given."""
    given = axis if isinstance(axis, tuple | list) else (axis,)
    if any(not -ndim <= a < ndim for a in given):
        raise ValueError(f"{owner}: axis {axis} is out of range for an array of {ndim} dimensions")
    found = tuple(a % ndim for a in given)
    if len(set(found)) < len(found):
        raise ValueError(f"{owner}: axis {axis} names a dimension twice")
    return found


def size(shape: tuple[int, ...], over: tuple[int, ...]) -> int:
    """Return the number of entries along the axes `over`."""
    return math.prod(shape[a] for a in over)


def mask(owner: str, where: ArrayLike | None, shape: tuple[int, ...], over: tuple[int, ...] = ()) -> jax.Array | None:
    """Return `where` as bools of `shape`, or None.

    It is given for the elements (one rank with them, size-1 dimensions broadcast) or, for a loss that reduces the axes
    `over`, for the rows: the shape without those axes.
    """
    if where is None:
        return None
    where = jnp.asarray(where).astype(bool)
    rows = tuple(n for i, n in enumerate(shape) if i not in over)
    if over and where.shape == rows:
        where = jnp.expand_dims(where, over)
    fits = where.ndim in (0, len(shape)) and all(n in (1, m) for n, m in zip(where.shape, shape, strict=False))
    if not fits:
        wanted = f"{shape} or {rows}" if over else f"{shape}"
        raise ValueError(f"{owner}: where must broadcast within its rank to {wanted}, got {where.shape}")
    return jnp.broadcast_to(where, shape)


def blank(where: jax.Array | None, *arrays: jax.Array) -> tuple[jax.Array, ...]:
    """Set to 0 what the mask leaves out, before the formula: a NaN there then reaches neither value nor gradient."""
    return arrays if where is None else tuple(jnp.where(where, x, 0) for x in arrays)


def keep(where: jax.Array | None, x: jax.Array) -> jax.Array:
    """Set to 0 what the mask leaves out, after the formula."""
    return x if where is None else jnp.where(where, x, 0)


def nan_unless(valid: jax.Array, x: jax.Array) -> jax.Array:
    """Return `x`, NaN where it is not valid.

    As 0 / 0, for a constant NaN is reported by `jax_debug_nans` however valid everything is.
    """
    return jnp.where(valid, x, 0) / valid.astype(x.dtype)


def keep_rows(where: jax.Array | None, x: jax.Array, over: tuple[int, ...]) -> jax.Array:
    """Set to 0 the rows of which the mask leaves nothing."""
    return x if where is None else jnp.where(jnp.any(where, axis=over), x, 0)
