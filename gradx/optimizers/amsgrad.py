"""AMSGrad: Adam whose second moment never shrinks."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, NonNegative, Params, Updates


class ScaleByAmsgradState(NamedTuple):
    """The state of `scale_by_amsgrad`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""
    nu_max: Updates
    """The largest nu / c2 so far; real, like the parameters, at least float32."""


def amsgrad_leaf(g, mu, nu, nu_max, *, b1, b2, eps, eps_root, c1, c2):
    """Return (mu / c1 / (sqrt(nu_max + eps_root) + eps), mu, nu, nu_max) with nu_max ← max(nu_max, nu / c2)."""
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    nu_max = jnp.maximum(nu_max, nu / c2)
    return (mu / c1) / (numerics.safe_sqrt(nu_max + eps_root) + eps), mu, nu, nu_max


@transformation
def scale_by_amsgrad(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Any:
    """Divide the mean gradient by the largest root mean square so far: u = (mu / c1) / (sqrt(nu_max + eps_root) + eps).

    mu ← b1 · mu + (1 - b1) · g;  nu ← b2 · nu + (1 - b2) · |g|²;  nu_max ← max(nu_max, nu / c2).

    Args:
      bias_correction_mu: c1 = 1 - b1^t; False is c1 = 1.
      bias_correction_nu: c2 = 1 - b2^t; False is c2 = 1. With both the first gradients may rule nu_max for long.

    State: 3 numbers per parameter and int32[]. Reddi, Kale and Kumar 2018, arXiv:1904.09237, Algorithm 2, which
    corrects no bias; the defaults are Optax's. PyTorch corrects the bias of nu behind the maximum.

    >>> import gradx
    >>> tx = gradx.scale_by_amsgrad()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the first step is g / |g|
    1.0
    """

    def init(params: Params) -> ScaleByAmsgradState:
        nu, nu_max = tree.real_full_like(params, 0.0), tree.real_full_like(params, 0.0)
        return ScaleByAmsgradState(jnp.zeros((), jnp.int32), moments_like(params, mu_dtype), nu, nu_max)

    def update(updates: Updates, state: ScaleByAmsgradState) -> tuple[Updates, ScaleByAmsgradState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
        hyper["c1"] = numerics.bias_correction(b1, count) if bias_correction_mu else 1.0
        hyper["c2"] = numerics.bias_correction(b2, count) if bias_correction_nu else 1.0
        updates, mu, nu, nu_max = tree.map_leaves(amsgrad_leaf, updates, state.mu, state.nu, state.nu_max, **hyper)
        return updates, ScaleByAmsgradState(count, mu, nu, nu_max)

    return init, update


@transformation
def amsgrad(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    bias_correction_mu: bool = True,
    bias_correction_nu: bool = True,
) -> Any:
    """AMSGrad: Adam whose steps never lengthen: u = -learning_rate · (mu / c1) / (sqrt(nu_max + eps_root) + eps).

    nu_max is the largest mean of |g|² so far. The arguments are those of `scale_by_amsgrad`.

    State: 3 numbers per parameter. Reddi, Kale and Kumar 2018, arXiv:1904.09237, Algorithm 2.

    >>> import gradx
    >>> gradx.amsgrad(1e-3)
    amsgrad(learning_rate=0.001)
    """
    return chain(
        scale_by_amsgrad(b1, b2, eps, eps_root, mu_dtype, bias_correction_mu, bias_correction_nu),
        scale_by_learning_rate(learning_rate),
    )
