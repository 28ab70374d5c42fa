"""What is otherwise under `gradx.compat.optax` than under `optax`, name by name; what is not listed is the same."""

BETTER = {
    "adadelta": "weight_decay=0.0 costs as much as in Optax; gradx.adadelta spares it",
    "adam": "1 - b2^t keeps its digits at the first steps; moments are float32 for bfloat16 parameters",
    "apply_updates": "shapes are compared: no silent broadcast",
    "ctc_loss": "takes `where`; finite where the probability is 0",
    "global_norm": "no overflow of the sum in low precision",
    "MultiSteps": "the inner update runs at the k-th mini-step alone and in place; a NaN that is skipped stays out",
    "skip_not_finite": "counts up to 2^31 - 128 and holds there",
    "zero_nans": "the same, in place",
}
"""The name works as in Optax, and what is better."""
LEFT_OUT: dict[str, str] = {}
"""The name is not there, and why."""
