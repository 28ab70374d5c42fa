"""AdaBelief and ACProp: divide by how far gradients stray from their running mean."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, Mask, NonNegative, Params, Updates


class ScaleByBeliefState(NamedTuple):
    """The state of `scale_by_belief` and of `scale_by_acprop`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The running mean of the squared distance of g from mu; real, like the parameters, at least float32."""


def belief_leaf(g, mu, nu, *, b1, b2, eps, eps_root, c1, c1_next, c2, nesterov):
    """Return (mu / c1 / (sqrt(nu / c2) + eps), mu, nu); with Nesterov b1 · mu / c1_next + (1 - b1) · g / c1 above."""
    mu = b1 * mu + (1 - b1) * g
    nu = (b2 * nu + eps_root) + (1 - b2) * numerics.abs_sq(g - mu)
    ahead = b1 * (mu / c1_next) + (1 - b1) * (g / c1) if nesterov else mu / c1
    return ahead / (numerics.safe_sqrt(nu / c2) + eps), mu, nu


def acprop_leaf(g, mu, nu, *, b1, b2, eps, eps_root, at_start, c2):
    """Return (g / (sqrt(nu / c2) + eps), mu, nu), divided by the nu of the step before; by 1 + eps at the first."""
    size = jnp.where(at_start, 1, numerics.safe_sqrt(nu / c2))
    nu = (b2 * nu + eps_root) + (1 - b2) * numerics.abs_sq(g - mu)
    return g / (size + eps), numerics.made_after(b1 * mu + (1 - b1) * g, nu), nu


def zero_moments(params: Params) -> ScaleByBeliefState:
    """Return the state at the start."""
    return ScaleByBeliefState(jnp.zeros((), jnp.int32), tree.zeros_like(params), tree.real_full_like(params, 0.0))


@transformation
def scale_by_belief(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-16,
    eps_root: NonNegative = 1e-16,
    *,
    nesterov: bool = False,
) -> Any:
    """Divide the mean gradient by how far gradients stray from it: u = (mu / c1) / (sqrt(nu / c2) + eps).

    mu ← b1 · mu + (1 - b1) · g;  nu ← b2 · nu + (1 - b2) · |g - mu|² + eps_root;  c1 = 1 - b1^t, c2 = 1 - b2^t.

    Args:
      eps_root: added to nu at every step, as in the paper; nu gathers it.
      nesterov: use the momentum of the next step, as in NAdam; not in the paper.

    State: 2 numbers per parameter and int32[]. Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.scale_by_belief()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # 3 / |3 - 0.3|
    1.1111
    """

    def update(updates: Updates, state: ScaleByBeliefState) -> tuple[Updates, ScaleByBeliefState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "nesterov": nesterov}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        hyper["c1_next"] = numerics.bias_correction(b1, numerics.safe_increment(count))
        updates, mu, nu = tree.map_leaves(belief_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByBeliefState(count, mu, nu)

    return zero_moments, update


@transformation
def adabelief(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-16,
    eps_root: NonNegative = 1e-16,
    *,
    nesterov: bool = False,
) -> Any:
    """AdaBelief: long steps where gradients agree: u = -learning_rate · (mu / c1) / (sqrt(nu / c2) + eps).

    nu is the running mean of |g - mu|², where Adam has that of |g|². The arguments are those of `scale_by_belief`.

    State: 2 numbers per parameter. Zhuang et al. 2020, arXiv:2010.07468, Algorithm 2.

    >>> import gradx
    >>> gradx.adabelief(1e-3, eps=1e-8)
    adabelief(learning_rate=0.001, eps=1e-08)
    """
    return chain(
        scale_by_belief(b1, b2, eps, eps_root, nesterov=nesterov),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def scale_by_acprop(b1: Decay = 0.9, b2: Decay = 0.999, eps: NonNegative = 1e-16, eps_root: NonNegative = 1e-16) -> Any:
    """Divide the gradient by how far those before it strayed from their mean: u = g / (sqrt(nu / c2) + eps).

    The nu here is that of the step before, and c2 = 1 - b2^(t-1); the first step is g / (1 + eps). Then
    nu ← b2 · nu + (1 - b2) · |g - mu|² + eps_root;  mu ← b1 · mu + (1 - b1) · g.

    Args:
      eps_root: added to nu at every step; nu gathers it.

    State: 2 numbers per parameter and int32[]. Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2. The paper takes
    |g - mu|² with the renewed mu, which makes nu b1² times as large; here it is the mu before, as in Optax.

    >>> import gradx
    >>> tx = gradx.scale_by_acprop()
    >>> updates, state = tx.update(3.0, tx.init(0.0))
    >>> updates, state = tx.update(6.0, state)
    >>> round(float(updates), 4)  # 6 / |3 - 0|
    2.0
    """

    def update(updates: Updates, state: ScaleByBeliefState) -> tuple[Updates, ScaleByBeliefState]:
        at_start = state.count == 0
        hyper = {"b1": b1, "b2": b2, "eps": eps, "eps_root": eps_root, "at_start": at_start}
        hyper["c2"] = numerics.bias_correction(b2, jnp.where(at_start, 1, state.count))
        updates, mu, nu = tree.map_leaves(acprop_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByBeliefState(numerics.safe_increment(state.count), mu, nu)

    return zero_moments, update


@transformation
def acprop(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-16,
    eps_root: NonNegative = 1e-16,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """ACProp: u = -learning_rate · (g / (sqrt(nu / c2) + eps) + weight_decay · p), nu from the steps before.

    nu is the running mean of |g - mu|², mu that of g. The other arguments are those of `scale_by_acprop`.

    State: 2 numbers per parameter. Needs: params. Zhuang et al. 2021, arXiv:2110.05454, Algorithm 2.

    >>> import gradx
    >>> gradx.acprop(1e-3)
    acprop(learning_rate=0.001)
    """
    return chain(
        scale_by_acprop(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
