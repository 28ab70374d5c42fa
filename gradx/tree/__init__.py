"""Trees of arrays: arithmetic, reductions, the names of their leaves, and the states of optimizers.

A tree is a pytree whose leaves are arrays or numbers. Functions of two trees want the same structure in both; `None` is
no leaf. Sums, norms and new trees are at least float32, however low the precision of the leaves.

>>> from gradx import tree
>>> float(tree.norm({"w": [3.0], "b": 4.0}))
5.0
"""

from gradx.tree.arithmetic import add as add
from gradx.tree.arithmetic import add_scale as add_scale
from gradx.tree.arithmetic import clip as clip
from gradx.tree.arithmetic import conj as conj
from gradx.tree.arithmetic import div as div
from gradx.tree.arithmetic import mul as mul
from gradx.tree.arithmetic import real as real
from gradx.tree.arithmetic import scale as scale
from gradx.tree.arithmetic import sub as sub
from gradx.tree.arithmetic import where as where
from gradx.tree.casts import cast as cast
from gradx.tree.casts import cast_like as cast_like
from gradx.tree.casts import dtype as dtype
from gradx.tree.casts import lift as lift
from gradx.tree.casts import unwrap_random_key_data as unwrap_random_key_data
from gradx.tree.creation import batch_shape as batch_shape
from gradx.tree.creation import copy as copy
from gradx.tree.creation import full_like as full_like
from gradx.tree.creation import ones_like as ones_like
from gradx.tree.creation import random_like as random_like
from gradx.tree.creation import real_full_like as real_full_like
from gradx.tree.creation import split_key_like as split_key_like
from gradx.tree.creation import zeros_like as zeros_like
from gradx.tree.mapping import map_leaves as map_leaves
from gradx.tree.moments import bias_correction as bias_correction
from gradx.tree.moments import update_infinity_moment as update_infinity_moment
from gradx.tree.moments import update_moment as update_moment
from gradx.tree.moments import update_moment_per_elem_norm as update_moment_per_elem_norm
from gradx.tree.reductions import allclose as allclose
from gradx.tree.reductions import max as max
from gradx.tree.reductions import min as min
from gradx.tree.reductions import norm as norm
from gradx.tree.reductions import size as size
from gradx.tree.reductions import sum as sum
from gradx.tree.reductions import vdot as vdot
from gradx.tree.states import get as get
from gradx.tree.states import get_all_with_path as get_all_with_path
from gradx.tree.states import map_params as map_params
from gradx.tree.states import set as set
from gradx.tree.structure import broadcast as broadcast
from gradx.tree.structure import map_with_path as map_with_path
from gradx.tree.structure import paths as paths
from gradx.tree.structure import unbox as unbox
