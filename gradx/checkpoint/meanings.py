"""What the fields of states mean: a name may mean two things, and two classes may keep one."""

from gradx.checkpoint.places import Part

SAME_KIND = {
    **dict.fromkeys(
        ("ScaleByAdamaxState", "ScaleByRadamState", "ScaleByYogiState", "ScaleByAdoptState"), "ScaleByAdamState"
    ),
    "InjectHyperparamsState": "InjectStatefulHyperparamsState",
    "MultiTransformState": "PartitionState",
}
"""Classes of gradx, by the class in which Optax keeps the same; looked at only where one side is Optax's."""

OTHER_MEANING = {
    "ScaleByAdamaxState.nu": "largest |g|",
    "ScaleByAdoptState.mu": "mean of scaled g",
    "ScaleByBeliefState.nu": "mean of |g - mu|²",
    "ScaleByNovogradState.mu": "sum of scaled g",
    "ScaleByNovogradState.nu": "mean of |g|² of an array",
    "ScaleBySM3State.mu": "sums of |g|² along axes",
    "ScaleBySM3State.nu": "mean of scaled g",
    "SophiaState.nu": "mean of the Hessian's diagonal",
    "ProdigyState.exp_avg": "mean of d · g",
    "ProdigyState.exp_avg_sq": "mean of d² · |g|²",
    "ProdigyState.grad_sum": "sum of weighted g",
    "DAdaptAdamWState.exp_avg": "mean of steps · g",
    "ScaleByAdanState.n": "mean of |g + b2 · change|²",
    "ScaleByAdanState.v": "mean of the change of g",
    "ScaleBySimplifiedAdEMAMixState.m": "sum of g",
    "ScaleByDistanceOverGradientsState.max_dist": "of each array",
    "ReduceLROnPlateauState.count": "values in the mean",
    "ApplyEvery.count": "updates gathered",
}
"""Fields that mean something else than fields of the same name elsewhere."""

SQUARE = "nu"
"""The field that starts, where nothing holds it, at the mean square of its parameter's `mu`: with the old count, zeros
would make the first steps many times too long."""
RESTARTS = {"nu_max"}
"""Fields that may start anew beside an old count."""


def meaning(part: Part, field: str) -> str:
    """Return what a field of a part means: its name, unless it is one of those that mean something else."""
    return OTHER_MEANING.get(f"{part.kind}.{field}", field)
