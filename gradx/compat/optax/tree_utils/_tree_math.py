"""`optax.tree_utils._tree_math`, by gradx."""

from gradx.compat.like_optax.trees import (
    add_scale as tree_add_scale,
    div as tree_div,
    sum as tree_sum,
    vdot as tree_vdot,
)
from gradx.tree import (
    add as tree_add,
    allclose as tree_allclose,
    batch_shape as tree_batch_shape,
    bias_correction as tree_bias_correction,
    clip as tree_clip,
    conj as tree_conj,
    full_like as tree_full_like,
    max as tree_max,
    min as tree_min,
    mul as tree_mul,
    norm as tree_norm,
    ones_like as tree_ones_like,
    real as tree_real,
    scale as tree_scale,
    size as tree_size,
    sub as tree_sub,
    update_infinity_moment as tree_update_infinity_moment,
    update_moment as tree_update_moment,
    update_moment_per_elem_norm as tree_update_moment_per_elem_norm,
    where as tree_where,
    zeros_like as tree_zeros_like,
)
