"""The later optimizers, where Optax fills their arguments otherwise than gradx."""

import warnings
from typing import Any

import jax
import jax.numpy as jnp

import gradx
from gradx.compat.like_optax.base import as_optax
from gradx.core import EmptyState, transformation
from gradx.optimizers.lion import MODES
from gradx.typing import (
    Decay,
    DType,
    LearningRate,
    Mask,
    NonNegative,
    NonNegativeInt,
    Params,
    PositiveInt,
    ScalarOrSchedule,
    State,
    Updates,
)

NormalizeState = EmptyState


def decay_rate_pow(i: Any, exponent: Any = 0.8) -> jax.Array:
    """Return 1 - (i + 1)^-exponent."""
    return 1.0 - (jnp.asarray(i, jnp.float32) + 1.0) ** (-exponent)


@as_optax
@transformation
def adafactor(
    learning_rate: LearningRate | None = None,
    min_dim_size_to_factor: NonNegativeInt = 128,
    decay_rate: Decay = 0.8,
    decay_offset: int = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: NonNegative | None = 1.0,
    momentum: Decay | None = None,
    dtype_momentum: Any = jnp.float32,
    weight_decay_rate: ScalarOrSchedule | None = None,
    eps: NonNegative = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
) -> Any:
    """Adafactor, its momentum in float32 whatever the parameters are.

    >>> import gradx.compat.optax as optax
    >>> optax.adafactor(1e-3)
    adafactor(learning_rate=0.001)
    """
    return gradx.adafactor(
        learning_rate, min_dim_size_to_factor, decay_rate, decay_offset, multiply_by_parameter_scale,
        clipping_threshold, momentum, dtype_momentum, weight_decay_rate, eps, factored, weight_decay_mask,
    )  # fmt: skip


@as_optax
@transformation
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: Decay = 0.8,
    step_offset: int = 0,
    min_dim_size_to_factor: NonNegativeInt = 128,
    epsilon: NonNegative = 1e-30,
    decay_rate_fn: Any = decay_rate_pow,
) -> Any:
    """Divide by Adafactor's root mean square.

    >>> import gradx.compat.optax as optax
    >>> optax.scale_by_factored_rms()
    scale_by_factored_rms()
    """
    own = None if decay_rate_fn is decay_rate_pow else decay_rate_fn
    return gradx.scale_by_factored_rms(factored, decay_rate, step_offset, min_dim_size_to_factor, epsilon, own)


@as_optax
@transformation
def scale_by_lion(
    b1: Decay = 0.9,
    b2: Decay = 0.99,
    mu_dtype: DType | None = None,
    *,
    mode: Any = "hard",
    smooth_beta: NonNegative = 1.0,
) -> Any:
    """Replace the gradient by the sign of its mean; a mode that is not known is refused at the first update.

    >>> import gradx.compat.optax as optax
    >>> optax.scale_by_lion()
    scale_by_lion()
    """
    if mode in MODES:
        return gradx.scale_by_lion(b1, b2, mu_dtype, mode=mode, smooth_beta=smooth_beta)

    def refuse(updates: Updates, state: State, params: Params | None = None) -> Any:
        raise ValueError(f"Unsupported mode: {mode}. Supported modes are {', '.join(MODES)}.")

    return gradx.scale_by_lion(b1, b2, mu_dtype).init, refuse


@as_optax
@transformation
def scale_by_distance_over_gradients(
    reps_rel: NonNegative = 1e-6,
    eps: NonNegative = 1e-8,
    param_dtype: Any = jnp.float32,
    global_scale: ScalarOrSchedule = 1.0,
) -> Any:
    """Layer-wise distance over gradients.

    >>> import gradx.compat.optax as optax
    >>> optax.scale_by_distance_over_gradients()
    scale_by_distance_over_gradients()
    """
    return gradx.scale_by_distance_over_gradients(reps_rel, eps, param_dtype, global_scale)


@as_optax
@transformation
def cocob(
    learning_rate: ScalarOrSchedule = 1.0,
    alpha: NonNegative = 100.0,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """COCOB, with a decay of 0.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.cocob()
    cocob()
    """
    return gradx.cocob(learning_rate, alpha, eps, weight_decay, mask)


@as_optax
@transformation
def madgrad(
    learning_rate: LearningRate, momentum: Decay = 0.9, weight_decay: NonNegative = 0.0, eps: NonNegative = 1e-6
) -> Any:
    """MADGRAD, with a decay of 0.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.madgrad(0.01)
    madgrad(learning_rate=0.01)
    """
    return gradx.madgrad(learning_rate, momentum, weight_decay, eps)


@as_optax
@transformation
def schedule_free_adamw(
    learning_rate: LearningRate = 0.0025,
    warmup_steps: NonNegativeInt | None = None,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: Any = None,
) -> Any:
    """Schedule-free AdamW, with a decay of 0.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.schedule_free_adamw(0.01)
    schedule_free_adamw(learning_rate=0.01)
    """
    return gradx.schedule_free_adamw(
        learning_rate, warmup_steps, b1, b2, eps, weight_decay, weight_lr_power, state_dtype
    )


@as_optax
@transformation
def dpsgd(
    learning_rate: LearningRate,
    l2_norm_clip: NonNegative,
    noise_multiplier: NonNegative,
    seed: int,
    momentum: Decay | None = None,
    nesterov: bool = False,
) -> Any:
    """Differentially private gradient descent, from a seed.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.dpsgd(0.1, 1.0, 1.1, 0)
    dpsgd(learning_rate=0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=0)
    """
    return gradx.dpsgd(learning_rate, l2_norm_clip, noise_multiplier, None, momentum, nesterov, seed=seed)


@as_optax
@transformation
def sophia(
    learning_rate: LearningRate,
    b1: Decay = 0.965,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 1e-4,
    weight_decay_mask: Mask | None = None,
    gamma: NonNegative = 0.01,
    clip_threshold: NonNegative | None = 1.0,
    update_interval: PositiveInt = 10,
    hessian_diagonal_fn: Any = gradx.hutchinson_estimator_diag_hessian(),
    mu_dtype: DType | None = None,
    verbose: bool = False,
    print_win_rate_every_n_steps: int = 0,
) -> Any:
    """Sophia; it prints nothing, whatever `verbose` says.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.sophia(1e-3)
    sophia(learning_rate=0.001)
    """
    del verbose, print_win_rate_every_n_steps
    return gradx.sophia(
        learning_rate, b1, b2, eps, weight_decay, weight_decay_mask, gamma, clip_threshold, update_interval,
        hessian_diagonal_fn, mu_dtype,
    )  # fmt: skip


def optimistic_adam(
    learning_rate: Any,
    optimism: Any = None,
    b1: Any = 0.9,
    b2: Any = 0.999,
    eps: Any = 1e-8,
    eps_root: Any = 0.0,
    mu_dtype: Any = None,
    *,
    nesterov: bool = True,
) -> Any:
    """Adam with optimism, under the name that Optax gave up for `optimistic_adam_v2`.

    >>> import gradx.compat.optax as optax
    >>> optax.optimistic_adam_v2(0.1)
    optimistic_adam_v2(learning_rate=0.1)
    """
    warnings.warn("optimistic_adam is deprecated: use `optimistic_adam_v2` instead", DeprecationWarning, stacklevel=2)
    if callable(learning_rate):
        raise ValueError("optimistic_adam takes no schedule; optimistic_adam_v2 does")
    beta = learning_rate if optimism is None else optimism
    return as_optax(gradx.chain)(
        gradx.scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        gradx.scale_by_optimistic_gradient(learning_rate, beta),
        gradx.scale(-1.0),
    )
