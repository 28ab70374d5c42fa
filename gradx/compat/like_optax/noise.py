"""Noise without a key: Optax draws from the key 0, and warns."""

import functools
import warnings
from typing import Any

import gradx
from gradx.compat.like_optax.base import GradientTransformationExtraArgs, as_optax
from gradx.typing import ScalarOrSchedule

_add_noise = as_optax(gradx.add_noise)
_noisy_sgd = as_optax(gradx.noisy_sgd)


@functools.wraps(_add_noise)
def add_noise(
    eta: ScalarOrSchedule, gamma: ScalarOrSchedule, key: Any = None, *, seed: int | None = None
) -> GradientTransformationExtraArgs:
    """See `gradx.add_noise`."""
    return _add_noise(eta, gamma, _key_or_0(key, seed), seed=seed)


@functools.wraps(_noisy_sgd)
def noisy_sgd(
    learning_rate: ScalarOrSchedule,
    eta: ScalarOrSchedule = 0.01,
    gamma: ScalarOrSchedule = 0.55,
    key: Any = None,
    *,
    seed: int | None = None,
) -> GradientTransformationExtraArgs:
    """See `gradx.noisy_sgd`."""
    return _noisy_sgd(learning_rate, eta, gamma, _key_or_0(key, seed), seed=seed)


def _key_or_0(key: Any, seed: int | None) -> Any:
    if key is None and seed is None:
        warnings.warn("noise without a key is the same at each run: give key=...", stacklevel=3)
        return 0
    if key is not None and seed is not None:
        raise ValueError("Only one of seed or key can be specified.")
    return key
