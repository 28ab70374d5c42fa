"""D-Adaptation and Prodigy: AdamW whose learning rate is an estimate of the distance to the solution."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import checks, numerics, tree
from gradx.core import transformation
from gradx.typing import Decay, LearningRate, NonNegative, Params, Positive, Range, Updates

DECAYS = Range(low=0.0, high=1.0, closed="[)", schedule=True)


class ProdigyState(NamedTuple):
    """The state of `prodigy`."""

    exp_avg: Updates
    """The running mean of d · g; like the parameters, at least float32."""
    exp_avg_sq: Updates
    """The running mean of d² · |g|²; real, like the parameters, at least float32."""
    grad_sum: Updates
    """The weighted sum of gradients whose length the estimate is measured against; like the parameters."""
    params0: Params
    """The parameters at the start; at least float32."""
    estim_lr: jax.Array
    """float32[]: d, the estimate of the distance."""
    numerator_weighted: jax.Array
    """float32[]: the weighted sum of what gradients say of the way from the start."""
    count: jax.Array
    """int32[]: the updates already applied."""


class DAdaptAdamWState(NamedTuple):
    """The state of `dadapt_adamw`."""

    exp_avg: Updates
    """The running mean of steps · g; like the parameters, at least float32."""
    exp_avg_sq: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""
    grad_sum: Updates
    """The running mean of steps · g at decay sqrt(b2); like the parameters, at least float32."""
    estim_lr: jax.Array
    """float32[]: d, the estimate of the distance."""
    numerator_weighted: jax.Array
    """float32[]: the weighted sum of what gradients say of the sum of those before."""
    count: jax.Array
    """int32[]: the updates already applied."""


def step_rule(d, *, learning_rate, c1, c2):
    """Return the step d · learning_rate · sqrt(c2) / c1: AdamW's, with its corrections of the start at zero."""
    return d * learning_rate * numerics.safe_sqrt(c2) / c1


def way_leaf(g, p0, p):
    """Return <g, p0 - p>."""
    return numerics.overlap(g, p0 - p)


def prodigy_leaf(g, m, v, s, *, d, b1, b2, b3, weight):
    """Return (g, m, v, s): the means of d · g and d² · |g|², and the sum of gradients."""
    m = b1 * m + (1 - b1) * (d * g)
    v = b2 * v + (1 - b2) * numerics.abs_sq(d * g)
    return g, m, v, b3 * s + weight * g


def prodigy_estimate(d, numerator, step, way, length, *, b3, estim_lr0, estim_lr_coef):
    """Return (d, numerator): the estimate grows to coef · numerator / ‖s‖₁, and stays where there is no s yet."""
    numerator = b3 * numerator + d / estim_lr0 * step * way
    return jnp.maximum(d, estim_lr_coef * numerics.safe_divide(numerator, length)), numerator


def prodigy_update_leaf(g, m, v, p, *, d, step, eps, weight_decay):
    """Return -step · (m / (sqrt(v) + d · eps) + weight_decay · p)."""
    return -step * (m / (numerics.safe_sqrt(v) + d * eps) + weight_decay * p)


@transformation
def prodigy(
    learning_rate: LearningRate = 1.0,
    betas: tuple[Any, Any] = (0.9, 0.999),
    beta3: Decay | None = None,
    eps: NonNegative = 1e-8,
    estim_lr0: Positive = 1e-6,
    estim_lr_coef: NonNegative = 1.0,
    weight_decay: NonNegative = 0.0,
    safeguard_warmup: bool = False,
) -> Any:
    """Prodigy: AdamW with d · learning_rate, d the distance to the solution as far as the gradients tell.

    d ← max(d, coef · r / ‖s‖₁);  r ← b3 · r + d · step · <g, p0 - p>;  s ← b3 · s + d · step · g;  step = d ·
    learning_rate · sqrt(c2) / c1;  u = -step · (m / (sqrt(v) + d · eps) + weight_decay · p), m and v of d · g.

    Args:
      learning_rate: a factor, 1 or a schedule that falls from 1.
      betas: b1 and b2, decays of the means of d · g and d² · |g|², each in [0, 1).
      beta3: b3, of the sums r and s; None is sqrt(b2).
      estim_lr0: where d starts, above 0 and far too small.
      estim_lr_coef: a factor on the estimate.
      safeguard_warmup: leave the learning rate out of s, whose warmup would make d too large.

    State: 4 numbers per parameter, 3 scalars. Needs: params. Mishchenko and Defazio 2024, arXiv:2306.06101, Algorithm
    4, with Adam's correction of the start; r and s are divided by estim_lr0, against underflow.

    >>> import gradx
    >>> tx = gradx.prodigy(estim_lr0=1e-3)
    >>> updates, _ = tx.update(3.0, tx.init(0.0), 0.0)
    >>> round(float(updates), 6)
    -0.001
    """
    b1, b2 = _checked("prodigy", betas)

    def init(params: Params) -> ProdigyState:
        zeros, square, s = _moments(params)
        start = tree.copy(tree.lift(params))
        d, numerator = tree.scalar_like(params, estim_lr0), tree.scalar_like(params, 0.0)
        return ProdigyState(zeros, square, s, start, d, numerator, jnp.zeros((), jnp.int32))

    def update(updates: Updates, state: ProdigyState, params: Params) -> tuple[Updates, ProdigyState]:
        count, d = numerics.safe_increment(state.count), state.estim_lr
        b3 = _root(b2) if beta3 is None else beta3
        step = _step(d, learning_rate, b1, b2, count)
        way = tree.total(way_leaf, updates, state.params0, params)
        weight = (d if safeguard_warmup else step) * d / jnp.asarray(estim_lr0, d.dtype)
        hyper = {"d": d, "b1": b1, "b2": b2, "b3": b3, "weight": weight}
        g, m, v, s = tree.map_leaves(prodigy_leaf, updates, state.exp_avg, state.exp_avg_sq, state.grad_sum, **hyper)
        hyper = {"b3": b3, "estim_lr0": estim_lr0, "estim_lr_coef": estim_lr_coef}
        r, length = state.numerator_weighted, tree.norm(s, ord=1)
        d, r = tree.map_leaves(prodigy_estimate, d, r, step, way, length, **hyper)
        hyper = {"d": d, "step": step, "eps": eps, "weight_decay": weight_decay}
        updates = tree.map_leaves(prodigy_update_leaf, g, m, v, params, **hyper)
        return updates, ProdigyState(m, v, s, state.params0, d, r, count)

    return init, update


def weighted_leaf(g, s, v, *, eps):
    """Return <g, s / (sqrt(v) + eps)>, 0 where nothing has come yet."""
    return numerics.overlap(g, numerics.safe_divide(s, numerics.safe_sqrt(v) + eps))


def dadapt_leaf(g, m, v, s, *, b1, b2, b3, step):
    """Return (g, m, v, s): the means of step · g, of |g|², and of step · g at decay b3."""
    m = b1 * m + (1 - b1) * (step * g)
    v = b2 * v + (1 - b2) * numerics.abs_sq(g)
    return g, m, v, b3 * s + (1 - b3) * (step * g)


def dadapt_estimate(d, numerator, step, way, length, *, b3):
    """Return (d, numerator): the estimate grows to numerator / ((1 - b3) · ‖s‖₁), and stays where there is no s yet."""
    numerator = b3 * numerator + (1 - b3) * step * way
    return jnp.maximum(d, numerics.safe_divide(numerator, (1 - b3) * length)), numerator


def dadapt_update_leaf(g, m, v, p, *, step, eps, weight_decay):
    """Return -m / (sqrt(v) + eps) - step · weight_decay · p."""
    return -(m / (numerics.safe_sqrt(v) + eps) + step * weight_decay * p)


@transformation
def dadapt_adamw(
    learning_rate: LearningRate = 1.0,
    betas: tuple[Any, Any] = (0.9, 0.999),
    eps: NonNegative = 1e-8,
    estim_lr0: Positive = 1e-6,
    weight_decay: NonNegative = 0.0,
) -> Any:
    """AdamW by D-Adaptation: with d · learning_rate, d the distance to the solution as far as the gradients tell.

    d ← max(d, r / ((1 - b3) · ‖s‖₁));  r ← b3 · r + (1 - b3) · step · <g, s / (sqrt(v) + eps)>;  s ← b3 · s + (1 - b3)
    · step · g;  step = d · learning_rate · sqrt(c2) / c1;  u = -m / (sqrt(v) + eps) - step · weight_decay · p, m the
    mean of step · g, b3 = sqrt(b2).

    Args:
      learning_rate: a factor, 1 or a schedule that falls from 1.
      betas: b1 and b2, decays of the means of step · g and |g|², each in [0, 1).
      estim_lr0: where d starts, above 0 and far too small.

    State: 3 numbers per parameter, 3 scalars. Needs: params. Defazio and Mishchenko 2023, arXiv:2301.07733, Algorithm
    5, with Adam's correction of the start.

    >>> import gradx
    >>> tx = gradx.dadapt_adamw(estim_lr0=1e-3)
    >>> updates, _ = tx.update(3.0, tx.init(0.0), 0.0)
    >>> round(float(updates), 6)
    -0.001
    """
    b1, b2 = _checked("dadapt_adamw", betas)

    def init(params: Params) -> DAdaptAdamWState:
        d, numerator = tree.scalar_like(params, estim_lr0), tree.scalar_like(params, 0.0)
        return DAdaptAdamWState(*_moments(params), d, numerator, jnp.zeros((), jnp.int32))

    def update(updates: Updates, state: DAdaptAdamWState, params: Params) -> tuple[Updates, DAdaptAdamWState]:
        count, d, b3 = numerics.safe_increment(state.count), state.estim_lr, _root(b2)
        step = _step(d, learning_rate, b1, b2, count)
        way = tree.total(weighted_leaf, updates, state.grad_sum, state.exp_avg_sq, eps=eps)
        # What waits for `way` cannot overwrite s and v before they are read for it: XLA need not copy them.
        step, late_b2 = (jnp.where(jnp.isnan(way), way, jnp.asarray(x, way.dtype)) for x in (step, b2))
        hyper = {"b1": b1, "b2": late_b2, "b3": b3, "step": step}
        g, m, v, s = tree.map_leaves(dadapt_leaf, updates, state.exp_avg, state.exp_avg_sq, state.grad_sum, **hyper)
        r, length = state.numerator_weighted, tree.norm(s, ord=1)
        d, r = tree.map_leaves(dadapt_estimate, d, r, step, way, length, b3=b3)
        hyper = {"step": step, "eps": eps, "weight_decay": weight_decay}
        return tree.map_leaves(dadapt_update_leaf, g, m, v, params, **hyper), DAdaptAdamWState(m, v, s, d, r, count)

    return init, update


def _checked(owner: str, betas: tuple) -> tuple[Any, Any]:
    b1, b2 = betas
    return tuple(checks.hyperparameter(owner, f"betas[{i}]", x, DECAYS) for i, x in enumerate((b1, b2)))


def _moments(params: Params) -> tuple[Updates, Updates, Updates]:
    return tree.zeros_like(params), tree.real_full_like(params, 0.0), tree.zeros_like(params)


def _step(d: jax.Array, learning_rate: Any, b1: Any, b2: Any, count: jax.Array) -> jax.Array:
    c1, c2 = numerics.bias_correction(b1, count), numerics.bias_correction(b2, count)
    return tree.map_leaves(step_rule, d, learning_rate=learning_rate, c1=c1, c2=c2)


def _root(b2: Any) -> jax.Array:
    return numerics.safe_sqrt(jnp.asarray(b2, jnp.result_type(float) if isinstance(b2, float) else None))
