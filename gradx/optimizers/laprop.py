"""LaProp: Adam with the momentum behind the scaling, so that either may be short without the other."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative, Params, Updates


class ScaleByLaPropState(NamedTuple):
    """The state of `scale_by_laprop`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of the scaled gradients; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def laprop_leaf(g, mu, nu, *, b1, b2, eps, c1, c2):
    """Return (mu / c1, mu, nu): mu ← b1 · mu + (1 - b1) · g / (sqrt(nu / c2) + eps)."""
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    mu = b1 * mu + (1 - b1) * (g / (numerics.safe_sqrt(nu / c2) + eps))
    return mu / c1, mu, nu


@transformation
def scale_by_laprop(b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-15, mu_dtype: DType | None = None) -> Any:
    """Take the running mean of scaled gradients, in place of scaling the running mean: u = mu / c1.

    nu ← b2 · nu + (1 - b2) · |g|²;  mu ← b1 · mu + (1 - b1) · g / (sqrt(nu / c2) + eps);  c1 = 1 - b1^t, c2 = 1 - b2^t,
    t = 1 at the first update. No entry of u is larger than the largest of g / sqrt(nu / c2), so that b2 may be small:
    with b2 = 0 it is the momentum of signs.

    Args:
      b1: decay of the mean of the scaled gradients, in [0, 1).
      eps: added to the root.

    State: 2 numbers per parameter and int32[]. Ziyin, Wang and Ueda 2020, arXiv:2002.04839, the algorithm of LaProp.

    >>> import gradx
    >>> tx = gradx.scale_by_laprop()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the first step is g / |g|
    1.0
    """

    def init(params: Params) -> ScaleByLaPropState:
        mu = moments_like(params, mu_dtype)
        return ScaleByLaPropState(jnp.zeros((), jnp.int32), mu, tree.real_full_like(params, 0.0))

    def update(updates: Updates, state: ScaleByLaPropState) -> tuple[Updates, ScaleByLaPropState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        updates, mu, nu = tree.map_leaves(laprop_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByLaPropState(count, mu, nu)

    return init, update


@transformation
def laprop(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-15,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """LaProp: u = -learning_rate · (mu / c1 + weight_decay · p), mu the running mean of g / (sqrt(nu / c2) + eps).

    nu is the running mean of |g|². The arguments are those of `scale_by_laprop`.

    Args:
      weight_decay: decoupled, at least 0; the paper's algorithm has none.
      mask: where to decay, as in `add_decayed_weights`.

    State: 2 numbers per parameter. Needs: params. Ziyin, Wang and Ueda 2020, arXiv:2002.04839, the algorithm of LaProp.

    >>> import gradx
    >>> gradx.laprop(4e-4)
    laprop(learning_rate=0.0004)
    """
    return chain(
        scale_by_laprop(b1, b2, eps, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
