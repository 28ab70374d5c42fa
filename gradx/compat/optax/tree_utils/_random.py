"""`optax.tree_utils._random`, by gradx."""

from gradx.compat.like_optax.trees import unwrap_random_key_data as tree_unwrap_random_key_data
from gradx.tree import random_like as tree_random_like, split_key_like as tree_split_key_like
