"""Optimizers, one family a file: State, leaf rule, `scale_by_x`, and the recipe `x`.

In the formulas g is the gradient, p the parameter, u what is added to p, and t the number of this update, from 1.
Arguments that mean the same everywhere are described in `gradx/glossary.py`, from where `help()` has them.
"""

from gradx.glossary import document_all
from gradx.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from gradx.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from gradx.optimizers.adam import ScaleByAdamState, adam, adamw, nadam, nadamw, scale_by_adam
from gradx.optimizers.adaptation import DAdaptAdamWState, ProdigyState, dadapt_adamw, prodigy
from gradx.optimizers.cocob import COCOBState, cocob, scale_by_cocob
from gradx.optimizers.distance import (
    DoGState,
    DoWGState,
    ScaleByDistanceOverGradientsState,
    dog,
    dowg,
    scale_by_distance_over_gradients,
    scale_by_dog,
    scale_by_dowg,
)
from gradx.optimizers.lbfgs import ScaleByLBFGSState, lbfgs, scale_by_lbfgs
from gradx.optimizers.momo import MomoAdamState, MomoState, momo, momo_adam
from gradx.optimizers.polyak import polyak_sgd, scale_by_polyak
from gradx.optimizers.rmsprop import (
    ScaleByRmsState,
    ScaleByRmsWithCountState,
    ScaleByRStdDevState,
    ScaleByRStdDevWithCountState,
    rmsprop,
    scale_by_rms,
    scale_by_stddev,
)
from gradx.optimizers.sgd import sgd

__all__ = [
    "COCOBState",
    "DAdaptAdamWState",
    "DoGState",
    "DoWGState",
    "MomoAdamState",
    "MomoState",
    "ProdigyState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByDistanceOverGradientsState",
    "ScaleByLBFGSState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRssState",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "lbfgs",
    "momo",
    "momo_adam",
    "nadam",
    "nadamw",
    "polyak_sgd",
    "prodigy",
    "rmsprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_cocob",
    "scale_by_distance_over_gradients",
    "scale_by_dog",
    "scale_by_dowg",
    "scale_by_lbfgs",
    "scale_by_polyak",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_stddev",
    "sgd",
]

__dir__ = document_all(globals(), __all__)
