"""`optax.losses._self_supervised`, by gradx."""

from gradx.losses import ntxent as ntxent, triplet_margin_loss as triplet_margin_loss
