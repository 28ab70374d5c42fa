"""MoMo: momentum whose step is as long as a model of the loss, bounded from below, allows."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, numerics, tree
from gradx.core import transformation
from gradx.typing import Decay, LearningRate, NonNegative, Params, ScalarOrSchedule, Updates


class MomoState(NamedTuple):
    """The state of `momo`."""

    exp_avg: Updates
    """m, the running mean of g; like the parameters, at least float32."""
    barf: jax.Array
    """float32[]: f, the running mean of the loss."""
    gamma: jax.Array
    """float32[]: the running mean of <g, p>."""
    lb: jax.Array
    """float32[]: the lower bound of the loss."""
    count: jax.Array
    """int32[]: the updates already applied."""


class MomoAdamState(NamedTuple):
    """The state of `momo_adam`."""

    exp_avg: Updates
    """m, the running mean of g; like the parameters, at least float32."""
    exp_avg_sq: Updates
    """v, the running mean of |g|²; real, like the parameters, at least float32."""
    barf: jax.Array
    """float32[]: f, the running mean of the loss."""
    gamma: jax.Array
    """float32[]: the running mean of <g, p>."""
    lb: jax.Array
    """float32[]: the lower bound of the loss."""
    count: jax.Array
    """int32[]: the updates already applied."""


def means_rule(barf, gamma, value, along, *, decay):
    """Return the running means of the loss and of <g, p>."""
    return decay * barf + (1 - decay) * value, decay * gamma + (1 - decay) * along


def momo_step(lb, barf, gamma, inner, square, *, learning_rate, weight_decay, lower_bound, c1, adapts):
    """Return (lb, tau): the bound, and the step min(learning_rate / c1, what the model of the loss has left / ‖m‖²)."""
    growth = 1 + learning_rate * weight_decay
    if adapts:
        cap = growth * (barf - gamma) + inner
        lb = jnp.where(cap < growth * c1 * lb, jnp.maximum(cap / (2 * c1 * growth), lower_bound), lb)
    left = jnp.maximum(growth * (barf - c1 * lb - gamma) + inner, 0)
    longest = learning_rate / c1
    is_longest = (left >= longest * square) | (square == 0)  # compared first: left / square may overflow
    tau = jnp.where(is_longest, longest, left / jnp.where(is_longest, 1, square))
    if adapts:
        lb = jnp.maximum((barf + inner - gamma - tau * square / 2) / c1, lower_bound)
    return lb, tau


def overlap_leaf(g, x, p):
    """Return <x, p> of a leaf that has a gradient."""
    return numerics.overlap(x, p)


def mean_leaf(g, m, *, decay):
    """Return (g, m): m ← decay · m + (1 - decay) · g."""
    return g, decay * m + (1 - decay) * g


def square_leaf(g, m):
    """Return ‖m‖² of a leaf that has a gradient."""
    return jnp.sum(numerics.abs_sq(m))


def momo_leaf(g, m, p, *, tau, pull):
    """Return (p - tau · m) / (1 + pull) - p."""
    return -(tau * m + pull * p) / (1 + pull)


@transformation
def momo(
    learning_rate: LearningRate = 1.0,
    beta: Decay = 0.9,
    lower_bound: ScalarOrSchedule = 0.0,
    weight_decay: NonNegative = 0.0,
    adapt_lower_bound: bool = False,
) -> Any:
    """MoMo: u = -tau · m, tau = min(learning_rate, max(f - lower_bound - <g, p> + <m, p>, 0) / ‖m‖²).

    m, f and <g, p> are running means of the gradient, the loss and <g, p>, which begin with the first: together a model
    of the loss. Weight decay w makes it (p - tau · m) / (1 + w) - p, w = learning_rate · weight_decay.

    Args:
      learning_rate: the longest step; 1 is large.
      beta: decay of the means, in [0, 1).
      lower_bound: of the loss; 0 is often right.
      weight_decay: at least 0. (Optax leaves out the division of tau · m.)
      adapt_lower_bound: estimate a higher bound on the way.

    State: 1 number per parameter, 4 scalars. Needs: params, the extra `value`. Schaipp et al. 2024, arXiv:2305.07583,
    Algorithm 1 and section 4. (Optax stops where ‖m‖² is below 1.2e-7.)

    >>> import gradx
    >>> tx = gradx.momo()
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0, value=4.0)  # of p² at p = 2
    >>> float(updates)
    -1.0
    """

    def init(params: Params) -> MomoState:
        barf, gamma, lb = (tree.scalar_like(params, x) for x in (0.0, 0.0, lower_bound))
        return MomoState(tree.zeros_like(params), barf, gamma, lb, jnp.zeros((), jnp.int32))

    def update(updates: Updates, state: MomoState, params: Params, *, value: ArrayLike) -> tuple[Updates, MomoState]:
        value = checks.one_number("momo", "value", value)
        decay = jnp.where(state.count == 0, 0, jnp.asarray(beta, state.barf.dtype))
        g, m = tree.map_leaves(mean_leaf, updates, state.exp_avg, decay=decay)
        along = tree.total(overlap_leaf, updates, updates, params)
        barf, gamma = tree.map_leaves(means_rule, state.barf, state.gamma, value, along, decay=decay)
        inner, square = tree.total(overlap_leaf, g, m, params), tree.total(square_leaf, g, m)
        hyper = {"learning_rate": learning_rate, "weight_decay": weight_decay, "lower_bound": lower_bound}
        hyper |= {"c1": 1.0, "adapts": adapt_lower_bound}
        lb, tau = tree.map_leaves(momo_step, state.lb, barf, gamma, inner, square, **hyper)
        pull = jnp.asarray(learning_rate) * jnp.asarray(weight_decay)
        updates = tree.map_leaves(momo_leaf, g, m, params, tau=tau, pull=pull)
        return updates, MomoState(m, barf, gamma, lb, numerics.safe_increment(state.count))

    return init, update


def adam_means_leaf(g, m, v, *, b1, b2):
    """Return (g, m, v), the running means of g and |g|²."""
    return g, b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * numerics.abs_sq(g)


def scaled_square_leaf(g, m, v, *, eps, c2):
    """Return <m, m / (sqrt(v / c2) + eps)> of a leaf that has a gradient."""
    return jnp.sum(numerics.abs_sq(m) / (numerics.safe_sqrt(v / c2) + eps))


def momo_adam_leaf(g, m, v, p, *, tau, pull, eps, c2):
    """Return (p - tau · m / (sqrt(v / c2) + eps)) / (1 + pull) - p."""
    return momo_leaf(g, m / (numerics.safe_sqrt(v / c2) + eps), p, tau=tau, pull=pull)


@transformation
def momo_adam(
    learning_rate: LearningRate = 1e-2,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    lower_bound: ScalarOrSchedule = 0.0,
    weight_decay: NonNegative = 0.0,
    adapt_lower_bound: bool = False,
) -> Any:
    """MoMo for Adam: u = -tau · d, d = m / (sqrt(v / c2) + eps).

    tau = min(learning_rate / c1, max(f - c1 · lower_bound - <g, p> + <m, p>, 0) / <m, d>); f and <g, p> are running
    means like m, all from 0; c1 = 1 - b1^t, c2 = 1 - b2^t.

    Args:
      learning_rate: the longest step.

    The rest as in `momo`.

    State: 2 numbers per parameter, 4 scalars. Needs: params, the extra `value`. Schaipp et al. 2024, arXiv:2305.07583,
    Algorithm 2 and section 4. (Optax stops where <m, d> is below 1.2e-7.)

    >>> import gradx
    >>> tx = gradx.momo_adam(1.0)
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0, value=2.0)
    >>> round(float(updates), 4)
    -0.5
    """

    def init(params: Params) -> MomoAdamState:
        barf, gamma, lb = (tree.scalar_like(params, x) for x in (0.0, 0.0, lower_bound))
        v = tree.real_full_like(params, 0.0)
        return MomoAdamState(tree.zeros_like(params), v, barf, gamma, lb, jnp.zeros((), jnp.int32))

    def update(
        updates: Updates, state: MomoAdamState, params: Params, *, value: ArrayLike
    ) -> tuple[Updates, MomoAdamState]:
        value, count = checks.one_number("momo_adam", "value", value), numerics.safe_increment(state.count)
        c1, c2 = numerics.bias_correction(b1, count), numerics.bias_correction(b2, count)
        g, m, v = tree.map_leaves(adam_means_leaf, updates, state.exp_avg, state.exp_avg_sq, b1=b1, b2=b2)
        along = tree.total(overlap_leaf, updates, updates, params)
        barf, gamma = tree.map_leaves(means_rule, state.barf, state.gamma, value, along, decay=b1)
        inner = tree.total(overlap_leaf, g, m, params)
        square = tree.total(scaled_square_leaf, g, m, v, eps=eps, c2=c2)
        hyper = {"learning_rate": learning_rate, "weight_decay": weight_decay, "lower_bound": lower_bound}
        hyper |= {"c1": c1, "adapts": adapt_lower_bound}
        lb, tau = tree.map_leaves(momo_step, state.lb, barf, gamma, inner, square, **hyper)
        pull = jnp.asarray(learning_rate) * jnp.asarray(weight_decay)
        updates = tree.map_leaves(momo_adam_leaf, g, m, v, params, tau=tau, pull=pull, eps=eps, c2=c2)
        return updates, MomoAdamState(m, v, barf, gamma, lb, count)

    return init, update
