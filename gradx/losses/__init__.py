"""Losses: plain functions of arrays. Each docstring says what is summed or averaged and what is not."""

from gradx.glossary import document_all
from gradx.losses.binary import (
    hinge_loss,
    perceptron_loss,
    sigmoid_binary_cross_entropy,
    sigmoid_focal_loss,
    sparsemax_loss,
)
from gradx.losses.classification import (
    poly_loss_cross_entropy,
    safe_softmax_cross_entropy,
    softmax_cross_entropy,
    softmax_cross_entropy_with_integer_labels,
)
from gradx.losses.ctc import ctc_loss, ctc_loss_with_forward_probs
from gradx.losses.divergence import generalized_kl_divergence, kl_divergence, kl_divergence_with_log_targets
from gradx.losses.fenchel_young import make_fenchel_young_loss
from gradx.losses.multiclass import multiclass_hinge_loss, multiclass_perceptron_loss, multiclass_sparsemax_loss
from gradx.losses.ranking import ranking_softmax_loss
from gradx.losses.regression import cosine_distance, cosine_similarity, huber_loss, l2_loss, log_cosh, squared_error
from gradx.losses.segmentation import binary_dice_loss, dice_loss, multiclass_generalized_dice_loss
from gradx.losses.self_supervised import ntxent, triplet_margin_loss
from gradx.losses.smoothing import smooth_labels
from gradx.losses.vocabulary import vocabulary_cross_entropy

__all__ = [
    "binary_dice_loss",
    "cosine_distance",
    "cosine_similarity",
    "ctc_loss",
    "ctc_loss_with_forward_probs",
    "dice_loss",
    "generalized_kl_divergence",
    "hinge_loss",
    "huber_loss",
    "kl_divergence",
    "kl_divergence_with_log_targets",
    "l2_loss",
    "log_cosh",
    "make_fenchel_young_loss",
    "multiclass_generalized_dice_loss",
    "multiclass_hinge_loss",
    "multiclass_perceptron_loss",
    "multiclass_sparsemax_loss",
    "ntxent",
    "perceptron_loss",
    "poly_loss_cross_entropy",
    "ranking_softmax_loss",
    "safe_softmax_cross_entropy",
    "sigmoid_binary_cross_entropy",
    "sigmoid_focal_loss",
    "smooth_labels",
    "softmax_cross_entropy",
    "softmax_cross_entropy_with_integer_labels",
    "sparsemax_loss",
    "squared_error",
    "triplet_margin_loss",
    "vocabulary_cross_entropy",
]

__dir__ = document_all(globals(), __all__)
