"""`optax.losses._smoothing`, by gradx."""

from gradx.losses import smooth_labels as smooth_labels
