"""RAdam: Adam that holds back while its second moment has seen few gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, NonNegative, Params, Updates


class ScaleByRadamState(NamedTuple):
    """The state of `scale_by_radam`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def radam_leaf(g, mu, nu, *, b1, b2, eps, eps_root, c1, c1_next, c2, r, ready, nesterov):
    """Return (r · mu / c1 / (sqrt(nu / c2 + eps_root) + eps), mu, nu), and mu / c1 for the first until it is ready."""
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    ahead = b1 * (mu / c1_next) + (1 - b1) * (g / c1) if nesterov else mu / c1
    size = numerics.safe_sqrt(nu / c2 + eps_root) + eps
    return r * ahead / jnp.where(ready, size, 1), mu, nu


def length(b2: jax.Array, t: jax.Array, c2: jax.Array) -> jax.Array:
    """Return rho = (1 + b2) / (1 - b2) - 2t · b2^t / (1 - b2^t): how many gradients the mean of t of them amounts to.

    The two terms nearly cancel at first: rho = 5 is 1999 - 1994, of which float32 leaves two digits. With x = -t log b2
    and k(x) = coth(x / 2) - 2 / x it is t · (1 - k(x)) + k(x / t), and while x is small a series of k serves.
    """
    tiny = jnp.finfo(c2.dtype).tiny
    x = -t * jnp.log(jnp.maximum(b2, tiny))
    near = jnp.minimum(x, 0.1)
    early = t * (1 - langevin(near)) + langevin(near / t)
    return jnp.where(x < 0.1, early, (1 + b2) / (1 - b2) - 2 * t * (1 - c2) / c2)


def langevin(x: jax.Array) -> jax.Array:
    """Return coth(x / 2) - 2 / x for x from 0 to 0.1."""
    y = x * x
    return x * (1 / 6 - y * (1 / 360 - y / 15120))


def rectifier(rho: jax.Array, rho_inf: jax.Array, threshold: Any) -> tuple[jax.Array, jax.Array]:
    """Return (r, ready): the root of the ratio of variances, 1 while rho is below the threshold or has no variance."""
    ready = (rho >= jnp.asarray(threshold, rho.dtype)) & (rho > 4)
    rho, rho_inf = jnp.where(ready, rho, 10), jnp.where(ready, rho_inf, 10)
    ratio = ((rho - 4) / (rho_inf - 4)) * ((rho - 2) / (rho_inf - 2)) * (rho_inf / rho)
    return numerics.safe_sqrt(ratio), ready


@transformation
def scale_by_radam(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    threshold: NonNegative = 5.0,
    *,
    nesterov: bool = False,
) -> Any:
    """Take plain momentum at first, then r times Adam's direction.

    u = r · (mu / c1) / (sqrt(nu / c2 + eps_root) + eps), mu and nu as in `scale_by_adam`.

    rho = rho_inf - 2t · b2^t / (1 - b2^t), rho_inf = 2 / (1 - b2) - 1, is how many gradients nu amounts to. From
    rho ≥ threshold, r² = (rho - 4)(rho - 2) rho_inf / ((rho_inf - 4)(rho_inf - 2) rho); before, u = mu / c1.

    Args:
      threshold: of rho, above 4; the paper has 4, its authors' code, PyTorch and Optax 5.
      nesterov: use the momentum of the next step, as in NAdam; not in the paper.

    State: 2 numbers per parameter and int32[]. Liu et al. 2020, arXiv:1908.03265, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.scale_by_radam()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the gradient itself
    3.0
    """

    def init(params: Params) -> ScaleByRadamState:
        mu, nu = tree.zeros_like(params), tree.real_full_like(params, 0.0)
        return ScaleByRadamState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates: Updates, state: ScaleByRadamState) -> tuple[Updates, ScaleByRadamState]:
        count = numerics.safe_increment(state.count)
        c1, c2 = numerics.bias_correction(b1, count), numerics.bias_correction(b2, count)
        decay = jnp.asarray(b2, c2.dtype)
        rho = length(decay, count.astype(c2.dtype), c2)
        r, ready = rectifier(rho, (1 + decay) / (1 - decay), threshold)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "c1": c1, "c2": c2, "r": r, "ready": ready}
        hyper |= {"c1_next": numerics.bias_correction(b1, numerics.safe_increment(count)), "nesterov": nesterov}
        updates, mu, nu = tree.map_leaves(radam_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByRadamState(count, mu, nu)

    return init, update


@transformation
def radam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    threshold: NonNegative = 5.0,
    *,
    nesterov: bool = False,
) -> Any:
    """RAdam: Adam that needs no warmup: u = -learning_rate · r · (mu / c1) / (sqrt(nu / c2 + eps_root) + eps).

    r rises from 0 to 1 as nu gathers gradients; until it has gathered about 5, u = -learning_rate · mu / c1. The
    arguments are those of `scale_by_radam`.

    State: 2 numbers per parameter. Liu et al. 2020, arXiv:1908.03265, Algorithm 2.

    >>> import gradx
    >>> gradx.radam(1e-3)
    radam(learning_rate=0.001)
    """
    return chain(
        scale_by_radam(b1, b2, eps, eps_root, threshold, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )
