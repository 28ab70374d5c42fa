"""Losses of one score per decision: yes or no.

Every function here works element by element and reduces nothing.

>>> import jax.numpy as jnp
>>> print(sigmoid_binary_cross_entropy(jnp.array([100.0, -100.0, 0.0]), jnp.array([1, 1, 0])).round(4))
[  0.     100.       0.6931]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments


def sigmoid_binary_cross_entropy(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return -y log σ(x) - (1 - y) log σ(-x), element by element.

    Args:
      logits: x, any shape; finite.
      labels: y in [0, 1], ints or floats, that broadcast to the logits' shape.
      where: the elements to include, of the logits' rank.

    Reduction: none; the shape is that of `logits`. Excluded elements are 0 and carry no gradient. Several classes that
    do not exclude each other: sum over the last axis.

    Raises: ValueError if `labels` or `where` do not broadcast to the logits.

    >>> from gradx import losses
    >>> round(float(losses.sigmoid_binary_cross_entropy(0.0, 1)), 4)  # log 2
    0.6931
    """
    x, y, keep = _scores_and_targets("sigmoid_binary_cross_entropy", "logits", logits, "labels", labels, where)
    return arguments.keep(keep, _cross_entropy(x, y))


def sigmoid_focal_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    alpha: ArrayLike | None = None,
    gamma: ArrayLike = 2.0,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return alpha_t (1 - p_t)^gamma CE: cross-entropy CE with the easy examples weighted down.

    p = σ(x), p_t = p y + (1 - p)(1 - y), alpha_t = alpha y + (1 - alpha)(1 - y).

    Args:
      logits: x, any shape; finite.
      labels: y in [0, 1], ints or floats, that broadcast to the logits' shape.
      alpha: the weight of the positive class, in [0, 1]; None weighs both classes by 1.
      gamma: how fast easy examples lose weight, at least 0; 0 gives plain cross-entropy.
      where: the elements to include, of the logits' rank.

    Reduction: none; the shape is that of `logits`. Excluded elements are 0 and carry no gradient. Where 1 - p_t is too
    small to represent, the loss and its gradient are 0, also for gamma below 1.

    Raises: ValueError if shapes do not broadcast to the logits, or `alpha` or `gamma` is out of range.

    Reference: Lin et al., Focal Loss for Dense Object Detection, arXiv:1708.02002, equation 5.

    >>> from gradx import losses
    >>> round(float(losses.sigmoid_focal_loss(0.0, 1, gamma=2.0)), 4)  # log 2 / 4
    0.1733
    """
    owner = "sigmoid_focal_loss"
    x, y, keep = _scores_and_targets(owner, "logits", logits, "labels", labels, where)
    gamma = arguments.number(owner, "gamma", gamma, arguments.NON_NEGATIVE, x.dtype)
    miss = y * jax.nn.sigmoid(-x) + (1 - y) * jax.nn.sigmoid(x)  # 1 - p_t, without the cancellation
    # The power's derivative at 0 is infinite for gamma < 1; cross-entropy is 0 there and wins.
    certain = miss <= 0
    loss = jnp.where(certain, 0, jnp.where(certain, 1, miss) ** gamma * _cross_entropy(x, y))
    if alpha is not None:
        alpha = arguments.number(owner, "alpha", alpha, arguments.FRACTION, x.dtype)
        loss = (alpha * y + (1 - alpha) * (1 - y)) * loss
    return arguments.keep(keep, loss)


def hinge_loss(predictor_outputs: ArrayLike, targets: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return max(0, 1 - f y), element by element: zero once the decision is right by a margin of 1.

    Args:
      predictor_outputs: f, any shape.
      targets: y, -1 or 1, that broadcast to the outputs' shape.
      where: the elements to include, of the outputs' rank.

    Reduction: none; the shape is that of `predictor_outputs`. Excluded elements are 0 and carry no gradient. At the
    kink the gradient is half of what it is inside.

    Raises: ValueError if `targets` or `where` do not broadcast to the outputs.

    >>> from gradx import losses
    >>> round(float(losses.hinge_loss(0.25, 1)), 4)
    0.75
    """
    f, y, keep = _scores_and_targets("hinge_loss", "predictor_outputs", predictor_outputs, "targets", targets, where)
    return arguments.keep(keep, jnp.maximum(0, 1 - f * y))


def perceptron_loss(predictor_outputs: ArrayLike, targets: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return max(0, -f y), element by element: zero once the decision is right.

    Args, reduction and errors are those of `hinge_loss`.

    Reference: Rosenblatt, The Perceptron, 1958.

    >>> from gradx import losses
    >>> round(float(losses.perceptron_loss(-0.25, 1)), 4)
    0.25
    """
    f, y, keep = _scores_and_targets(
        "perceptron_loss", "predictor_outputs", predictor_outputs, "targets", targets, where
    )
    return arguments.keep(keep, jnp.maximum(0, -f * y))


def sparsemax_loss(logits: ArrayLike, labels: ArrayLike, *, where: ArrayLike | None = None) -> jax.Array:
    """Return the binary sparsemax loss: 0 for m >= 1, -m for m <= -1, (1 - m)² / 4 between; m the signed logit.

    Args:
      logits: any shape; m is the logit where the label is true and minus the logit where it is not.
      labels: 0 or 1 (or bools) that broadcast to the logits' shape; whatever is neither 0 nor NaN counts as 1.
      where: the elements to include, of the logits' rank.

    Reduction: none; the shape is that of `logits`. Excluded elements are 0 and carry no gradient. Smooth everywhere.

    Raises: ValueError if `labels` or `where` do not broadcast to the logits.

    Reference: Blondel, Martins and Niculae, Learning with Fenchel-Young Losses, arXiv:1901.02324, section 4.4.

    >>> from gradx import losses
    >>> round(float(losses.sparsemax_loss(0.0, 1)), 4)
    0.25
    """
    x, y, keep = _scores_and_targets("sparsemax_loss", "logits", logits, "labels", labels, where)
    against = jnp.where(jnp.isnan(y), y, jnp.where(y != 0, -x, x))
    inside = jnp.clip(against, -1, 1) + 1
    return arguments.keep(keep, 0.25 * inside * inside + jnp.maximum(against - 1, 0))


def _cross_entropy(x: jax.Array, y: jax.Array) -> jax.Array:
    return y * jax.nn.softplus(-x) + (1 - y) * jax.nn.softplus(x)


def _scores_and_targets(
    owner: str, score_name: str, scores: ArrayLike, target_name: str, targets: ArrayLike, where: ArrayLike | None
) -> tuple[jax.Array, jax.Array, jax.Array | None]:
    x, y = arguments.floats(owner, **{score_name: scores, target_name: targets})
    y = arguments.expand_to(owner, target_name, y, x.shape, score_name)
    keep = arguments.mask(owner, where, x.shape)
    x, y = arguments.blank(keep, x, y)
    return x, y, keep
