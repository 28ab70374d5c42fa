"""Float64 NumPy references of Mechanic and of sharpness-aware minimization, around others."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.optimizers import adam, sgd
from tests.oracles.optimizers_trajectory import Leafwise, Row, Tree
from tests.oracles.parameter_free import each, squared_norm, total


class Mechanic:
    """Cutkosky, Defazio and Mehta 2023, Algorithm 1, the sum of updates found again from the parameters."""

    def __init__(self, base: Callable, *, weight_decay=1e-2, eps=1e-8, s_init=1e-6, num_betas=6) -> None:
        self.base, self.decay, self.eps, self.s_init = base, weight_decay, eps, s_init
        self.tuners = [
            {"beta": 1 - 10.0**-i, "r": 0.0, "m": 0.0, "v": 0.0, "s": s_init} for i in range(1, num_betas + 1)
        ]
        self.start: Tree = {}

    def __call__(self, grads: Tree, x: Tree) -> Tree:
        self.start = self.start or dict(x)
        scale = sum(tuner["s"] for tuner in self.tuners)
        moved = each(lambda x, x0: (x - x0) / (scale + self.eps), x, self.start)
        pull = self.decay * scale * np.sqrt(squared_norm(grads)) / (np.sqrt(squared_norm(x)) + self.eps)
        h = -total(lambda g, x, d: (g + pull * x) * d, grads, x, moved)
        moved = each(np.add, moved, self.base(grads, x))
        for tuner in self.tuners:
            self.bet(tuner, h)
        scale = sum(tuner["s"] for tuner in self.tuners)
        return each(lambda x0, d, x: x0 + scale * d - x, self.start, moved, x)

    def bet(self, tuner: dict, h: float) -> None:
        """Renew one tuner, h clipped to what it has seen."""
        clipped, beta = max(min(h, tuner["m"]), -tuner["m"]), tuner["beta"]
        tuner["m"] = max(beta * tuner["m"], abs(h) + self.eps)
        tuner["v"] = beta**2 * tuner["v"] + h**2
        tuner["r"] = beta * tuner["r"] + clipped * tuner["s"]
        wealth = self.s_init * tuner["m"] / len(self.tuners) + max(tuner["r"], 0.0)
        tuner["s"] = wealth / (np.sqrt(tuner["v"]) + self.eps)


class Sharpness:
    """Foret et al. 2021, Algorithm 1: period - 1 steps uphill, then one downhill from where they began."""

    def __init__(self, optimizer: Callable, adversary: Callable[[], Callable], *, period=2, resets=True) -> None:
        self.optimizer, self.make, self.period, self.resets = optimizer, adversary, period, resets
        self.adversary, self.t = adversary(), 0
        self.home: Tree = {}

    def __call__(self, grads: Tree, x: Tree) -> Tree:
        self.t += 1
        if self.t % self.period == 1 % self.period:
            self.home = dict(x)
        if self.t % self.period:
            return each(np.negative, self.adversary(grads, x))
        self.adversary = self.make() if self.resets else self.adversary
        return each(lambda home, u, x: home + u - x, self.home, self.optimizer(grads, self.home), x)


GROWS = 5e-5
"""Between float32 trajectories: the scale multiplies rounding from step to step."""


def mechanic(name: str, ours: Callable, base: Callable, **hyper: Any) -> Row:
    """Return a row; `ours` makes a library's base."""
    return Row(
        name=name,
        ours=lambda: gradx.mechanize(ours(gradx), **hyper),
        reference=lambda **changes: Mechanic(base(), **(hyper | changes)),
        optax=lambda optax: optax.contrib.mechanize(ours(optax), **hyper),
        hyper=hyper,
        float32=GROWS,
    )


def normalized_descent(rho: float) -> Callable:
    """Return descent along the normalized gradient, which is the paper's adversary."""
    return lambda grads, params: each(lambda g: -rho * g / np.sqrt(squared_norm(grads)), grads)


TRAJECTORIES: list[Row] = [
    mechanic("mechanize, sgd", lambda lib: lib.sgd(1.0), lambda: Leafwise(sgd, learning_rate=1.0), s_init=0.02),
    mechanic(  # other numbers often let the scale multiply rounding from step to step
        "mechanize, sgd, decay",
        lambda lib: lib.sgd(1.0),
        lambda: Leafwise(sgd, learning_rate=1.0),
        weight_decay=0.3,
        s_init=0.05,
        eps=0.01,
        num_betas=3,
    ),
    Row(
        "sam",
        ours=lambda: gradx.sam(gradx.sgd(0.1), gradx.chain(gradx.normalize(), gradx.sgd(0.3))),
        reference=lambda: Sharpness(Leafwise(sgd, learning_rate=0.1), lambda: normalized_descent(0.3)),
        optax=lambda o: o.contrib.sam(o.sgd(0.1), o.chain(o.contrib.normalize(), o.sgd(0.3))),
    ),
    Row(
        "sam, three steps",
        ours=lambda: gradx.sam(gradx.adam(0.05, eps=0.1), gradx.sgd(0.05, momentum=0.5), 3),
        reference=lambda: Sharpness(
            Leafwise(adam, learning_rate=0.05, eps=0.1),
            lambda: Leafwise(sgd, learning_rate=0.05, momentum=0.5),
            period=3,
        ),
        optax=lambda o: o.contrib.sam(o.adam(0.05, eps=0.1), o.sgd(0.05, momentum=0.5), 3),
    ),
    Row(
        "sam, state kept",
        ours=lambda: gradx.sam(gradx.sgd(0.1), gradx.sgd(0.05, momentum=0.5), 2, reset_state=False),
        reference=lambda: Sharpness(
            Leafwise(sgd, learning_rate=0.1), lambda: Leafwise(sgd, learning_rate=0.05, momentum=0.5), resets=False
        ),
        optax=lambda o: o.contrib.sam(o.sgd(0.1), o.sgd(0.05, momentum=0.5), 2, reset_state=False),
    ),
    Row(
        "sam, one step",
        ours=lambda: gradx.sam(gradx.sgd(0.1, momentum=0.5), gradx.sgd(0.05), 1),
        reference=lambda: Leafwise(sgd, learning_rate=0.1, momentum=0.5),
        optax=None,  # returns to where the round before began
    ),
]
