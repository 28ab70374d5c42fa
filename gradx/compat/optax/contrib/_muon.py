"""`optax.contrib._muon`, by gradx."""

from gradx import MuonDimensionNumbers as MuonDimensionNumbers, MuonState as MuonState, scale_by_shape as scale_by_shape
from gradx.compat.like_optax.factories import scale_by_muon as scale_by_muon
from gradx.compat.like_optax.recipes import muon as muon
