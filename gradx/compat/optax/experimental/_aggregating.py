"""`optax.experimental._aggregating`, by gradx."""

from gradx.compat.like_optax.aggregating import (
    AccumulateAvgUpdatesState as AccumulateAvgUpdatesState,
    AggregatedUpdates as AggregatedUpdates,
    Aggregator as Aggregator,
    AggregatorUpdateFn as AggregatorUpdateFn,
    PerElementMeanAndSumSqDiffGradsState as PerElementMeanAndSumSqDiffGradsState,
    PerElementMeanAndVarianceEMAState as PerElementMeanAndVarianceEMAState,
    PerElementUpdates as PerElementUpdates,
    accumulate_avg_updates as accumulate_avg_updates,
    add_mean_variance_to_opt as add_mean_variance_to_opt,
    average_incrementally_updates as average_incrementally_updates,
    average_per_element_updates as average_per_element_updates,
    get_batch_size_from_per_elt_updates as get_batch_size_from_per_elt_updates,
    get_per_element_mean_and_sum_sq_diff_grads as get_per_element_mean_and_sum_sq_diff_grads,
    get_unbiased_mean_and_variance_ema as get_unbiased_mean_and_variance_ema,
    process as process,
    track_per_element_mean_and_variance_with_ema as track_per_element_mean_and_variance_with_ema,
)
