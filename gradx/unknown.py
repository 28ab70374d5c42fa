"""What `gradx.x` answers when there is no x: the name that was meant, or how to use Optax's."""

import difflib
from types import ModuleType

PACKAGES = "losses", "tree", "linalg", "projections", "microbatching", "assignment", "perturbations", "tune", "diagnose"

ELSEWHERE = {
    "trace": "gradx.momentum",
    "global_norm": "gradx.tree.norm",
    "multi_transform": "gradx.partition",
    "convex_kl_divergence": "gradx.losses.generalized_kl_divergence",
    "with_extra_args_support": "no wrapper: gradx.chain hands extras on",
    "selective_transform": "gradx.masked",
    "inject_stateful_hyperparams": "gradx.inject_hyperparams",
    "safe_norm": "gradx.tree.norm, whose derivative at 0 is 0",
    "tree_utils": "gradx.tree",
    "second_order": "jax.jvp of jax.grad",
    "StepLR": "gradx.step_decay_schedule",
    "MultiStepLR": "gradx.multi_step_schedule",
    "CosineAnnealingLR": "gradx.cosine_decay_schedule",
    "OneCycleLR": "gradx.cosine_onecycle_schedule",
}
"""Names of other libraries for what is called otherwise here."""

FACTORIES = [
    "adafactor",
    "apply_every",
    "apply_if_finite",
    "conditionally_mask",
    "conditionally_transform",
    "flatten",
    "fromage",
    "keep_params_nonnegative",
    "lamb",
    "lars",
    "lbfgs",
    "lookahead",
    "measure_with_ema",
    "monitor",
    "noisy_sgd",
    "normalize_by_update_norm",
    "optimistic_adam_v2",
    "optimistic_gradient_descent",
    "polyak_sgd",
    "rprop",
    "scale_by_backtracking_linesearch",
    "scale_by_distance_over_gradients",
    "scale_by_factored_rms",
    "scale_by_lbfgs",
    "scale_by_optimistic_gradient",
    "scale_by_param_block_norm",
    "scale_by_param_block_rms",
    "scale_by_polyak",
    "scale_by_rprop",
    "scale_by_sign",
    "scale_by_sm3",
    "scale_by_trust_ratio",
    "scale_by_zoom_linesearch",
    "sign_sgd",
    "signum",
    "sm3",
    "snapshot",
]
"""Factories of `optax` that gradx has not."""

CONTRIB = [
    "cocob",
    "dadapt_adamw",
    "dog",
    "dowg",
    "dpsgd",
    "galore",
    "mechanize",
    "momo",
    "momo_adam",
    "muon",
    "prodigy",
    "reduce_on_plateau",
    "sam",
    "schedule_free",
    "schedule_free_adamw",
    "schedule_free_sgd",
    "sophia",
    "split_real_and_imaginary",
]
"""Factories of `optax.contrib` that gradx has not."""


def message(gradx: ModuleType, name: str) -> str:
    """Say what to write in place of `gradx.<name>`."""
    start = f"gradx has no {name!r}"
    if name in ELSEWHERE:
        return f"{start}; here it is {ELSEWHERE[name]}"
    for package in PACKAGES:
        if name in dir(getattr(gradx, package)):
            return f"{start}; here it is gradx.{package}.{name}"
    if name in FACTORIES or name in CONTRIB:
        peer = f"optax.{name}" if name in FACTORIES else f"optax.contrib.{name}"
        return f"{start} yet; Optax's becomes a value of gradx by gradx.transformation({peer})(...)"
    ours, theirs = dir(gradx), [*ELSEWHERE, *FACTORIES, *CONTRIB]
    for known, cutoff in ((ours, 1.0), (theirs, 1.0), (ours, 0.7), (theirs, 0.7)):
        lowered = {x.lower(): x for x in known}
        for near in difflib.get_close_matches(name.lower(), lowered, 1, cutoff):
            return f"{start}; " + (
                f"did you mean gradx.{lowered[near]}?" if known is ours else message(gradx, lowered[near])
            )
    return f"{start}; dir(gradx) lists what there is"
