"""`optax.transforms._masking`, by gradx."""

from gradx import MaskedState as MaskedState
from gradx.compat.like_optax.masking import masked as masked
from gradx.compat.like_optax.private import is_function_of_trees as _mask_callable
from gradx.core import MaskedNode as MaskedNode
