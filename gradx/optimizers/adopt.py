"""ADOPT: Adam whose gradients are divided by the root of the steps before, ahead of the mean."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, NonNegative, Params, Schedule, Updates


class ScaleByAdoptState(NamedTuple):
    """The state of `scale_by_adopt`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of scaled gradients; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def fourth_root(count: ArrayLike) -> jax.Array:
    """Return count^(1/4), the paper's bound."""
    return jnp.asarray(count).astype(jnp.result_type(float)) ** 0.25


def adopt_leaf(g, mu, nu, *, b1, b2, eps, bound, at_start, nesterov):
    """Return (mu, mu, nu): mu ← b1 · mu + (1 - b1) · clip(g / max(sqrt(nu), eps)), save at the first step; then nu."""
    size = jnp.where(at_start, 1, jnp.maximum(numerics.safe_sqrt(nu), eps))
    scaled = g / size if bound is None else held(g / size, bound)
    keep, decay = jnp.where(at_start, 1, b1), jnp.where(at_start, 0, b2)
    mu = keep * mu + (1 - keep) * scaled
    nu = numerics.made_after(decay * nu + (1 - decay) * numerics.abs_sq(g), mu)
    return (keep * mu + (1 - keep) * scaled if nesterov else mu), mu, nu


def held(x: jax.Array, bound: jax.Array) -> jax.Array:
    """Return x held within ±bound; of a complex x, each part."""
    if jnp.iscomplexobj(x):
        return jax.lax.complex(held(x.real, bound), held(x.imag, bound))
    return jnp.clip(x, -bound, bound)


@transformation
def scale_by_adopt(
    b1: Decay = 0.9,
    b2: Decay = 0.9999,
    eps: NonNegative = 1e-6,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Schedule = fourth_root,
) -> Any:
    """Divide the gradient by the root of those before it, then average: u = mu.

    mu ← b1 · mu + (1 - b1) · clip(g / max(sqrt(nu), eps)), and then nu ← b2 · nu + (1 - b2) · |g|². The first step only
    sets nu = |g|²: its u is 0.

    Args:
      use_clipping: hold g / max(sqrt(nu), eps) within ± clip_value_fn(t); of a complex one, each part.
      clip_value_fn: from t, the updates already applied, to the bound; the fourth root is the paper's.
      nesterov: use the momentum of the next step; not in the paper.

    State: 2 numbers per parameter and int32[]. Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2; without clipping
    Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_adopt(b1=0.5)
    >>> updates, state = tx.update(3.0, tx.init(0.0))
    >>> updates, state = tx.update(1.5, state)
    >>> float(updates)  # 0.5 · 1.5 / 3
    0.25
    """

    def init(params: Params) -> ScaleByAdoptState:
        mu, nu = moments_like(params, mu_dtype), tree.real_full_like(params, 0.0)
        return ScaleByAdoptState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates: Updates, state: ScaleByAdoptState) -> tuple[Updates, ScaleByAdoptState]:
        hyper = {"b1": b1, "b2": b2, "eps": eps, "at_start": state.count == 0, "nesterov": nesterov}
        hyper["bound"] = clip_value_fn(state.count) if use_clipping else None
        updates, mu, nu = tree.map_leaves(adopt_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByAdoptState(numerics.safe_increment(state.count), mu, nu)

    return init, update


@transformation
def adopt(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.9999,
    eps: NonNegative = 1e-6,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    use_clipping: bool = True,
    clip_value_fn: Schedule = fourth_root,
) -> Any:
    """ADOPT: Adam that converges at any b2: u = -learning_rate · mu, mu the mean of gradients already scaled.

    Each gradient is divided by the root of the mean of |g|² up to the step before, so that the two are independent; the
    first step only sets that mean. The arguments are those of `scale_by_adopt`.

    State: 2 numbers per parameter. Taniguchi et al. 2024, arXiv:2411.02853, Algorithm 2.

    >>> import gradx
    >>> gradx.adopt(1e-3)
    adopt(learning_rate=0.001)
    """
    options = {"nesterov": nesterov, "use_clipping": use_clipping, "clip_value_fn": clip_value_fn}
    return chain(scale_by_adopt(b1, b2, eps, mu_dtype, **options), scale_by_learning_rate(learning_rate))
