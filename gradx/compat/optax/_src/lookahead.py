"""`optax._src.lookahead`, by gradx."""

from gradx import LookaheadParams as LookaheadParams, LookaheadState as LookaheadState
from gradx.compat.like_optax.factories import lookahead as lookahead
