"""Optimizers of matrices: how arrays are batches of matrices, and rules carried over them."""

from gradx.matrices.engine import map_matrices as map_matrices
from gradx.matrices.factors import Blocks as Blocks, Sides as Sides, on_matrices as on_matrices, plan as plan
from gradx.matrices.layout import Layout as Layout
