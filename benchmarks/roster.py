"""The optimizers that race: how each is made from its highest learning rate and the number of its updates."""

from collections.abc import Callable

import jax

import gradx
from gradx import GradientTransformation, Params

WARMUP = 0.1
"""The share of the steps over which a warmed-up learning rate rises."""
WEIGHT_DECAY = 0.05
RECIPE = "recipe"
"""The name under which a recipe of `gradx.recipes` races."""


def matrices(params: Params) -> Params:
    """Mark what weight decay is for: kernels, and not biases."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def warmup_cosine(peak: float, steps: int) -> gradx.Schedule:
    """Rise from a tenth of the peak, then fall to zero at the last step."""
    return gradx.warmup_cosine_decay_schedule(peak / 10, peak, int(WARMUP * steps), steps)


ROSTER: dict[str, Callable[[float, int], GradientTransformation]] = {
    "sgd": lambda rate, steps: gradx.sgd(warmup_cosine(rate, steps)),
    "momentum": lambda rate, steps: gradx.sgd(warmup_cosine(rate, steps), momentum=0.9),
    "rmsprop": lambda rate, steps: gradx.rmsprop(warmup_cosine(rate, steps)),
    "adam": lambda rate, steps: gradx.adam(warmup_cosine(rate, steps)),
    "adamw": lambda rate, steps: gradx.adamw(warmup_cosine(rate, steps), weight_decay=WEIGHT_DECAY, mask=matrices),
    "adam-constant": lambda rate, steps: gradx.adam(rate),
}
"""All have one schedule, so that what differs is the optimizer's own; `adam-constant` shows what the schedule does."""


SCHEDULES = {"adam-constant": "adam"}


def with_recipe(recipe: Callable[..., GradientTransformation]) -> dict:
    """Return the roster and a recipe of `gradx.recipes`, expanded so that its learning rate can be read."""
    return ROSTER | {RECIPE: lambda rate, steps: recipe(steps, rate).expand()}
