"""`optax.losses._segmentation`, by gradx."""

from gradx.compat.like_optax.losses import dice_loss as dice_loss
from gradx.losses import (
    binary_dice_loss as binary_dice_loss,
    multiclass_generalized_dice_loss as multiclass_generalized_dice_loss,
)
