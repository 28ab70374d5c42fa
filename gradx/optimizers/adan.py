"""Adan: Adam with a mean of the gradients' differences, Nesterov's momentum without its look ahead."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, Mask, NonNegative, Params, Updates


class ScaleByAdanState(NamedTuple):
    """The state of `scale_by_adan`."""

    m: Updates
    """The running mean of g; like the parameters, at least float32."""
    v: Updates
    """The running mean of the change of g; like the parameters, at least float32."""
    n: Updates
    """The running mean of |g + b2 · change|²; real, like the parameters, at least float32."""
    g: Updates
    """The gradient before; like the parameters, at least float32."""
    t: jax.Array
    """int32[]: the updates already applied."""


def adan_leaf(g, m, v, n, before, *, b1, b2, b3, eps, eps_root, c1, c2, c3, at_start):
    """Return ((m / c1 + b2 · v / c2) / (sqrt(n / c3 + eps_root) + eps), m, v, n, g)."""
    change = jnp.where(at_start, 0, g - before)
    m = b1 * m + (1 - b1) * g
    v = b2 * v + (1 - b2) * change
    n = b3 * n + (1 - b3) * numerics.abs_sq(g + b2 * change)
    u = (m / c1 + b2 * (v / c2)) / (numerics.safe_sqrt(n / c3 + eps_root) + eps)
    return u, m, v, n, numerics.made_after(g, v, n)


@transformation
def scale_by_adan(
    b1: Decay = 0.98,
    b2: Decay = 0.92,
    b3: Decay = 0.99,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
) -> Any:
    """Add where gradients are heading, and scale: u = (m / c1 + b2 · v / c2) / (sqrt(n / c3 + eps_root) + eps).

    m, v and n are running means of g, of its change d since the step before (0 at the first), and of |g + b2 · d|²;
    c1 = 1 - b1^t, c2 = 1 - b2^t, c3 = 1 - b3^t.

    Args:
      b2: decay of the mean of d, and weight of d, in [0, 1).
      b3: decay of the mean of |g + b2 · d|², in [0, 1).

    State: 4 numbers per parameter and int32[]. Xie et al. 2022, arXiv:2208.06677, Algorithm 1; b1, b2 and b3 are the
    paper's 1 - β, as in its authors' code, and the means lose their bias, which the paper leaves out. Optax weighs d
    and v by 1 - b2 (0.08 in place of 0.92), which is the paper's 1 - β2 with a β that means the other thing.

    >>> import gradx
    >>> tx = gradx.scale_by_adan()
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # the first step is g / |g|
    1.0
    """

    def init(params: Params) -> ScaleByAdanState:
        n, t = tree.real_full_like(params, 0.0), jnp.zeros((), jnp.int32)
        return ScaleByAdanState(tree.zeros_like(params), tree.zeros_like(params), n, tree.zeros_like(params), t)

    def update(updates: Updates, state: ScaleByAdanState) -> tuple[Updates, ScaleByAdanState]:
        t = numerics.safe_increment(state.t)
        hyper = {"b1": b1, "b2": b2, "b3": b3, "eps": eps, "eps_root": eps_root, "at_start": state.t == 0}
        hyper |= {f"c{i}": numerics.bias_correction(decay, t) for i, decay in enumerate((b1, b2, b3), 1)}
        trees = (updates, state.m, state.v, state.n, state.g)
        updates, m, v, n, g = tree.map_leaves(adan_leaf, *trees, **hyper)
        return updates, ScaleByAdanState(m, v, n, g, t)

    return init, update


@transformation
def adan(
    learning_rate: LearningRate,
    b1: Decay = 0.98,
    b2: Decay = 0.92,
    b3: Decay = 0.99,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """Adan: u = -learning_rate · ((m / c1 + b2 · v / c2) / (sqrt(n / c3 + eps_root) + eps) + weight_decay · p).

    m is the mean gradient, v its mean change. The other arguments are those of `scale_by_adan`.

    State: 4 numbers per parameter. Needs: params. Xie et al. 2022, arXiv:2208.06677, Algorithm 1, which divides p by
    1 + learning_rate · weight_decay in place of the sum; the sum is Optax's, equal at small learning rates.

    >>> import gradx
    >>> gradx.adan(1e-3, weight_decay=0.02)
    adan(learning_rate=0.001, weight_decay=0.02)
    """
    return chain(
        scale_by_adan(b1, b2, b3, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
