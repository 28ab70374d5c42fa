"""What `gradx.x` answers when there is no x: the name that was meant, or how to use Optax's."""

import difflib
from types import ModuleType

PACKAGES = (
    *("losses", "tree", "linalg", "projections", "microbatching", "assignment", "perturbations", "tune", "diagnose"),
    "checkpoint",
)

ELSEWHERE = {
    "trace": "gradx.momentum",
    "multi_transform": "gradx.partition",
    "convex_kl_divergence": "gradx.losses.generalized_kl_divergence",
    "with_extra_args_support": "no wrapper: gradx.chain hands extras on",
    "inject_stateful_hyperparams": "gradx.inject_hyperparams",
    "safe_norm": "gradx.tree.norm, whose derivative at 0 is 0",
    "safe_root_mean_squares": "gradx.tree.norm, over the root of the size",
    "safe_int32_increment": "gradx.safe_increment",
    "multi_normal": "in gradx.compat.optax alone",
    "tree_utils": "gradx.tree",
    "StepLR": "gradx.step_decay_schedule",
    "MultiStepLR": "gradx.multi_step_schedule",
    "CosineAnnealingLR": "gradx.cosine_decay_schedule",
    "CosineAnnealingWarmRestarts": "gradx.cosine_restarts_schedule",
    "OneCycleLR": "gradx.cosine_onecycle_schedule",
    "CyclicLR": "gradx.cyclic_schedule",
    "ExponentialLR": "gradx.exponential_decay, as (init_value, 1, gamma)",
    "PolynomialLR": "gradx.polynomial_schedule, as (init_value, 0.0, power, total_iters)",
    "LinearLR": "gradx.linear_schedule",
    "ConstantLR": "gradx.piecewise_constant_schedule, as (init_value * factor, {total_iters: 1 / factor})",
    "SequentialLR": "gradx.join_schedules",
    "LambdaLR": "any function of the step, in the place of a number",
    "ChainedScheduler": "a product: schedules are multiplied like numbers",
    "ReduceLROnPlateau": "gradx.reduce_on_plateau, whose patience is one more",
    "AveragedModel": "gradx.average_params, around the optimizer",
    "use_ema": "gradx.average_params, around the optimizer",
    "loss_scale_factor": "gradx.static_loss_scale, around the optimizer",
    "LossScaleOptimizer": "gradx.dynamic_loss_scale",
    "GradScaler": "gradx.dynamic_loss_scale, around the optimizer",
}
"""Names of other libraries for what is called otherwise here."""


def message(gradx: ModuleType, name: str) -> str:
    """Say what to write in place of `gradx.<name>`."""
    start = f"gradx has no {name!r}"
    if name in ELSEWHERE:
        return f"{start}; here it is {ELSEWHERE[name]}"
    for package in PACKAGES:
        if name in dir(getattr(gradx, package)):
            return f"{start}; here it is gradx.{package}.{name}"
    ours, theirs = dir(gradx), list(ELSEWHERE)
    for known, cutoff in ((ours, 1.0), (theirs, 1.0), (ours, 0.7), (theirs, 0.7)):
        lowered = {x.lower(): x for x in known}
        for near in difflib.get_close_matches(name.lower(), lowered, 1, cutoff):
            return f"{start}; " + (
                f"did you mean gradx.{lowered[near]}?" if known is ours else message(gradx, lowered[near])
            )
    return f"{start}; dir(gradx) lists what there is"
