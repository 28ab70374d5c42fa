"""NovoGrad: gradients divided by the running norm of their whole array."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, NonNegative, Params, Updates


class ScaleByNovogradState(NamedTuple):
    """The state of `scale_by_novograd`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The decaying sum of scaled gradients; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of ‖g‖², one real number for each array, at least float32."""


def novograd_leaf(g, mu, nu, p, *, b1, b2, eps, eps_root, weight_decay, at_start):
    """Return (mu, mu, nu) with mu ← b1 · mu + g / (sqrt(nu + eps_root) + eps) + weight_decay · p."""
    decay = jnp.where(at_start, 0, b2)
    nu = decay * nu + (1 - decay) * jnp.sum(numerics.abs_sq(g))
    mu = b1 * mu + g / (numerics.safe_sqrt(nu + eps_root) + eps) + weight_decay * p
    return mu, mu, nu


def zero_of(p: jax.Array) -> jax.Array:
    """Return the real scalar 0 with which the norm of an array starts, at least float32."""
    real = jnp.finfo(numerics.at_least_float32(jnp.result_type(p))).dtype
    return numerics.vary_together(jnp.zeros((), real), jnp.asarray(p))[0]


@transformation
def scale_by_novograd(
    b1: Decay = 0.9,
    b2: Decay = 0.25,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    mu_dtype: DType | None = None,
) -> Any:
    """Sum gradients, each divided by the running norm of its array: u = mu.

    mu ← b1 · mu + g / (sqrt(nu + eps_root) + eps) + weight_decay · p, after nu ← b2 · nu + (1 - b2) · ‖g‖², which is
    ‖g‖² at the first step: one number for each array.

    Args:
      b1: decay of the sum, in [0, 1).
      b2: decay of the mean of ‖g‖², in [0, 1).
      weight_decay: at least 0; it is summed with the scaled gradients.

    State: 1 number per parameter, 1 per array and int32[]. Needs: params. Ginsburg et al. 2019, arXiv:1905.11286,
    Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_novograd()
    >>> updates, _ = tx.update(3.0, tx.init(0.0), 0.0)
    >>> round(float(updates), 4)  # the first step is g / ‖g‖
    1.0
    """

    def init(params: Params) -> ScaleByNovogradState:
        return ScaleByNovogradState(
            jnp.zeros((), jnp.int32), moments_like(params, mu_dtype), jax.tree.map(zero_of, params)
        )

    def update(updates: Updates, state: ScaleByNovogradState, params: Params) -> tuple[Updates, ScaleByNovogradState]:
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "weight_decay": weight_decay}
        hyper["at_start"] = state.count == 0
        updates, mu, nu = tree.map_leaves(novograd_leaf, updates, state.mu, state.nu, params, **hyper)
        return updates, ScaleByNovogradState(numerics.safe_increment(state.count), mu, nu)

    return init, update


@transformation
def novograd(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.25,
    eps: NonNegative = 1e-6,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
) -> Any:
    """NovoGrad: momentum of gradients that are scaled array by array: u = -learning_rate · mu.

    mu ← b1 · mu + g / (sqrt(nu + eps_root) + eps) + weight_decay · p, nu the mean of ‖g‖². The arguments are those of
    `scale_by_novograd`.

    State: 1 number per parameter, 1 per array. Needs: params. Ginsburg et al. 2019, arXiv:1905.11286, Algorithm 1.

    >>> import gradx
    >>> gradx.novograd(1e-2, weight_decay=1e-3)
    novograd(learning_rate=0.01, weight_decay=0.001)
    """
    return chain(
        scale_by_novograd(b1, b2, eps, eps_root, weight_decay),
        scale_by_learning_rate(learning_rate),
    )
