"""What is otherwise under `gradx.compat.optax` than under `optax`, name by name; what is not listed is the same."""

FOLLOWS_1_MINUS = "1 - b2^t keeps its digits at the first steps, where Optax's float32 loses four"

BETTER = {
    "adadelta": "weight_decay=0.0 costs as much as in Optax; gradx.adadelta spares it",
    "adabelief": f"44 bytes for each parameter where Optax's takes 56; {FOLLOWS_1_MINUS}",
    "adafactor": "decay_offset is finite; a NaN stays one",
    "adam": f"moments are float32 for bfloat16 parameters; {FOLLOWS_1_MINUS}",
    "adamw": f"moments are float32 for bfloat16 parameters; {FOLLOWS_1_MINUS}",
    "adan": "the change of g is weighed by b2 as in the paper, where Optax takes 1 - b2: other numbers",
    "add_noise": "the key is kept as plain integers, which every checkpoint takes; another draw",
    "apply_updates": "shapes are compared: no silent broadcast",
    "centralize": "averages over the inputs of Flax's kernels, where Optax takes the first axis for the units",
    "clip_by_global_norm": "44 bytes for each parameter with AdamW where Optax's takes 60; a NaN passes no bound",
    "cocob": "84 bytes for each parameter where Optax's takes 104",
    "ctc_loss": "takes `where`; finite where the probability is 0",
    "dadapt_adamw": "76 bytes for each parameter where Optax's takes 90; a zero gradient keeps the estimate",
    "fromage": "20 bytes for each parameter where Optax's takes 44",
    "global_norm": "no overflow of the sum in low precision",
    "hessian_diag": "one product at a time: no memory of n²",
    "lamb": "60 bytes for each parameter where Optax's takes 80",
    "lars": "44 bytes for each parameter where Optax's takes 56",
    "lbfgs": "another line search by default, which takes fewer evaluations",
    "lion": "28 bytes for each parameter where Optax's takes 36",
    "monitor": "one structure from init on, so that it can be scanned",
    "MultiSteps": "the inner update runs at the k-th mini-step alone and in place; a NaN that is skipped stays out",
    "muon": "matrices of one shape in one batch; the coefficients are no part of the state",
    "noisy_sgd": "the key is kept as plain integers, which every checkpoint takes; another draw",
    "polyak_sgd": "no freeze at small gradients",
    "prodigy": "a zero gradient keeps the estimate, where Optax's is NaN",
    "radam": "rho is exact: Optax's own float32 is 1 % off its float64 at the first steps",
    "reduce_on_plateau": "sees a plateau of negative losses too",
    "rprop": "steps at once, where Optax's step is one update late: other numbers",
    "sam": "hands extras on; sync_period=1 works",
    "scale_by_muon": "takes any tree; presets by name",
    "schedule_free": "schedules begin at 0; scalars are float32; gradx.eval_params finds the mean in any chain",
    "schedule_free_adamw": "schedules begin at 0; scalars are float32; gradx.eval_params finds the mean in any chain",
    "schedule_free_sgd": "schedules begin at 0; scalars are float32; gradx.eval_params finds the mean in any chain",
    "skip_not_finite": "counts up to 2^31 - 128 and holds there",
    "sm3": "takes scalars and complex parameters",
    "sophia": "prints nothing",
    "zero_nans": "the same, in place",
}
"""The name works as in Optax, and what is better; "other numbers" where Optax departs from the paper."""
LEFT_OUT: dict[str, str] = {}
"""The name is not there, and why."""
