"""Optimizers, one family a file: State, leaf rule, `scale_by_x`, and the recipe `x`.

In the formulas g is the gradient, p the parameter, u what is added to p, and t the number of this update, from 1.
Arguments that mean the same everywhere are described in `gradx/glossary.py`, from where `help()` has them.
"""

from gradx.glossary import document_all
from gradx.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from gradx.optimizers.adafactor import FactoredState, adafactor, scale_by_factored_rms
from gradx.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from gradx.optimizers.adam import ScaleByAdamState, adam, adamw, nadam, nadamw, scale_by_adam
from gradx.optimizers.adaptation import DAdaptAdamWState, ProdigyState, dadapt_adamw, prodigy
from gradx.optimizers.asgd import ASGDState, asgd
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
from gradx.optimizers.galore import GaLoreDimensionNumbers, GaLoreState, galore, scale_by_galore
from gradx.optimizers.layerwise import fromage, lamb, lars
from gradx.optimizers.lbfgs import ScaleByLBFGSState, lbfgs, scale_by_lbfgs
from gradx.optimizers.momo import MomoAdamState, MomoState, momo, momo_adam
from gradx.optimizers.muon import MuonDimensionNumbers, MuonState, muon, scale_by_muon, scale_by_shape
from gradx.optimizers.optimistic import (
    ScaleByOptimisticGradientState,
    optimistic_adam_v2,
    optimistic_gradient_descent,
    scale_by_optimistic_gradient,
)
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
from gradx.optimizers.rprop import ScaleByRpropState, rprop, scale_by_rprop
from gradx.optimizers.sgd import dpsgd, noisy_sgd, sgd
from gradx.optimizers.sign import scale_by_sign, sign_sgd, signum
from gradx.optimizers.sm3 import ScaleBySM3State, scale_by_sm3, sm3
from gradx.optimizers.sophia import (
    HutchinsonState,
    SophiaState,
    hutchinson_estimator_diag_hessian,
    scale_by_sophia,
    sophia,
)

__all__ = [
    "ASGDState",
    "COCOBState",
    "DAdaptAdamWState",
    "DoGState",
    "DoWGState",
    "FactoredState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "MomoAdamState",
    "MomoState",
    "MuonDimensionNumbers",
    "MuonState",
    "ProdigyState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByDistanceOverGradientsState",
    "ScaleByLBFGSState",
    "ScaleByOptimisticGradientState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleBySM3State",
    "SophiaState",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adamw",
    "asgd",
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "dpsgd",
    "fromage",
    "galore",
    "hutchinson_estimator_diag_hessian",
    "lamb",
    "lars",
    "lbfgs",
    "momo",
    "momo_adam",
    "muon",
    "nadam",
    "nadamw",
    "noisy_sgd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "polyak_sgd",
    "prodigy",
    "rmsprop",
    "rprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_cocob",
    "scale_by_distance_over_gradients",
    "scale_by_dog",
    "scale_by_dowg",
    "scale_by_factored_rms",
    "scale_by_galore",
    "scale_by_lbfgs",
    "scale_by_muon",
    "scale_by_optimistic_gradient",
    "scale_by_polyak",
    "scale_by_rms",
    "scale_by_rprop",
    "scale_by_rss",
    "scale_by_shape",
    "scale_by_sign",
    "scale_by_sm3",
    "scale_by_sophia",
    "scale_by_stddev",
    "sgd",
    "sign_sgd",
    "signum",
    "sm3",
    "sophia",
]

__dir__ = document_all(globals(), __all__)
