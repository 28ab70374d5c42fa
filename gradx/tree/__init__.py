"""Trees of arrays: arithmetic, reductions, the names of their leaves, and the states of optimizers.

A tree is a pytree whose leaves are arrays or numbers. Functions of two trees want the same structure in both; `None` is
no leaf. Sums, norms and new trees are at least float32, however low the precision of the leaves.

>>> from gradx import tree
>>> float(tree.norm({"w": [3.0], "b": 4.0}))
5.0
"""

from gradx.glossary import document_all
from gradx.tree.arithmetic import add, add_scale, clip, conj, div, mul, real, scale, sub, where
from gradx.tree.casts import cast, cast_like, dtype, lift, real_dtype, unwrap_random_key_data
from gradx.tree.creation import (
    batch_shape,
    copy,
    full_like,
    ones_like,
    random_like,
    real_full_like,
    scalar_like,
    split_key_like,
    zeros_like,
)
from gradx.tree.mapping import map_leaves
from gradx.tree.moments import bias_correction, update_infinity_moment, update_moment, update_moment_per_elem_norm
from gradx.tree.reductions import allclose, max, min, norm, size, sum, total, vdot
from gradx.tree.states import get, get_all_with_path, map_params, set
from gradx.tree.structure import broadcast, map_with_path, paths, unbox

__all__ = [
    "add",
    "add_scale",
    "allclose",
    "batch_shape",
    "bias_correction",
    "broadcast",
    "cast",
    "cast_like",
    "clip",
    "conj",
    "copy",
    "div",
    "dtype",
    "full_like",
    "get",
    "get_all_with_path",
    "lift",
    "map_leaves",
    "map_params",
    "map_with_path",
    "max",
    "min",
    "mul",
    "norm",
    "ones_like",
    "paths",
    "random_like",
    "real",
    "real_dtype",
    "real_full_like",
    "scalar_like",
    "scale",
    "set",
    "size",
    "split_key_like",
    "sub",
    "sum",
    "total",
    "unbox",
    "unwrap_random_key_data",
    "update_infinity_moment",
    "update_moment",
    "update_moment_per_elem_norm",
    "vdot",
    "where",
    "zeros_like",
]

__dir__ = document_all(globals(), __all__)
