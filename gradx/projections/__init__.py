"""Euclidean projections onto convex sets (and two spheres), of pytrees."""

from gradx.projections.boxes import projection_box as projection_box
from gradx.projections.boxes import projection_hypercube as projection_hypercube
from gradx.projections.boxes import projection_linf_ball as projection_linf_ball
from gradx.projections.boxes import projection_non_negative as projection_non_negative
from gradx.projections.planes import projection_affine_set as projection_affine_set
from gradx.projections.planes import projection_halfspace as projection_halfspace
from gradx.projections.planes import projection_hyperplane as projection_hyperplane
from gradx.projections.planes import projection_vector as projection_vector
from gradx.projections.simplexes import projection_l1_ball as projection_l1_ball
from gradx.projections.simplexes import projection_l1_sphere as projection_l1_sphere
from gradx.projections.simplexes import projection_simplex as projection_simplex
from gradx.projections.spheres import projection_l2_ball as projection_l2_ball
from gradx.projections.spheres import projection_l2_sphere as projection_l2_sphere
from gradx.projections.transport import projection_transport as projection_transport
