"""AdEMAMix: Adam with a second, much slower mean of the gradients; and its simplification to one sum."""

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


class ScaleByAdemamixState(NamedTuple):
    """The state of `scale_by_ademamix`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    count_m2: jax.Array
    """int32[]: the same; set it to 0 to warm the slow mean up again."""
    m1: Updates
    """The fast mean of g; like the parameters, in `mu_dtype` or at least float32."""
    m2: Updates
    """The slow mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


class ScaleBySimplifiedAdEMAMixState(NamedTuple):
    """The state of `scale_by_simplified_ademamix`."""

    t: jax.Array
    """int32[]: the updates already applied."""
    m: Updates
    """The decaying sum of g; like the parameters, at least float32."""
    n: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def ademamix_leaf(g, m1, m2, nu, *, b1, b2, b3, alpha, eps, eps_root, c1, c2):
    """Return ((m1 / c1 + alpha · m2) / (sqrt(nu / c2 + eps_root) + eps), m1, m2, nu)."""
    m1 = b1 * m1 + (1 - b1) * g
    m2 = b3 * m2 + (1 - b3) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    return (m1 / c1 + alpha * m2) / (numerics.safe_sqrt(nu / c2 + eps_root) + eps), m1, m2, nu


def simplified_ademamix_leaf(g, m, n, *, b1, b2, alpha, eps, eps_root, c2):
    """Return ((m + alpha · g) / (sqrt(n / c2 + eps_root) + eps), m, n) with m ← b1 · m + g."""
    m = b1 * m + g
    n = b2 * n + (1 - b2) * numerics.abs_sq(g)
    return (m + alpha * g) / (numerics.safe_sqrt(n / c2 + eps_root) + eps), m, n


@transformation
def scale_by_ademamix(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    b3: Decay = 0.9999,
    alpha: NonNegative = 6.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
) -> Any:
    """Add a slow mean to Adam's: u = (m1 / c1 + alpha · m2) / (sqrt(nu / c2 + eps_root) + eps).

    m1, m2 and nu are means of g, g and |g|² at the decays b1, b3 and b2; c1 = 1 - b1^t, c2 = 1 - b2^t. m2 keeps its
    bias towards 0 and so comes in slowly.

    Args:
      b3: decay of the slow mean, in [0, 1). The paper raises it from b1 to 0.9999 by a schedule.
      alpha: weight of the slow mean, at least 0. The paper raises it from 0 to between 4 and 10 by `linear_schedule`.
      mu_dtype: dtype of m1 and m2. (Optax keeps nu in it too: in bfloat16 that never decays.)

    State: 3 numbers per parameter and 2 int32[]. Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_ademamix(b3=0.75, alpha=4.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # 1 + 4 · (1 - 0.75)
    2.0
    """

    def init(params: Params) -> ScaleByAdemamixState:
        m1, m2 = moments_like(params, mu_dtype), moments_like(params, mu_dtype)
        count, count_m2 = jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
        return ScaleByAdemamixState(count, count_m2, m1, m2, tree.real_full_like(params, 0.0))

    def update(updates: Updates, state: ScaleByAdemamixState) -> tuple[Updates, ScaleByAdemamixState]:
        count, count_m2 = numerics.safe_increment(state.count), numerics.safe_increment(state.count_m2)
        hyper = {"b1": b1, "b2": b2, "b3": b3, "alpha": alpha, "eps": eps, "eps_root": eps_root}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        updates, m1, m2, nu = tree.map_leaves(ademamix_leaf, updates, state.m1, state.m2, state.nu, **hyper)
        return updates, ScaleByAdemamixState(count, count_m2, m1, m2, nu)

    return init, update


@transformation
def ademamix(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    b3: Decay = 0.9999,
    alpha: NonNegative = 5.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """AdEMAMix: AdamW with a slow mean m2 of the gradients beside the fast m1, both over one root.

    u = -learning_rate · ((m1 / c1 + alpha · m2) / (sqrt(nu / c2 + eps_root) + eps) + weight_decay · p).

    The other arguments are those of `scale_by_ademamix`.

    State: 3 numbers per parameter. Needs: params. Pagliardini et al. 2024, arXiv:2409.03137, Algorithm 1.

    >>> import gradx
    >>> gradx.ademamix(1e-3, alpha=gradx.linear_schedule(0.0, 5.0, 1000)).arguments["b3"]
    0.9999
    """
    return chain(
        scale_by_ademamix(b1, b2, b3, alpha, eps, eps_root, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def scale_by_simplified_ademamix(
    b1: Decay = 0.99,
    b2: Decay = 0.95,
    alpha: NonNegative = 0.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
) -> Any:
    """Add the gradient to a decaying sum, and scale: u = (m + alpha · g) / (sqrt(n / c2 + eps_root) + eps).

    m ← b1 · m + g, a sum and no mean: at rest it is 1 / (1 - b1) gradients. n ← b2 · n + (1 - b2) · |g|²;
    c2 = 1 - b2^t.

    Args:
      b1: decay of the sum, in [0, 1).
      alpha: weight of the newest gradient beside the sum, at least 0.

    State: 2 numbers per parameter and int32[]. Morwani et al. 2025, arXiv:2502.02431, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_simplified_ademamix(alpha=4.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # (3 + 4 · 3) / 3
    5.0
    """

    def init(params: Params) -> ScaleBySimplifiedAdEMAMixState:
        m, n = tree.zeros_like(params), tree.real_full_like(params, 0.0)
        return ScaleBySimplifiedAdEMAMixState(jnp.zeros((), jnp.int32), m, n)

    def update(
        updates: Updates, state: ScaleBySimplifiedAdEMAMixState
    ) -> tuple[Updates, ScaleBySimplifiedAdEMAMixState]:
        t = numerics.safe_increment(state.t)
        hyper = {"b1": b1, "b2": b2, "alpha": alpha, "eps": eps, "eps_root": eps_root}
        hyper["c2"] = numerics.bias_correction(b2, t)
        updates, m, n = tree.map_leaves(simplified_ademamix_leaf, updates, state.m, state.n, **hyper)
        return updates, ScaleBySimplifiedAdEMAMixState(t, m, n)

    return init, update


@transformation
def simplified_ademamix(
    learning_rate: LearningRate,
    b1: Decay = 0.99,
    b2: Decay = 0.95,
    alpha: NonNegative = 0.0,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """Simplified AdEMAMix: one decaying sum m, with the newest gradient weighed by itself, for two means.

    u = -learning_rate · ((m + alpha · g) / (sqrt(n / c2 + eps_root) + eps) + weight_decay · p).

    m grows to 1 / (1 - b1) gradients: the learning rate is to be that much smaller than Adam's. The other arguments
    are those of `scale_by_simplified_ademamix`.

    State: 2 numbers per parameter. Needs: params. Morwani et al. 2025, arXiv:2502.02431, Algorithm 1.

    >>> import gradx
    >>> gradx.simplified_ademamix(1e-5, alpha=100.0)
    simplified_ademamix(learning_rate=1e-05, alpha=100.0)
    """
    return chain(
        scale_by_simplified_ademamix(b1, b2, alpha, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
