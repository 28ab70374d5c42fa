"""AdaMax: Adam with a decaying maximum in the place of the root mean square."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, Mask, NonNegative, Params, Updates


class ScaleByAdamaxState(NamedTuple):
    """The state of `scale_by_adamax`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The decaying maximum of |g|; real, like the parameters, at least float32."""


def adamax_leaf(g, mu, nu, *, b1, b2, eps, c1):
    """Return (mu / c1 / nu, mu, nu) with nu ← max(b2 · nu, |g| + eps)."""
    mu = b1 * mu + (1 - b1) * g
    nu = jnp.maximum(b2 * nu, jnp.abs(g) + eps)
    return (mu / c1) / nu, mu, nu


@transformation
def scale_by_adamax(b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8) -> Any:
    """Divide the mean gradient by a decaying maximum: u = (mu / c1) / nu.

    mu ← b1 · mu + (1 - b1) · g;  nu ← max(b2 · nu, |g| + eps);  c1 = 1 - b1^t.

    Args:
      b2: decay of the maximum, in [0, 1).
      eps: added to |g|, as in Optax and PyTorch; the paper has none, and divides by 0 after gradients of 0.

    State: 2 numbers per parameter and int32[]. Kingma and Ba 2015, arXiv:1412.6980, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.scale_by_adamax()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the first step is g / |g|
    1.0
    """

    def init(params: Params) -> ScaleByAdamaxState:
        mu, nu = tree.zeros_like(params), tree.real_full_like(params, 0.0)
        return ScaleByAdamaxState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates: Updates, state: ScaleByAdamaxState) -> tuple[Updates, ScaleByAdamaxState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "c1": numerics.bias_correction(b1, count)}
        updates, mu, nu = tree.map_leaves(adamax_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByAdamaxState(count, mu, nu)

    return init, update


@transformation
def adamax(learning_rate: LearningRate, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-8) -> Any:
    """AdaMax: u = -learning_rate · (mu / c1) / nu, nu the decaying maximum of |g|.

    The arguments are those of `scale_by_adamax`.

    State: 2 numbers per parameter. Kingma and Ba 2015, arXiv:1412.6980, Algorithm 2.

    >>> import gradx
    >>> gradx.adamax(2e-3)
    adamax(learning_rate=0.002)
    """
    return chain(scale_by_adamax(b1, b2, eps), scale_by_learning_rate(learning_rate))


@transformation
def adamaxw(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
) -> Any:
    """AdaMax with decoupled weight decay: u = -learning_rate · ((mu / c1) / nu + weight_decay · p).

    The other arguments are those of `scale_by_adamax`.

    State: 2 numbers per parameter. Needs: params.
    Kingma and Ba 2015, arXiv:1412.6980, Algorithm 2; Loshchilov and Hutter 2019, arXiv:1711.05101.

    >>> import gradx
    >>> gradx.adamaxw(2e-3, weight_decay=0.1)
    adamaxw(learning_rate=0.002, weight_decay=0.1)
    """
    return chain(
        scale_by_adamax(b1, b2, eps),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
