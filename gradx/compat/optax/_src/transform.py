"""`optax._src.transform`, by gradx."""

from gradx import (
    AddNoiseState as AddNoiseState,
    ApplyEvery as ApplyEvery,
    EmaState as EmaState,
    ScaleByAdaDeltaState as ScaleByAdaDeltaState,
    ScaleByAdamState as ScaleByAdamState,
    ScaleByRmsState as ScaleByRmsState,
    ScaleByRmsWithCountState as ScaleByRmsWithCountState,
    ScaleByRssState as ScaleByRssState,
    ScaleByRStdDevState as ScaleByRStdDevState,
    ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState,
    TraceState as TraceState,
)
from gradx.compat.like_optax.base import (
    AddDecayedWeightsState as AddDecayedWeightsState,
    ScaleByTrustRatioState as ScaleByTrustRatioState,
    ScaleState as ScaleState,
)
from gradx.compat.like_optax.factories import (
    add_decayed_weights as add_decayed_weights,
    add_noise as add_noise,
    apply_every as apply_every,
    centralize as centralize,
    ema as ema,
    scale as scale,
    scale_by_adadelta as scale_by_adadelta,
    scale_by_adam as scale_by_adam,
    scale_by_rms as scale_by_rms,
    scale_by_rss as scale_by_rss,
    scale_by_schedule as scale_by_schedule,
    scale_by_stddev as scale_by_stddev,
)
from gradx.compat.like_optax.recipes import (
    ScaleByScheduleState as ScaleByScheduleState,
    scale_by_learning_rate as scale_by_learning_rate,
    trace as trace,
)
from gradx.numerics import abs_sq as abs_sq
