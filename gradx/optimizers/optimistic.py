"""Optimism: step along the gradient that is expected next, for games and saddle points."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.optimizers.adam import scale_by_adam
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, NonNegative, Params, ScalarOrSchedule, Updates


class ScaleByOptimisticGradientState(NamedTuple):
    """The state of `scale_by_optimistic_gradient`."""

    is_initial_step: jax.Array
    """bool[]: whether there is no gradient before."""
    previous_gradient: Updates
    """The last gradient; like the parameters, at least float32."""


def optimistic_leaf(g, previous, *, alpha, change):
    """Return (alpha · g + change · (g - previous), g)."""
    return alpha * g + change * (g - previous), g


@transformation
def scale_by_optimistic_gradient(alpha: ScalarOrSchedule = 1.0, beta: ScalarOrSchedule = 1.0) -> Any:
    """Add what the gradient has changed by: u = alpha · g + beta · (g - the gradient before); u = alpha · g at first.

    Args:
      alpha: factor of the gradient.
      beta: factor of its change.

    State: 1 number per parameter and bool[]. Daskalakis et al. 2018, arXiv:1711.00141, eq. 5; Mokhtari, Ozdaglar and
    Pattathil 2020, arXiv:1901.08511, section 5.

    >>> import gradx
    >>> tx = gradx.scale_by_optimistic_gradient()
    >>> updates, state = tx.update(1.0, tx.init(0.0))
    >>> updates, state = tx.update(3.0, state)
    >>> float(updates)  # 3 + (3 - 1)
    5.0
    """

    def init(params: Params) -> ScaleByOptimisticGradientState:
        return ScaleByOptimisticGradientState(jnp.array(True), tree.zeros_like(params))

    def update(
        updates: Updates, state: ScaleByOptimisticGradientState
    ) -> tuple[Updates, ScaleByOptimisticGradientState]:
        # The gradient before the first is kept as 0: one scalar says that it is none.
        change = jnp.where(state.is_initial_step, 0, jnp.asarray(beta))
        updates, previous = tree.map_leaves(
            optimistic_leaf, updates, state.previous_gradient, alpha=alpha, change=change
        )
        return updates, ScaleByOptimisticGradientState(jnp.array(False), previous)

    return init, update


@transformation
def optimistic_gradient_descent(
    learning_rate: LearningRate, alpha: ScalarOrSchedule = 1.0, beta: ScalarOrSchedule = 1.0
) -> Any:
    """Optimistic gradient descent: u = -learning_rate · (alpha · g + beta · (g - the gradient before)).

    It converges in games where plain descent circles. The arguments are those of `scale_by_optimistic_gradient`.

    State: 1 number per parameter. Daskalakis et al. 2018, arXiv:1711.00141, eq. 5.

    >>> import gradx
    >>> gradx.optimistic_gradient_descent(0.1)
    optimistic_gradient_descent(learning_rate=0.1)
    """
    return chain(scale_by_optimistic_gradient(alpha, beta), scale_by_learning_rate(learning_rate))


@transformation
def optimistic_adam_v2(
    learning_rate: LearningRate,
    *,
    alpha: ScalarOrSchedule = 1.0,
    beta: ScalarOrSchedule = 1.0,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    nesterov: bool = True,
) -> Any:
    """Optimistic Adam: u = -learning_rate · (alpha · d + beta · (d - the direction before)), d Adam's direction.

    Args:
      alpha: factor of the direction.
      beta: factor of its change.
      nesterov: whether d is NAdam's, as by default; the paper's is Adam's.

    The rest as in `scale_by_adam`.

    State: 3 numbers per parameter. Daskalakis et al. 2018, arXiv:1711.00141, Algorithm 1.

    >>> import gradx
    >>> gradx.optimistic_adam_v2(1e-3, nesterov=False)
    optimistic_adam_v2(learning_rate=0.001, nesterov=False)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        scale_by_optimistic_gradient(alpha, beta),
        scale_by_learning_rate(learning_rate),
    )
