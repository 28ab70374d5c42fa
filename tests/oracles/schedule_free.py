"""Float64 NumPy references of the wrappers that average and rescale, around gradient descent and Adam.

They hold all three sequences x, y and z, of which gradx holds two.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.optimizers import FALLING_RATE, adamw, sgd
from tests.oracles.optimizers_trajectory import Leafwise, Row, Scheduled, Tree
from tests.oracles.parameter_free import each


def now(h: Any, t: int) -> float:
    """Return the value of a hyperparameter at the t-th step."""
    return h(t - 1) if callable(h) else h


class ScheduleFree:
    """Defazio et al. 2024, eq. 3-5 with the weights of section 4, around a base that sees y."""

    def __init__(self, base: Callable, *, learning_rate: Any, b1: Any = 0.9, weight_lr_power: float = 2.0) -> None:
        self.base, self.rate, self.b1, self.power = base, learning_rate, b1, weight_lr_power
        self.t, self.weights, self.largest = 0, [], 0.0
        self.x: Tree = {}
        self.z: Tree = {}

    def __call__(self, grads: Tree, y: Tree) -> Tree:
        self.t += 1
        if not self.x:
            self.x, self.z = dict(y), dict(y)
        self.z = each(np.add, self.z, self.base(grads, y))
        self.largest = max(self.largest, now(self.rate, self.t))
        self.weights.append(self.largest**self.power)
        c = self.weights[-1] / sum(self.weights) if self.weights[-1] else 0.0
        b1 = now(self.b1, self.t)
        self.x = each(lambda x, z: (1 - c) * x + c * z, self.x, self.z)
        return each(lambda x, z, y: b1 * x + (1 - b1) * z - y, self.x, self.z, y)


def schedule_free(name: str, ours: Callable, base: Callable, hyper: dict[str, Any], *, optax: Callable | None) -> Row:
    """Return a row; `ours` and `base` make gradx's transformation and the reference inside from the hyperparameters."""

    def reference(**changes: Any) -> ScheduleFree:
        given = {k: h.value if isinstance(h, Scheduled) else h for k, h in (hyper | changes).items()}
        own = {k: h for k, h in given.items() if k in ("learning_rate", "b1", "weight_lr_power")}
        inside = {k: h for k, h in given.items() if k not in ("b1", "weight_lr_power")}
        return ScheduleFree(base(**inside), **own)

    def make(library: Any) -> Callable:
        given = {k: h.ours(library) if isinstance(h, Scheduled) else h for k, h in hyper.items()}
        return lambda build: build(library, **given)

    return Row(
        name=name,
        ours=lambda: make(gradx)(ours),
        reference=reference,
        optax=None if optax is None else lambda library: make(library)(optax),
        hyper=hyper,
    )


def plain_adamw(**hyper: Any) -> Leafwise:
    """AdamW without momentum."""
    return Leafwise(adamw, **({"b1": 0.0, "weight_decay": 0.0} | hyper))


def plain_sgd(*, weight_decay: float = 0.0, **hyper: Any) -> Callable:
    """Gradient descent with L2 regularisation."""
    inner = Leafwise(sgd, **hyper)
    return lambda grads, params: inner(each(lambda g, p: g + weight_decay * p, grads, params), params)


def around_sgd(lib: Any, learning_rate: Any, **hyper: Any) -> Any:
    """Return the wrapper around a library's descent."""
    wrap = lib.schedule_free if lib is gradx else lib.contrib.schedule_free
    return wrap(lib.sgd(learning_rate), learning_rate, **hyper)


WARMUP = Scheduled(lambda lib: lib.warmup_constant_schedule(0.0, 0.1, 10), lambda n: 0.1 * min(n / 10, 1))
RISING_B1 = Scheduled(lambda lib: lib.linear_schedule(0.6, 0.95, 30), lambda n: 0.6 + 0.35 * min(n / 30, 1))

TRAJECTORIES: list[Row] = [
    schedule_free(
        "schedule_free",
        around_sgd,
        plain_sgd,
        {"learning_rate": 0.1, "b1": 0.8},
        optax=around_sgd,
    ),
    schedule_free(
        "schedule_free, scheduled",  # Optax's learning rate is one step ahead, and its b1 no schedule
        around_sgd,
        plain_sgd,
        {"learning_rate": WARMUP, "b1": RISING_B1, "weight_lr_power": 1.5},
        optax=None,
    ),
    schedule_free(
        "schedule_free, falling rate",
        around_sgd,
        plain_sgd,
        {"learning_rate": FALLING_RATE, "b1": 0.7},
        optax=around_sgd,  # the largest rate so far is that of its first step: all steps weigh alike
    ),
    schedule_free(
        "schedule_free_sgd",
        lambda lib, **hyper: lib.schedule_free_sgd(**hyper),
        plain_sgd,
        {"learning_rate": 0.1, "b1": 0.8, "weight_decay": 0.2},
        optax=lambda optax, **hyper: optax.contrib.schedule_free_sgd(**hyper),
    ),
    schedule_free(
        "schedule_free_adamw",
        lambda lib, **hyper: lib.schedule_free_adamw(**hyper),
        plain_adamw,
        {"learning_rate": 0.05, "b1": 0.8, "b2": 0.95, "eps": 1e-2, "weight_decay": 0.2},
        optax=lambda optax, **hyper: optax.contrib.schedule_free_adamw(**hyper),
    ),
    schedule_free(
        "schedule_free_adamw, warmup",
        lambda lib, learning_rate, **hyper: lib.schedule_free_adamw(0.1, warmup_steps=10, **hyper),
        plain_adamw,
        {"learning_rate": WARMUP, "b2": 0.95, "eps": 3e-2, "weight_decay": 0.2},
        optax=None,
    ),
]
