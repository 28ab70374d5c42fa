"""Adadelta: Adagrad with means for sums, and steps in the units of the parameters."""

from typing import Any, NamedTuple

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import identity, transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, Mask, NonNegative, Params, Positive, Updates


class ScaleByAdaDeltaState(NamedTuple):
    """The state of `scale_by_adadelta`."""

    e_g: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""
    e_x: Updates
    """The running mean of |u|²; real, like the parameters, at least float32."""


def adadelta_leaf(g, e_g, e_x, *, rho, eps):
    """Return (u, e_g, e_x): u = g · sqrt(e_x + eps) / sqrt(e_g + eps), the means renewed before and after."""
    square = numerics.abs_sq(g)
    e_g = rho * e_g + (1 - rho) * square
    # |u|² is written as |g|² · ratio: from u itself, XLA:CPU reads 12 bytes more for each parameter.
    ratio = (e_x + eps) / (e_g + eps)
    return g * numerics.safe_sqrt(ratio), e_g, rho * e_x + (1 - rho) * (square * ratio)


@transformation
def scale_by_adadelta(rho: Decay = 0.9, eps: Positive = 1e-6) -> Any:
    """Scale by the ratio of the running sizes of steps and gradients: u = g · sqrt(e_x + eps) / sqrt(e_g + eps).

    Args:
      eps: above 0: the first steps have its root for size.

    State: 2 numbers per parameter. Zeiler 2012, arXiv:1212.5701, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.scale_by_adadelta(rho=0.0, eps=1.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> round(float(updates), 4)  # 3 · sqrt(1) / sqrt(10)
    0.9487
    """

    def init(params: Params) -> ScaleByAdaDeltaState:
        return ScaleByAdaDeltaState(tree.real_full_like(params, 0.0), tree.real_full_like(params, 0.0))

    def update(updates: Updates, state: ScaleByAdaDeltaState) -> tuple[Updates, ScaleByAdaDeltaState]:
        updates, e_g, e_x = tree.map_leaves(adadelta_leaf, updates, state.e_g, state.e_x, rho=rho, eps=eps)
        return updates, ScaleByAdaDeltaState(e_g, e_x)

    return init, update


@transformation
def adadelta(
    learning_rate: LearningRate = 1.0,
    rho: Decay = 0.9,
    eps: Positive = 1e-6,
    weight_decay: NonNegative | None = None,
    weight_decay_mask: Mask | None = None,
) -> Any:
    """Adadelta: u = -learning_rate · g · sqrt(e_x + eps) / sqrt(e_g + eps).

    Args:
      learning_rate: 1 is the paper's. (Optax's default None leaves the sign of the gradient, which ascends.)
      weight_decay: L2 regularisation: weight_decay · p is added to the gradient before it is scaled, which costs 12
        bytes for each parameter; None spares them. (Optax's default 0.0 does not.)
      weight_decay_mask: where to, as in `add_decayed_weights`.
      eps: as in `scale_by_adadelta`, above 0: the first steps have its root for size.

    State: 2 numbers per parameter. Needs: params, to decay. Zeiler 2012, arXiv:1212.5701, Algorithm 1.

    >>> import gradx
    >>> gradx.adadelta()
    adadelta()
    """
    decay = identity() if weight_decay is None else add_decayed_weights(weight_decay, weight_decay_mask)
    return chain(
        decay,
        scale_by_adadelta(rho, eps),
        scale_by_learning_rate(learning_rate),
    )
