"""`optax.tree_utils._state_utils`, by gradx."""

from gradx.compat.like_optax.trees import (
    NamedTupleKey as NamedTupleKey,
    get as tree_get,
    get_all_with_path as tree_get_all_with_path,
    map_params as tree_map_params,
    set as tree_set,
)
