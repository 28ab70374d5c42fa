"""`optax.transforms._monitoring`, by gradx."""

from gradx import MonitorState as MonitorState, SnapshotState as SnapshotState
from gradx.compat.like_optax.factories import (
    measure_with_ema as measure_with_ema,
    monitor as monitor,
    snapshot as snapshot,
)
