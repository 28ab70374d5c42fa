"""The optimizers whose cost is counted and timed, made alike from gradx and from Optax."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import jax
import numpy as np
import optax

import gradx


class _OptaxWithContrib:
    """Optax's names and those of its contrib in one place, as in gradx."""

    def __getattr__(self, name: str) -> Any:
        return getattr(optax, name) if hasattr(optax, name) else getattr(optax.contrib, name)


LIBRARIES: dict[str, Any] = {"gradx": gradx, "optax": _OptaxWithContrib()}


@dataclass(frozen=True)
class Case:
    """One optimizer."""

    make: Callable[[Any], Any]
    """From the library to the transformation."""
    extras: Mapping[str, Any] = field(default_factory=dict)
    """What its update asks for by name."""


def _with_rate(name: str, rate: float = 1e-3, **arguments: Any) -> Case:
    return Case(lambda lib: getattr(lib, name)(rate, **arguments))


def _accumulated(lib: Any) -> Any:
    steps = lib.MultiSteps(lib.adamw(1e-3), 4)
    return steps.gradient_transformation() if hasattr(steps, "gradient_transformation") else steps


def squares(updates: Any, params: Any) -> Any:
    """Estimate the Hessian's diagonal by the squared gradient, which costs least."""
    return jax.tree.map(lambda g: g * g, updates)


def all_matrices(params: Any) -> Any:
    """Say that every leaf is a matrix: their names tell gradx nothing."""
    return jax.tree.map(lambda _: optax.contrib.MuonDimensionNumbers(), params)


VALUE = {"value": np.float32(1.0)}
PLAIN = [
    "adabelief", "adadelta", "adafactor", "adagrad", "adam", "adamax", "adamaxw", "adamw", "adan", "amsgrad",
    "fromage", "lamb", "lars", "lion", "nadam", "nadamw", "novograd", "optimistic_gradient_descent", "radam",
    "rmsprop", "rprop", "sgd", "sign_sgd", "signum", "sm3", "yogi", "acprop", "ademamix", "adopt", "dog", "dowg",
    "madgrad", "prodigy", "dadapt_adamw", "schedule_free_sgd", "schedule_free_adamw", "simplified_ademamix",
]  # fmt: skip
"""Called with a learning rate alone."""

CASES: dict[str, Case] = {name: _with_rate(name) for name in PLAIN} | {
    "sgd + momentum": _with_rate("sgd", momentum=0.9),
    "rmsprop, centered, momentum": _with_rate("rmsprop", centered=True, momentum=0.9),
    "adam, schedule": Case(lambda lib: lib.adam(lib.cosine_decay_schedule(1e-3, 100))),
    "adamw, mask": _with_rate("adamw", mask=lambda params: {name: name.endswith("0") for name in params}),
    "adamw, injected": Case(lambda lib: lib.inject_hyperparams(lib.adamw)(1e-3)),
    "clip + adamw": Case(lambda lib: lib.chain(lib.clip_by_global_norm(1.0), lib.adamw(1e-3))),
    "adaptive clip + sgd": Case(lambda lib: lib.chain(lib.adaptive_grad_clip(0.01), lib.sgd(1e-3))),
    "adafactor, momentum": _with_rate("adafactor", momentum=0.9),
    "cocob": Case(lambda lib: lib.cocob()),
    "polyak_sgd": Case(lambda lib: lib.polyak_sgd(), VALUE),
    "momo": Case(lambda lib: lib.momo(), VALUE),
    "momo_adam": Case(lambda lib: lib.momo_adam(), VALUE),
    "mechanize(adamw)": Case(lambda lib: lib.mechanize(lib.adamw(1e-3))),
    "apply_if_finite(adamw)": Case(lambda lib: lib.apply_if_finite(lib.adamw(1e-3), 5)),
    "MultiSteps(adamw, 4)": Case(_accumulated),
    "galore": _with_rate("galore"),
    "muon": _with_rate("muon", muon_weight_dimension_numbers=all_matrices),
    "sophia": Case(lambda lib: lib.sophia(1e-3, hessian_diagonal_fn=lib.stateless(squares))),
    "noisy_sgd": Case(lambda lib: lib.noisy_sgd(1e-3, key=0)),
    "reduce_on_plateau + adam": Case(lambda lib: lib.chain(lib.adam(1e-3), lib.reduce_on_plateau()), VALUE),
}
"""By the name that the tables show."""
