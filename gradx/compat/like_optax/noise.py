"""Noise without a key: Optax draws from the key 0, and warns."""

import warnings
from typing import Any

import gradx
from gradx.compat.like_optax.base import as_optax
from gradx.core import transformation
from gradx.typing import LearningRate, NonNegative, ScalarOrSchedule


@as_optax
@transformation
def add_noise(eta: NonNegative, gamma: ScalarOrSchedule, key: Any = None, *, seed: int | None = None) -> Any:
    """Add Gaussian noise of variance eta / (1 + t)^gamma.

    >>> import gradx.compat.optax as optax
    >>> optax.add_noise(0.01, 0.55, key=0)
    add_noise(eta=0.01, gamma=0.55, key=0)
    """
    return gradx.add_noise(eta, gamma, _key_or_0(key, seed), seed=seed)


@as_optax
@transformation
def noisy_sgd(
    learning_rate: LearningRate,
    eta: NonNegative = 0.01,
    gamma: ScalarOrSchedule = 0.55,
    key: Any = None,
    *,
    seed: int | None = None,
) -> Any:
    """Gradient descent with noise.

    >>> import gradx.compat.optax as optax
    >>> optax.noisy_sgd(0.1, key=0)
    noisy_sgd(learning_rate=0.1, key=0)
    """
    return gradx.noisy_sgd(learning_rate, eta, gamma, _key_or_0(key, seed), seed=seed)


def _key_or_0(key: Any, seed: int | None) -> Any:
    if key is None and seed is None:
        warnings.warn("add_noise without a key draws the same noise each time: give key=...", stacklevel=2)
        return 0
    if key is not None and seed is not None:
        raise ValueError("Only one of seed or key can be specified.")
    return key
