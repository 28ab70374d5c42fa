"""Steps in proportion to the weights, array by array: LARS, LAMB, Fromage."""

from typing import Any

from gradx.combine import chain, masked
from gradx.core import transformation
from gradx.optimizers.adam import scale_by_adam
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import momentum as heavy_ball
from gradx.transforms.normalize import scale_by_trust_ratio
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, Mask, NonNegative


@transformation
def lars(
    learning_rate: LearningRate,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = True,
    trust_coefficient: NonNegative = 1e-3,
    eps: NonNegative = 0.0,
    trust_ratio_mask: Mask = True,
    momentum: Decay = 0.9,
    nesterov: bool = False,
) -> Any:
    """LARS: momentum of steps whose length is a set share of each array's: v ← momentum · v - learning_rate · r · d.

    d = g + weight_decay · p, r = trust_coefficient · ‖p‖ / (‖d‖ + eps), and u = v.

    Args:
      weight_decay: L2 regularisation, at least 0: added to the gradient before it is scaled.
      weight_decay_mask: where to, as in `add_decayed_weights`.
      trust_coefficient: the length of the step in lengths of the parameters, at least 0.
      eps: added to ‖d‖. (The paper adds weight_decay · ‖p‖ to ‖g‖ in its place.)
      trust_ratio_mask: where to scale by r; biases and norms are usually left out.

    State: 1 number per parameter. Needs: params. You, Gitman and Ginsburg 2017, arXiv:1708.03888, Algorithm 1.

    >>> import gradx
    >>> gradx.lars(0.1, weight_decay=1e-4)
    lars(learning_rate=0.1, weight_decay=0.0001)
    """
    return chain(
        add_decayed_weights(weight_decay, weight_decay_mask),
        masked(scale_by_trust_ratio(trust_coefficient=trust_coefficient, eps=eps), trust_ratio_mask),
        scale_by_learning_rate(learning_rate),
        heavy_ball(momentum, nesterov),
    )


@transformation
def lamb(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-6,
    eps_root: NonNegative = 0.0,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
) -> Any:
    """LAMB: AdamW's direction d, given the length of each array's parameters: u = -learning_rate · ‖p‖ / ‖d‖ · d.

    d = Adam's direction + weight_decay · p. Where ‖p‖ or ‖d‖ is 0, u = -learning_rate · d.

    Args:
      weight_decay: at least 0. The paper's default, like Optax's, decays nothing.

    The rest as in `scale_by_adam`.

    State: 2 numbers per parameter. Needs: params. You et al. 2020, arXiv:1904.00962, Algorithm 2, the bound phi on the
    length left out.

    >>> import gradx
    >>> gradx.lamb(1e-3, weight_decay=0.01)
    lamb(learning_rate=0.001, weight_decay=0.01)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root),
        add_decayed_weights(weight_decay, mask),
        scale_by_trust_ratio(),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def fromage(learning_rate: LearningRate, min_norm: NonNegative = 1e-6) -> Any:
    """Fromage: steps of a set share of each array's length, shortened so that the length stays.

    p + u = (p - learning_rate · ‖p‖ / ‖g‖ · g) / s, with s = sqrt(1 + learning_rate²).

    Args:
      learning_rate: the length of the step in lengths of the parameters, at least 0.
      min_norm: the least that both norms count for, at least 0.

    State: none; with a schedule int32[]. Needs: params. Bernstein et al. 2020, arXiv:2002.03432, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.fromage(0.75)
    >>> updates, _ = tx.update(4.0, tx.init(2.0), 2.0)
    >>> round(float(2.0 + updates), 4)  # 2 · (1 - 0.75) / 1.25
    0.4
    """
    # 1 / s - 1 = -rate² / (s + s²), which does not cancel where the rate is small.
    rate: Any = learning_rate
    s = (1 + rate**2) ** 0.5
    return chain(
        scale_by_trust_ratio(min_norm),
        add_decayed_weights(rate / (1 + s)),
        scale_by_learning_rate(rate / s),
    )
