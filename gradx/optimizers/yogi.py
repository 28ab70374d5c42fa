"""Yogi: Adam whose second moment moves by steps that do not depend on how far it has to go."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, NonNegative, Params, Updates


class ScaleByYogiState(NamedTuple):
    """The state of `scale_by_yogi`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The estimate of |g|²; real, like the parameters, at least float32."""


def yogi_leaf(g, mu, nu, *, b1, b2, eps, eps_root, c1, c2):
    """Return (mu / c1 / (sqrt(nu / c2 + eps_root) + eps), mu, nu) with nu ← nu - (1 - b2) · sign(nu - |g|²) · |g|²."""
    square = numerics.abs_sq(g)
    mu = b1 * mu + (1 - b1) * g
    nu = nu - (1 - b2) * jnp.sign(nu - square) * square
    return (mu / c1) / (numerics.safe_sqrt(nu / c2 + eps_root) + eps), mu, nu


@transformation
def scale_by_yogi(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-3,
    eps_root: NonNegative = 0.0,
    initial_accumulator_value: NonNegative = 1e-6,
) -> Any:
    """Divide the mean gradient by a root that forgets slowly: u = (mu / c1) / (sqrt(nu / c2 + eps_root) + eps).

    mu ← b1 · mu + (1 - b1) · g;  nu ← nu - (1 - b2) · sign(nu - |g|²) · |g|²;  c1 = 1 - b1^t, c2 = 1 - b2^t.

    Args:
      b2: 1 - b2 is the share of |g|² by which nu moves.
      initial_accumulator_value: where mu and nu start, at least 0.

    State: 2 numbers per parameter and int32[]. Zaheer et al. 2018, "Adaptive Methods for Nonconvex Optimization",
    NeurIPS, Algorithm 2. The paper starts mu at 0 and corrects no bias; both are as in Optax, whose nu / c2 counts its
    start 1 / (1 - b2)-fold at first.

    >>> import gradx
    >>> tx = gradx.scale_by_yogi(eps=0.0, initial_accumulator_value=0.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the first step is g / |g|
    1.0
    """

    def init(params: Params) -> ScaleByYogiState:
        start: Any = initial_accumulator_value
        mu, nu = tree.full_like(params, start), tree.real_full_like(params, start)
        return ScaleByYogiState(jnp.zeros((), jnp.int32), mu, nu)

    def update(updates: Updates, state: ScaleByYogiState) -> tuple[Updates, ScaleByYogiState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        updates, mu, nu = tree.map_leaves(yogi_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByYogiState(count, mu, nu)

    return init, update


@transformation
def yogi(learning_rate: LearningRate, b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-3) -> Any:
    """Yogi: u = -learning_rate · (mu / c1) / (sqrt(nu / c2) + eps), where nu falls no faster than gradients are large.

    The arguments are those of `scale_by_yogi`.

    State: 2 numbers per parameter. Zaheer et al. 2018, NeurIPS, Algorithm 2.

    >>> import gradx
    >>> gradx.yogi(1e-2)
    yogi(learning_rate=0.01)
    """
    return chain(scale_by_yogi(b1, b2, eps), scale_by_learning_rate(learning_rate))
