"""The optimizers that race: how each is made from a learning rate and the length of the training."""

from collections.abc import Callable

import jax

import gradx
from gradx import GradientTransformation, Params

WARMUP = 0.1
"""The share of the steps over which a warmed-up learning rate rises."""
WEIGHT_DECAY = 0.05


def matrices(params: Params) -> Params:
    """Mark what weight decay is for: kernels, and not biases."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def warmup_cosine(peak: float, steps: int) -> gradx.Schedule:
    """Rise from a tenth of the peak, then fall to zero at the last step."""
    return gradx.warmup_cosine_decay_schedule(peak / 10, peak, int(WARMUP * steps), steps)


ROSTER: dict[str, Callable[[float, int], GradientTransformation]] = {
    "sgd": lambda rate, steps: gradx.sgd(rate),
    "momentum": lambda rate, steps: gradx.sgd(rate, momentum=0.9),
    "rmsprop": lambda rate, steps: gradx.rmsprop(rate),
    "adam": lambda rate, steps: gradx.adam(rate),
    "adamw": lambda rate, steps: gradx.adamw(warmup_cosine(rate, steps), weight_decay=WEIGHT_DECAY, mask=matrices),
}
