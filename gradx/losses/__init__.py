"""Losses: plain functions of arrays. Each docstring says what is summed or averaged and what is not."""

from gradx.losses.binary import hinge_loss as hinge_loss
from gradx.losses.binary import perceptron_loss as perceptron_loss
from gradx.losses.binary import sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy
from gradx.losses.binary import sigmoid_focal_loss as sigmoid_focal_loss
from gradx.losses.binary import sparsemax_loss as sparsemax_loss
from gradx.losses.classification import poly_loss_cross_entropy as poly_loss_cross_entropy
from gradx.losses.classification import safe_softmax_cross_entropy as safe_softmax_cross_entropy
from gradx.losses.classification import softmax_cross_entropy as softmax_cross_entropy
from gradx.losses.classification import (
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
)
from gradx.losses.ctc import ctc_loss as ctc_loss
from gradx.losses.ctc import ctc_loss_with_forward_probs as ctc_loss_with_forward_probs
from gradx.losses.divergence import generalized_kl_divergence as generalized_kl_divergence
from gradx.losses.divergence import kl_divergence as kl_divergence
from gradx.losses.divergence import kl_divergence_with_log_targets as kl_divergence_with_log_targets
from gradx.losses.fenchel_young import make_fenchel_young_loss as make_fenchel_young_loss
from gradx.losses.multiclass import multiclass_hinge_loss as multiclass_hinge_loss
from gradx.losses.multiclass import multiclass_perceptron_loss as multiclass_perceptron_loss
from gradx.losses.multiclass import multiclass_sparsemax_loss as multiclass_sparsemax_loss
from gradx.losses.ranking import ranking_softmax_loss as ranking_softmax_loss
from gradx.losses.regression import cosine_distance as cosine_distance
from gradx.losses.regression import cosine_similarity as cosine_similarity
from gradx.losses.regression import huber_loss as huber_loss
from gradx.losses.regression import l2_loss as l2_loss
from gradx.losses.regression import log_cosh as log_cosh
from gradx.losses.regression import squared_error as squared_error
from gradx.losses.segmentation import binary_dice_loss as binary_dice_loss
from gradx.losses.segmentation import dice_loss as dice_loss
from gradx.losses.segmentation import multiclass_generalized_dice_loss as multiclass_generalized_dice_loss
from gradx.losses.self_supervised import ntxent as ntxent
from gradx.losses.self_supervised import triplet_margin_loss as triplet_margin_loss
from gradx.losses.smoothing import smooth_labels as smooth_labels
from gradx.losses.vocabulary import vocabulary_cross_entropy as vocabulary_cross_entropy
