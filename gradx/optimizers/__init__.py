"""Optimizers, one family a file: State, leaf rule, `scale_by_x`, and the recipe `x`.

In the formulas g is the gradient, p the parameter, u what is added to p, and t the number of this update, from 1.
Arguments that mean the same everywhere are described in `gradx/glossary.py`, from where `help()` has them.
"""

from gradx.glossary import document_all
from gradx.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from gradx.optimizers.adafactor import FactoredState, adafactor, scale_by_factored_rms
from gradx.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from gradx.optimizers.adam import ScaleByAdamState, adam, adamw, nadam, nadamw, scale_by_adam
from gradx.optimizers.asgd import ASGDState, asgd
from gradx.optimizers.galore import GaLoreDimensionNumbers, GaLoreState, galore, scale_by_galore
from gradx.optimizers.layerwise import fromage, lamb, lars
from gradx.optimizers.muon import MuonDimensionNumbers, MuonState, muon, scale_by_muon, scale_by_shape
from gradx.optimizers.optimistic import (
    ScaleByOptimisticGradientState,
    optimistic_adam_v2,
    optimistic_gradient_descent,
    scale_by_optimistic_gradient,
)
from gradx.optimizers.rmsprop import ScaleByRmsState, ScaleByRStdDevState, rmsprop, scale_by_rms, scale_by_stddev
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
    "FactoredState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "MuonDimensionNumbers",
    "MuonState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByOptimisticGradientState",
    "ScaleByRStdDevState",
    "ScaleByRmsState",
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
    "dpsgd",
    "fromage",
    "galore",
    "hutchinson_estimator_diag_hessian",
    "lamb",
    "lars",
    "muon",
    "nadam",
    "nadamw",
    "noisy_sgd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "rmsprop",
    "rprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_factored_rms",
    "scale_by_galore",
    "scale_by_muon",
    "scale_by_optimistic_gradient",
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
