"""`optax._src.linesearch`, by gradx."""

from gradx import (
    BacktrackingLinesearchInfo as BacktrackingLinesearchInfo,
    ScaleByBacktrackingLinesearchState as ScaleByBacktrackingLinesearchState,
    ScaleByZoomLinesearchState as ScaleByZoomLinesearchState,
    ZoomLinesearchInfo as ZoomLinesearchInfo,
)
from gradx.compat.like_optax.searches import (
    FLAG_CURVATURE_COND_NOT_SATISFIED as FLAG_CURVATURE_COND_NOT_SATISFIED,
    FLAG_INTERVAL_NOT_FOUND as FLAG_INTERVAL_NOT_FOUND,
    FLAG_INTERVAL_TOO_SMALL as FLAG_INTERVAL_TOO_SMALL,
    FLAG_NO_STEPSIZE_FOUND as FLAG_NO_STEPSIZE_FOUND,
    FLAG_NOT_A_DESCENT_DIRECTION as FLAG_NOT_A_DESCENT_DIRECTION,
    extract_fns_kwargs as _extract_fns_kwargs,
    scale_by_backtracking_linesearch as scale_by_backtracking_linesearch,
    scale_by_zoom_linesearch as scale_by_zoom_linesearch,
    value_and_grad_from_state as value_and_grad_from_state,
)
