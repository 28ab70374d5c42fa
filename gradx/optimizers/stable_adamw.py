"""StableAdamW: Adam's step is shortened where the second moment has not caught up with the gradient."""

from typing import Any

import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.optimizers.adam import ScaleByAdamState
from gradx.transforms.clip import clipping_factor
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative, Params, Positive, Updates


def stable_adam_leaf(g, mu, nu, *, b1, b2, eps, threshold, c1, c2):
    """Return (min(1, threshold / r) · mu / c1 / (sqrt(nu / c2) + eps), mu, nu), r² = mean |g|² / max(nu / c2, eps²)."""
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    size = jnp.sum(numerics.safe_divide(numerics.abs_sq(g), jnp.maximum(nu / c2, eps * eps))) / max(g.size, 1)
    factor = clipping_factor(numerics.safe_sqrt(size), threshold)
    return factor * ((mu / c1) / (numerics.safe_sqrt(nu / c2) + eps)), mu, nu


@transformation
def scale_by_stable_adam(
    b1: Decay = 0.9,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-6,
    threshold: Positive = 1.0,
    mu_dtype: DType | None = None,
) -> Any:
    """Shorten Adam's direction, by array, where the gradient outgrows its second moment: u ← u · min(1, threshold / r).

    r is the root mean square of g / sqrt(nu / c2), about 1 in a steady run; u = (mu / c1) / (sqrt(nu / c2) + eps), mu
    and nu the running means of g and of |g|², c1 = 1 - b1^t, c2 = 1 - b2^t. (`clip_by_block_rms` bounds the root mean
    square of u itself, which momentum keeps small when the gradient leaps.)

    Args:
      b1, b2: decay of the means of g and |g|², in [0, 1).
      eps: added to the root; no |g|² is divided by less than eps².
      threshold: the largest r that shortens nothing, above 0; infinity is `scale_by_adam`.

    State: 2 numbers per parameter and int32[]. Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.scale_by_stable_adam(b1=0.0, b2=0.5)
    >>> _, state = tx.update(1.0, tx.init(0.0))
    >>> updates, _ = tx.update(1000.0, state)
    >>> round(float(updates), 4)
    1.0
    """

    def init(params: Params) -> ScaleByAdamState:
        mu = moments_like(params, mu_dtype)
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, tree.real_full_like(params, 0.0))

    def update(updates: Updates, state: ScaleByAdamState) -> tuple[Updates, ScaleByAdamState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "threshold": threshold}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        updates, mu, nu = tree.map_leaves(stable_adam_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByAdamState(count, mu, nu)

    return init, update


@transformation
def stable_adamw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-6,
    threshold: Positive = 1.0,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-2,
    mask: Mask | None = None,
) -> Any:
    """StableAdamW: AdamW whose steps are shortened, by array, where the gradient outgrows its second moment.

    So it needs no clipping of gradients. The arguments are those of `scale_by_stable_adam`.

    Args:
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.

    State: 2 numbers per parameter. Needs: params. Wortsman et al. 2023, arXiv:2304.13013, Algorithm 2, which shortens
    the decay together with the step; here it is AdamW's.

    >>> import gradx
    >>> gradx.stable_adamw(1e-3)
    stable_adamw(learning_rate=0.001)
    """
    return chain(
        scale_by_stable_adam(b1, b2, eps, threshold, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
