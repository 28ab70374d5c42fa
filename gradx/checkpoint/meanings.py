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
    "ScaleByLaPropState.mu": "mean of g / sqrt(debiased nu)",
    "ScaleByAdamMiniState.nu": "mean of |g|² over blocks",
    "ScaleByApolloState.mu": "mean of P g",
    "ScaleByApolloState.nu": "mean of |P g|²",
    "DionState.mu": "sum of g, less what was followed of it",
    "Dion2State.mu": "sum of g, of which what was followed decays",
    "AdaMuonState.nu": "mean of |o|²",
    "NorMuonState.nu": "mean of |o|² over inputs",
    "ScaleBySoapState.nu": "mean of |g|² in bases",
    "ScaleBySoapState.left_basis": "eigenvectors of L",
    "ScaleBySoapState.right_basis": "eigenvectors of R",
    "ScaleByKLShampooState.nu": "mean of |g|² in its bases",
    "ScaleByKLShampooState.left": "S_a",
    "ScaleByKLShampooState.right": "S_b",
    "ScaleByKronState.left": "factor of the rows",
    "ScaleByKronState.right": "factor of the columns",
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
    "AdaGCState.norms": "mean of norms",
    "ZClipState.count": "norms in the mean",
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
