"""ASGD: gradient descent whose average is what is kept."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import evaluation, numerics, tree
from gradx.core import transformation
from gradx.typing import LearningRate, NonNegative, Params, Updates


class ASGDState(NamedTuple):
    """The state of `asgd`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    ax: Params
    """The average of the parameters since step t0, before it the parameters; like them, at least float32."""

    def eval_params(self, params: Params) -> Params:
        """Return the average in the dtypes of the parameters."""
        return evaluation.map_known(lambda ax, param: ax, self.ax, params)


def asgd_leaf(g, ax, p, *, eta, mu, lambd, weight_decay):
    """Return (u, ax): u = -eta · (g + (lambd + weight_decay) · p), ax the average with p + u at weight mu."""
    u = -eta * (g + (lambd + weight_decay) * p)
    return u, (1 - mu) * ax + mu * (p + u)


@transformation
def asgd(
    learning_rate: LearningRate = 0.01,
    lambd: NonNegative = 1e-4,
    alpha: NonNegative = 0.75,
    t0: NonNegative = 1e6,
    weight_decay: NonNegative = 0.0,
) -> Any:
    """Averaged gradient descent: u = -eta · (g + (lambd + weight_decay) · p), eta slowly falling.

    eta = learning_rate / (1 + lambd · learning_rate · t)^alpha, t = 0 at the first update. `gradx.eval_params` gives
    the mean of the parameters behind the updates after t0, until then the last ones.

    Args:
      lambd: pull towards zero, and how fast eta falls.
      alpha: power of eta's fall.
      t0: the updates before averaging begins.
      weight_decay: more pull towards zero, at least 0, that leaves eta alone.

    State: 1 number per parameter and int32[]. Needs: params. Polyak and Juditsky 1992; in the form of Bottou 2012,
    "Stochastic Gradient Descent Tricks", section 5.3, as in PyTorch, whose argument order this is.

    >>> import gradx
    >>> tx = gradx.asgd(0.5, lambd=0.0, t0=0)
    >>> updates, state = tx.update(1.0, tx.init(2.0), 2.0)
    >>> updates, state = tx.update(1.0, state, 1.5)
    >>> float(gradx.eval_params(state, 1.0 + updates))  # of 1.5 and 1.0, both behind an update
    1.0
    """

    def init(params: Params) -> ASGDState:
        return ASGDState(jnp.zeros((), jnp.int32), tree.lift(tree.copy(params)))

    def update(updates: Updates, state: ASGDState, params: Params) -> tuple[Updates, ASGDState]:
        eta, mu = rates(state.count, learning_rate, lambd, alpha, t0)
        hyper = {"eta": eta, "mu": mu, "lambd": lambd, "weight_decay": weight_decay}
        updates, ax = tree.map_leaves(asgd_leaf, updates, state.ax, params, **hyper)
        return updates, ASGDState(numerics.safe_increment(state.count), ax)

    return init, update


def rates(count: jax.Array, learning_rate: Any, lambd: Any, alpha: Any, t0: Any) -> tuple[jax.Array, jax.Array]:
    """Return (eta, mu), the step size and the average's weight of the new parameters."""
    t = count.astype(jnp.result_type(float))
    return learning_rate / (1 + lambd * learning_rate * t) ** alpha, 1 / jnp.maximum(1, t - t0)
