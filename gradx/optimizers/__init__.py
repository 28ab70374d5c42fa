"""Optimizers, one family a file: State, leaf rule, `scale_by_x`, and the recipe `x`.

In the formulas g is the gradient, p the parameter, u what is added to p, and t the number of this update, from 1.
Arguments that mean the same everywhere are described in `gradx/glossary.py`, from where `help()` has them.
"""

from gradx.glossary import document_all
from gradx.optimizers.adabelief import ScaleByBeliefState, acprop, adabelief, scale_by_acprop, scale_by_belief
from gradx.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from gradx.optimizers.adafactor import FactoredState, adafactor, scale_by_factored_rms
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
from gradx.optimizers.adam_mini import ScaleByAdamMiniState, adam_mini, adam_mini_blocks, scale_by_adam_mini
from gradx.optimizers.adamax import ScaleByAdamaxState, adamax, adamaxw, scale_by_adamax
from gradx.optimizers.adamc import adamc
from gradx.optimizers.adamuon import AdaMuonState, adamuon, scale_by_adamuon
from gradx.optimizers.adan import ScaleByAdanState, adan, scale_by_adan
from gradx.optimizers.adaptation import DAdaptAdamWState, ProdigyState, dadapt_adamw, prodigy
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
from gradx.optimizers.apollo import ScaleByApolloState, apollo, apollo_mini, scale_by_apollo
from gradx.optimizers.asgd import ASGDState, asgd
from gradx.optimizers.cocob import COCOBState, cocob, scale_by_cocob
from gradx.optimizers.dion import Dion2State, DionState, dion, dion2, scale_by_dion, scale_by_dion2
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
from gradx.optimizers.kl_shampoo import (
    ScaleByKLShampooState,
    kl_shampoo,
    kl_soap,
    scale_by_kl_shampoo,
    scale_by_kl_soap,
)
from gradx.optimizers.laprop import ScaleByLaPropState, laprop, scale_by_laprop
from gradx.optimizers.layerwise import fromage, lamb, lars
from gradx.optimizers.lbfgs import ScaleByLBFGSState, lbfgs, scale_by_lbfgs
from gradx.optimizers.lion import ScaleByLionState, lion, scale_by_lion
from gradx.optimizers.madgrad import MadgradState, madgrad, scale_by_madgrad
from gradx.optimizers.mars import mars_adamw
from gradx.optimizers.momo import MomoAdamState, MomoState, momo, momo_adam
from gradx.optimizers.muon import MuonDimensionNumbers, MuonState, muon, scale_by_muon
from gradx.optimizers.normuon import NorMuonState, normuon, scale_by_normuon
from gradx.optimizers.novograd import ScaleByNovogradState, novograd, scale_by_novograd
from gradx.optimizers.optimistic import (
    ScaleByOptimisticGradientState,
    optimistic_adam_v2,
    optimistic_gradient_descent,
    scale_by_optimistic_gradient,
)
from gradx.optimizers.polargrad import PolarGradState, polargrad, scale_by_polargrad
from gradx.optimizers.polyak import polyak_sgd, scale_by_polyak
from gradx.optimizers.psgd import ScaleByKronState, kron, scale_by_kron
from gradx.optimizers.radam import ScaleByRadamState, radam, scale_by_radam
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
from gradx.optimizers.scion import ScionState, scale_by_scion, scion
from gradx.optimizers.sgd import dpsgd, noisy_sgd, sgd
from gradx.optimizers.shampoo import ScaleByShampooState, scale_by_shampoo, shampoo
from gradx.optimizers.sign import scale_by_sign, sign_sgd, signum
from gradx.optimizers.sm3 import ScaleBySM3State, scale_by_sm3, sm3
from gradx.optimizers.soap import (
    ScaleBySoapState,
    scale_by_soap,
    scale_by_soap_muon,
    soap,
    soap_muon,
)
from gradx.optimizers.sophia import (
    HutchinsonState,
    SophiaState,
    hutchinson_estimator_diag_hessian,
    scale_by_sophia,
    sophia,
)
from gradx.optimizers.stable_adamw import scale_by_stable_adam, stable_adamw
from gradx.optimizers.yogi import ScaleByYogiState, scale_by_yogi, yogi

__all__ = [
    "ASGDState",
    "AdaMuonState",
    "COCOBState",
    "DAdaptAdamWState",
    "Dion2State",
    "DionState",
    "DoGState",
    "DoWGState",
    "FactoredState",
    "GaLoreDimensionNumbers",
    "GaLoreState",
    "HutchinsonState",
    "MadgradState",
    "MomoAdamState",
    "MomoState",
    "MuonDimensionNumbers",
    "MuonState",
    "NorMuonState",
    "PolarGradState",
    "ProdigyState",
    "ScaleByAdaDeltaState",
    "ScaleByAdamMiniState",
    "ScaleByAdamState",
    "ScaleByAdamaxState",
    "ScaleByAdanState",
    "ScaleByAdemamixState",
    "ScaleByAdoptState",
    "ScaleByAmsgradState",
    "ScaleByApolloState",
    "ScaleByBeliefState",
    "ScaleByDistanceOverGradientsState",
    "ScaleByKLShampooState",
    "ScaleByKronState",
    "ScaleByLBFGSState",
    "ScaleByLaPropState",
    "ScaleByLionState",
    "ScaleByNadamState",
    "ScaleByNovogradState",
    "ScaleByOptimisticGradientState",
    "ScaleByRStdDevState",
    "ScaleByRStdDevWithCountState",
    "ScaleByRadamState",
    "ScaleByRmsState",
    "ScaleByRmsWithCountState",
    "ScaleByRpropState",
    "ScaleByRssState",
    "ScaleBySM3State",
    "ScaleByShampooState",
    "ScaleBySimplifiedAdEMAMixState",
    "ScaleBySoapState",
    "ScaleByYogiState",
    "ScionState",
    "SophiaState",
    "acprop",
    "adabelief",
    "adadelta",
    "adafactor",
    "adagrad",
    "adam",
    "adam_mini",
    "adam_mini_blocks",
    "adamax",
    "adamaxw",
    "adamc",
    "adamuon",
    "adamw",
    "adan",
    "ademamix",
    "adopt",
    "amsgrad",
    "apollo",
    "apollo_mini",
    "asgd",
    "cocob",
    "dadapt_adamw",
    "dion",
    "dion2",
    "dog",
    "dowg",
    "dpsgd",
    "fromage",
    "galore",
    "hutchinson_estimator_diag_hessian",
    "kl_shampoo",
    "kl_soap",
    "kron",
    "lamb",
    "laprop",
    "lars",
    "lbfgs",
    "lion",
    "madgrad",
    "mars_adamw",
    "momo",
    "momo_adam",
    "muon",
    "nadam",
    "nadamw",
    "noisy_sgd",
    "normuon",
    "novograd",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "polargrad",
    "polyak_sgd",
    "prodigy",
    "radam",
    "rmsprop",
    "rprop",
    "scale_by_acprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_adam_mini",
    "scale_by_adamax",
    "scale_by_adamuon",
    "scale_by_adan",
    "scale_by_ademamix",
    "scale_by_adopt",
    "scale_by_amsgrad",
    "scale_by_apollo",
    "scale_by_belief",
    "scale_by_cocob",
    "scale_by_dion",
    "scale_by_dion2",
    "scale_by_distance_over_gradients",
    "scale_by_dog",
    "scale_by_dowg",
    "scale_by_factored_rms",
    "scale_by_galore",
    "scale_by_kl_shampoo",
    "scale_by_kl_soap",
    "scale_by_kron",
    "scale_by_laprop",
    "scale_by_lbfgs",
    "scale_by_lion",
    "scale_by_madgrad",
    "scale_by_muon",
    "scale_by_nadam",
    "scale_by_normuon",
    "scale_by_novograd",
    "scale_by_optimistic_gradient",
    "scale_by_polargrad",
    "scale_by_polyak",
    "scale_by_radam",
    "scale_by_rms",
    "scale_by_rprop",
    "scale_by_rss",
    "scale_by_scion",
    "scale_by_shampoo",
    "scale_by_sign",
    "scale_by_simplified_ademamix",
    "scale_by_sm3",
    "scale_by_soap",
    "scale_by_soap_muon",
    "scale_by_sophia",
    "scale_by_stable_adam",
    "scale_by_stddev",
    "scale_by_yogi",
    "scion",
    "sgd",
    "shampoo",
    "sign_sgd",
    "signum",
    "simplified_ademamix",
    "sm3",
    "soap",
    "soap_muon",
    "sophia",
    "stable_adamw",
    "yogi",
]

__dir__ = document_all(globals(), __all__)
