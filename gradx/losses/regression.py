"""Distances between predictions and targets, element by element, and the angle between vectors.

>>> import jax.numpy as jnp
>>> huber_loss(jnp.array([0.5, -3.0]), jnp.array([0.0, 0.0])).tolist()
[0.125, 2.5]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics
from gradx.losses import arguments


def squared_error(
    predictions: ArrayLike, targets: ArrayLike | None = None, *, where: ArrayLike | None = None
) -> jax.Array:
    """Return (predictions - targets)², element by element.

    Args:
      predictions: any shape.
      targets: the same shape; None stands for zeros.
      where: the elements to include, of the same rank.

    Reduction: none; the shape is that of `predictions`. Excluded elements are 0 and carry no gradient.

    Raises: ValueError if the shapes differ: nothing is broadcast.

    >>> from gradx import losses
    >>> round(float(losses.squared_error(3.0, 1.0)), 4)
    4.0
    """
    error, keep = _error("squared_error", predictions, targets, where)
    return arguments.keep(keep, error * error)


def l2_loss(predictions: ArrayLike, targets: ArrayLike | None = None, *, where: ArrayLike | None = None) -> jax.Array:
    """Return ½ (predictions - targets)², element by element: its gradient is the error itself.

    Args, reduction and errors are those of `squared_error`.

    >>> from gradx import losses
    >>> round(float(losses.l2_loss(3.0, 1.0)), 4)
    2.0
    """
    error, keep = _error("l2_loss", predictions, targets, where)
    return arguments.keep(keep, 0.5 * error * error)


def huber_loss(
    predictions: ArrayLike,
    targets: ArrayLike | None = None,
    *,
    delta: ArrayLike = 1.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return ½ e² for |e| <= delta and delta (|e| - ½ delta) beyond, e = predictions - targets.

    Args:
      predictions: any shape.
      targets: the same shape; None stands for zeros.
      delta: the error at which the parabola becomes a line, positive.
      where: the elements to include, of the same rank.

    Reduction: none; the shape is that of `predictions`. Excluded elements are 0 and carry no gradient.

    Raises: ValueError if the shapes differ or `delta` is not positive.

    Reference: Huber, Robust Estimation of a Location Parameter, 1964.

    >>> from gradx import losses
    >>> round(float(losses.huber_loss(3.0, 0.0, delta=1.0)), 4)
    2.5
    """
    error, keep = _error("huber_loss", predictions, targets, where)
    delta = arguments.number("huber_loss", "delta", delta, arguments.POSITIVE, error.dtype)
    # With c = clip(e): both branches are c (e - c/2). Unlike a form in |e| it has the right curvature at e = 0.
    clipped = jnp.clip(error, -delta, delta)
    return arguments.keep(keep, clipped * (error - 0.5 * clipped))


def log_cosh(predictions: ArrayLike, targets: ArrayLike | None = None, *, where: ArrayLike | None = None) -> jax.Array:
    """Return log cosh(predictions - targets): ½ e² for small errors e, |e| - log 2 for large ones.

    Args, reduction and errors are those of `squared_error`. Nothing overflows, however large the error.

    Reference: Chen, Chen and Chen, Log Hyperbolic Cosine Loss Improves Variational Auto-Encoder, 2019.

    >>> from gradx import losses
    >>> round(float(losses.log_cosh(100.0, 0.0)), 4)  # 100 - log 2
    99.3069
    """
    error, keep = _error("log_cosh", predictions, targets, where)
    return arguments.keep(keep, jnp.logaddexp(error, -error) - jnp.log(jnp.asarray(2, error.dtype)))


def cosine_similarity(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike = 0.0,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return the cosine of the angle between vectors: ⟨p, t⟩ / √(max(‖p‖², epsilon) max(‖t‖², epsilon)).

    Args:
      predictions: vectors, (..., d).
      targets: vectors of the same rank; size-1 dimensions broadcast, so (n, 1, d) and (1, m, d) give all pairs.
      epsilon: what the squared norms are held above, at least 0.
      axis: the axis or axes of the vectors.
      where: the entries to include, or the rows (the shape without `axis`).

    Reduction: over `axis` only. A zero vector, or one of which nothing is included, has similarity 0; its gradient is 0
    where epsilon is 0 too, for the direction of nothing is undefined. The squares of the entries must be representable:
    in float32, vectors of norm below about 1e-19 count as zero and above 1e19 overflow.

    Raises: ValueError if the ranks differ, the shapes do not broadcast, or `epsilon` is negative.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.cosine_similarity(jnp.array([3.0, 4.0]), jnp.array([3.0, 0.0]))), 4)
    0.6
    """
    similarity, _ = _cosine("cosine_similarity", predictions, targets, epsilon, axis, where)
    return similarity


def cosine_distance(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    epsilon: ArrayLike = 0.0,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return 1 - cosine_similarity(predictions, targets), between 0 and 2.

    Args, reduction and errors are those of `cosine_similarity`. A zero vector is at distance 1 from every other; a row
    of which nothing is included is at distance 0.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.cosine_distance(jnp.array([1.0, 0.0]), jnp.array([0.0, 2.0]))), 4)
    1.0
    """
    similarity, any_left = _cosine("cosine_distance", predictions, targets, epsilon, axis, where)
    return arguments.keep(any_left, 1 - similarity)


def _error(
    owner: str, predictions: ArrayLike, targets: ArrayLike | None, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array | None]:
    if targets is None:
        (error,) = arguments.floats(owner, predictions=predictions)
        keep = arguments.mask(owner, where, error.shape)
        (error,) = arguments.blank(keep, error)
        return error, keep
    p, t = arguments.floats(owner, predictions=predictions, targets=targets)
    arguments.same_shape(owner, predictions=p, targets=t)
    keep = arguments.mask(owner, where, p.shape)
    p, t = arguments.blank(keep, p, t)
    return p - t, keep


def _cosine(
    owner: str,
    predictions: ArrayLike,
    targets: ArrayLike,
    epsilon: ArrayLike,
    axis: int | tuple[int, ...],
    where: ArrayLike | None,
) -> tuple[jax.Array, jax.Array | None]:
    """Return the similarity, and which rows have anything left under the mask (None without a mask)."""
    p, t = arguments.floats(owner, predictions=predictions, targets=targets)
    shape = arguments.common_shape(owner, predictions=p, targets=t)
    over = arguments.axes(owner, axis, len(shape))
    epsilon = arguments.number(owner, "epsilon", epsilon, arguments.NON_NEGATIVE, p.dtype)
    keep = arguments.mask(owner, where, shape, over)
    if keep is not None:
        p, t = arguments.blank(keep, jnp.broadcast_to(p, shape), jnp.broadcast_to(t, shape))
    # Two roots, not the root of the product: that would overflow at the square of what is needed.
    p_length, t_length = (numerics.safe_sqrt(jnp.maximum(jnp.sum(x * x, axis=over), epsilon)) for x in (p, t))
    similarity = numerics.safe_divide(jnp.sum(p * t, axis=over), p_length * t_length)
    return similarity, None if keep is None else jnp.any(keep, axis=over)
