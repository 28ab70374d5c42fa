"""Float64 NumPy references of what goes around or before any optimizer, from the papers, and their rows.

Where a method is about all arrays at once its reference sees all of them; the paper's order is kept.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK, adam, adam_direction, sgd
from tests.oracles.optimizers_trajectory import (
    START,
    Chain,
    Leafwise,
    Remembering,
    Row,
    Scheduled,
    Tree,
    gradient,
    of_library,
    of_reference,
)
from tests.oracles.parameter_free import each, squared_norm
from tests.oracles.schedule_free import now


def norm(x: Any) -> float:
    """Return the Euclidean norm of an array."""
    return float(np.sqrt(np.sum(np.square(x))))


def spikes(step: int, grads: Tree) -> Tree:
    """Make some gradients longer, one array more than the others."""
    size = {4: 4.0, 5: 1.5, 2: 0.6}.get(step % 7, 1.0)
    return {
        name: g * g.dtype.type(size * (3.0 if name == "matrix" and step % 11 == 6 else 1)) for name, g in grads.items()
    }


def before_sgd(name: str, tx: Callable, reference: Callable, title: str = "", **hyper: Any) -> Row:
    """Return the row of a block with plain descent behind it."""
    return Row(
        name=title or name,
        ours=lambda: gradx.chain(tx(**of_library(gradx, hyper)), gradx.sgd(BLOCK_RATE)),
        reference=lambda **changes: Chain(
            reference(**(of_reference(hyper) | changes)), Leafwise(sgd, learning_rate=BLOCK_RATE)
        ),
        hyper={k: h for k, h in hyper.items() if "mask" not in k},
        corrupt=spikes,
    )


# Weight decay


def cautious_decay(t, g, p, memory, *, weight_decay, mask=True):
    """Chen et al. 2025, Algorithm 1: lambda 1(u x >= 0) x."""
    return g + weight_decay * (g * p >= 0) * p if mask else g


def corrected_decay(
    t, g, p, memory, *, weight_decay, learning_rate, max_learning_rate, mask=True, normalized_mask=True
):
    """Defazio 2025, Algorithm 1, before the learning rate: gamma_t / gamma_max of the decay in normalized layers."""
    share = learning_rate / max_learning_rate if normalized_mask else 1.0
    return g + weight_decay * share * p if mask else g


def with_corrected_decay(normalized_mask: Any = True, **hyper: Any) -> Any:
    return gradx.add_corrected_decayed_weights(**hyper, normalized=normalized_mask)


# Clipping


def zclip(t, grads, params, memory, *, z_thresh, decay, warmup_steps, eps):
    """Kumar et al. 2025, section 3: the statistics, from the norms of a warmup on, and the reciprocal rule."""
    g = np.sqrt(squared_norm(grads))
    seen = memory.setdefault("norms", [])
    if len(seen) < warmup_steps:
        seen.append(g)
        memory["mu"], memory["var"] = np.mean(seen), np.var(seen)
        return grads
    mu, sigma = memory["mu"], np.sqrt(memory["var"])
    z = (g - mu) / (sigma + eps)
    star = mu + z_thresh**2 / z * sigma if z > z_thresh else g
    memory["mu"] = decay * mu + (1 - decay) * star
    memory["var"] = decay * sigma**2 + (1 - decay) * (star - memory["mu"]) ** 2
    return each(lambda x: x * star / g, grads)


def adagc(t, grads, params, memory, *, lambda_rel, lambda_abs, decay, warmup_steps):
    """Wang et al. 2025, Algorithm 1; none of these gradients is 0."""
    if t <= warmup_steps:
        h = min(lambda_abs / np.sqrt(squared_norm(grads)), 1.0)
        clipped = each(lambda g: h * g, grads)
        for name, g in clipped.items():
            memory[name] = min(memory.get(name, np.inf), norm(g))
        return clipped
    clipped = {name: min(lambda_rel * memory[name] / norm(g), 1.0) * g for name, g in grads.items()}
    for name, g in clipped.items():
        memory[name] = decay * memory[name] + (1 - decay) * norm(g)
    return clipped


# MARS


def mars_correction(t, g, p, memory, *, gamma, b1, max_norm):
    """Yuan et al. 2024, Algorithm 1, the gradient before for that at the parameters before; x_0 = x_1."""
    last = memory.get("g", g)
    memory["g"] = g
    c = g + gamma * b1 / (1 - b1) * (g - last)
    return c / max(1.0, norm(c) / max_norm)


def exact_mars(t, grads, params, memory, *, grad_fn, gamma, b1, max_norm):
    """Yuan et al. 2024, Algorithm 1."""
    old = grad_fn(memory.get("x", params))
    memory["x"] = params
    c = each(lambda g, o: g + gamma * b1 / (1 - b1) * (g - o), grads, old)
    return each(lambda c: -BLOCK_RATE * c / max(1.0, norm(c) / max_norm), c)


def without_noise(params: Any) -> Tree:
    """Return the gradient of the first step, whatever the step: a function of the parameters alone."""
    return gradient({name: np.asarray(p) for name, p in params.items()}, 0)


# Wrappers: their references take another reference


class Cautious:
    """Liang et al. 2024, Algorithm 1, u the update itself, downhill: kept where u g < 0, scaled by the share kept."""

    def __init__(self, base: Callable, mask: dict[str, bool] | None = None) -> None:
        self.base, self.mask = base, mask

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        def of(name: str, u: np.ndarray) -> np.ndarray:
            m = (u * grads[name] < 0).astype(float)
            return u * m / max(np.mean(m), 1e-3) if self.mask is None or self.mask[name] else u

        return {name: of(name, u) for name, u in self.base(grads, params).items()}


class Hyperball:
    """Wen et al. 2026: W <- R Norm(W - eta R Norm(u)), R = |W_0|, for each matrix; -u the update of the base."""

    def __init__(self, base: Callable, learning_rate: Any, stacked: tuple[str, ...] = ()) -> None:
        self.base, self.rate, self.stacked, self.t = base, learning_rate, stacked, 0
        self.radius: dict[str, Any] = {}

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        self.t += 1
        eta = now(self.rate, self.t)

        def turned(name: str, u: np.ndarray, w: np.ndarray) -> np.ndarray:
            if name in self.stacked:
                return np.stack([turned(f"{name}/{i}", *x) for i, x in enumerate(zip(u, w, strict=True))])
            if np.ndim(w) != 2:
                return u
            r = self.radius.setdefault(name, norm(w))
            moved = w + eta * r * u / norm(u)
            return r * moved / norm(moved) - w

        return {name: turned(name, u, params[name]) for name, u in self.base(grads, params).items()}


class Graft:
    """Agarwal et al. 2020, Algorithm 1: M # D, by array."""

    def __init__(self, direction: Callable, magnitude: Callable, mask: dict[str, bool] | None = None) -> None:
        self.direction, self.magnitude, self.mask = direction, magnitude, mask

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        d, m = self.direction(grads, params), self.magnitude(grads, params)
        return {
            name: norm(m[name]) / norm(d[name]) * d[name] if self.mask is None or self.mask[name] else d[name]
            for name in d
        }


class PrimalAveraging:
    """Defazio et al. 2025, GPA, all three sequences."""

    def __init__(self, base: Callable, *, mu_x: Any, mu_y: Any) -> None:
        self.base, self.mu_x, self.mu_y, self.t = base, mu_x, mu_y, 0
        self.x: Tree = {}
        self.z: Tree = {}

    def __call__(self, grads: Tree, y: Tree) -> Tree:
        self.t += 1
        if not self.x:
            self.x, self.z = dict(y), dict(y)
        a, b = now(self.mu_x, self.t), now(self.mu_y, self.t)
        self.z = each(np.add, self.z, self.base(grads, y))
        self.x = each(lambda x, z: a * x + (1 - a) * z, self.x, self.z)
        return each(lambda x, z, y: b * x + (1 - b) * z - y, self.x, self.z, y)


class TailAverage:
    """Shamir and Zhang 2013, polynomial decay; at some steps the parameters become the average."""

    def __init__(self, base: Callable, *, tail: float, every: int) -> None:
        self.base, self.tail, self.every = base, tail, every
        self.history: list[Tree] = []

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        moved = each(np.add, params, self.base(grads, params))
        self.history.append(moved)
        if len(self.history) % self.every:
            return each(np.subtract, moved, params)
        mean = self.history[0]
        for t, x in enumerate(self.history[1:], 2):
            w = (self.tail + 1) / (t + self.tail)
            mean = each(lambda m, x, w=w: (1 - w) * m + w * x, mean, x)
        return each(np.subtract, mean, params)


HEAVY = {"learning_rate": 0.05, "momentum": 0.8}
ADAM = {"learning_rate": 0.05, "b1": 0.8, "b2": 0.9, "eps": 0.1}
MUY = Scheduled(lambda lib: lib.linear_schedule(0.5, 0.9, 30), lambda n: 0.5 + 0.4 * min(n / 30, 1))
MUX = Scheduled(lambda lib: lib.linear_schedule(0.2, 0.8, 30), lambda n: 0.2 + 0.6 * min(n / 30, 1))
MATRICES = {name: name in ("heads", "matrix") for name in START}


def primal(title: str, **hyper: Any) -> Row:
    def ours() -> Any:
        return gradx.generalized_primal_averaging(gradx.sgd(**HEAVY), **of_library(gradx, hyper))

    def reference(**changes: Any) -> PrimalAveraging:
        return PrimalAveraging(Leafwise(sgd, **HEAVY), **(of_reference(hyper) | changes))

    return Row(title, ours, reference, hyper=hyper)


CORRECTED = {"weight_decay": 0.4, "learning_rate": FALLING_RATE, "max_learning_rate": 0.3}
ZCLIP = {"z_thresh": 1.5, "decay": 0.8, "warmup_steps": 5, "eps": 0.7}
ADAGC = {"lambda_rel": 1.1, "lambda_abs": 2.0, "decay": 0.7, "warmup_steps": 4}
MARS = {"gamma": 0.4, "b1": 0.7, "max_norm": 1.3}

TRAJECTORIES: list[Row] = [
    before_sgd(
        "add_cautious_decayed_weights",
        gradx.add_cautious_decayed_weights,
        lambda **hyper: Leafwise(cautious_decay, **hyper),
        weight_decay=0.4,
        mask=MASK,
    ),
    before_sgd(
        "add_corrected_decayed_weights",
        gradx.add_corrected_decayed_weights,
        lambda **hyper: Leafwise(corrected_decay, **hyper),
        **CORRECTED,
    ),
    before_sgd(
        "add_corrected_decayed_weights",
        with_corrected_decay,
        lambda **hyper: Leafwise(corrected_decay, **hyper),
        "add_corrected_decayed_weights, masks",
        **CORRECTED,
        mask=MASK,
        normalized_mask=MATRICES,
    ),
    before_sgd("zclip", gradx.zclip, lambda **hyper: Remembering(zclip, **hyper), **ZCLIP),
    before_sgd("adagc", gradx.adagc, lambda **hyper: Remembering(adagc, **hyper), **ADAGC),
    before_sgd("mars_correction", gradx.mars_correction, lambda **hyper: Leafwise(mars_correction, **hyper), **MARS),
    Row(
        "mars_correction, exact",
        ours=lambda: gradx.chain(gradx.mars_correction(**MARS, exact=True), gradx.sgd(BLOCK_RATE)),
        reference=lambda **changes: Remembering(exact_mars, **(MARS | changes)),
        hyper=MARS,
        extras=lambda params: {"grad_fn": without_noise},
    ),
    Row(
        "cautious",
        ours=lambda: gradx.cautious(gradx.sgd(**HEAVY)),
        reference=lambda **changes: Cautious(Leafwise(sgd, **(HEAVY | changes))),
        hyper=HEAVY,
    ),
    Row(
        "cautious, uphill, masked",
        ours=lambda: gradx.chain(
            gradx.cautious(gradx.scale_by_adam(0.8, 0.9, 0.1), MASK, uphill=True), gradx.sgd(BLOCK_RATE)
        ),
        reference=lambda: Cautious(
            Chain(Leafwise(adam_direction, b1=0.8, b2=0.9, eps=0.1), Leafwise(sgd, learning_rate=BLOCK_RATE)), MASK
        ),
    ),
    Row(
        "hyperball",
        ours=lambda: gradx.hyperball(gradx.adam(**ADAM), 0.05),
        reference=lambda learning_rate=0.05: Hyperball(Leafwise(adam, **ADAM), learning_rate),
        hyper={"learning_rate": 0.05},
    ),
    Row(
        "hyperball, scheduled, stacked",
        ours=lambda: gradx.hyperball(gradx.sgd(**HEAVY), FALLING_RATE.ours(gradx), MATRICES),
        reference=lambda: Hyperball(Leafwise(sgd, **HEAVY), FALLING_RATE.value, ("heads",)),
    ),
    Row(
        "graft",
        ours=lambda: gradx.graft(gradx.adam(**ADAM), gradx.sgd(**HEAVY)),
        reference=lambda **changes: Graft(Leafwise(adam, **ADAM), Leafwise(sgd, **(HEAVY | changes))),
        hyper=HEAVY,
    ),
    Row(
        "graft, masked",
        ours=lambda: gradx.graft(gradx.sgd(**HEAVY), gradx.adam(**ADAM), MASK),
        reference=lambda **changes: Graft(Leafwise(sgd, **HEAVY), Leafwise(adam, **(ADAM | changes)), MASK),
        hyper=ADAM,
    ),
    primal("generalized_primal_averaging", mu_x=0.8, mu_y=0.6),
    primal("generalized_primal_averaging, scheduled", mu_x=MUX, mu_y=MUY),
    Row(
        "average_params, tail",
        ours=lambda: gradx.average_params(gradx.sgd(**HEAVY), None, overwrite_every=6, tail=2.0),
        reference=lambda **changes: TailAverage(Leafwise(sgd, **HEAVY), **({"tail": 2.0, "every": 6} | changes)),
        hyper={"tail": 2.0},
    ),
]
