"""`optax.schedules._inject`, by gradx."""

from gradx import (
    InjectHyperparamsState as InjectHyperparamsState,
    WrappedScheduleState as WrappedScheduleState,
    inject_hyperparams as inject_hyperparams,
)
from gradx.compat.like_optax.schedules import (
    InjectStatefulHyperparamsState as InjectStatefulHyperparamsState,
    WrappedSchedule as WrappedSchedule,
    inject_stateful_hyperparams as inject_stateful_hyperparams,
)
