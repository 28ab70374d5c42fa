"""Classic functions to minimize: where to start, what the minimum is.

Most are of Moré, Garbow and Hillstrom 1981, "Testing unconstrained optimization software", with its starts.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np


@dataclass(frozen=True, eq=False)
class Problem:
    """A function of one vector or of a tree of arrays."""

    name: str
    fun: Callable[[Any], jax.Array]
    start: Any
    """float64 NumPy arrays."""
    minimum: float | None
    """The lowest value, or the lowest that leads down from the start; `None` where no formula gives it."""

    def __str__(self) -> str:
        return self.name


def rosenbrock(x):
    return jnp.sum(100 * (x[1:] - x[:-1] ** 2) ** 2 + (1 - x[:-1]) ** 2)


def extended_rosenbrock(x):
    odd, even = x[::2], x[1::2]
    return jnp.sum(100 * (even - odd**2) ** 2 + (1 - odd) ** 2)


def powell(x):
    a, b, c, d = x.reshape(-1, 4).T
    return jnp.sum((a + 10 * b) ** 2 + 5 * (c - d) ** 2 + (b - 2 * c) ** 4 + 10 * (a - d) ** 4)


def beale(x):
    return sum((target - x[0] * (1 - x[1] ** (i + 1))) ** 2 for i, target in enumerate((1.5, 2.25, 2.625)))


def booth(x):
    return (x[0] + 2 * x[1] - 7) ** 2 + (2 * x[0] + x[1] - 5) ** 2


def himmelblau(x):
    return (x[0] ** 2 + x[1] - 11) ** 2 + (x[0] + x[1] ** 2 - 7) ** 2


def wood(x):
    a, b, c, d = x.reshape(-1, 4).T
    first = 100 * (b - a**2) ** 2 + (1 - a) ** 2 + 90 * (d - c**2) ** 2 + (1 - c) ** 2
    return jnp.sum(first + 10 * (b + d - 2) ** 2 + (b - d) ** 2 / 10)


def brown_badly_scaled(x):
    return (x[0] - 1e6) ** 2 + (x[1] - 2e-6) ** 2 + (x[0] * x[1] - 2) ** 2


def helical_valley(x):
    turn = jnp.arctan2(x[1], x[0]) / (2 * jnp.pi)
    turn = jnp.where(turn < -0.25, turn + 1, turn)
    return 100 * ((x[2] - 10 * turn) ** 2 + (jnp.sqrt(x[0] ** 2 + x[1] ** 2) - 1) ** 2) + x[2] ** 2


def broyden_tridiagonal(x):
    before, after = jnp.pad(x, (1, 0))[:-1], jnp.pad(x, (0, 1))[1:]
    return jnp.sum(((3 - 2 * x) * x - before - 2 * after + 1) ** 2)


def trigonometric(x):
    n = x.size
    i = jnp.arange(1, n + 1, dtype=x.dtype)
    return jnp.sum((n - jnp.sum(jnp.cos(x)) + i * (1 - jnp.cos(x)) - jnp.sin(x)) ** 2)


def dixon_price(x):
    i = jnp.arange(2, x.size + 1, dtype=x.dtype)
    return (x[0] - 1) ** 2 + jnp.sum(i * (2 * x[1:] ** 2 - x[:-1]) ** 2)


def zakharov(x):
    line = jnp.sum(jnp.arange(1, x.size + 1, dtype=x.dtype) * x) / 2
    return jnp.sum(x**2) + line**2 + line**4


def styblinski_tang(x):
    return jnp.sum(x**4 - 16 * x**2 + 5 * x) / 2


def ill_conditioned(x):
    return jnp.sum(jnp.logspace(0, 4, x.size, dtype=x.dtype) * x**2) / 2


def variably_dimensioned(x):
    line = jnp.sum(jnp.arange(1, x.size + 1, dtype=x.dtype) * (x - 1))
    return jnp.sum((x - 1) ** 2) + line**2 + line**4


def penalty(x):
    return 1e-5 * jnp.sum((x - 1) ** 2) + (jnp.sum(x**2) - 0.25) ** 2


def biggs(x):
    t = jnp.arange(1, 14, dtype=x.dtype) / 10
    y = jnp.exp(-t) - 5 * jnp.exp(-10 * t) + 3 * jnp.exp(-4 * t)
    found = x[2] * jnp.exp(-t * x[0]) - x[3] * jnp.exp(-t * x[1]) + x[5] * jnp.exp(-t * x[4])
    return jnp.sum((found - y) ** 2)


@functools.cache
def breast_cancer() -> tuple[np.ndarray, np.ndarray]:
    """Return scikit-learn's data, standardized, and its labels."""
    from sklearn.datasets import load_breast_cancer

    inputs, labels = load_breast_cancer(return_X_y=True)
    return (inputs - inputs.mean(0)) / inputs.std(0), labels.astype(np.float64)


def logistic(params):
    inputs, labels = (jnp.asarray(x, params["w"].dtype) for x in breast_cancer())
    scores = inputs @ params["w"] + params["b"]
    return jnp.mean(jnp.logaddexp(0, scores) - labels * scores) + 1e-3 * jnp.sum(params["w"] ** 2)


def neural_fit(params):
    x = jnp.linspace(-1, 1, 40, dtype=params["first"].dtype)
    hidden = jnp.tanh(x[:, None] * params["first"] + params["shift"])
    decay = sum(jnp.sum(p**2) for p in jax.tree.leaves(params))
    return jnp.mean((hidden @ params["last"] - jnp.sin(3 * x)) ** 2) + 1e-3 * decay


def _network() -> dict[str, np.ndarray]:
    rng = np.random.default_rng(0)
    return {name: rng.normal(size=8) for name in ("first", "last", "shift")}


def _repeated(pattern: list[float], n: int) -> np.ndarray:
    return np.tile(np.array(pattern, np.float64), n // len(pattern))


def _uneven(pattern: list[float], n: int) -> np.ndarray:
    """Repeat, with differences: copies that stay alike pass a saddle together, and rounding says how soon."""
    return _repeated(pattern, n) + 0.3 * np.sin(np.arange(n))


PROBLEMS = [
    Problem("Rosenbrock, 2", rosenbrock, _repeated([-1.2, 1.0], 2), 0.0),
    Problem("Rosenbrock, 10", rosenbrock, _repeated([-1.2, 1.0], 10), 0.0),
    Problem("Rosenbrock, 100", rosenbrock, np.full(100, 0.5), 0.0),
    Problem("Rosenbrock in pairs, 1000", extended_rosenbrock, _repeated([-1.2, 1.0], 1000), 0.0),
    Problem("Powell singular, 4", powell, _repeated([3.0, -1.0, 0.0, 1.0], 4), 0.0),
    Problem("Powell singular, 100", powell, _repeated([3.0, -1.0, 0.0, 1.0], 100), 0.0),
    Problem("Beale", beale, np.array([1.0, 1.0]), 0.0),
    Problem("Booth", booth, np.array([0.0, 0.0]), 0.0),
    Problem("Himmelblau", himmelblau, np.array([0.0, 0.0]), 0.0),
    Problem("Wood", wood, np.array([-3.0, -1.0, -3.0, -1.0]), 0.0),
    Problem("Wood, 100", wood, _uneven([-3.0, -1.0, -3.0, -1.0], 100), 0.0),
    Problem("Brown badly scaled", brown_badly_scaled, np.array([1.0, 1.0]), 0.0),
    Problem("Helical valley", helical_valley, np.array([-1.0, 0.0, 0.0]), 0.0),
    Problem("Broyden tridiagonal, 100", broyden_tridiagonal, np.full(100, -1.0), 0.0),
    Problem("Trigonometric, 10", trigonometric, np.full(10, 0.1), 2.795056e-5),
    Problem("Dixon-Price, 10", dixon_price, np.ones(10), 0.0),
    Problem("Zakharov, 10", zakharov, np.ones(10), 0.0),
    Problem("Styblinski-Tang, 10", styblinski_tang, np.full(10, -1.0), -391.661657),
    Problem("Quadratic, condition 1e4, 50", ill_conditioned, np.ones(50), 0.0),
    Problem("Variably dimensioned, 10", variably_dimensioned, 1 - np.arange(1, 11) / 10, 0.0),
    Problem("Penalty I, 10", penalty, np.arange(1.0, 11.0), 7.087651e-5),
    Problem("Biggs EXP6", biggs, np.array([1.0, 2.0, 1.0, 1.0, 1.0, 1.0]), None),
    Problem("Logistic regression, breast cancer", logistic, {"w": np.zeros(30), "b": np.zeros(())}, None),
    Problem("Neural fit, 24", neural_fit, _network(), None),
]
