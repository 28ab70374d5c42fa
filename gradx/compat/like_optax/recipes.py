"""Optimizers and blocks whose arguments Optax orders, or fills, otherwise than gradx."""

from typing import Any

import jax.numpy as jnp

import gradx
from gradx.compat.like_optax.base import as_optax
from gradx.core import ScheduledState, transformation
from gradx.typing import (
    Decay,
    DType,
    LearningRate,
    Mask,
    NonNegative,
    Positive,
    PositiveInt,
    Schedule,
    Updates,
)

ScaleByScheduleState = ScheduledState


@as_optax
@transformation
def adadelta(
    learning_rate: LearningRate | None = None,
    rho: Decay = 0.9,
    eps: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
) -> Any:
    """Adadelta with Optax's defaults: a learning rate of None leaves the sign of the gradient.

    >>> import gradx.compat.optax as optax
    >>> optax.adadelta(0.5)
    adadelta(learning_rate=0.5)
    """
    return gradx.chain(
        gradx.add_decayed_weights(weight_decay, weight_decay_mask),
        gradx.scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )


@as_optax
@transformation
def scale_by_learning_rate(learning_rate: LearningRate | None = None, *, flip_sign: bool = True) -> Any:
    """Multiply by -learning_rate; None leaves the updates as they are.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.scale_by_learning_rate(0.5)
    >>> float(tx.update(4.0, tx.init(0.0))[0])
    -2.0
    """
    if learning_rate is None:
        return gradx.identity()
    return gradx.scale_by_learning_rate(learning_rate, flip_sign=flip_sign)


@as_optax
@transformation
def nadam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
) -> Any:
    """NAdam; `nesterov=False` makes it Adam.

    >>> import gradx.compat.optax as optax
    >>> optax.nadam(1e-3)
    nadam(learning_rate=0.001)
    """
    return gradx.adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov)


@as_optax
@transformation
def nadamw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = True,
) -> Any:
    """NAdamW; `nesterov=False` makes it AdamW.

    >>> import gradx.compat.optax as optax
    >>> optax.nadamw(1e-3)
    nadamw(learning_rate=0.001)
    """
    return gradx.adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=nesterov)


def MultiSteps(
    opt: Any,
    every_k_schedule: PositiveInt | Schedule,
    use_grad_mean: bool = True,
    should_skip_update_fn: Any = None,
    accumulator_dtype: Any = jnp.float32,
) -> Any:
    """Gather k gradients and update once; a transformation, with the methods of Optax's class.

    >>> import gradx.compat.optax as optax
    >>> optax.MultiSteps(optax.sgd(0.1), 4).inner_opt
    sgd(learning_rate=0.1)
    """
    return gradx.MultiSteps(opt, every_k_schedule, use_grad_mean, should_skip_update_fn, accumulator_dtype)


trace = as_optax(gradx.momentum)
additive_weight_decay = as_optax(gradx.add_decayed_weights)
WeightDecaySchedule = ScheduledState


def global_norm(updates: Updates) -> Any:
    """Return the Euclidean norm of all entries together.

    >>> import gradx.compat.optax as optax
    >>> float(optax.global_norm({"a": 3.0, "b": 4.0}))
    5.0
    """
    return gradx.tree.norm(updates)
