"""Dion and Dion2: a part of each matrix's momentum is made orthogonal, a few directions or rows; the rest waits."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.linalg import lapack
from gradx.matrices import Layout, map_matrices
from gradx.matrices.polar import coefficients_of, orthogonal
from gradx.optimizers.adam import adamw
from gradx.transforms.matrices import ShapeScaling, descent, layouts_of
from gradx.transforms.momentum import moments_like, storage_dtype
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates


class DionState(NamedTuple):
    """The state of `scale_by_dion`."""

    mu: Updates
    """The momentum, less what was followed of it; like the parameters, in `mu_dtype` or at least float32."""
    basis: Updates
    """For each matrix (inputs, rank), columns of length 1, behind an axis of matrices; `None` for other leaves."""


class Dion2State(NamedTuple):
    """The state of `scale_by_dion2`."""

    mu: Updates
    """The momentum, of which what was used has decayed; like the parameters, in `mu_dtype` or at least float32."""


def sum_leaf(g, mu, *, decay):
    """Return (x, mu): x = mu + g, mu = decay · x."""
    x = mu + g
    return x, decay * x


def dion_leaf(x, mu, basis, *, decay):
    """Return (u, mu, basis) of matrices (b, m, n), x ≈ R Pᴴ by one step of power iteration from the basis (b, m, r).

    P = orthonormal columns of xᴴ basis, R = x P, mu = x - (1 - decay) R Pᴴ, basis = R with columns of length 1,
    u = basis Pᴴ. Columns of R that are nothing but rounding count as 0, and keep their basis.
    """
    decay = jnp.asarray(decay).astype(jnp.finfo(x.dtype).dtype)
    p = lapack.of_each(lambda x: jnp.linalg.qr(x)[0], jax.lax.stop_gradient(product(x.mT.conj(), basis)))
    r = product(x, p)
    length = numerics.safe_sqrt(jnp.sum(numerics.abs_sq(r), axis=-2, keepdims=True))
    rounding = jnp.finfo(x.dtype).eps * max(x.shape[-2:]) * jnp.max(length, axis=-1, keepdims=True)
    is_nothing = length <= rounding  # not `length > rounding`: NaN stays NaN
    unit = jnp.where(is_nothing, 0, r / jnp.where(is_nothing, 1, length))
    mu = x - (1 - decay) * product(r, p.mT.conj())
    return product(unit, p.mT.conj()), mu, jnp.where(is_nothing, basis, unit)


def dion2_leaf(x, mu, *, decay, one_in, **steps):
    """Return (u, mu) of matrices (b, m, n), m at most n: of the m / one_in rows that are largest by the sum of |x|.

    u has them made orthogonal in their places, else 0; mu has them times decay, else x.
    """
    decay = jnp.asarray(decay).astype(jnp.finfo(x.dtype).dtype)
    is_square = x.shape[1] == x.shape[2]  # of a square one the outputs are chosen, which are columns
    x = x.mT if is_square else x
    count = -(-x.shape[1] // one_in)
    sizes = jnp.sum(jnp.abs(x), axis=-1)
    order = jnp.argsort(-jnp.where(jnp.isnan(sizes), jnp.inf, sizes), axis=-1)  # NaN is no row to wait
    place = jnp.argsort(order, axis=-1)[..., None]
    o = orthogonal(jnp.take_along_axis(x, order[:, :count, None], axis=1), **steps)
    is_used = place < count
    u = jnp.where(is_used, jnp.take_along_axis(o, jnp.minimum(place, count - 1), axis=1), 0)
    mu = jnp.where(is_used, decay * x, x)
    return (u.mT, mu.mT) if is_square else (u, mu)


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return x @ y in full precision."""
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)


@transformation
def scale_by_dion(
    rank: PositiveInt = 128,
    decay: Decay = 0.95,
    mu_dtype: DType | None = None,
    *,
    seed: int = 0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by an orthogonal one of low rank, made from its momentum.

    x = mu + g ≈ R Pᴴ, P orthonormal, by one step of power iteration from the columns of the step before;
    mu ← x - (1 - decay) R Pᴴ, which keeps what was not followed; u = R Pᴴ with the columns of R of length 1.
    Other leaves: u = x, mu ← decay · x.

    Args:
      rank: columns of P, at most the shorter side.
      decay: of what was followed, in [0, 1).
      seed: of the first columns, which are Gaussian.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.

    State: 1 number per parameter and rank per input of each matrix. Ahn et al. 2025, arXiv:2504.05295, Algorithm 1.
    Columns of R below rounding count as 0, where the paper would make noise of them. Derivatives do not go through P.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_dion(rank=1)
    >>> updates, _ = tx.update(jnp.outer(jnp.array([3.0, 0.0]), jnp.array([0.0, 2.0])), tx.init(jnp.ones((2, 2))))
    >>> [[round(abs(x), 3) for x in row] for row in updates.tolist()]
    [[0.0, 1.0], [0.0, 0.0]]
    """
    owner = "scale_by_dion"

    def start(i: int, x: jax.Array, layout: Layout | None) -> jax.Array | None:
        if layout is None:
            return None
        m, n = layout.fans(x.shape)
        key = jax.random.fold_in(jax.random.key(seed), i)
        drawn = jax.random.normal(key, (layout.count(x.shape), m, min(rank, m, n)), jnp.float32)  # in float64 the same
        kept = storage_dtype(x, None) or numerics.at_least_float32(x.dtype)
        return numerics.vary_together(drawn.astype(kept), x)[0]

    def init(params: Params) -> DionState:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        leaves, treedef = jax.tree.flatten(params)
        basis = [start(i, jnp.asarray(x), layout) for i, (x, layout) in enumerate(zip(leaves, layouts, strict=True))]
        return DionState(moments_like(params, mu_dtype), treedef.unflatten(basis))

    def update(updates: Updates, state: DionState) -> tuple[Updates, DionState]:
        sums, mu = tree.map_leaves(sum_leaf, updates, state.mu, decay=decay)
        layouts = layouts_of(owner, weight_dimension_numbers, sums)
        new, mu, basis = map_matrices(dion_leaf, layouts, [sums, mu], [state.basis], renews=3, decay=decay)
        return new, DionState(tree.cast_like(mu, state.mu), basis)

    return init, update


@transformation
def dion(
    learning_rate: LearningRate,
    rank: PositiveInt = 128,
    decay: Decay = 0.95,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DType | None = None,
    *,
    seed: int = 0,
    shape_scaling: ShapeScaling | None = "spectral",
    adam_learning_rate: LearningRate | None = None,
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.95,
    adam_weight_decay: NonNegative = 0.0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Dion for matrices and AdamW for the rest: u = -learning_rate · (sqrt(outputs / inputs) · o + weight_decay · p).

    o is orthogonal, of the given rank, made from the momentum, which keeps what o leaves out: see `scale_by_dion`.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      shape_scaling: the factor of a matrix, as in `scale_by_shape`.
      adam_learning_rate, adam_b1, adam_b2, adam_weight_decay: those of `adamw`; None shares the rate.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, but None asks `gradx.roles.infer`.

    The rest as in `scale_by_dion`.

    State: that of `scale_by_dion` for matrices, 2 numbers per parameter for the rest. Needs: params.
    Ahn et al. 2025, arXiv:2504.05295, Algorithm 1.

    >>> import gradx
    >>> gradx.dion(0.01, rank=8)
    dion(learning_rate=0.01, rank=8)
    """
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    return descent(
        "dion",
        scale_by_dion(rank, decay, mu_dtype, seed=seed),
        adamw(rate, adam_b1, adam_b2, mu_dtype=mu_dtype, weight_decay=adam_weight_decay),
        learning_rate,
        weight_decay,
        weight_decay_mask,
        weight_dimension_numbers,
        shape_scaling=shape_scaling,
    )


@transformation
def scale_by_dion2(
    one_in: PositiveInt = 4,
    decay: Decay = 0.95,
    mu_dtype: DType | None = None,
    *,
    ns_coeffs: Any = "polar_express",
    ns_steps: PositiveInt = 5,
    ns_dtype: DType | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Make the largest rows of each matrix's momentum orthogonal, and let the others wait.

    x = mu + g; u = those rows of x whose sum of |x| is largest made orthogonal, and 0 elsewhere; mu ← decay · x there,
    and x elsewhere. "Rows" are slices of the shorter side, outputs where both are alike. Other leaves: u = x,
    mu ← decay · x.

    Args:
      one_in: 4 takes a quarter of the rows, rounded up; 1 takes all, which is Muon.
      decay: of the rows that are used, in [0, 1).
      ns_coeffs, ns_steps, ns_dtype: the iteration, as in `scale_by_muon`.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.

    State: 1 number per parameter. Ahn, Amsel and Langford 2025, arXiv:2512.16928, rows chosen as in the authors' code.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_dion2(one_in=2)
    >>> updates, _ = tx.update(jnp.array([[0.0, 1.0], [5.0, 0.0]]), tx.init(jnp.ones((2, 2))))
    >>> [[round(x) for x in row] for row in updates.tolist()]
    [[0, 0], [1, 0]]
    """
    owner = "scale_by_dion2"
    steps = {"coefficients": coefficients_of(owner, ns_coeffs, ns_steps), "steps": ns_steps, "dtype": ns_dtype}

    def init(params: Params) -> Dion2State:
        return Dion2State(moments_like(params, mu_dtype))

    def update(updates: Updates, state: Dion2State) -> tuple[Updates, Dion2State]:
        sums, mu = tree.map_leaves(sum_leaf, updates, state.mu, decay=decay)
        layouts, hyper = layouts_of(owner, weight_dimension_numbers, sums), {"decay": decay, "one_in": one_in} | steps
        new, mu = map_matrices(dion2_leaf, layouts, [sums, mu], wide=True, renews=2, **hyper)
        return new, Dion2State(tree.cast_like(mu, state.mu))

    return init, update


@transformation
def dion2(
    learning_rate: LearningRate,
    one_in: PositiveInt = 4,
    decay: Decay = 0.95,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DType | None = None,
    *,
    shape_scaling: ShapeScaling | None = "spectral",
    ns_coeffs: Any = "polar_express",
    ns_steps: PositiveInt = 5,
    ns_dtype: DType | None = None,
    adam_learning_rate: LearningRate | None = None,
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.95,
    adam_weight_decay: NonNegative = 0.0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Dion2 for matrices and AdamW for the rest: u = -learning_rate · (sqrt(outputs / inputs) · o + weight_decay · p).

    o has the largest rows of the momentum made orthogonal, one in four, and 0 elsewhere: see `scale_by_dion2`. So it
    takes about a quarter of Muon's operations.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      shape_scaling: the factor of a matrix, as in `scale_by_shape`.
      adam_learning_rate, adam_b1, adam_b2, adam_weight_decay: those of `adamw`; None shares the rate.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, but None asks `gradx.roles.infer`.

    The rest as in `scale_by_dion2`.

    State: 1 number per entry of a matrix, 2 for the rest. Needs: params. Ahn et al. 2025, arXiv:2512.16928.

    >>> import gradx
    >>> gradx.dion2(0.01, one_in=2)
    dion2(learning_rate=0.01, one_in=2)
    """
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    return descent(
        "dion2",
        scale_by_dion2(one_in, decay, mu_dtype, ns_coeffs=ns_coeffs, ns_steps=ns_steps, ns_dtype=ns_dtype),
        adamw(rate, adam_b1, adam_b2, mu_dtype=mu_dtype, weight_decay=adam_weight_decay),
        learning_rate,
        weight_decay,
        weight_decay_mask,
        weight_dimension_numbers,
        shape_scaling=shape_scaling,
    )
