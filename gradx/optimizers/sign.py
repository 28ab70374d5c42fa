"""Steps of one size: the sign of the gradient, or of its running mean."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.combine import chain
from gradx.core import EmptyState, transformation
from gradx.transforms.momentum import ema
from gradx.transforms.scale import no_state, scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Updates


def sign_leaf(g: jax.Array) -> jax.Array:
    """Return sign(g): g / |g| also for a complex g, 0 at 0, NaN for NaN."""
    return jnp.sign(g)


@transformation
def scale_by_sign() -> Any:
    """Replace each entry by its sign: u = g / |g|, and 0 for 0. Complex entries keep their angle.

    State: none.

    >>> import gradx
    >>> tx = gradx.scale_by_sign()
    >>> updates, _ = tx.update(-3.0, tx.init(0.0))
    >>> float(updates)
    -1.0
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(sign_leaf, updates), state

    return no_state, update


@transformation
def sign_sgd(learning_rate: LearningRate) -> Any:
    """Descend by steps of one size: u = -learning_rate · sign(g).

    State: none. Bernstein et al. 2018, arXiv:1802.04434, Algorithm 1.

    >>> import gradx
    >>> gradx.sign_sgd(1e-3).expand()
    chain(scale_by_sign(), scale_by_learning_rate(learning_rate=0.001))
    """
    return chain(scale_by_sign(), scale_by_learning_rate(learning_rate))


@transformation
def signum(learning_rate: LearningRate, beta: Decay = 0.9, accumulator_dtype: DType | None = None) -> Any:
    """Descend by the sign of the mean gradient: m ← beta · m + (1 - beta) · g, u = -learning_rate · sign(m).

    Args:
      beta: decay of the mean, in [0, 1).

    State: 1 number per parameter. Bernstein et al. 2018, arXiv:1802.04434, Algorithm 2.

    >>> import gradx
    >>> gradx.signum(1e-3)
    signum(learning_rate=0.001)
    """
    return chain(ema(beta, False, accumulator_dtype), scale_by_sign(), scale_by_learning_rate(learning_rate))
