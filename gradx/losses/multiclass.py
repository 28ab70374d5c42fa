"""Margin losses of one score per class with an integer label.

>>> import jax.numpy as jnp
>>> multiclass_hinge_loss(jnp.array([[2.0, 0.0, -1.0], [0.0, 0.5, 0.0]]), jnp.array([0, 1])).tolist()
[0.0, 0.5]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses.labelled import bound_minus_score


def multiclass_hinge_loss(scores: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return max_j (s_j + [j is not the label]) - s_label: zero once the label leads by a margin of 1.

    Args:
      scores: s, (..., K).
      labels: integers in [0, K), of the scores' shape without the last axis.
      where: the classes to include, or the rows (the labels' shape).

    Reduction: over the last axis only; the shape is that of `labels`. A row of which nothing is included, or whose
    label is excluded, is 0. A label out of range gives NaN. Scores that tie share the gradient.

    Raises: TypeError if the labels are not integers, ValueError if the shapes do not fit.

    Reference: Crammer and Singer, On the Algorithmic Implementation of Multiclass Kernel-based Vector Machines, 2001.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.multiclass_hinge_loss(jnp.array([0.5, 0.0]), 0)), 4)
    0.5
    """
    return bound_minus_score("multiclass_hinge_loss", "scores", scores, labels, -1, where, _largest_with_margin)


def multiclass_perceptron_loss(scores: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return max_j s_j - s_label: zero once the label leads.

    Args, reduction and errors are those of `multiclass_hinge_loss`.

    Reference: Collins, Discriminative Training Methods for Hidden Markov Models, 2002.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.multiclass_perceptron_loss(jnp.array([0.5, 0.0]), 1)), 4)
    0.5
    """
    return bound_minus_score("multiclass_perceptron_loss", "scores", scores, labels, -1, where, _largest)


def multiclass_sparsemax_loss(scores: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return max_p (⟨s, p⟩ - ½ ‖p‖²) + ½ - s_label over distributions p: softmax's loss with a sparse p.

    The best p is the projection of s onto the simplex, max(s - τ, 0); the gradient is p minus the one-hot label, and
    the loss is zero once the label leads by 1.

    Args, reduction and errors are those of `multiclass_hinge_loss`. Sorts the last axis.

    Reference: Martins and Astudillo, From Softmax to Sparsemax, arXiv:1602.02068, algorithm 1 and equation 16.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.multiclass_sparsemax_loss(jnp.array([0.0, 0.0]), 0)), 4)
    0.25
    """
    return bound_minus_score("multiclass_sparsemax_loss", "scores", scores, labels, -1, where, _sparsemax)


def _largest(x: jax.Array, hot: jax.Array, over: tuple[int, ...], keep: jax.Array | None) -> jax.Array:
    del hot
    return jnp.max(x, axis=over, where=keep, initial=jnp.finfo(x.dtype).min)


def _largest_with_margin(x: jax.Array, hot: jax.Array, over: tuple[int, ...], keep: jax.Array | None) -> jax.Array:
    return jnp.max(x + (~hot).astype(x.dtype), axis=over, where=keep, initial=jnp.finfo(x.dtype).min)


def _sparsemax(x: jax.Array, hot: jax.Array, over: tuple[int, ...], keep: jax.Array | None) -> jax.Array:
    del hot
    # τ lies in [-1, 0), so that -2 is out.
    support = _support(jax.lax.stop_gradient(x if keep is None else jnp.where(keep, x, -2)))
    # On a fixed support S, τ = (Σ_S x - 1) / |S|, and ½ Σ_S (x² - τ²) + ½ has the right derivatives of every order.
    count = jnp.maximum(jnp.sum(support, axis=over, keepdims=True), 1).astype(x.dtype)
    x = jnp.where(support, x, 0)
    tau = (jnp.sum(x, axis=over, keepdims=True) - 1) / count
    return 0.5 * jnp.sum(jnp.where(support, x * x - tau * tau, 0), axis=over) + 0.5


def _support(x: jax.Array) -> jax.Array:
    """Return which entries of x, of largest 0 along the last axis, the projection onto the simplex leaves positive."""
    descending = jnp.flip(jnp.sort(x, axis=-1), axis=-1)
    rank = jnp.arange(1, x.shape[-1] + 1, dtype=x.dtype).reshape((1,) * (x.ndim - 1) + (-1,))
    inside = 1 + rank * descending > jnp.cumsum(descending, axis=-1)
    count = jnp.maximum(jnp.sum(inside, axis=-1, keepdims=True), 1).astype(x.dtype)
    tau = (jnp.sum(jnp.where(inside, descending, 0), axis=-1, keepdims=True) - 1) / count
    return ~(x <= tau)  # NaN is in, so that the loss is NaN too
