"""Losses that pull embeddings of like things together and push others apart.

>>> import jax.numpy as jnp
>>> a, p, n = jnp.array([[0.0, 0.0]]), jnp.array([[1.0, 1.0]]), jnp.array([[3.0, 3.0]])
>>> print(triplet_margin_loss(a, p, n, norm_degree=1, margin=5.0).round(4))
[1.]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics
from gradx.losses import arguments, normalize
from gradx.typing import Range


def ntxent(
    embeddings: ArrayLike, labels: ArrayLike, temperature: ArrayLike = 0.07, *, where: ArrayLike | None = None
) -> jax.Array:
    """Return the normalised, temperature-scaled cross-entropy of every positive pair among a batch's embeddings.

    s_ij = cos(e_i, e_j) / temperature; a pair (i, j), i ≠ j, is positive if its labels agree. Its loss is
    -log(exp s_ij / (exp s_ij + Σ_k exp s_ik)), k over those whose label differs from i's.

    Args:
      embeddings: (batch, d).
      labels: (batch,), any dtype that compares.
      temperature: positive.
      where: (batch,), the samples to include, both as one of a pair and as a negative.

    Reduction: mean over all positive pairs (i, j), both orders counted; 0 if there is none. A zero embedding has
    similarity 0 and gradient 0.

    Raises: ValueError if the shapes do not fit or `temperature` is not positive.

    Reference: Chen et al., A Simple Framework for Contrastive Learning, arXiv:2002.05709, equation 1, with the positive
    pairs given by labels.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> embeddings = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    >>> round(float(losses.ntxent(embeddings, jnp.array([0, 0, 1]), temperature=1.0)), 4)  # log(1 + 1/e)
    0.3133
    """
    (x,) = arguments.floats("ntxent", embeddings=embeddings)
    labels = jnp.asarray(labels)
    if x.ndim != 2 or labels.shape != x.shape[:1]:
        raise ValueError(f"ntxent: wants embeddings (batch, d) and labels (batch,), got {x.shape} and {labels.shape}")
    temperature = arguments.number("ntxent", "temperature", temperature, arguments.POSITIVE, x.dtype)
    keep = arguments.mask("ntxent", where, labels.shape)
    if keep is not None:
        x = jnp.where(keep[:, None], x, 0)
    unit = numerics.safe_divide(x, numerics.safe_sqrt(jnp.sum(x * x, axis=1, keepdims=True)))
    s = jnp.matmul(unit, unit.T, precision=jax.lax.Precision.HIGHEST) / temperature
    alike = labels[:, None] == labels[None, :]
    pairs = ~jnp.eye(labels.shape[0], dtype=bool)
    if keep is not None:
        pairs = pairs & keep[:, None] & keep[None, :]
    positive = pairs & alike
    # -log(exp s / (exp s + exp n)) = softplus(n - s), n = log Σ exp over the negatives, about -inf if there are none.
    negatives = normalize.log_sum_exp(s, (1,), pairs & ~alike)
    total = jnp.sum(jnp.where(positive, jax.nn.softplus(negatives - s), 0))
    return total / jnp.maximum(jnp.sum(positive), 1).astype(x.dtype)


def triplet_margin_loss(
    anchors: ArrayLike,
    positives: ArrayLike,
    negatives: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    norm_degree: ArrayLike = 2,
    margin: ArrayLike = 1.0,
    eps: ArrayLike = 1e-6,
    *,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return max(0, D(anchor, positive) - D(anchor, negative) + margin), D(a, b) = (Σ |a - b|^p + eps)^(1/p).

    Args:
      anchors, positives, negatives: (..., d), of one rank; size-1 dimensions broadcast.
      axis: the axis or axes of the vectors.
      norm_degree: p, at least 1 and finite.
      margin: by how much the negative must be the farther, at least 0.
      eps: keeps the root away from 0, where its slope is infinite; at least 0.
      where: the entries to include, or the rows (the shape without `axis`).

    Reduction: over `axis` only; a row of which nothing is included is 0. With eps = 0 equal vectors have distance 0 and
    gradient 0.

    Raises: ValueError if the shapes do not broadcast or a number is out of range.

    Reference: Balntas et al., Learning Shallow Convolutional Feature Descriptors with Triplet Losses, BMVC 2016.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> anchor, far = jnp.array([0.0, 0.0]), jnp.array([0.0, 2.0])
    >>> round(float(losses.triplet_margin_loss(anchor, anchor, far, margin=3.0, eps=0.0)), 4)
    1.0
    """
    owner = "triplet_margin_loss"
    a, b, c = arguments.floats(owner, anchors=anchors, positives=positives, negatives=negatives)
    shape = arguments.common_shape(owner, anchors=a, positives=b, negatives=c)
    over = arguments.axes(owner, axis, len(shape))
    degree = arguments.number(owner, "norm_degree", norm_degree, Range(low=1.0, closed="[)"), a.dtype)
    margin = arguments.number(owner, "margin", margin, arguments.NON_NEGATIVE, a.dtype)
    eps = arguments.number(owner, "eps", eps, arguments.NON_NEGATIVE, a.dtype)
    keep = arguments.mask(owner, where, shape, over)
    a, b, c = arguments.blank(keep, *(jnp.broadcast_to(x, shape) for x in (a, b, c)))
    near, far = _distance(a - b, over, degree, eps), _distance(a - c, over, degree, eps)
    return arguments.keep_rows(keep, jnp.maximum(near - far + margin, 0), over)


def _distance(difference: jax.Array, over: tuple[int, ...], degree: jax.Array, eps: jax.Array) -> jax.Array:
    total = jnp.sum(jnp.abs(difference) ** degree, axis=over) + eps
    return jnp.where(total == 0, 0, jnp.where(total == 0, 1, total) ** (1 / degree))
