"""Adam and its kin: momentum divided by a running root mean square, both freed of their start at zero."""

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


class ScaleByAdamState(NamedTuple):
    """The state of `scale_by_adam`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def adam_leaf(g, mu, nu, *, b1, b2, eps, eps_root, c1, c2):
    """Return (mu / c1 / (sqrt(nu / c2 + eps_root) + eps), mu, nu)."""
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    return (mu / c1) / (numerics.safe_sqrt(nu / c2 + eps_root) + eps), mu, nu


def nadam_leaf(g, mu, nu, *, b1, b2, eps, eps_root, c1, c1_next, c2):
    """As `adam_leaf`, with the momentum of the next step: b1 · mu / c1_next + (1 - b1) · g / c1."""
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    ahead = b1 * (mu / c1_next) + (1 - b1) * (g / c1)
    return ahead / (numerics.safe_sqrt(nu / c2 + eps_root) + eps), mu, nu


class ScaleByNadamState(NamedTuple):
    """The state of `scale_by_nadam`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    momentum_product: jax.Array
    """float[]: the product of the momenta so far, 1 at the start."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def warm_nadam_leaf(g, mu, nu, *, b1, b2, eps, eps_root, of_g, of_mu, c2):
    """Return ((of_g · g + of_mu · mu) / (sqrt(nu / c2 + eps_root) + eps), mu, nu)."""
    mu = b1 * mu + (1 - b1) * g
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    return (of_g * g + of_mu * mu) / (numerics.safe_sqrt(nu / c2 + eps_root) + eps), mu, nu


@transformation
def scale_by_adam(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
) -> Any:
    """Replace the gradient by Adam's direction: u = (mu / c1) / (sqrt(nu / c2 + eps_root) + eps).

    mu ← b1 · mu + (1 - b1) · g;  nu ← b2 · nu + (1 - b2) · |g|²;  c1 = 1 - b1^t, c2 = 1 - b2^t, t = 1 at the first
    update.

    Args:
      b1, b2: decay of the means of g and |g|², in [0, 1).
      eps: added to the root; bounds the step where gradients are tiny.
      eps_root: added under the root; its derivative at 0 is finite then by itself.
      mu_dtype: dtype in which mu is kept, bfloat16 say. nu has no such argument: 0.999 · nu needs float32 to decay.
      nesterov: use the momentum of the next step (Dozat 2016).

    State: 2 numbers per parameter and int32[]. Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_adam()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the first step is g / |g|
    1.0
    """

    def init(params: Params) -> ScaleByAdamState:
        mu = moments_like(params, mu_dtype)
        return ScaleByAdamState(jnp.zeros((), jnp.int32), mu, tree.real_full_like(params, 0.0))

    def update(updates: Updates, state: ScaleByAdamState) -> tuple[Updates, ScaleByAdamState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        if nesterov:
            hyper["c1_next"] = numerics.bias_correction(b1, numerics.safe_increment(count))
        leaf = nadam_leaf if nesterov else adam_leaf
        updates, mu, nu = tree.map_leaves(leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByAdamState(count, mu, nu)

    return init, update


@transformation
def scale_by_nadam(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    *,
    momentum_decay: NonNegative = 4e-3,
) -> Any:
    """Replace the gradient by NAdam's direction, with a momentum that rises.

    The momentum is b(t) = b1 · (1 - 0.96^(t · momentum_decay) / 2), t = 1 at the first update.

    u = ((1 - b(t)) / (1 - P(t)) · g + b(t+1) / (1 - P(t+1)) · mu) / (sqrt(nu / c2 + eps_root) + eps), where P(t) is the
    product of b(1) to b(t); mu ← b1 · mu + (1 - b1) · g;  nu ← b2 · nu + (1 - b2) · |g|²;  c2 = 1 - b2^t.

    Args:
      b1: decay of mu, to which the momentum rises, in [0, 1).
      momentum_decay: how fast it rises, at least 0; 4e-3 is the paper's.

    State: 2 numbers per parameter, float[] and int32[]. Dozat 2016, "Incorporating Nesterov Momentum into Adam",
    Algorithm 8, with b1 for the decay of mu, as in PyTorch's NAdam.

    >>> import gradx
    >>> tx = gradx.scale_by_nadam(momentum_decay=0.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # 1 + 0.45 / (1 - 0.45²) · 0.1
    1.0564
    """

    def init(params: Params) -> ScaleByNadamState:
        mu, nu = moments_like(params, mu_dtype), tree.real_full_like(params, 0.0)
        return ScaleByNadamState(jnp.zeros((), jnp.int32), jnp.ones((), jnp.result_type(float)), mu, nu)

    def update(updates: Updates, state: ScaleByNadamState) -> tuple[Updates, ScaleByNadamState]:
        count, dtype = numerics.safe_increment(state.count), state.momentum_product.dtype
        t, highest, speed = count.astype(dtype), jnp.asarray(b1, dtype), jnp.asarray(momentum_decay, dtype)
        now, later = (highest * (1 - 0.5 * 0.96 ** (step * speed)) for step in (t, t + 1))
        product = state.momentum_product * now
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "c2": numerics.bias_correction(b2, count)}
        hyper |= {"of_g": (1 - now) / (1 - product), "of_mu": later / (1 - product * later)}
        updates, mu, nu = tree.map_leaves(warm_nadam_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByNadamState(count, product, mu, nu)

    return init, update


@transformation
def adam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
) -> Any:
    """Adam: u = -learning_rate · (mu / c1) / (sqrt(nu / c2 + eps_root) + eps).

    mu and nu are running means of the gradient g and of |g|²; c1 = 1 - b1^t and c2 = 1 - b2^t, t = 1 at the first
    update, undo their start at zero. The arguments are those of `scale_by_adam`.

    State: 2 numbers per parameter. Kingma and Ba 2015, arXiv:1412.6980, Algorithm 1.

    >>> import gradx
    >>> gradx.adam(1e-3, b2=0.95)
    adam(learning_rate=0.001, b2=0.95)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def adamw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    nesterov: bool = False,
) -> Any:
    """AdamW: Adam with decoupled weight decay: u = -learning_rate · (Adam's direction + weight_decay · p).

    The decay is multiplied by the learning rate, schedule and all, as in PyTorch, and not by Adam's scaling.

    Args:
      weight_decay: at least 0. Language models use about 0.1; Optax has 1e-4 for AdamW.
      mask: where to decay, as in `add_decayed_weights`; biases and norms are usually left out.

    The rest as in `scale_by_adam`.

    State: 2 numbers per parameter. Needs: params.
    Loshchilov and Hutter 2019, arXiv:1711.05101, Algorithm 2.

    >>> import gradx
    >>> gradx.adamw(1e-3, weight_decay=0.1).expand().arguments["parts"][1]
    add_decayed_weights(weight_decay=0.1)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def nadam(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    *,
    momentum_decay: NonNegative | None = None,
) -> Any:
    """NAdam: Adam with Nesterov's momentum.

    u = -learning_rate · (b1 · mu / c1' + (1 - b1) · g / c1) / (sqrt(nu / c2 + eps_root) + eps), c1' that of the next
    step.

    Args:
      momentum_decay: None keeps b1 constant; with a number the momentum rises to b1 as in `scale_by_nadam`: PyTorch's
        NAdam is momentum_decay=4e-3, Keras's Nadam momentum_decay=1.

    State: 2 numbers per parameter. Dozat 2016, "Incorporating Nesterov Momentum into Adam", Algorithm 2; with
    `momentum_decay` Algorithm 8.

    >>> import gradx
    >>> gradx.nadam(1e-3).expand()
    adam(learning_rate=0.001, nesterov=True)
    """
    if momentum_decay is None:
        return adam(learning_rate, b1, b2, eps, eps_root, mu_dtype, nesterov=True)
    return chain(
        scale_by_nadam(b1, b2, eps, eps_root, mu_dtype, momentum_decay=momentum_decay),
        scale_by_learning_rate(learning_rate),
    )


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
    momentum_decay: NonNegative | None = None,
) -> Any:
    """NAdamW: NAdam with decoupled weight decay, as `adamw` is to `adam`.

    Args:
      momentum_decay: as in `nadam`; 4e-3 is PyTorch's NAdam with decoupled_weight_decay=True.

    State: 2 numbers per parameter. Needs: params. Dozat 2016; Loshchilov and Hutter 2019, arXiv:1711.05101.

    >>> import gradx
    >>> gradx.nadamw(1e-3).expand()
    adamw(learning_rate=0.001, nesterov=True)
    """
    if momentum_decay is None:
        return adamw(learning_rate, b1, b2, eps, eps_root, mu_dtype, weight_decay, mask, nesterov=True)
    return chain(
        scale_by_nadam(b1, b2, eps, eps_root, mu_dtype, momentum_decay=momentum_decay),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
