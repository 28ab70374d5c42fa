"""`optax._src.transform`, by gradx."""

from gradx import (
    AddNoiseState as AddNoiseState,
    ApplyEvery as ApplyEvery,
    EmaState as EmaState,
    ScaleByAdaDeltaState as ScaleByAdaDeltaState,
    ScaleByAdamState as ScaleByAdamState,
    ScaleByAdanState as ScaleByAdanState,
    ScaleByAmsgradState as ScaleByAmsgradState,
    ScaleByBeliefState as ScaleByBeliefState,
    ScaleByDistanceOverGradientsState as ScaleByDistanceOverGradientsState,
    ScaleByLBFGSState as ScaleByLBFGSState,
    ScaleByLionState as ScaleByLionState,
    ScaleByNovogradState as ScaleByNovogradState,
    ScaleByOptimisticGradientState as ScaleByOptimisticGradientState,
    ScaleByRmsState as ScaleByRmsState,
    ScaleByRmsWithCountState as ScaleByRmsWithCountState,
    ScaleByRpropState as ScaleByRpropState,
    ScaleByRssState as ScaleByRssState,
    ScaleByRStdDevState as ScaleByRStdDevState,
    ScaleByRStdDevWithCountState as ScaleByRStdDevWithCountState,
    ScaleBySM3State as ScaleBySM3State,
    TraceState as TraceState,
)
from gradx.compat.like_optax.base import (
    AddDecayedWeightsState as AddDecayedWeightsState,
    ScaleByTrustRatioState as ScaleByTrustRatioState,
    ScaleState as ScaleState,
)
from gradx.compat.like_optax.factories import (
    add_decayed_weights as add_decayed_weights,
    apply_every as apply_every,
    centralize as centralize,
    ema as ema,
    normalize_by_update_norm as normalize_by_update_norm,
    scale as scale,
    scale_by_adadelta as scale_by_adadelta,
    scale_by_adam as scale_by_adam,
    scale_by_adamax as scale_by_adamax,
    scale_by_adan as scale_by_adan,
    scale_by_amsgrad as scale_by_amsgrad,
    scale_by_belief as scale_by_belief,
    scale_by_novograd as scale_by_novograd,
    scale_by_optimistic_gradient as scale_by_optimistic_gradient,
    scale_by_param_block_norm as scale_by_param_block_norm,
    scale_by_param_block_rms as scale_by_param_block_rms,
    scale_by_polyak as scale_by_polyak,
    scale_by_radam as scale_by_radam,
    scale_by_rms as scale_by_rms,
    scale_by_rprop as scale_by_rprop,
    scale_by_rss as scale_by_rss,
    scale_by_schedule as scale_by_schedule,
    scale_by_sign as scale_by_sign,
    scale_by_sm3 as scale_by_sm3,
    scale_by_stddev as scale_by_stddev,
    scale_by_trust_ratio as scale_by_trust_ratio,
    scale_by_yogi as scale_by_yogi,
)
from gradx.compat.like_optax.later import (
    scale_by_distance_over_gradients as scale_by_distance_over_gradients,
    scale_by_lion as scale_by_lion,
)
from gradx.compat.like_optax.lbfgs import scale_by_lbfgs as scale_by_lbfgs
from gradx.compat.like_optax.noise import add_noise as add_noise
from gradx.compat.like_optax.private import precondition_by_lbfgs as _precondition_by_lbfgs
from gradx.compat.like_optax.recipes import (
    ScaleByScheduleState as ScaleByScheduleState,
    scale_by_learning_rate as scale_by_learning_rate,
    trace as trace,
)
from gradx.numerics import abs_sq as abs_sq
