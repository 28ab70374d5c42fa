"""MADGRAD: dual averaging, divided by the cube root of the summed squares."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import identity, transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.typing import Decay, LearningRate, NonNegative, Params, Updates


class MadgradState(NamedTuple):
    """The state of `scale_by_madgrad`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    grad_sum_sq: Updates
    """The sum of lambda · |g|²; real, like the parameters, at least float32."""
    s: Updates
    """The sum of lambda · g; like the parameters, at least float32."""
    x0: Params
    """The first parameters, in at least float32."""


def madgrad_leaf(g, grad_sum_sq, s, x0, p, *, learning_rate, momentum, eps, t):
    """Return ((1 - momentum) · (x0 - s / (cbrt(grad_sum_sq) + eps) - p), grad_sum_sq, s)."""
    weight = (learning_rate + eps) * jnp.sqrt(t)
    grad_sum_sq = grad_sum_sq + weight * numerics.abs_sq(g)
    s = s + weight * g
    z = x0 - s / (safe_cbrt(grad_sum_sq) + eps)
    return (1 - momentum) * (z - p), grad_sum_sq, s


def safe_cbrt(x: jax.Array) -> jax.Array:
    """Return the cube root, with derivative 0 at 0 in place of infinity."""
    zero = x == 0
    return jnp.where(zero, 0, jnp.cbrt(jnp.where(zero, 1, x)))


@transformation
def scale_by_madgrad(learning_rate: LearningRate, momentum: Decay = 0.9, eps: NonNegative = 1e-6) -> Any:
    """Step towards x0 less the scaled sum of all gradients: u = (1 - momentum) · (x0 - s / (cbrt(v) + eps) - p).

    s ← s + l · g;  v ← v + l · |g|²;  l = (learning_rate + eps) · sqrt(t), t = 1 at the first update; x0 are the first
    parameters. The learning rate is inside, and u descends: no `scale_by_learning_rate` behind it.

    Args:
      momentum: how much of p stays, in [0, 1); 1 - momentum is the paper's c.
      eps: added to the cube root and, as in the authors' code and Optax, to the learning rate.

    State: 3 numbers per parameter and int32[]. Needs: params. Defazio and Jelassi 2021, arXiv:2101.11075, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_madgrad(1.0, momentum=0.0, eps=0.0)
    >>> updates, _ = tx.update(8.0, tx.init(1.0), 1.0)
    >>> round(float(updates), 4)  # -8 / cbrt(64)
    -2.0
    """

    def init(params: Params) -> MadgradState:
        x0 = jax.tree.map(lambda x: x.astype(numerics.at_least_float32(x.dtype)), tree.copy(params))
        return MadgradState(jnp.zeros((), jnp.int32), tree.real_full_like(params, 0.0), tree.zeros_like(params), x0)

    def update(updates: Updates, state: MadgradState, params: Params) -> tuple[Updates, MadgradState]:
        count = numerics.safe_increment(state.count)
        hyper = {"learning_rate": learning_rate, "momentum": momentum, "eps": eps}
        hyper["t"] = count.astype(jnp.result_type(float))
        trees = (updates, state.grad_sum_sq, state.s, state.x0, params)
        updates, grad_sum_sq, s = tree.map_leaves(madgrad_leaf, *trees, **hyper)
        return updates, MadgradState(count, grad_sum_sq, s, state.x0)

    return init, update


@transformation
def madgrad(
    learning_rate: LearningRate,
    momentum: Decay = 0.9,
    weight_decay: NonNegative | None = None,
    eps: NonNegative = 1e-6,
) -> Any:
    """MADGRAD: u = (1 - momentum) · (x0 - s / (cbrt(v) + eps) - p), with every gradient ever seen in s and v.

    Args:
      weight_decay: L2 regularisation: weight_decay · p is added to the gradient; less than for SGD. None spares it.

    The rest as in `scale_by_madgrad`.

    State: 3 numbers per parameter. Needs: params. Defazio and Jelassi 2021, arXiv:2101.11075, Algorithm 1.

    >>> import gradx
    >>> gradx.madgrad(1e-2)
    madgrad(learning_rate=0.01)
    """
    decay = identity() if weight_decay is None else add_decayed_weights(weight_decay)
    return chain(decay, scale_by_madgrad(learning_rate, momentum, eps))
