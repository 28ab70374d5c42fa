"""AdamC: AdamW whose weight decay falls with the square of the learning rate where a norm follows."""

from typing import Any

from gradx.combine import chain
from gradx.core import transformation
from gradx.optimizers.adam import scale_by_adam
from gradx.transforms.decay import add_corrected_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative, Positive


@transformation
def adamc(
    learning_rate: LearningRate,
    max_learning_rate: Positive,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    eps_root: NonNegative = 0.0,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 0.1,
    mask: Mask | None = None,
    normalized: Mask = True,
    *,
    nesterov: bool = False,
) -> Any:
    """AdamC: u = -learning_rate · (Adam's direction + weight_decay · learning_rate / max_learning_rate · p).

    At the peak it is AdamW. As the rate falls the decay falls faster, so that gradients do not grow towards the end.

    Args:
      max_learning_rate: the highest value of `learning_rate`, above 0.
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.
      normalized: which layers a norm follows, a mask too; the others decay as in AdamW.

    The rest as in `scale_by_adam`.

    State: 2 numbers per parameter. Needs: params. Defazio 2025, arXiv:2506.02285, Algorithm 1.

    >>> import gradx
    >>> gradx.adamc(gradx.linear_schedule(1e-3, 0.0, 100), 1e-3)
    adamc(learning_rate=linear_schedule(init_value=0.001, end_value=0.0, transition_steps=100), max_learning_rate=0.001)
    """
    return chain(
        scale_by_adam(b1, b2, eps, eps_root, mu_dtype, nesterov=nesterov),
        add_corrected_decayed_weights(weight_decay, learning_rate, max_learning_rate, mask, normalized),
        scale_by_learning_rate(learning_rate),
    )
