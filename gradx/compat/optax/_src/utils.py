"""`optax._src.utils`, by gradx."""

from gradx import scale_gradient as scale_gradient
from gradx.compat.like_optax.utilities import (
    MultiNormalDiagFromLogScale as MultiNormalDiagFromLogScale,
    canonicalize_dtype as canonicalize_dtype,
    canonicalize_key as canonicalize_key,
    cast_tree as cast_tree,
    check_rank as check_rank,
    check_shapes_equal as check_shapes_equal,
    check_subdtype as check_subdtype,
    multi_normal as multi_normal,
    safe_int32_increment as safe_int32_increment,
    set_diags as set_diags,
    tile_second_to_last_dim as tile_second_to_last_dim,
    x64_precision as x64_precision,
)
from gradx.numerics import safe_norm as safe_norm
