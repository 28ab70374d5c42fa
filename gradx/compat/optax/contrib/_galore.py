"""`optax.contrib._galore`, by gradx."""

from gradx import GaLoreDimensionNumbers as GaLoreDimensionNumbers, GaLoreState as GaLoreState
from gradx.compat.like_optax.galore import galore as galore, scale_by_galore as scale_by_galore
