"""Linear algebra: arrays in, arrays out."""

from gradx.glossary import document_all
from gradx.linalg.inverse_root import matrix_inverse_pth_root, matrix_inverse_pth_root_eigh
from gradx.linalg.least_squares import nnls
from gradx.linalg.newton_schulz import COEFFICIENTS, Coefficients, orthogonalize
from gradx.linalg.power import power_iteration

__all__ = [
    "COEFFICIENTS",
    "Coefficients",
    "matrix_inverse_pth_root",
    "matrix_inverse_pth_root_eigh",
    "nnls",
    "orthogonalize",
    "power_iteration",
]

__dir__ = document_all(globals(), __all__)
