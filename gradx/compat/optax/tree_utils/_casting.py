"""`optax.tree_utils._casting`, by gradx."""

from gradx.tree import cast as tree_cast, cast_like as tree_cast_like, dtype as tree_dtype
