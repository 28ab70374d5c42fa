"""Optimizers, one family a file: State, leaf rule, `scale_by_x`, and the recipe `x`.

In the formulas g is the gradient, p the parameter, u what is added to p, and t the number of this update, from 1.
Arguments that mean the same everywhere are described in `gradx/glossary.py`, from where `help()` has them.
"""

from gradx.glossary import document_all
from gradx.optimizers.adabelief import ScaleByBeliefState, acprop, adabelief, scale_by_acprop, scale_by_belief
from gradx.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from gradx.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from gradx.optimizers.adam import (
    ScaleByAdamState,
    ScaleByNadamState,
    adam,
    adamw,
    nadam,
    nadamw,
    scale_by_adam,
    scale_by_nadam,
)
from gradx.optimizers.adamax import ScaleByAdamaxState, adamax, adamaxw, scale_by_adamax
from gradx.optimizers.adan import ScaleByAdanState, adan, scale_by_adan
from gradx.optimizers.ademamix import (
    ScaleByAdemamixState,
    ScaleBySimplifiedAdEMAMixState,
    ademamix,
    scale_by_ademamix,
    scale_by_simplified_ademamix,
    simplified_ademamix,
)
from gradx.optimizers.adopt import ScaleByAdoptState, adopt, scale_by_adopt
from gradx.optimizers.amsgrad import ScaleByAmsgradState, amsgrad, scale_by_amsgrad
from gradx.optimizers.lion import ScaleByLionState, lion, scale_by_lion
from gradx.optimizers.madgrad import MadgradState, madgrad, scale_by_madgrad
from gradx.optimizers.novograd import ScaleByNovogradState, novograd, scale_by_novograd
from gradx.optimizers.radam import ScaleByRadamState, radam, scale_by_radam
from gradx.optimizers.rmsprop import ScaleByRmsState, ScaleByRStdDevState, rmsprop, scale_by_rms, scale_by_stddev
from gradx.optimizers.sgd import sgd
from gradx.optimizers.yogi import ScaleByYogiState, scale_by_yogi, yogi

__all__ = [
    "MadgradState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByAdamaxState",
    "ScaleByAdanState",
    "ScaleByAdemamixState",
    "ScaleByAdoptState",
    "ScaleByAmsgradState",
    "ScaleByBeliefState",
    "ScaleByLionState",
    "ScaleByNadamState",
    "ScaleByNovogradState",
    "ScaleByRStdDevState",
    "ScaleByRadamState",
    "ScaleByRmsState",
    "ScaleByRssState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScaleByYogiState",
    "acprop",
    "adabelief",
    "adadelta",
    "adagrad",
    "adam",
    "adamax",
    "adamaxw",
    "adamw",
    "adan",
    "ademamix",
    "adopt",
    "amsgrad",
    "lion",
    "madgrad",
    "nadam",
    "nadamw",
    "novograd",
    "radam",
    "rmsprop",
    "scale_by_acprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adamax",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_belief",
    "scale_by_lion",
    "scale_by_madgrad",
    "scale_by_nadam",
    "scale_by_novograd",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_simplified_ademamix",
    "scale_by_stddev",
    "scale_by_yogi",
    "sgd",
    "simplified_ademamix",
    "yogi",
]

__dir__ = document_all(globals(), __all__)
