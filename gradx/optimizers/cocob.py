"""COCOB: each coordinate bets on the sign of its gradient, and its step is what it has won."""

from typing import Any, NamedTuple

import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import LearningRate, Mask, NonNegative, Params, Positive, Updates


class COCOBState(NamedTuple):
    """The state of `scale_by_cocob`."""

    init_particles: Params
    """The parameters at the start; at least float32."""
    cumulative_gradients: Updates
    """Minus the sum of all g; like the parameters, at least float32."""
    scale: Updates
    """The largest |g| so far; real, like the parameters, at least float32."""
    subgradients: Updates
    """The sum of all |g|; real, like the parameters, at least float32."""
    reward: Updates
    """What has been won; real, like the parameters, at least float32."""


def cocob_leaf(g, theta, bound, total, reward, p0, p, *, alpha):
    """Return (u, theta, bound, total, reward), the letters of the paper's θ, L, G and reward."""
    size = numerics.safe_sqrt(numerics.abs_sq(g)) if jnp.iscomplexobj(g) else jnp.abs(g)
    bound = jnp.maximum(bound, size)
    total = total + size
    # max(reward - loss, 0), written so that XLA:CPU does not compute it twice, and copy p and reward for that.
    reward = reward - jnp.minimum(jnp.real(jnp.conj(g) * (p - p0)), reward)
    theta = theta - g
    # (L + reward) / L is divided first: L squared would overflow.
    bet = theta / jnp.maximum(total + bound, alpha * bound) * (1 + reward / bound)
    return p0 + bet - p, theta, bound, total, reward


@transformation
def scale_by_cocob(alpha: NonNegative = 100.0, eps: Positive = 1e-8) -> Any:
    """Replace the gradient by the step of a gambler: u = p0 + θ · (L + w) / (L · max(G + L, alpha · L)) - p.

    θ ← θ - g;  L ← max(L, |g|);  G ← G + |g|;  w ← max(w - g · (p - p0), 0), p0 the start. u descends by itself.

    Args:
      alpha: bounds the bets of the first steps, to 1 / alpha of L + w.
      eps: where L starts, above 0.

    State: 5 numbers per parameter. Needs: params. Orabona and Tommasi 2017, arXiv:1705.07795, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.scale_by_cocob(alpha=4.0)
    >>> updates, _ = tx.update(2.0, tx.init(1.0), 1.0)
    >>> float(updates)  # -2 / (4 · 2)
    -0.25
    """

    def init(params: Params) -> COCOBState:
        zeros = [tree.real_full_like(params, 0.0) for _ in range(2)]
        bound = tree.real_full_like(params, eps)
        return COCOBState(tree.copy(tree.lift(params)), tree.zeros_like(params), bound, *zeros)

    def update(updates: Updates, state: COCOBState, params: Params) -> tuple[Updates, COCOBState]:
        start, *sums = state
        updates, *sums = tree.map_leaves(cocob_leaf, updates, *sums, start, params, alpha=alpha)
        return updates, COCOBState(start, *sums)

    return init, update


@transformation
def cocob(
    learning_rate: LearningRate = 1.0,
    alpha: NonNegative = 100.0,
    eps: Positive = 1e-8,
    weight_decay: NonNegative | None = None,
    mask: Mask | None = None,
) -> Any:
    """COCOB: u = p0 + θ · (L + w) / (L · max(G + L, alpha · L)) - p, each coordinate a gambler that bets on its sign.

    Args:
      learning_rate: a factor on the gradient that is bet on; it cancels, but for `eps`, where it is constant.
      weight_decay: L2 regularisation: weight_decay · p is added to the gradient before all else; None adds nothing.

    The rest as in `scale_by_cocob`.

    State: 5 numbers per parameter. Needs: params. Orabona and Tommasi 2017, arXiv:1705.07795, Algorithm 2.

    >>> import gradx
    >>> gradx.cocob(weight_decay=1e-4)
    cocob(weight_decay=0.0001)
    """
    decay = [] if weight_decay is None else [add_decayed_weights(weight_decay, mask)]
    return chain(*decay, scale_by_learning_rate(learning_rate, flip_sign=False), scale_by_cocob(alpha, eps))
