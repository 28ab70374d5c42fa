"""`optax.contrib._muon`, by gradx."""

from gradx import MuonDimensionNumbers as MuonDimensionNumbers, MuonState as MuonState, scale_by_shape as scale_by_shape
from gradx.compat.like_optax.muon import (
    muon as muon,
    orthogonalize_via_newton_schulz as orthogonalize_via_newton_schulz,
    scale_by_muon as scale_by_muon,
)
from gradx.compat.like_optax.private import muon_reshape as _compute_muon_reshape
