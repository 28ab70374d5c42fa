"""`optax._src.lookahead`, by gradx."""

from gradx import LookaheadParams as LookaheadParams
from gradx.compat.like_optax.slow import LookaheadState as LookaheadState, lookahead as lookahead
