"""Bound the update: entry by entry, as a whole, by array, or by output unit."""

import operator
from typing import Any

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import EmptyState, transformation
from gradx.transforms.scale import no_state, scale_leaf
from gradx.typing import NonNegative, Params, Positive, Updates


def clip_leaf(u: jax.Array, *, max_delta: jax.Array) -> jax.Array:
    """Return u held within ±max_delta; of a complex u, each part."""
    if jnp.iscomplexobj(u):
        return jax.lax.complex(clip_leaf(u.real, max_delta=max_delta), clip_leaf(u.imag, max_delta=max_delta))
    # One bound for each sign: with both at a bound of 0, -0 and 0 tie and halve the derivative by max_delta.
    return jnp.where(u < 0, jnp.maximum(u, -max_delta), jnp.minimum(u, max_delta))


@transformation
def clip(max_delta: NonNegative) -> Any:
    """Hold every entry within ±max_delta. NaN stays NaN.

    State: none.

    >>> import gradx
    >>> tx = gradx.clip(1.0)
    >>> updates, _ = tx.update(-3.0, tx.init(0.0))
    >>> float(updates)
    -1.0
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(clip_leaf, updates, max_delta=max_delta), state

    return no_state, update


def clipping_factor(norm: jax.Array, max_norm: Any) -> jax.Array:
    """Return min(1, max_norm / norm), 1 for a norm of 0 whatever the maximum, and NaN for a norm that is NaN."""
    max_norm = jnp.asarray(max_norm, norm.dtype)
    above = ~(norm <= max_norm)  # so that a NaN, above nothing, does not pass for a small norm
    return jnp.where(above, max_norm / jnp.where(above, norm, 1), 1)


@transformation
def clip_by_global_norm(max_norm: NonNegative) -> Any:
    """Shorten the whole update to at most max_norm: u ← u · min(1, max_norm / ‖u‖).

    ‖u‖ is the Euclidean norm over all leaves together, in at least float32; complex entries count |u|². The direction
    is kept. Updates whose norm overflows (entries beyond 1e19 in float32) become 0, infinite entries
    NaN; a NaN anywhere makes the whole update NaN, for nothing is known of its norm.

    State: none. Pascanu, Mikolov and Bengio 2013, arXiv:1211.5063, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.clip_by_global_norm(1.0)
    >>> params = {"w": 0.0, "b": 0.0}
    >>> updates, _ = tx.update({"w": 3.0, "b": 4.0}, tx.init(params))  # of norm 5
    >>> round(float(updates["w"]), 4), round(float(updates["b"]), 4)
    (0.6, 0.8)
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        # One scalar factor: a select on every leaf would write each clipped gradient to memory.
        factor = clipping_factor(tree.norm(updates), max_norm)
        return tree.map_leaves(scale_leaf, updates, factor=factor), state

    return no_state, update


def clip_rms_leaf(u: jax.Array, *, threshold: jax.Array) -> jax.Array:
    """Return u · min(1, threshold / rms(u))."""
    return clipping_factor(numerics.safe_root_mean_squares(u, 0.0), threshold) * u


@transformation
def clip_by_block_rms(threshold: NonNegative) -> Any:
    """Shorten each array to root mean square at most `threshold`: u ← u · min(1, threshold / rms(u)).

    Args:
      threshold: the largest root mean square that passes, at least 0.

    State: none. Shazeer and Stern 2018, arXiv:1804.04235, section 6.

    >>> import gradx
    >>> tx = gradx.clip_by_block_rms(1.0)
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    1.0
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(clip_rms_leaf, updates, threshold=threshold), state

    return no_state, update


def adaptive_clip_leaf(
    g: jax.Array, p: jax.Array, *, clipping: jax.Array, eps: jax.Array, axis: int | tuple[int, ...] | None
) -> jax.Array:
    """Return g · min(1, clipping · max(‖p‖, eps) / ‖g‖), norms by output unit."""
    max_norm = clipping * jnp.maximum(unit_norm(p, axis), eps)
    return clipping_factor(unit_norm(g, axis), max_norm) * g


def unit_norm(x: jax.Array, axis: int | tuple[int, ...] | None) -> jax.Array:
    """Return the norm of what feeds each output unit, axes kept: all axes but the last of a kernel (..., in, out).

    Vectors and scalars, squeezed, are one unit; of three axes only the first is summed (multi-head kernels).
    """
    if axis is None and sum(n > 1 for n in x.shape) > 1:
        axis = 0 if x.ndim == 3 else tuple(range(x.ndim - 1))
    return numerics.safe_sqrt(jnp.sum(numerics.abs_sq(x), axis=axis, keepdims=True))


@transformation
def adaptive_grad_clip(clipping: NonNegative, eps: Positive = 1e-3, axis: int | tuple[int, ...] | None = None) -> Any:
    """Shorten the gradient of each output unit to `clipping` times the norm of the unit's weights.

    g ← g · min(1, clipping · max(‖p‖, eps) / ‖g‖), the norms over the inputs of the unit.

    Args:
      clipping: largest ratio ‖g‖ / ‖p‖; the paper uses 0.01 to 0.16.
      eps: least weight norm, so that weights at 0 can leave it.
      axis: the axes of the inputs, the same for all arrays; else by shape, for flax's kernels (..., in, out): all but
        the last, of three axes the first, and vectors and scalars as a whole.

    State: none. Needs: params. Brock et al. 2021, arXiv:2102.06171, eq. 3.

    >>> import gradx
    >>> tx = gradx.adaptive_grad_clip(0.5)
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0)
    >>> float(updates)  # half of the weight
    1.0
    """

    # NumPy's integers are arrays to a leaf rule, and would be traced.
    axes = axis if axis is None or isinstance(axis, tuple) else operator.index(axis)

    def update(updates: Updates, state: EmptyState, params: Params) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(adaptive_clip_leaf, updates, params, clipping=clipping, eps=eps, axis=axes), state

    return no_state, update
