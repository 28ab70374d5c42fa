"""Float64 NumPy references of what came of Muon, from the papers, and the rows that compare them.

In the papers W is (outputs, inputs), and so it is in the rules here: they get each matrix transposed.
"""

import functools
from collections import defaultdict

import numpy as np

import gradx
from tests.oracles.matrices import GENTLE, KERNELS, STANDARD, matrices_of, named, newton_schulz
from tests.oracles.optimizers import MASK, adamw
from tests.oracles.optimizers_trajectory import SHAPES, Leafwise, Row

POLAR_EXPRESS = (
    (8.1566, -22.4833, 15.8788),
    (4.0429, -2.8089, 0.5000),
    (3.8917, -2.7725, 0.5061),
    (3.2858, -2.3681, 0.4645),
    (2.3465, -1.7098, 0.4232),
)
HYBRID = (STANDARD,) * 8 + ((2.0, -1.5, 0.5),) * 2
"""DeepSeek-V4 2026, eq. 28."""


def mean_of(g, memory, beta, nesterov=False):
    """Return the running mean of g, with Nesterov that of the next step for the same g."""
    m = memory["m"] = beta * memory.get("m", 0.0) + (1 - beta) * g
    return beta * m + (1 - beta) * g if nesterov else m


def quintic(x):
    """Return x after five steps of Jordan's."""
    return newton_schulz(x, np.linalg.norm(x), STANDARD, 5)


def normuon(g, memory, *, b1, b2, eps, nesterov=False):
    """Li et al. 2025, Algorithm 1, lines 4 to 10, without the learning rate."""
    o = quintic(mean_of(g, memory, b1, nesterov))
    v = memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * np.mean(o * o, axis=1)
    hat = o / (np.sqrt(v)[:, None] + eps)
    return 0.2 * np.sqrt(o.size) / np.linalg.norm(hat) * hat


def adamuon(g, memory, *, b1, b2, eps, nesterov=False):
    """Si et al. 2025, Algorithm 1, lines 4 to 9, without the learning rate."""
    o = quintic(np.sign(mean_of(g, memory, b1, nesterov)))
    v = memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * o * o
    hat = o / (np.sqrt(v) + eps)
    return 0.2 * np.sqrt(o.size) / np.linalg.norm(hat) * hat


def dion(g, memory, *, decay, start, scaled=True):
    """Ahn et al. 2025, Algorithm 1; `start` is the first Q."""
    b = memory.get("m", 0.0) + g
    p = np.linalg.qr(b @ memory.get("q", start))[0]
    r = b.T @ p
    memory["m"] = b - (1 - decay) * p @ r.T
    q = memory["q"] = r / np.linalg.norm(r, axis=0)
    return (np.sqrt(g.shape[0] / g.shape[1]) if scaled else 1.0) * p @ q.T


def dion2(g, memory, *, decay, one_in, scaled=True):
    """Ahn, Amsel and Langford 2025, Algorithm 1, the slices of the shorter side with the largest sums of |m|."""
    is_tall = g.shape[0] > g.shape[1]
    m = memory.get("m", 0.0) + (g.T if is_tall else g)
    chosen = np.argsort(-np.abs(m).sum(axis=1))[: -(-len(m) // one_in)]
    u = np.zeros_like(m)
    u[chosen] = newton_schulz(m[chosen], 1.02 * np.linalg.norm(m[chosen]), POLAR_EXPRESS, 5)
    memory["m"] = m.copy()
    memory["m"][chosen] *= decay
    factor = np.sqrt(g.shape[0] / g.shape[1]) if scaled else 1.0
    return factor * (u.T if is_tall else u)


def scion(g, memory, *, beta, norm, radius):
    """Pethick et al. 2025, Algorithm 1, line 4, with Table 2's balls."""
    m = mean_of(g, memory, beta)
    if norm == "sign":
        return radius / m.shape[1] * np.sign(m)
    if norm == "vectors":
        return radius * m / np.sqrt(np.mean(m * m, axis=0))
    return radius * np.sqrt(m.shape[0] / m.shape[1]) * quintic(m)


def polargrad(g, memory, *, beta, nesterov=False):
    """Lau, Long and Su 2025, PolarGrad with momentum first."""
    m = mean_of(g, memory, beta, nesterov)
    u = newton_schulz(m, np.linalg.norm(m), HYBRID, 10)
    return np.sum(m * u) * u


class OfMatrices:
    """One of the rules above on the matrices of `kernels`, and a reference for the rest."""

    def __init__(self, rule, rest, learning_rate, kernels, weight_decay=0.0, mask=None, **hyper):
        self.rule, self.rest, self.rate, self.kernels = rule, rest, learning_rate, kernels
        self.weight_decay, self.mask, self.hyper = weight_decay, mask or dict.fromkeys(SHAPES, True), hyper
        self.memory = defaultdict(dict)

    def __call__(self, grads, params):
        others = {name: g for name, g in grads.items() if name not in self.kernels}
        updates = self.rest(others, params)
        for name in self.kernels:
            flat, back = matrices_of(name, grads[name], self.kernels)
            turned = np.stack([self.of_one(name, i, x.T).T for i, x in enumerate(flat)])
            decay = self.weight_decay * params[name] if self.mask[name] else 0.0
            updates[name] = -self.rate * (back(turned) + decay)
        return updates

    def of_one(self, name, i, x):
        own = {key: first_columns(x)[name][i] if key == "start" else x for key, x in self.hyper.items()}
        return self.rule(x, self.memory[name, i], **own)


def momentum(t, g, p, memory, *, learning_rate, beta):
    """What becomes of other arrays in `scale_by_normuon` and the like."""
    return -learning_rate * mean_of(g, memory, beta)


def heavy_ball(t, g, p, memory, *, learning_rate, decay):
    """What becomes of other arrays in `scale_by_dion`."""
    m = memory["m"] = decay * memory.get("m", 0.0) + g
    return -learning_rate * m


def unit(t, g, p, memory, *, learning_rate, beta, radius, decay=0.0):
    """Pethick et al. 2025, Table 2, a bias: the root mean square of an array of one axis is the radius."""
    m = mean_of(g, memory, beta)
    return -learning_rate * (
        radius * m / np.sqrt(np.mean(m * m, axis=-1 if m.ndim else None, keepdims=True)) + decay * p
    )


def kernels_of_gradx(params):
    """Return the dimension numbers of `KERNELS`, written as users do."""
    return {name: gradx.MuonDimensionNumbers(*KERNELS[name]) if name in KERNELS else None for name in params}


MATRICES = {name: KERNELS[name] for name in ("heads", "matrix")}
"""Those that `named` marks."""


@functools.cache
def first_columns(rank):
    """Return the first Q of gradx for each matrix: random numbers are whoever's who draws them."""
    state = gradx.scale_by_dion(rank, weight_dimension_numbers=kernels_of_gradx).init(
        {name: np.zeros(shape, np.float32) for name, shape in SHAPES.items()}
    )
    return {name: np.asarray(x, np.float64) for name, x in state.basis.items() if x is not None}


ADAM = {"learning_rate": 0.03, "b1": 0.8, "b2": 0.9, "weight_decay": 0.2}
ADAM_OF_GRADX = {"adam_learning_rate": 0.03, "adam_b1": 0.8, "adam_b2": 0.9, "adam_weight_decay": 0.2}


def recipe(name, rule, hyper, fixed=(), extra=(), **row):
    """Return the row of a recipe: `extra` are arguments of gradx alone, `fixed` of the reference alone."""
    rate, decay = 0.02, 0.3
    given = {"learning_rate": rate, "weight_decay": decay} | hyper

    def reference(**changes):
        own = given | ADAM_OF_GRADX | dict(fixed) | changes
        adam = {short: own.pop(f"adam_{short}") for short in ADAM}
        return OfMatrices(rule, Leafwise(adamw, **adam), own.pop("learning_rate"), KERNELS, mask=MASK, **own)

    def ours():
        more = ADAM_OF_GRADX | dict(extra) | {"weight_decay_mask": MASK, "weight_dimension_numbers": kernels_of_gradx}
        return getattr(gradx, name)(**given, **more)

    return Row(name, ours, reference, hyper=given | ADAM_OF_GRADX, **row)


def direction(title, rule, hyper, rest, fixed=(), extra=(), **row):
    """Return the row of a direction: `rest` is what becomes of other arrays, and the hyperparameter that it shares."""
    leaf, shared = rest

    def reference(**changes):
        own = hyper | dict(fixed) | changes
        others = Leafwise(leaf, learning_rate=GENTLE, **{short: own[long] for short, long in shared.items()})
        return OfMatrices(rule, others, GENTLE, MATRICES, **own)

    def ours():
        factory = getattr(gradx, title.split(",")[0])
        return gradx.chain(factory(**hyper, **dict(extra), weight_dimension_numbers=named), gradx.sgd(GENTLE))

    return Row(title, ours, reference, hyper=hyper, **row)


def unscaled(rule):
    """Return a rule with the norm of an orthogonal matrix in the place of its own factor."""

    def of_norm(g, memory, **hyper):
        u = rule(g, memory, **hyper)
        return u * np.sqrt(min(u.shape)) / np.linalg.norm(u)

    return of_norm


def scion_recipe():
    """Return the row of scion: all arrays that are no matrices are vectors where their roles are not asked."""
    hyper = {"learning_rate": 0.02, "radius": 1.0, "vector_radius": 0.5, "beta": 0.8}

    def reference(**changes):
        own = hyper | changes
        vectors = own.pop("vector_radius")
        rest = Leafwise(unit, learning_rate=own["learning_rate"], beta=own["beta"], radius=vectors, decay=1.0)
        return OfMatrices(scion, rest, own.pop("learning_rate"), KERNELS, weight_decay=1.0, norm="spectral", **own)

    return Row("scion", lambda: gradx.scion(**hyper, weight_dimension_numbers=kernels_of_gradx), reference, hyper=hyper)


OF_MEANS = {"b1": 0.8}
SECOND = {"b2": 0.9, "eps": 0.3}
MEAN, SUM = (momentum, {"beta": "b1"}), (heavy_ball, {"decay": "decay"})
UNIT = (unit, {"beta": "beta", "radius": "radius"})
FOLLOWED = 1e-4
"""Float32 of what follows directions: each step's basis is the next one's start, and rounding turns it."""

TRAJECTORIES: list[Row] = [
    recipe("normuon", normuon, OF_MEANS, SECOND, SECOND),
    recipe("adamuon", adamuon, OF_MEANS, SECOND, SECOND),
    recipe(
        "dion", dion, {"decay": 0.8}, fixed={"start": 2}, extra={"rank": 2},
        float32=FOLLOWED,
    ),
    recipe("dion2", dion2, {"decay": 0.8}, fixed={"one_in": 2}, extra={"one_in": 2}),
    scion_recipe(),
    recipe("polargrad", polargrad, {"beta": 0.8}),
    direction("scale_by_normuon", unscaled(normuon), OF_MEANS, MEAN, SECOND, SECOND),
    direction(
        "scale_by_adamuon", unscaled(adamuon), OF_MEANS, MEAN, SECOND, SECOND,
    ),
    direction(
        "scale_by_dion", dion, {"decay": 0.8}, SUM, {"start": 2, "scaled": False}, {"rank": 2},
        float32=FOLLOWED,
    ),
    direction(
        "scale_by_dion2", dion2, {"decay": 0.8}, SUM, {"one_in": 2, "scaled": False}, {"one_in": 2},
        float32=FOLLOWED,
    ),
    direction("scale_by_scion, sign", scion, {"beta": 0.8, "radius": 2.0}, UNIT, {"norm": "sign"}, {"norm": "sign"}),
    direction("scale_by_polargrad", polargrad, {"beta": 0.8}, (momentum, {"beta": "beta"})),
]  # fmt: skip
