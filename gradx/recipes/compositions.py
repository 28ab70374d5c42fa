"""One optimizer for each kind of work: clipping, a method, a schedule as long as the training, decay where it belongs.

The learning rate rises over the first tenth of the steps, from a tenth of its peak, and falls to zero along a cosine.
The default peaks are what the races found for small networks; `gradx.tune.sweep` over `peak` finds yours.
"""

from typing import Any

from gradx.combine import chain
from gradx.core import GradientTransformation, transformation
from gradx.optimizers.adam import adam, adamw, scale_by_adam
from gradx.optimizers.muon import scale_by_muon
from gradx.recipes.roles import kernels
from gradx.roles import infer
from gradx.scheduled import ScheduleValue
from gradx.schedules.warmup import warmup_cosine_decay_schedule
from gradx.transforms.clip import clip_by_global_norm
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import by_role, scale_by_shape
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Labels, NonNegative, PositiveInt, PositiveReal
from gradx.wrappers.hyperball import hyperball

WARMUP = 10
"""The learning rate rises over one step in so many, from the peak divided by it."""


@transformation
def general(
    steps: PositiveInt, peak: PositiveReal = 0.03, weight_decay: NonNegative = 0.05, clip: NonNegative = 1.0
) -> Any:
    """Return AdamW with warmup, cosine decay and clipped gradients, for a network of which nothing else is known.

    Args:
      weight_decay: pull of `kernels` towards zero, times the learning rate.

    Raced for 600 steps on a perceptron with a table of 1,797 rows: benchmarks/results/tabular/results.json.

    >>> from gradx import recipes
    >>> recipes.general(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=1.0)
    """
    return _adamw(steps, peak, weight_decay, clip)


@transformation
def images(
    steps: PositiveInt, peak: PositiveReal = 0.01, weight_decay: NonNegative = 0.05, clip: NonNegative = 1.0
) -> Any:
    """Return AdamW with warmup, cosine decay and clipped gradients, for convolutional networks.

    Arguments as for `general`.
    Raced for 900 steps on a small network with 5,000 digits: benchmarks/results/images/results.json.

    >>> from gradx import recipes
    >>> recipes.images(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=1.0)
    """
    return _adamw(steps, peak, weight_decay, clip)


@transformation
def language(
    steps: PositiveInt,
    peak: PositiveReal = 0.03,
    clip: NonNegative = 1.0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Return Muon on the Hyperball with warmup, cosine decay and clipped gradients, for Transformers.

    Each matrix keeps its norm and turns by an angle, `peak` at most; no weight decays. Embeddings, head and vectors go
    by Adam, at a third of the rate. Other arguments as for `general`.

    Args:
      weight_dimension_numbers: which leaves are matrices; None asks `gradx.roles.infer`, which says so where it cannot
        tell: `lambda params: gradx.roles.infer(params, {"*/mixer": "matrix"})` tells it.

    Raced for 800 steps on a small one with English prose: benchmarks/results/language/results.json.

    >>> from gradx import recipes
    >>> recipes.language(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=1.0)
    """
    schedule = _rise_and_fall(peak, steps)
    inner = chain(_directions(weight_dimension_numbers), scale_by_learning_rate(schedule / 3))
    numbers = infer if weight_dimension_numbers is None else weight_dimension_numbers
    return chain(clip_by_global_norm(clip), hyperball(inner, schedule, numbers))


@transformation
def recurrent(
    steps: PositiveInt,
    peak: PositiveReal = 0.03,
    weight_decay: NonNegative = 0.05,
    clip: NonNegative = 5.0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Return Muon with warmup, cosine decay and clipped gradients, for recurrent networks, whose gradients explode.

    Each gate is a matrix. Arguments as for `general` and `language`.

    Args:
      clip: bound on the gradients' global norm, far above the usual one: it is for the explosions.

    Raced for 500 steps on gated units with English prose: benchmarks/results/recurrent/results.json.

    >>> from gradx import recipes
    >>> recipes.recurrent(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=5.0)
    """
    return chain(
        clip_by_global_norm(clip),
        _directions(weight_dimension_numbers),
        add_decayed_weights(weight_decay, kernels),
        scale_by_learning_rate(_rise_and_fall(peak, steps)),
    )


@transformation
def stream(
    steps: PositiveInt, peak: PositiveReal = 0.03, weight_decay: NonNegative = 0.05, clip: NonNegative = 1.0
) -> Any:
    """Return AdamW with warmup, cosine decay and clipped gradients, for one pass over very large data.

    Arguments as for `general`.
    Raced for 860 steps on 31 MB of sources, read once: benchmarks/results/stream/results.json.

    >>> from gradx import recipes
    >>> recipes.stream(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=1.0)
    """
    return _adamw(steps, peak, weight_decay, clip)


@transformation
def control(steps: PositiveInt, peak: PositiveReal = 3e-3, clip: NonNegative = 0.5) -> Any:
    """Return Adam with warmup, cosine decay and clipped gradients, for policy gradients.

    Args:
      steps: updates of the whole training, several for each batch of moves.

    Raced for 60 steps of 16 updates on CartPole, as proximal policy optimization:
    benchmarks/results/control/results.json.

    >>> from gradx import recipes
    >>> recipes.control(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=0.5)
    """
    return chain(clip_by_global_norm(clip), adam(_rise_and_fall(peak, steps)))


@transformation
def gan(steps: PositiveInt, peak: PositiveReal = 0.01, clip: NonNegative = 1.0) -> Any:
    """Return Adam with short memory (b1 = 0.5), warmup, cosine decay and clipped gradients, for adversaries.

    Raced for 3,000 steps on 5,000 digits: benchmarks/results/gan/results.json.

    >>> from gradx import recipes
    >>> recipes.gan(steps=1000).expand().arguments["parts"][0]
    clip_by_global_norm(max_norm=1.0)
    """
    return chain(clip_by_global_norm(clip), adam(_rise_and_fall(peak, steps), b1=0.5))


def _adamw(steps: int, peak: Any, weight_decay: Any, clip: Any) -> GradientTransformation:
    schedule = _rise_and_fall(peak, steps)
    return chain(clip_by_global_norm(clip), adamw(schedule, weight_decay=weight_decay, mask=kernels))


def _directions(numbers: Labels | None) -> GradientTransformation:
    """Return Muon's for matrices, scaled to the size of Adam's, and Adam's for the rest."""
    matrices = chain(scale_by_muon(), scale_by_shape(shape_scaling="moonlight"))
    return by_role("muon", {"muon": matrices, "adam": scale_by_adam()}, numbers)


def _rise_and_fall(peak: Any, steps: int) -> ScheduleValue:
    return warmup_cosine_decay_schedule(peak / WARMUP, peak, steps // WARMUP, steps)
