"""Muon: the momentum of each matrix is made orthogonal, so that all its directions move alike."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain, partition
from gradx.core import EmptyState, transformation
from gradx.linalg import COEFFICIENTS, Coefficients, orthogonalize
from gradx.optimizers.adam import adamw
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import Axes, as_matrices, fans, matrix_axes
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import no_state, scale_by_learning_rate
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates

Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]


class MuonDimensionNumbers(NamedTuple):
    """Which axes of an array are the rows and the columns of its matrices; one matrix for each entry of the others."""

    reduction_axis: tuple[int, ...] | int = 0
    """The axes of the inputs."""
    output_axis: tuple[int, ...] | int = 1
    """The axes of the outputs."""


class MuonState(NamedTuple):
    """The state of `scale_by_muon`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""


STANDARD = (3.4445, -4.7750, 2.0315)
DION = (
    (4.0848, -6.8946, 2.9270),
    (3.9505, -6.3029, 2.6377),
    (3.7418, -5.5913, 2.3037),
    (2.8769, -3.1427, 1.2046),
    (2.8366, -3.0525, 1.2012),
)
PRESETS = {"standard": (STANDARD,), "dion": DION} | {name: x.polynomials for name, x in COEFFICIENTS.items()}
"""Polynomials by name: Jordan's, those of Ahn and others 2025 (arXiv:2504.05295), and those of `gradx.linalg`."""


def muon_leaf(g, mu, *, beta, c, c_next, nesterov):
    """Return (mu / c, mu), mu ← beta · mu + (1 - beta) · g; with Nesterov beta · mu / c_next + (1 - beta) · g / c."""
    mu = beta * mu + (1 - beta) * g
    return (beta * (mu / c_next) + (1 - beta) * (g / c) if nesterov else mu / c), mu


def start_of(x: jax.Array, preconditioning: str, eps: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (y, s): Newton-Schulz starts at y / s, for matrices (b, m, n) with m at most n."""

    def length(x: jax.Array) -> jax.Array:
        return numerics.safe_sqrt(jnp.sum(numerics.abs_sq(x), axis=(-2, -1), keepdims=True))

    if preconditioning == "frobenius":
        return x, length(x) + eps
    if preconditioning == "spectral":
        return x, jnp.linalg.norm(x, ord=2, axis=(-2, -1), keepdims=True) + eps
    gram = jnp.matmul(x, x.mT.conj(), precision=jax.lax.Precision.HIGHEST)
    if preconditioning == "schatten":
        return x, numerics.safe_sqrt(jnp.maximum(length(gram), eps))
    rows = jnp.maximum(jnp.sum(jnp.abs(gram), axis=-1, keepdims=True), eps)
    return x / numerics.safe_sqrt(rows), jnp.ones_like(length(x))


def orthogonal(x: jax.Array, polynomials: tuple, steps: int, preconditioning: str, eps: Any) -> jax.Array:
    """Return the matrices (b, m, n) with singular values near 1."""
    if x.size == 0:
        return x
    real = jnp.finfo(x.dtype).dtype
    y, start = start_of(x, preconditioning, jnp.asarray(eps).astype(real))
    norm = numerics.safe_sqrt(jnp.sum(numerics.abs_sq(y), axis=(-2, -1), keepdims=True))
    margin: Any = start / jnp.maximum(norm, jnp.finfo(real).tiny)  # `orthogonalize` divides by the norm itself
    rows: Any = tuple(tuple(jnp.asarray(c).astype(real) for c in row) for row in polynomials)
    return orthogonalize(y, Coefficients(rows, margin), steps)


def orthogonal_all(xs: list[jax.Array], on_batch: Callable) -> list[jax.Array]:
    """Apply `on_batch` to arrays (b, m, n), those of the same m and n as one batch."""
    groups: dict[Any, list[int]] = {}
    for i, x in enumerate(xs):
        groups.setdefault((x.shape[1:], x.dtype), []).append(i)
    results: dict[int, jax.Array] = {}
    for group in groups.values():
        batch = jnp.concatenate([xs[i] for i in group]) if len(group) > 1 else xs[group[0]]
        ends = [sum(len(xs[i]) for i in group[: k + 1]) for k in range(len(group))]
        results.update(zip(group, jnp.split(on_batch(batch), ends[:-1]), strict=True))
    return [results[i] for i in range(len(xs))]


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
    """Replace the gradient of each matrix by its momentum with all singular values near 1: U S Vᵀ → about U Vᵀ.

    mu ← beta · mu + (1 - beta) · g. Where there is no matrix, u is the debiased mu as it is. Matrices of one shape go
    through Newton-Schulz as one batch.

    Args:
      ns_coeffs: (a, b, c) of s ← a s + b s³ + c s⁵, or one such row a step, the last repeated; or a name: "standard",
        "dion", "polar_express".
      ns_steps: steps of Newton-Schulz.
      beta: decay of the mean, in [0, 1).
      eps: added to the norm by which a matrix is divided first.
      nesterov: use the momentum of the next step.
      adaptive: multiply by the inner product of momentum and result, which brings the scale back.
      preconditioning: the norm: "frobenius", "spectral", "schatten" (of 4), or "aol", which scales row by row.
      weight_dimension_numbers: which leaves are matrices: a pytree (a prefix will do), or a function from the
        parameters to one, of `MuonDimensionNumbers`, of True for the last two axes, of None or False for no matrix.
        None takes the leaves with two axes. All other axes of a leaf are a batch.

    State: 1 number per parameter and int32[]. Jordan et al. 2024, kellerjordan.github.io/posts/muon, with Adam's
    debiasing, as in Optax. (Optax keeps ns_coeffs in the state.)

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_muon()
    >>> updates, _ = tx.update(jnp.diag(jnp.array([9.0, 1.0])), tx.init(jnp.eye(2)))
    >>> [round(float(x)) for x in jnp.diag(updates)]
    [1, 1]
    """
    polynomials, owner = polynomials_of(ns_coeffs), "scale_by_muon"
    if preconditioning not in Preconditioning.__args__:
        raise ValueError(f"{owner}: preconditioning must be one of {Preconditioning.__args__}, got {preconditioning!r}")

    def init(params: Params) -> MuonState:
        return MuonState(jnp.zeros((), jnp.int32), moments_like(params, mu_dtype))

    def update(updates: Updates, state: MuonState) -> tuple[Updates, MuonState]:
        count = numerics.safe_increment(state.count)
        c, c_next = (numerics.bias_correction(beta, n) for n in (count, numerics.safe_increment(count)))
        means, mu = tree.map_leaves(muon_leaf, updates, state.mu, beta=beta, c=c, c_next=c_next, nesterov=nesterov)
        leaves, treedef = jax.tree.flatten(means)
        axes = enumerate(matrix_axes(owner, weight_dimension_numbers, means))
        views = {i: as_matrices(leaves[i], x) for i, x in axes if x is not None}
        hyper = {"polynomials": polynomials, "steps": ns_steps, "preconditioning": preconditioning, "eps": eps}
        results = orthogonal_all([x for x, _ in views.values()], functools.partial(orthogonal, **hyper))
        for i, y in zip(views, results, strict=True):
            u = views[i][1](y)
            leaves[i] = jnp.sum(jnp.real(jnp.conj(leaves[i]) * u)) * u if adaptive else u
        return treedef.unflatten(leaves), MuonState(count, mu)

    return init, update


def polynomials_of(ns_coeffs: Any) -> tuple:
    """Return the rows (a, b, c) of the polynomials."""
    if isinstance(ns_coeffs, str):
        if ns_coeffs not in PRESETS:
            raise ValueError(f"muon: ns_coeffs must be numbers or one of {', '.join(PRESETS)}, got {ns_coeffs!r}")
        return PRESETS[ns_coeffs]
    first = ns_coeffs[0]
    rows = tuple(ns_coeffs) if isinstance(first, tuple | list) or jnp.ndim(first) == 1 else (ns_coeffs,)
    if any(len(row) != 3 for row in rows):
        raise ValueError(f"muon: ns_coeffs must be (a, b, c) or rows of them, got {ns_coeffs}")
    return rows


def shape_leaf(u: jax.Array, *, factor: jax.Array) -> jax.Array:
    """Return factor · u."""
    return factor * u


@transformation
def scale_by_shape(weight_dimension_numbers: Labels | None = None, consistent_rms: NonNegative | None = None) -> Any:
    """Multiply each matrix by sqrt(max(1, outputs / inputs)), and leave what is no matrix.

    Args:
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.
      consistent_rms: multiply by consistent_rms · sqrt(max(inputs, outputs)) instead, which gives an orthogonal
        matrix about that root mean square: Adam's is about 0.2.

    State: none. Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982, eq. 4.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_shape()
    >>> updates, _ = tx.update(jnp.ones((1, 4)), tx.init(jnp.ones((1, 4))))
    >>> float(updates[0, 0])
    2.0
    """

    rms: Any = consistent_rms

    def factor_of(x: jax.Array, axes: Axes) -> Any:
        inputs, outputs = fans(x, axes)
        if rms is not None:
            return math.sqrt(max(inputs, outputs)) * rms
        return math.sqrt(max(1.0, outputs / max(inputs, 1)))

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        leaves, treedef = jax.tree.flatten(updates)
        all_axes = matrix_axes("scale_by_shape", weight_dimension_numbers, updates)
        scaled = [
            x if axes is None else tree.map_leaves(shape_leaf, x, factor=factor_of(x, axes))
            for x, axes in zip(leaves, all_axes, strict=True)
        ]
        return treedef.unflatten(scaled), state

    return no_state, update


def muon_labels(given: Labels | None, params: Params) -> Params:
    """Return "muon" for matrices and "adam" for the rest."""
    axes = matrix_axes("muon", given, params)
    return jax.tree.structure(params).unflatten(["adam" if x is None else "muon" for x in axes])


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
    """Muon for matrices and AdamW for the rest: u = -learning_rate · (sqrt(max(1, outputs / inputs)) · O + decay · p).

    O is the momentum made orthogonal. Matrices are the leaves with exactly two axes, embeddings and the last layer too,
    unless `muon_weight_dimension_numbers` names others, `lambda params: tree.map_with_path(is_hidden, params)` say.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      nesterov: use the momentum of the next step, in both.
      adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate: those of `adamw`; None shares the rate.
      muon_weight_dimension_numbers: which leaves are matrices, as `weight_dimension_numbers` of `scale_by_muon`.
      consistent_rms: factor for consistent_rms · sqrt(max(inputs, outputs)) instead; 0.2 goes with Adam's rates.

    The rest as in `scale_by_muon`.

    State: 1 number per entry of a matrix, 2 for the rest. Needs: params. Jordan et al. 2024, as above.

    >>> import gradx
    >>> gradx.muon(0.02)
    muon(learning_rate=0.02)
    """
    given = muon_weight_dimension_numbers
    hyper: dict[str, Any] = {"nesterov": nesterov, "adaptive": adaptive, "preconditioning": preconditioning}
    matrices = chain(
        scale_by_muon(ns_coeffs, ns_steps, beta, eps, mu_dtype, weight_dimension_numbers=given, **hyper),
        scale_by_shape(given, consistent_rms),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    rest = adamw(rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov=nesterov)
    return partition({"muon": matrices, "adam": rest}, functools.partial(muon_labels, given))
