"""Mechanic: learn how far to go along the updates of any optimizer."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.sometimes import sometimes
from gradx.typing import NonNegative, Params, Positive, PositiveInt, State, Updates


class MechanicState(NamedTuple):
    """The state of `mechanize`."""

    base_optimizer_state: State
    count: jax.Array
    """int32[]: the updates already applied."""
    r: jax.Array
    """float32[num_betas]: the reward of each tuner."""
    m: jax.Array
    """float32[num_betas]: the largest |h| that each has seen, decaying."""
    v: jax.Array
    """float32[num_betas]: the sum of h² of each, decaying."""
    s: jax.Array
    """float32[num_betas]: the scale of each; they add up."""
    x0: Params
    """The parameters of the first update; at least float32."""


def h_leaf(g, x0, p, *, pull):
    """Return <g + pull · p, x0 - p>."""
    # A number of the leaf's own: of one that equal leaves share, XLA:CPU makes an array for them all.
    pull = numerics.made_after(pull, jnp.sum(numerics.abs_sq(p)))
    return numerics.overlap(g + pull * p, x0 - p)


def tuner_rule(r, m, v, s, h, betas, *, eps, s_init):
    """Return (r, m, v, s) of all tuners, h the gradient along the way so far."""
    clipped = jnp.clip(h, -m, m)
    m = jnp.maximum(betas * m, jnp.abs(h) + eps)
    v = betas * betas * v + h * h
    r = betas * r + clipped * s
    wealth = s_init / s.size * m + jnp.maximum(r, 0)
    return r, m, v, wealth / (numerics.safe_sqrt(v) + eps)


def mechanic_leaf(u, x0, p, *, scale, change):
    """Return x0 + scale · (sum of all u) - p, the sum before this u being (p - x0) / (scale before)."""
    return scale * u + change * (x0 - p)


@transformation
def mechanize(
    base_optimizer: GradientTransformation,
    weight_decay: NonNegative = 1e-2,
    eps: Positive = 1e-8,
    s_init: Positive = 1e-6,
    num_betas: PositiveInt = 6,
) -> Any:
    """Learn the scale S of an optimizer's updates: p = x0 + S · (the sum of its updates), x0 the start.

    S is the sum of tuners that bet on h = <g + decay, x0 - p> / S, one for each decay 0.9, 0.99, ... of the past.

    Args:
      base_optimizer: with learning rate 1, or a schedule that falls from 1.
      weight_decay: of the tuners: their gradient is g + weight_decay · S · ‖g‖ / ‖p‖ · p.
      eps: above 0, against 0/0.
      s_init: where S starts, above 0 and far too small.
      num_betas: the number of tuners.

    State: 1 number per parameter, 4 · num_betas + 1 scalars, the inner state. Needs: params. Cutkosky, Defazio and
    Mehta 2023, arXiv:2306.00144, Algorithm 1; h is clipped to what was seen, as in the authors' code.

    >>> import gradx
    >>> tx = gradx.mechanize(gradx.sgd(1.0), s_init=0.5)
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0)
    >>> round(float(updates), 4)
    -2.0
    """
    decays = 1 - 0.1 ** np.arange(1, num_betas + 1)

    def init(params: Params) -> MechanicState:
        r, m, v = (tree.scalar_like(params, np.zeros(num_betas)) for _ in range(3))
        s = tree.scalar_like(params, jnp.broadcast_to(jnp.asarray(s_init), (num_betas,)))
        start = tree.copy(tree.lift(params))
        return MechanicState(run_init(base_optimizer, params), jnp.zeros((), jnp.int32), r, m, v, s, start)

    def update(updates: Updates, state: MechanicState, params: Params, **extras: Any) -> tuple[Updates, MechanicState]:
        steps, inner = run_update(base_optimizer, updates, state.base_optimizer_state, params, extras)
        is_first = state.count == 0  # the start is where training does, not where the state was made
        x0 = sometimes(is_first, lambda old: tree.cast_like(params, old), state.x0)
        small, before = jnp.asarray(eps, state.s.dtype), jnp.sum(state.s)
        size = tree.norm(updates) / (tree.norm(params) + small)
        pull = jnp.asarray(weight_decay, before.dtype) * before * size
        h = tree.total(h_leaf, updates, x0, params, pull=pull) / (before + small)
        betas = jnp.asarray(decays, state.s.dtype)
        tuners = (state.r, state.m, state.v, state.s, h, betas)
        r, m, v, s = tree.map_leaves(tuner_rule, *tuners, eps=eps, s_init=s_init)
        scale = jnp.sum(s)
        updates = tree.map_leaves(mechanic_leaf, steps, x0, params, scale=scale, change=1 - scale / (before + small))
        return updates, MechanicState(inner, numerics.safe_increment(state.count), r, m, v, s, x0)

    return Wrapper(init, update, lambda state: [("", base_optimizer, state and state.base_optimizer_state)])
