"""Euclidean projections onto convex sets (and two spheres), of pytrees."""

from gradx.glossary import document_all
from gradx.projections.boxes import projection_box, projection_hypercube, projection_linf_ball, projection_non_negative
from gradx.projections.planes import (
    projection_affine_set,
    projection_halfspace,
    projection_hyperplane,
    projection_vector,
)
from gradx.projections.simplexes import projection_l1_ball, projection_l1_sphere, projection_simplex
from gradx.projections.spheres import projection_l2_ball, projection_l2_sphere
from gradx.projections.transport import projection_transport

__all__ = [
    "projection_affine_set",
    "projection_box",
    "projection_halfspace",
    "projection_hypercube",
    "projection_hyperplane",
    "projection_l1_ball",
    "projection_l1_sphere",
    "projection_l2_ball",
    "projection_l2_sphere",
    "projection_linf_ball",
    "projection_non_negative",
    "projection_simplex",
    "projection_transport",
    "projection_vector",
]

__dir__ = document_all(globals(), __all__)
