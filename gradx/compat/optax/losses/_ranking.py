"""`optax.losses._ranking`, by gradx."""

from gradx.losses import ranking_softmax_loss as ranking_softmax_loss
