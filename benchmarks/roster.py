"""The optimizers that race: how each is made from its highest learning rate and the number of its updates."""

from collections.abc import Callable

import jax

import gradx
from gradx import GradientTransformation, Params

WARMUP = 0.1
"""The share of the steps over which a warmed-up learning rate rises."""
WEIGHT_DECAY = 0.05
FACTORED = 32
"""From so many rows and columns on Adafactor keeps sums in place of moments: networks here are small."""
LARGEST = 512
"""Rows of a preconditioner: a longer axis, one of 1,568 in the task `images`, goes without or in blocks."""
RECIPE = "recipe"
"""The name under which a recipe of `gradx.recipes` races."""


def matrices(params: Params) -> Params:
    """Mark what weight decay is for: kernels, and not biases."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def warmup_cosine(peak: float, steps: int) -> gradx.Schedule:
    """Rise from a tenth of the peak, then fall to zero at the last step."""
    return gradx.warmup_cosine_decay_schedule(peak / 10, peak, int(WARMUP * steps), steps)


def schedule_free(peak: float, steps: int) -> GradientTransformation:
    """Rise to a constant rate: the average of the parameters does what a falling rate does."""
    return gradx.schedule_free_adamw(peak, warmup_steps=int(WARMUP * steps), weight_decay=WEIGHT_DECAY)


def muon(peak: float, steps: int, weight_decay: float = WEIGHT_DECAY) -> GradientTransformation:
    """Scale updates to the size of Adam's, so that one rate serves the matrices and, by AdamW, the rest."""
    return gradx.muon(
        warmup_cosine(peak, steps),
        weight_decay=weight_decay,
        shape_scaling="moonlight",
        muon_weight_dimension_numbers=gradx.roles.infer,
    )


def hyperball(peak: float, steps: int) -> GradientTransformation:
    """Turn each matrix by an angle, in Muon's direction; the rest goes by Adam, at a third of that rate."""
    return gradx.hyperball(muon(peak / 3, steps, 0.0), warmup_cosine(peak, steps), gradx.roles.infer)


def normuon(peak: float, steps: int) -> GradientTransformation:
    """As Muon, with an adaptive rate for each neuron."""
    return gradx.normuon(
        warmup_cosine(peak, steps), weight_decay=WEIGHT_DECAY, weight_dimension_numbers=gradx.roles.infer
    )


def cautious_decay(peak: float, steps: int) -> GradientTransformation:
    """AdamW that decays only where decay and step agree."""
    return gradx.chain(
        gradx.scale_by_adam(),
        gradx.add_cautious_decayed_weights(WEIGHT_DECAY, matrices),
        gradx.scale_by_learning_rate(warmup_cosine(peak, steps)),
    )


def of_matrices(method: Callable[..., GradientTransformation]) -> Callable[[float, int], GradientTransformation]:
    """Return a method that goes by roles: hidden matrices its way, the rest by AdamW."""
    return lambda peak, steps: method(
        warmup_cosine(peak, steps),
        weight_decay=WEIGHT_DECAY,
        mask=matrices,
        max_size=LARGEST,
        weight_dimension_numbers=gradx.roles.infer,
    )


ROSTER: dict[str, Callable[[float, int], GradientTransformation]] = {
    "sgd": lambda rate, steps: gradx.sgd(warmup_cosine(rate, steps)),
    "momentum": lambda rate, steps: gradx.sgd(warmup_cosine(rate, steps), momentum=0.9),
    "rmsprop": lambda rate, steps: gradx.rmsprop(warmup_cosine(rate, steps)),
    "adam": lambda rate, steps: gradx.adam(warmup_cosine(rate, steps)),
    "adamw": lambda rate, steps: gradx.adamw(warmup_cosine(rate, steps), weight_decay=WEIGHT_DECAY, mask=matrices),
    "adam-constant": lambda rate, steps: gradx.adam(rate),
    "lion": lambda rate, steps: gradx.lion(warmup_cosine(rate, steps), weight_decay=3 * WEIGHT_DECAY, mask=matrices),
    "adafactor": lambda rate, steps: gradx.adafactor(warmup_cosine(rate, steps), min_dim_size_to_factor=FACTORED),
    "radam": lambda rate, steps: gradx.radam(warmup_cosine(rate, steps)),
    "lamb": lambda rate, steps: gradx.lamb(warmup_cosine(rate, steps), weight_decay=WEIGHT_DECAY, mask=matrices),
    "schedule-free": schedule_free,
    "prodigy": lambda rate, steps: gradx.prodigy(warmup_cosine(rate, steps), weight_decay=WEIGHT_DECAY),
    "muon": muon,
    "normuon": normuon,
    "hyperball": hyperball,
    "soap": of_matrices(gradx.soap),
    "shampoo": of_matrices(gradx.shampoo),
    "kron": of_matrices(gradx.kron),
    "adamw-cautious": cautious_decay,
}
"""All have one schedule, so that what differs is the optimizer's own; `adam-constant` shows what the schedule does."""


def newcomers(adam: float) -> dict[str, float]:
    """Return the middle of the grid of each newcomer, given Adam's: what their papers say of one beside the other."""
    return {
        "lion": float(f"{adam / 3:.0e}"),  # a third to a tenth, with as much more decay: Chen et al. 2023, section 5
        "adafactor": 0.03,  # relative to the size of the parameters: Shazeer and Stern 2018, section 8
        "radam": adam,
        "lamb": 3 * adam,
        "schedule-free": 3 * adam,  # one to ten times as much: Defazio et al. 2024, section 4
        "prodigy": 1.0,  # a factor of its own estimate
        "muon": 3 * adam,
    }


SCHEDULES = {"adam-constant": "adam"}


def methods_of_matrices(adam: float) -> dict[str, float]:
    """Return the middle of the grid of each method of matrices, given Adam's."""
    return {
        "normuon": 3 * adam,
        "hyperball": 0.03,  # an angle
        "soap": adam,
        "shampoo": adam,
        "kron": float(f"{adam / 3:.0e}"),
        "adamw-cautious": 3 * adam,
    }


def with_recipe(recipe: Callable[..., GradientTransformation]) -> dict:
    """Return the roster and a recipe of `gradx.recipes`, expanded so that its learning rate can be read."""
    return ROSTER | {RECIPE: lambda rate, steps: recipe(steps, rate).expand()}
