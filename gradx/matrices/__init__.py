"""Optimizers of matrices: how arrays are batches of matrices, and rules carried over them."""

from gradx.matrices.engine import map_matrices as map_matrices
from gradx.matrices.layout import Layout as Layout
