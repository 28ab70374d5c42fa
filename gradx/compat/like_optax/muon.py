"""Muon with Optax's states: `MaskedNode` where a leaf is no matrix; as many steps as there are rows of coefficients."""

import functools
from typing import Any

import jax

import gradx
from gradx import checks
from gradx.compat.like_optax.base import as_optax
from gradx.compat.like_optax.masking import partition
from gradx.core import transformation
from gradx.optimizers.muon import STANDARD, MuonDimensionNumbers, Preconditioning
from gradx.running import MaskedNode
from gradx.transforms.matrices import layouts_of
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt


@as_optax
@transformation
def scale_by_muon(
    ns_coeffs: Any = STANDARD,
    ns_steps: PositiveInt = 5,
    beta: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by its momentum with all singular values near 1.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.scale_by_muon()
    scale_by_muon()
    """
    return gradx.scale_by_muon(
        ns_coeffs, steps_of(ns_coeffs, ns_steps), beta, eps, mu_dtype, nesterov=nesterov, adaptive=adaptive,
        preconditioning=preconditioning, weight_dimension_numbers=weight_dimension_numbers,
    )  # fmt: skip


@as_optax
@transformation
def muon(
    learning_rate: LearningRate,
    ns_coeffs: Any = STANDARD,
    ns_steps: PositiveInt = 5,
    beta: Decay = 0.95,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.999,
    adam_eps_root: NonNegative = 0.0,
    adam_weight_decay: NonNegative = 0.0,
    adam_learning_rate: LearningRate | None = None,
    muon_weight_dimension_numbers: Labels | None = None,
    consistent_rms: NonNegative | None = None,
) -> Any:
    """Muon for matrices and AdamW for the rest.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.muon(0.02)
    muon(learning_rate=0.02)
    """
    given = muon_weight_dimension_numbers
    inside: Any = None if given is None else functools.partial(_of_matrices, given)
    matrices = gradx.chain(
        scale_by_muon(
            ns_coeffs, ns_steps, beta, eps, mu_dtype, nesterov=nesterov, adaptive=adaptive,
            preconditioning=preconditioning, weight_dimension_numbers=inside,
        ),
        gradx.scale_by_shape(inside, consistent_rms),
        gradx.add_decayed_weights(weight_decay, weight_decay_mask),
        gradx.scale_by_learning_rate(learning_rate),
    )  # fmt: skip
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    rest = gradx.adamw(rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov=nesterov)
    return partition({"muon": matrices, "adam": rest}, functools.partial(_labels, given))


def _labels(given: Labels | None, params: Params) -> Params:
    layouts = layouts_of("muon", given, params)
    return jax.tree.structure(params).unflatten(["adam" if x is None else "muon" for x in layouts])


def orthogonalize_via_newton_schulz(
    x: jax.Array,
    ns_coeffs: jax.Array,
    ns_steps: Any = 5,
    preconditioning: Preconditioning = "frobenius",
    eps: Any = 1e-8,
    dimension_numbers: MuonDimensionNumbers | None = None,
) -> jax.Array:
    """Return the matrices of an array with all singular values near 1.

    >>> from gradx.compat.optax.contrib import _muon
    >>> import jax.numpy as jnp
    >>> y = _muon.orthogonalize_via_newton_schulz(jnp.diag(jnp.array([3.0, 0.1])), jnp.array([1.5, -0.5, 0.0]), 12)
    >>> [round(float(x), 3) for x in jnp.diag(y)]
    [1.0, 1.0]
    """
    if x.ndim != 2 and not isinstance(dimension_numbers, MuonDimensionNumbers):
        raise ValueError(
            "Input must have shape (m, n) or weight dimension numbers must be provided, got"
            f" {checks.describe(x)} and {dimension_numbers}"
        )
    if ns_coeffs.ndim > 2 or ns_coeffs.shape[-1] != 3:
        raise ValueError(f"Newton-Schulz coefficients must have shape (3,) or (n, 3), got {ns_coeffs.shape}")
    axes = MuonDimensionNumbers() if x.ndim == 2 else dimension_numbers
    hyper: dict[str, Any] = {"preconditioning": preconditioning, "weight_dimension_numbers": axes}
    tx = gradx.scale_by_muon(ns_coeffs, steps_of(ns_coeffs, ns_steps), 0.0, eps, nesterov=False, **hyper)
    return tx.update(x, tx.init(x))[0]


def steps_of(ns_coeffs: Any, ns_steps: Any) -> Any:
    """Return the number of rows where there are rows, else `ns_steps`."""
    has_rows = not isinstance(ns_coeffs, str) and (
        isinstance(ns_coeffs[0], tuple | list) or getattr(ns_coeffs[0], "ndim", 0) == 1
    )
    return len(ns_coeffs) if has_rows else ns_steps


def _of_matrices(given: Any, shown: Params) -> Params:
    """Return the dimension numbers of the leaves that are shown; the others are `MaskedNode`s."""
    answer = given(shown) if checks.is_function(given) else given

    def spread(axes: Any, below: Any) -> Any:
        return jax.tree.map(lambda x: axes, below)

    return jax.tree.map(spread, answer, shown, is_leaf=_is_one)


def _is_one(x: Any) -> bool:
    return x is None or isinstance(x, bool | MaskedNode | MuonDimensionNumbers)
