"""`optax.losses._classification`, by gradx."""

from gradx.compat.like_optax.losses import (
    binary_logistic_loss as binary_logistic_loss,
    binary_sparsemax_loss as binary_sparsemax_loss,
    convex_kl_divergence as convex_kl_divergence,
    ctc_loss_with_forward_probs as ctc_loss_with_forward_probs,
    multiclass_logistic_loss as multiclass_logistic_loss,
    softmax_cross_entropy_with_integer_labels as softmax_cross_entropy_with_integer_labels,
)
from gradx.losses import (
    ctc_loss as ctc_loss,
    generalized_kl_divergence as generalized_kl_divergence,
    hinge_loss as hinge_loss,
    kl_divergence as kl_divergence,
    kl_divergence_with_log_targets as kl_divergence_with_log_targets,
    multiclass_hinge_loss as multiclass_hinge_loss,
    multiclass_perceptron_loss as multiclass_perceptron_loss,
    multiclass_sparsemax_loss as multiclass_sparsemax_loss,
    perceptron_loss as perceptron_loss,
    poly_loss_cross_entropy as poly_loss_cross_entropy,
    safe_softmax_cross_entropy as safe_softmax_cross_entropy,
    sigmoid_binary_cross_entropy as sigmoid_binary_cross_entropy,
    sigmoid_focal_loss as sigmoid_focal_loss,
    softmax_cross_entropy as softmax_cross_entropy,
    sparsemax_loss as sparsemax_loss,
)
