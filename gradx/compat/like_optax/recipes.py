"""Optimizers and blocks whose arguments Optax orders, or fills, otherwise than gradx."""

from typing import Any

import jax
import jax.numpy as jnp

import gradx
from gradx import numerics, tree
from gradx.compat.like_optax.base import as_optax
from gradx.compat.like_optax.utilities import check_shapes_equal
from gradx.core import EmptyState, ScheduledState, transformation
from gradx.transforms.clip import unit_norm
from gradx.transforms.scale import no_state
from gradx.typing import (
    Decay,
    DType,
    LearningRate,
    Mask,
    NonNegative,
    Params,
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


@as_optax
@transformation
def stateless_with_tree_map(f: Any) -> Any:
    """Make a transformation of `f(update, param)` on the leaves; the parameter is None where none are given.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.stateless_with_tree_map(lambda update, param: -update)
    >>> float(tx.update(4.0, tx.init(0.5))[0])
    -4.0
    """

    def update(updates: Updates, params: Params | None) -> Updates:
        if params is None:
            return jax.tree.map(lambda u: f(u, None), updates)
        return jax.tree.map(f, updates, params)

    return gradx.stateless(update)


@as_optax
@transformation
def clip_by_block_rms(threshold: NonNegative) -> Any:
    """Divide each array by max(1, rms / threshold).

    >>> import gradx.compat.optax as optax
    >>> optax.clip_by_block_rms(1.0)
    clip_by_block_rms(threshold=1.0)
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(block_rms_leaf, updates, threshold=threshold), state

    return no_state, update


def block_rms_leaf(u: jax.Array, *, threshold: jax.Array) -> jax.Array:
    """Return u / max(1, rms / threshold)."""
    rms = numerics.safe_root_mean_squares(u, 0.0)
    return jnp.where(rms == 0, u, u / jnp.maximum(1, rms / threshold))


def unitwise_norm(x: Any, axis: int | tuple[int, ...] | None = None) -> jax.Array:
    """Return the norm of each unit of a layer, in the shape of the array: see `adaptive_grad_clip`."""
    if axis is None and x.ndim > 5:
        raise ValueError(f"Expected parameter with shape in {{1, 2, 3, 4, 5}}, got {x.shape}; give axis")
    kept = tuple(range(x.ndim)) if axis is None and jnp.squeeze(x).ndim <= 1 else axis
    return jnp.broadcast_to(unit_norm(x, kept), x.shape)


def unitwise_clip(g_norm: Any, max_norm: Any, grad: Any, div_eps: Any = 1e-6) -> jax.Array:
    """Return the gradient, scaled where its unit's norm is above `max_norm`."""
    check_shapes_equal(g_norm, max_norm)
    check_shapes_equal(g_norm, grad)
    return jnp.where(g_norm < max_norm, grad, grad * (max_norm / jnp.maximum(g_norm, div_eps)))
