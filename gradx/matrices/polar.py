"""Matrices with all singular values near 1: which polynomials take them there, and from where they start."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import numerics
from gradx.linalg import COEFFICIENTS, Coefficients, orthogonalize
from gradx.matrices.engine import map_matrices
from gradx.typing import PyTree

STANDARD = (3.4445, -4.7750, 2.0315)
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
HYBRID = (STANDARD,) * 8 + ((2.0, -1.5, 0.5),) * 2
PRESETS = {"standard": (STANDARD,), "dion": DION, "hybrid": HYBRID}
PRESETS = {name: Coefficients(rows) for name, rows in PRESETS.items()} | COEFFICIENTS
"""By name: Jordan's ("standard", "quintic"); those that Optax calls "dion"; the ten steps of DeepSeek-V4 (2026,
Algorithm 1, eq. 28), of which the last two have value 1 and slope 0 at 1; and those of `gradx.linalg`."""
PRECONDITIONINGS = ("frobenius", "spectral", "aol", "schatten")


def coefficients_of(owner: str, ns_coeffs: Any, ns_steps: int) -> Coefficients:
    """Return the rows (a, b, c) of the polynomials that a user names or gives."""
    if isinstance(ns_coeffs, str):
        if ns_coeffs not in PRESETS:
            raise ValueError(f"{owner}: ns_coeffs must be numbers or one of {', '.join(PRESETS)}, got {ns_coeffs!r}")
        known, least = PRESETS[ns_coeffs], len(PRESETS[ns_coeffs].polynomials)
        if least > ns_steps:
            raise ValueError(f"{owner}: {ns_coeffs!r} takes {least} steps: give ns_steps={least}, got {ns_steps}")
        return known
    first = ns_coeffs[0]
    rows = tuple(ns_coeffs) if isinstance(first, tuple | list) or jnp.ndim(first) == 1 else (ns_coeffs,)
    if any(len(row) != 3 for row in rows):
        raise ValueError(f"{owner}: ns_coeffs must be (a, b, c) or rows of them, got {ns_coeffs}")
    return Coefficients(rows)


def start_of(x: jax.Array, preconditioning: str, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (y, s): Newton-Schulz starts at y / s, for matrices (b, m, n) with m at most n."""
    if preconditioning == "frobenius":
        return x, _length(x) + eps
    if preconditioning == "spectral":
        return x, jnp.linalg.norm(x, ord=2, axis=(-2, -1), keepdims=True) + eps
    gram = jnp.matmul(x, x.mT.conj(), precision=jax.lax.Precision.HIGHEST)
    if preconditioning == "schatten":
        return x, numerics.safe_sqrt(jnp.maximum(_length(gram), eps))
    rows = jnp.maximum(jnp.sum(jnp.abs(gram), axis=-1, keepdims=True), eps)
    return x / numerics.safe_sqrt(rows), jnp.ones_like(_length(x))


def orthogonal(
    x: jax.Array,
    *,
    coefficients: Coefficients,
    steps: int,
    preconditioning: str = "frobenius",
    eps: Any = 0.0,
    dtype: Any = None,
) -> jax.Array:
    """Return the matrices (b, m, n), m at most n, with singular values near 1; products are taken in `dtype`."""
    real = jnp.finfo(x.dtype).dtype
    y, start = start_of(x, preconditioning, jnp.asarray(eps).astype(real))
    norm = jnp.maximum(_length(y), jnp.finfo(real).tiny)
    margin: Any = coefficients.margin * start / norm  # `orthogonalize` divides by the norm itself
    rows: Any = tuple(tuple(jnp.asarray(c).astype(real) for c in row) for row in coefficients.polynomials)
    return orthogonalize(y, Coefficients(rows, margin), steps, dtype=dtype)


def orthogonalized(tree: PyTree, layouts: list, **hyper: Any) -> PyTree:
    """Return the tree with `orthogonal(x, **hyper)` in the place of the matrices."""
    return map_matrices(orthogonal, layouts, [tree], wide=True, **hyper)


def _length(x: jax.Array) -> jax.Array:
    return numerics.safe_sqrt(jnp.sum(numerics.abs_sq(x), axis=(-2, -1), keepdims=True))
