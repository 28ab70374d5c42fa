"""Arithmetic on arrays that several rules share: safe roots, squares, bias correction, counting, precision."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike


def abs_sq(x: jax.Array) -> jax.Array:
    """Return |x|², real also for complex `x`."""
    if jnp.iscomplexobj(x):
        return x.real * x.real + x.imag * x.imag
    return x * x


def overlap(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return the real inner product, Re sum conj(x) · y; products and a sum leave a sharded array where it is."""
    if jnp.iscomplexobj(x) or jnp.iscomplexobj(y):
        return jnp.sum(jnp.real(x) * jnp.real(y) + jnp.imag(x) * jnp.imag(y))
    return jnp.sum(x * y)


@jax.custom_jvp
def safe_sqrt(x: jax.Array) -> jax.Array:
    """Square root whose derivative at 0 is 0 instead of infinity.

    A moment of exactly zero comes from a gradient of exactly zero, through which no derivative flows either; the plain
    root would give inf * 0 = NaN there.
    """
    return jnp.sqrt(x)


@safe_sqrt.defjvp
def _safe_sqrt_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    (x,), (dx,) = primals, tangents
    root = safe_sqrt(x)
    zero = root == 0  # not `root > 0`: a root that is NaN must give a derivative that is NaN
    return root, jnp.where(zero, 0, dx / (2 * jnp.where(zero, 1, root)))


def safe_divide(numerator: jax.Array, denominator: jax.Array) -> jax.Array:
    """Return numerator / denominator, and 0 where the denominator is 0, with finite derivatives."""
    zero = denominator == 0
    return jnp.where(zero, 0, numerator / jnp.where(zero, 1, denominator))


def safe_norm(x: jax.Array, min_norm: ArrayLike, ord=None, axis=None, keepdims: bool = False) -> jax.Array:
    """Return max(‖x‖, min_norm), with gradient 0 where the norm is the smaller."""
    small = jnp.linalg.norm(x, ord=ord, axis=axis, keepdims=True) <= min_norm
    x = jnp.where(small, jnp.ones_like(x), x)
    norm = jnp.linalg.norm(x, ord=ord, axis=axis, keepdims=keepdims)
    small = small if keepdims else small.reshape(norm.shape)
    return jnp.where(small, jnp.asarray(min_norm, norm.dtype), norm)


def safe_root_mean_squares(x: jax.Array, min_rms: ArrayLike) -> jax.Array:
    """Return max(sqrt(mean |x|²), min_rms) over the whole array, with gradient 0 where the root is the smaller.

    An empty array has root mean square 0.
    """
    rms = safe_sqrt(jnp.sum(abs_sq(x)) / max(x.size, 1))
    return jnp.maximum(rms, jnp.asarray(min_rms, rms.dtype))


def made_after(x: jax.Array, *others: jax.Array) -> jax.Array:
    """Return x, and NaN where one of `others` is NaN: a moment that is made of what made them.

    For the order that it gives: x is then made last, and may take the place of an old array that the others are made
    from too. Else XLA:CPU copies that array first, 8 bytes an entry and a temporary; this reads 4 of each.
    """
    unknown = functools.reduce(jnp.logical_or, [jnp.isnan(y) for y in others])
    return jnp.where(unknown, sum(abs_sq(y) for y in others), x)


def bias_correction(decay: Any, count: ArrayLike) -> jax.Array:
    """Return 1 - decay**count, the weight that a moving average started at 0 has gathered after `count` steps.

    Written with expm1 and log: 1 - 0.999**2 in float32 would lose four of its seven digits to cancellation.
    Computed in at least float32. `decay` in [0, 1), its derivative right at 0 too; `count` at least 1, a number of
    steps, through which no derivative flows.
    """
    dtype = jnp.result_type(float) if isinstance(decay, float | int) else at_least_float32(jnp.result_type(decay))
    return _gathered(jnp.asarray(decay).astype(dtype), jnp.asarray(count).astype(dtype))


@jax.custom_jvp
def _gathered(decay: jax.Array, count: jax.Array) -> jax.Array:
    return -jnp.expm1(count * jnp.log(jnp.maximum(decay, jnp.finfo(decay.dtype).tiny)))


@_gathered.defjvp
def _gathered_jvp(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    # The derivative of the form above is cut off at decay = 0, where log has none; the power's own is right there.
    (decay, count), (d_decay, _) = primals, tangents
    first = count == 1  # the power of 0 would be right, its own derivative 0 * inf
    power = jnp.where(first, 1, decay ** jnp.where(first, 1, count - 1))
    return _gathered(decay, count), -count * power * d_decay


def safe_increment(count: jax.Array) -> jax.Array:
    """Return count + 1, held at the largest integer instead of wrapping round to a negative one."""
    largest = jnp.iinfo(count.dtype).max
    return jnp.minimum(count, jnp.asarray(largest - 1, count.dtype)) + 1  # a Python int would have to be an int32


def at_least_float32(dtype: DTypeLike) -> jnp.dtype:
    """Return the dtype in which to compute with `dtype`: float32 for everything narrower and for integers."""
    dtype = jnp.dtype(dtype)
    if not jnp.issubdtype(dtype, jnp.inexact) or dtype.itemsize < 4:
        return jnp.dtype(jnp.float32)
    return dtype


def cast(x: ArrayLike, dtype: DTypeLike) -> jax.Array:
    """Return `x` in `dtype`; itself where it has it, so that nothing is added to a trace."""
    x = jnp.asarray(x) if not isinstance(x, jax.Array) else x
    return x if x.dtype == dtype and not getattr(x, "weak_type", False) else x.astype(dtype)  # keys are never weak


def lift(x: ArrayLike) -> jax.Array:
    """Cast a low-precision float (bfloat16, float16, float8) to float32; leave every other array as it is."""
    x = jnp.asarray(x) if not isinstance(x, jax.Array) else x
    return cast(x, at_least_float32(x.dtype)) if jnp.issubdtype(x.dtype, jnp.floating) else x


def vary_together(*trees: Any) -> tuple:
    """Inside a shard_map, mark all arrays as varying over the mesh axes over which any of them does.

    What a loop carries must vary from the start as it will in the end, and constants vary over nothing; likewise a
    custom gradient must vary as its argument does. The transpose of the mark adds up the gradients of an argument that
    did not vary itself. Elsewhere nothing happens.
    """
    leaves, treedef = jax.tree.flatten(trees)
    varying = [jax.typeof(x).manual_axis_type.varying for x in leaves]
    everywhere = frozenset().union(*varying)
    missing = [tuple(sorted(everywhere - axes)) for axes in varying]
    marked = [jax.lax.pcast(x, axes, to="varying") if axes else x for x, axes in zip(leaves, missing, strict=True)]
    return treedef.unflatten(marked)
