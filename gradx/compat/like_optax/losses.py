"""Losses under names that Optax gave up or keeps for itself, and those that it returns otherwise."""

import warnings
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.core import Tracer

from gradx import losses

MaxFun = Callable[..., Any]
binary_logistic_loss = losses.sigmoid_binary_cross_entropy
binary_sparsemax_loss = losses.sparsemax_loss
multiclass_logistic_loss = losses.softmax_cross_entropy_with_integer_labels


def convex_kl_divergence(log_predictions: Any, targets: Any, axis: Any = -1, where: Any = None) -> Any:
    """Return `generalized_kl_divergence(...)`, under the name that Optax gave up.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> float(optax.generalized_kl_divergence(jnp.log(jnp.ones(2)), jnp.ones(2)))
    0.0
    """
    warnings.warn("convex_kl_divergence is deprecated: use generalized_kl_divergence", DeprecationWarning, stacklevel=2)
    return losses.generalized_kl_divergence(log_predictions, targets, axis, where)


def softmax_cross_entropy_with_integer_labels(
    logits: Any, labels: Any, axis: int | tuple[int, ...] = -1, where: Any = None
) -> Any:
    """Return -log softmax(logits)[label]; several axes of classes are summed as one, in their order.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> round(float(optax.softmax_cross_entropy_with_integer_labels(jnp.zeros((2, 2)), 3, axis=(0, 1))), 4)  # log 4
    1.3863
    """
    if isinstance(axis, tuple) and where is None:
        logits = jnp.moveaxis(logits, axis, tuple(range(-len(axis), 0)))
        logits = jnp.reshape(logits, (*logits.shape[: logits.ndim - len(axis)], -1))
        axis = -1
    return losses.softmax_cross_entropy_with_integer_labels(logits, labels, axis, where)


def ctc_loss_with_forward_probs(
    logits: Any,
    logit_paddings: Any,
    labels: Any,
    label_paddings: Any,
    *,
    blank_id: int = 0,
    log_epsilon: float = -1e5,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return (loss, blank, label) with the label's share added to the blank's at the last frame.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> logits, paddings, labels = jnp.zeros((1, 2, 3)), jnp.zeros((1, 2)), jnp.array([[1]])
    >>> loss, blank, _ = optax.ctc_loss_with_forward_probs(logits, paddings, labels, jnp.zeros((1, 1)))
    >>> bool(jnp.allclose(blank[-1, :, 1], -loss))
    True
    """
    loss, blank, label = losses.ctc_loss_with_forward_probs(
        logits, logit_paddings, labels, label_paddings, blank_id=blank_id, log_epsilon=log_epsilon
    )
    ended = blank[-1].at[:, 1:].set(jnp.logaddexp(blank[-1, :, 1:], label[-1])) if len(blank) else None
    return loss, blank if ended is None else blank.at[-1].set(ended), label


def dice_loss(
    predictions: Any,
    targets: Any,
    *,
    class_weights: Any = None,
    smooth: Any = 1.0,
    alpha: Any = 0.5,
    beta: Any = 0.5,
    apply_softmax: bool = True,
    reduction: Any = "mean",
    ignore_background: bool = False,
    axis: Any = None,
) -> Any:
    """Return `gradx.losses.dice_loss(...)`; an axis of one class may be missing, sums of probabilities are checked.

    Under `jit` they are not, where Optax cannot be traced.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> optax.losses.dice_loss(jnp.ones((2, 4)), jnp.ones((2, 4, 1))).shape
    (2,)
    """
    predictions, targets = jnp.asarray(predictions), jnp.asarray(targets)
    if predictions.ndim == targets.ndim - 1:
        predictions = predictions[..., None]
    if targets.ndim == predictions.ndim - 1:
        targets = targets[..., None]
    sums = jnp.sum(predictions, axis=-1)
    if not (apply_softmax or isinstance(sums, Tracer) or jnp.allclose(sums, 1.0, rtol=1e-5)):
        raise ValueError(
            "dice_loss: with apply_softmax=False predictions must be valid probability distributions, which sum to 1"
            f" over the last axis; these sum to [{float(jnp.min(sums)):.6f}, {float(jnp.max(sums)):.6f}]"
        )
    return losses.dice_loss(
        predictions, targets, class_weights=class_weights, smooth=smooth, alpha=alpha, beta=beta,
        apply_softmax=apply_softmax, reduction=reduction,
        ignore_background=ignore_background and predictions.shape[-1] > 1, axis=axis,
    )  # fmt: skip
