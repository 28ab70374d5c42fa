"""Overlap losses for segmentation: the Dice family.

>>> import jax.numpy as jnp
>>> print(binary_dice_loss(jnp.full((1, 4), 0.5), jnp.array([[1, 1, 0, 0]]), apply_sigmoid=False).round(4))
[0.3333]
"""

from collections.abc import Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments, normalize


def dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    class_weights: ArrayLike | None = None,
    smooth: ArrayLike = 1.0,
    alpha: ArrayLike = 0.5,
    beta: ArrayLike = 0.5,
    apply_softmax: bool = True,
    reduction: Literal["mean", "sum", "none"] = "mean",
    ignore_background: bool = False,
    axis: int | Sequence[int] | None = None,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return 1 - (I + smooth) / (I + alpha FP + beta FN + smooth) per class, reduced over classes.

    I = Σ p t, FP = Σ p (1 - t), FN = Σ (1 - p) t over the pixels. alpha = beta = ½ is Dice, other weights Tversky.

    Args:
      predictions: logits, (batch, ..., classes); probabilities if `apply_softmax` is False. With one class the softmax
        is a sigmoid.
      targets: one-hot labels or probabilities t, of the same shape.
      class_weights: (classes,), a factor on each class's loss.
      smooth, alpha, beta: at least 0.
      apply_softmax: whether predictions are logits.
      reduction: over classes: 'mean' (over their number, not their weights), 'sum', or 'none'.
      ignore_background: leave out class 0.
      axis: the axes of the pixels, without the last; None takes all but the first and the last.
      where: the pixels (last axis of size 1, or the shape without it) or entries to include.

    Reduction: sums over `axis` within the fraction, then `reduction`; the shape is what is left, by default (batch,).
    Without any included pixel, and where the fraction is 0 / 0, the loss is 0.

    Raises: ValueError for shapes that do not fit, numbers out of range, an unknown reduction.

    Reference: Milletari et al., V-Net, arXiv:1606.04797; Salehi et al., Tversky loss, arXiv:1706.05721.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> marked = jnp.array([[[0.5, 0.5], [0.0, 1.0]]])  # two pixels, two classes
    >>> truth = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    >>> loss = losses.dice_loss(marked, truth, smooth=0.0, apply_softmax=False, reduction="none")
    >>> [round(float(x), 4) for x in loss[0]]  # 1 - 2 · ½ / 1½, 1 - 2 · 1 / 2½
    [0.3333, 0.2]
    """
    owner = "dice_loss"
    if reduction not in ("mean", "sum", "none"):
        raise ValueError(f"{owner}: reduction must be 'mean', 'sum' or 'none', got {reduction!r}")
    p, t, keep = _pixels(owner, predictions, targets, where)
    pixels = _pixel_axes(owner, axis, p.ndim)
    loss = _tversky(owner, _probabilities(p, apply_softmax), t, keep, pixels, smooth, alpha, beta)
    if class_weights is not None:
        weights = jnp.asarray(class_weights, loss.dtype)
        if weights.shape != p.shape[-1:]:
            raise ValueError(f"{owner}: class_weights must have the shape {p.shape[-1:]}, got {weights.shape}")
        loss = loss * jnp.expand_dims(weights, tuple(range(loss.ndim - 1)))
    loss = _foreground(owner, loss, ignore_background)
    if reduction == "none":
        return loss
    return jnp.mean(loss, axis=-1) if reduction == "mean" else jnp.sum(loss, axis=-1)


def binary_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    apply_sigmoid: bool = True,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return 1 - (2 I + 2 smooth) / (Σ p + Σ t + 2 smooth), I = Σ p t over the pixels of each image.

    Args:
      predictions: logits, (batch, ...) or (batch, ..., 1); probabilities if `apply_sigmoid` is False.
      targets: labels in [0, 1], of the same shape.
      smooth: at least 0.
      apply_sigmoid: whether predictions are logits.
      where: the pixels to include, of the predictions' rank.

    Reduction: over all axes but the first; a trailing axis of size 1 is the class. The shape is (batch,). Without any
    included pixel, and where the fraction is 0 / 0, the loss is 0.

    Raises: ValueError for shapes that do not fit or a negative `smooth`.

    Reference: Milletari et al., V-Net, arXiv:1606.04797.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> marked, truth = jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 0.0]])
    >>> loss = losses.binary_dice_loss(marked, truth, smooth=0.0, apply_sigmoid=False)
    >>> round(float(loss[0]), 4)  # 1 - 2 · 1 / (2 + 1)
    0.3333
    """
    owner = "binary_dice_loss"
    p, t = arguments.floats(owner, predictions=predictions, targets=targets)
    arguments.same_shape(owner, predictions=p, targets=t)
    keep = arguments.mask(owner, where, p.shape)
    if p.ndim == 0:
        raise ValueError(f"{owner}: predictions must have a batch axis, got a scalar")
    if p.shape[-1] != 1:
        p, t = p[..., None], t[..., None]
        keep = None if keep is None else keep[..., None]
    p, t = arguments.blank(keep, p, t)
    pixels = _pixel_axes(owner, None, p.ndim)
    return _tversky(owner, _probabilities(p, apply_sigmoid), t, keep, pixels, smooth, 0.5, 0.5)[..., 0]


def multiclass_generalized_dice_loss(
    predictions: ArrayLike,
    targets: ArrayLike,
    *,
    smooth: ArrayLike = 1.0,
    apply_softmax: bool = True,
    ignore_background: bool = False,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return Dice losses averaged with weights 1 / (Σ t)², so that rare classes count as much as common ones.

    Args:
      predictions: logits, (batch, ..., classes); probabilities if `apply_softmax` is False.
      targets: one-hot labels or probabilities t, of the same shape; Σ t is over the whole batch.
      smooth: at least 0.
      apply_softmax: whether predictions are logits; with one class the softmax is a sigmoid.
      ignore_background: leave out class 0.
      where: the pixels (last axis of size 1, or the shape without it) or entries to include.

    Reduction: weighted mean over classes (the weights sum to 1, an ignored background has none), then mean over the
    batch: a scalar, 0 for an empty batch. A class that the batch lacks has no weight of its own and takes the largest
    of the others: an infinite one would silence the classes that are there.

    Raises: ValueError for shapes that do not fit or a negative `smooth`.

    Reference: Sudre et al., Generalised Dice overlap, arXiv:1707.03237; the weights are as there, but they weigh each
    class's own fraction and not its numerator and denominator.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> truth = jnp.array([[[1.0, 0.0], [0.0, 1.0]]])
    >>> float(losses.multiclass_generalized_dice_loss(truth, truth, apply_softmax=False))
    0.0
    """
    owner = "multiclass_generalized_dice_loss"
    p, t, keep = _pixels(owner, predictions, targets, where)
    loss = _tversky(
        owner, _probabilities(p, apply_softmax), t, keep, _pixel_axes(owner, None, p.ndim), smooth, 0.5, 0.5
    )
    loss = _foreground(owner, loss, ignore_background).reshape(-1, p.shape[-1] - ignore_background)
    counts = _foreground(owner, jnp.sum(t, axis=tuple(range(t.ndim - 1))), ignore_background)
    absent = counts == 0
    weights = jnp.where(absent, 0, 1 / jnp.where(absent, 1, counts) ** 2)
    largest = jnp.where(jnp.all(absent), 1, jnp.max(weights, initial=0))
    weights = jnp.where(absent, largest, weights)
    per_image = jnp.sum(loss * (weights / jnp.sum(weights))[None, :], axis=-1)
    return jnp.sum(per_image) / max(per_image.size, 1)


def _pixels(
    owner: str, predictions: ArrayLike, targets: ArrayLike, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    p, t = arguments.floats(owner, predictions=predictions, targets=targets)
    arguments.same_shape(owner, predictions=p, targets=t)
    if p.ndim == 0 or p.shape[-1] == 0:
        raise ValueError(f"{owner}: predictions must end in an axis of classes, got {p.shape}")
    keep = arguments.mask(owner, where, p.shape, (p.ndim - 1,))
    p, t = arguments.blank(keep, p, t)
    return p, t, keep


def _pixel_axes(owner: str, axis: int | Sequence[int] | None, ndim: int) -> tuple[int, ...]:
    if axis is None:
        return tuple(range(1, ndim - 1))
    axes = arguments.axes(owner, tuple(axis) if isinstance(axis, Sequence) else axis, ndim)
    if ndim - 1 in axes:
        raise ValueError(f"{owner}: axis {axis} holds the last axis, that of the classes")
    return axes


def _probabilities(p: jax.Array, from_logits: bool) -> jax.Array:
    if not from_logits:
        return p
    return jax.nn.sigmoid(p) if p.shape[-1] == 1 else jnp.exp(normalize.log_softmax(p, (p.ndim - 1,)))


def _tversky(
    owner: str,
    p: jax.Array,
    t: jax.Array,
    keep: jax.Array | None,
    pixels: tuple[int, ...],
    smooth: ArrayLike,
    alpha: ArrayLike,
    beta: ArrayLike,
) -> jax.Array:
    smooth = arguments.number(owner, "smooth", smooth, arguments.NON_NEGATIVE, p.dtype)
    alpha = arguments.number(owner, "alpha", alpha, arguments.NON_NEGATIVE, p.dtype)
    beta = arguments.number(owner, "beta", beta, arguments.NON_NEGATIVE, p.dtype)
    p, t = arguments.blank(keep, p, t)
    both = jnp.sum(p * t, axis=pixels)
    false_positive, false_negative = jnp.sum(p, axis=pixels) - both, jnp.sum(t, axis=pixels) - both
    whole = both + alpha * false_positive + beta * false_negative + smooth
    return jnp.where(whole == 0, 0, 1 - (both + smooth) / jnp.where(whole == 0, 1, whole))


def _foreground(owner: str, per_class: jax.Array, ignore_background: bool) -> jax.Array:
    if ignore_background and per_class.shape[-1] == 1:
        raise ValueError(f"{owner}: ignore_background leaves no class of 1")
    return per_class[..., 1:] if ignore_background else per_class
