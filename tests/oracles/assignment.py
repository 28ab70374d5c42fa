"""Assignments from SciPy, in float64; and from all permutations, where costs are infinite."""

import itertools

import numpy as np
import optax.assignment
from scipy.optimize import linear_sum_assignment

from gradx import assignment
from tests.oracles.case import Case

SHAPES = {"square": (8, 8), "wide": (5, 9), "tall": (9, 5)}


def by_all_permutations(costs):
    """The least (infinite costs, sum of the others) over all assignments of a small matrix."""
    costs = costs.T if costs.shape[0] > costs.shape[1] else costs
    n, m = costs.shape
    chosen = (costs[range(n), columns] for columns in itertools.permutations(range(m), n))
    return min((np.isinf(c).sum(), c[np.isfinite(c)].sum()) for c in chosen)


def normal_costs(shape):
    """Costs without ties, so that one assignment alone is the best."""
    return lambda rng: (rng.normal(size=shape),)


def total_cost(solve):
    """The cost of the assignment: what all solvers agree on, and what is differentiable."""

    def total(costs):
        return costs[solve(costs)].sum()

    return total


FORMS = {
    "hungarian": (assignment.hungarian_algorithm, optax.assignment.hungarian_algorithm),
    "base_hungarian": (assignment.base_hungarian_algorithm, optax.assignment.base_hungarian_algorithm),
}

CASES = [
    Case(
        f"{name}, {label}",
        ours,
        linear_sum_assignment,
        normal_costs(shape),
        tolerance=0.0,
        tolerance32=0.0,
        differentiable=False,
    )
    for name, (ours, _) in FORMS.items()
    for label, shape in SHAPES.items()
] + [
    Case(
        f"cost of {name}, {label}",
        total_cost(ours),
        total_cost(linear_sum_assignment),
        normal_costs(shape),
        peer=total_cost(peer),
    )
    for name, (ours, peer) in FORMS.items()
    for label, shape in SHAPES.items()
    if label != "wide"
]
