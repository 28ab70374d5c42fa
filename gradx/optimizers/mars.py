"""MARS-AdamW: AdamW on gradients with less noise."""

from typing import Any

from gradx.combine import chain
from gradx.core import transformation
from gradx.optimizers.adam import scale_by_adam
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.mars import mars_correction
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative


@transformation
def mars_adamw(
    learning_rate: LearningRate,
    b1: Decay = 0.95,
    b2: Decay = 0.99,
    eps: NonNegative = 1e-8,
    gamma: NonNegative = 0.025,
    max_norm: NonNegative = 1.0,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
    *,
    exact: bool = False,
) -> Any:
    """MARS-AdamW: AdamW on c = g + gamma · b1 / (1 - b1) · (g - h), each array shortened to max_norm.

    h is the gradient at the parameters before, on this step's data or on that of the step before. The arguments are
    those of `mars_correction`, the rest as in `scale_by_adam`.

    Args:
      b1, b2: decay of the means of c and |c|², in [0, 1).
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.

    State: 3 numbers per parameter. Needs: params; where `exact` the extra `grad_fn`. Yuan et al. 2024,
    arXiv:2411.10438, Algorithm 2.

    >>> import gradx
    >>> gradx.mars_adamw(3e-3)
    mars_adamw(learning_rate=0.003)
    """
    return chain(
        mars_correction(gamma, b1, max_norm, exact=exact),
        scale_by_adam(b1, b2, eps, mu_dtype=mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
