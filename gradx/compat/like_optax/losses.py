"""Losses under names that Optax gave up or keeps for itself."""

import warnings
from collections.abc import Callable
from typing import Any

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
