"""`optax.transforms._masking`, by gradx."""

from gradx import MaskedState as MaskedState
from gradx.compat.like_optax.masking import masked as masked
from gradx.core import MaskedNode as MaskedNode
