"""Linear algebra: arrays in, arrays out."""

from gradx.linalg.inverse_root import (
    matrix_inverse_pth_root as matrix_inverse_pth_root,
)
from gradx.linalg.inverse_root import (
    matrix_inverse_pth_root_eigh as matrix_inverse_pth_root_eigh,
)
from gradx.linalg.least_squares import nnls as nnls
from gradx.linalg.newton_schulz import COEFFICIENTS as COEFFICIENTS
from gradx.linalg.newton_schulz import Coefficients as Coefficients
from gradx.linalg.newton_schulz import orthogonalize as orthogonalize
from gradx.linalg.power import power_iteration as power_iteration
