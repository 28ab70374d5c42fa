"""Losses of one score per class, exactly one class being right; the target is a distribution or an integer.

>>> import jax.numpy as jnp
>>> logits = jnp.array([[2.0, 0.0, -1.0], [0.0, 1.0, 0.0]])
>>> print(softmax_cross_entropy_with_integer_labels(logits, jnp.array([0, 2])).round(4))
[0.1698 1.5514]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments, labelled, normalize


def softmax_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return -Σ y log softmax(x) over the classes.

    Args:
      logits: x, (..., K), finite; for logits of -inf use `safe_softmax_cross_entropy`.
      labels: y, distributions that broadcast to the logits' shape; the formula holds for any weights.
      axis: the axis or axes of the classes.
      where: the classes to include, or the rows (the shape without `axis`).

    Reduction: sum over `axis` only. Excluded classes leave the softmax too; a row of which nothing is included is 0.

    Raises: ValueError if the shapes do not fit.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.softmax_cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))), 4)  # log 2
    0.6931
    """
    x, y, over, keep = _logits_and_labels("softmax_cross_entropy", logits, labels, axis, where)
    return -jnp.sum(y * normalize.log_softmax(x, over, keep), axis=over)


def safe_softmax_cross_entropy(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return -Σ y log softmax(x) over the last axis, where classes with label 0 may have the logit -inf.

    Args:
      logits: x, (..., K), finite or -inf.
      labels: y, distributions that broadcast to the logits' shape.
      where: the classes to include, or the rows (the shape without the last axis).

    Reduction: sum over the last axis only; a row of which nothing is included is 0. Where the label is 0 and the logit
    -inf, the term and its gradients are 0. A positive label on a logit of -inf gives infinity.

    Raises: ValueError if the shapes do not fit.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> logits, labels = jnp.array([0.0, 0.0, -jnp.inf]), jnp.array([1.0, 0.0, 0.0])
    >>> round(float(losses.safe_softmax_cross_entropy(logits, labels)), 4)  # log 2
    0.6931
    """
    x, y, over, keep = _logits_and_labels("safe_softmax_cross_entropy", logits, labels, -1, where)
    log_p = normalize.log_softmax(x, over, keep)
    absent = (y == 0) & (log_p < jnp.finfo(log_p.dtype).min)  # -inf, and no constant inf for the debug flags to find
    return -jnp.sum(y * jnp.where(absent, 0, log_p), axis=over)


def softmax_cross_entropy_with_integer_labels(
    logits: ArrayLike,
    labels: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return log Σ exp(x) - x[label]: softmax cross-entropy whose target is one class, given by its number.

    Args:
      logits: x, (..., K), finite.
      labels: integers in [0, K), of the logits' shape without `axis`; with several axes an index into them flattened
        in the order given.
      axis: the axis or axes of the classes.
      where: the classes to include, or the rows (the labels' shape).

    Reduction: over `axis` only; the shape is that of `labels`. Excluded classes leave the softmax. A row of which
    nothing is included, or whose label is excluded, is 0, as with one-hot labels. A label out of range gives NaN: mark
    rows to ignore in `where`, and their labels do not matter.

    Raises: TypeError if the labels are not integers, ValueError if the shapes do not fit.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.softmax_cross_entropy_with_integer_labels(jnp.array([0.0, 0.0]), 1)), 4)  # log 2
    0.6931
    """
    owner = "softmax_cross_entropy_with_integer_labels"
    return labelled.bound_minus_score(owner, "logits", logits, labels, axis, where, _log_sum_exp)


def poly_loss_cross_entropy(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    epsilon: ArrayLike = 2.0,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return CE + epsilon Σ y (1 - softmax(x)): cross-entropy with another first Taylor coefficient in 1 - p.

    Args:
      logits: x, (..., K), finite.
      labels: y, distributions that broadcast to the logits' shape.
      epsilon: what is added to the coefficient; the paper likes 2 for ImageNet and -1 for detection.
      axis: the axis or axes of the classes.
      where: the classes to include, or the rows (the shape without `axis`).

    Reduction: sum over `axis` only. Excluded classes leave the softmax too; a row of which nothing is included is 0.

    Raises: ValueError if the shapes do not fit.

    Reference: Leng et al., PolyLoss, arXiv:2204.12511, equation 6 (Poly-1).

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.poly_loss_cross_entropy(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))), 4)  # log 2 + 2 · 1/2
    1.6931
    """
    x, y, over, keep = _logits_and_labels("poly_loss_cross_entropy", logits, labels, axis, where)
    log_p = normalize.log_softmax(x, over, keep)
    epsilon = jnp.asarray(epsilon, x.dtype)
    # y is 0 where excluded, so what log_p says there does not matter; -expm1 keeps the digits of a small 1 - p.
    return jnp.sum(y * (-log_p - epsilon * jnp.expm1(log_p)), axis=over)


def _logits_and_labels(
    owner: str, logits: ArrayLike, labels: ArrayLike, axis: int | tuple[int, ...], where: ArrayLike | None
) -> tuple[jax.Array, jax.Array, tuple[int, ...], jax.Array | None]:
    x, y = arguments.floats(owner, logits=logits, labels=labels)
    y = arguments.expand_to(owner, "labels", y, x.shape, "logits")
    over = arguments.axes(owner, axis, x.ndim)
    keep = arguments.mask(owner, where, x.shape, over)
    x, y = arguments.blank(keep, x, y)
    return x, y, over, keep


def _log_sum_exp(x: jax.Array, hot: jax.Array, over: tuple[int, ...], keep: jax.Array | None) -> jax.Array:
    del hot
    total = jnp.sum(jnp.exp(x), axis=over, where=keep)  # at least 1, for the largest score is 0
    return jnp.log(jnp.where(total == 0, 1, total))
