"""PSGD with a Kronecker product for a preconditioner, fitted so that it whitens the gradients."""

import functools
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.linalg import lapack
from gradx.matrices.factors import (
    Sides,
    WhenLarger,
    adjoint,
    gram,
    largest,
    leaves_of,
    left,
    norms,
    on_matrices,
    one_of,
    plan,
    product,
    right,
    zeros,
)
from gradx.matrices.layout import Layout
from gradx.sometimes import sometimes
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import layouts_of
from gradx.transforms.momentum import ema_leaf, moments_like
from gradx.transforms.noise import KeyStart
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import (
    Decay,
    DType,
    Fraction,
    Labels,
    LearningRate,
    Mask,
    NonNegative,
    Params,
    Positive,
    PositiveInt,
    Updates,
)

Geometry = Literal["triangular", "dense"]
FLAT, LEAST, FALL = 500, 0.03, 1e-3
"""The probability of a fit by default: 1 for so many updates, then falling by a factor e in 1/FALL of them to LEAST."""


class ScaleByKronState(NamedTuple):
    """The state of `scale_by_kron`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    key: jax.Array
    """The data of the key from which the next update splits its own: plain integers, for checkpoints."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    left: Updates
    """The factor of the rows: for each matrix (m, m), (m,) where it is a diagonal, (0,) for none; 0 at the start."""
    right: Updates
    """That of the columns: (n, n), (n,) or (0,)."""


def triangular_leaf(g, QL, QR, *, key, rate, damping):
    """Return (g, Q_L, Q_R), a step nearer to E[A Aᴴ] = E[B Bᴴ], A = Q_L g Q_Rᴴ and B = Q_L^(-H) v Q_R⁻¹.

    Q ← Q - rate / ‖A Aᴴ + B Bᴴ‖ · triu(A Aᴴ - B Bᴴ) Q, the gradient of E[gᴴ P g + vᴴ P⁻¹ v] on the group of triangular
    matrices, where P = (Q_L ⊗ Q_R)ᴴ (Q_L ⊗ Q_R): at rest P g has the covariance of v, the identity.
    """
    v, rms = noise(key, g), root_mean_square(g)
    QL, QR = started(QL, QR, rms, power=0.5)
    g, rate = g + damping * rms * v, jnp.where(rms > 0, rate, 0)
    A = right(left(QL, g), adjoint(QR))
    B = adjoint(divided(QR, adjoint(divided(QL, v))))
    QL = triangular_step(QL, gram(A, QL), gram(B, QL), rate)
    QR = triangular_step(QR, gram(adjoint(A), QR), gram(adjoint(B), QR), rate)
    return g, *balanced(QL, QR)


def triangular_step(Q: jax.Array, a: jax.Array, b: jax.Array, rate: jax.Array) -> jax.Array:
    """Return Q - rate / ‖a + b‖ · triu(a - b) Q."""
    if not Q.size:
        return Q
    step = numerics.safe_divide(rate.reshape(-1, *(1,) * (Q.ndim - 1)), size_of(a + b))
    return Q - step * (product(jnp.triu(a - b), Q) if Q.ndim == 3 else (a - b) * Q)


def dense_leaf(g, PL, PR, *, key, rate, damping):
    """Return (g, P_L, P_R), a step nearer to E[H Hᴴ] / n = I, H = P_L g P_R, and so for Hᴴ H / m.

    P ← (I - s E) P (I - s E), E = H Hᴴ / n - I, s = rate / (2 ‖H Hᴴ / n + I‖): it lowers E[gᴴ P g + vᴴ P⁻¹ v] too,
    keeps P Hermitian and positive, and divides by no matrix.
    """
    v, rms = noise(key, g), root_mean_square(g)
    PL, PR = started(PL, PR, rms, power=1.0)
    g, rate = g + damping * rms * v, jnp.where(rms > 0, rate, 0)
    H = right(left(PL, g), PR)
    PL = dense_step(PL, gram(H, PL) / g.shape[2], rate)
    PR = dense_step(PR, gram(adjoint(H), PR) / g.shape[1], rate)
    return g, *balanced(PL, PR)


def dense_step(P: jax.Array, a: jax.Array, rate: jax.Array) -> jax.Array:
    """Return (I - s E) P (I - s E), E = a - I and s = rate / (2 ‖a + I‖)."""
    if not P.size:
        return P
    one = ones(P)
    change = one - rate.reshape(-1, *(1,) * (P.ndim - 1)) / (2 * size_of(a + one)) * (a - one)
    return product(product(change, P), change) if P.ndim == 3 else change * P * change


def noise(key: jax.Array, g: jax.Array) -> jax.Array:
    """Return standard normal numbers (b, m, n), the same for all matrices of one size, wherever they lie."""
    own = jax.random.fold_in(jax.random.fold_in(key, g.shape[1]), g.shape[2])
    v = jax.random.normal(own, (1, *g.shape[1:]), jnp.finfo(g.dtype).dtype)
    return jnp.broadcast_to(v.astype(g.dtype), g.shape, out_sharding=jax.typeof(g).sharding)


def root_mean_square(x: jax.Array) -> jax.Array:
    """Return the root mean squares of matrices as (b, 1, 1)."""
    return numerics.safe_sqrt(jnp.mean(numerics.abs_sq(x), axis=(-2, -1), keepdims=True))


def started(QL: jax.Array, QR: jax.Array, rms: jax.Array, power: float) -> tuple[jax.Array, jax.Array]:
    """Return the factors; where they are still 0, multiples of the identity such that P g has root mean square 1.

    Args:
      power: of P's factors of which these are; 1 for those themselves, 0.5 for Q of P = Qᴴ Q.
    """
    power /= bool(QL.size) + bool(QR.size)
    scale = jnp.where(rms > 0, jnp.where(rms > 0, rms, 1) ** -power, 0)

    def start(Q: jax.Array) -> jax.Array:
        start = scale.reshape(-1, *(1,) * (Q.ndim - 1)) * ones(Q)
        return jnp.where(is_zero(Q), start, Q) if Q.size else Q

    return start(QL), start(QR)


def ones(Q: jax.Array) -> jax.Array:
    """Return the identity as a factor like Q."""
    return jnp.eye(Q.shape[-1], dtype=Q.dtype)[None] if Q.ndim == 3 else jnp.ones_like(Q)


def is_zero(Q: jax.Array) -> jax.Array:
    """Say of each factor whether all of it is 0, as before any gradient."""
    return jnp.max(jnp.abs(Q), axis=tuple(range(1, Q.ndim)), keepdims=True, initial=0) == 0


def divided(Q: jax.Array, x: jax.Array) -> jax.Array:
    """Return Q^(-H) x for the factor of the rows; x itself where Q is 0, for want of a gradient."""
    if Q.ndim == 3:
        Q = jnp.where(is_zero(Q), ones(Q), Q)
        return lapack.of_each(_solve, Q, x)
    return numerics.safe_divide(x, Q[..., None]) if Q.size else x


_solve = functools.partial(
    jax.lax.linalg.triangular_solve, left_side=True, lower=False, transpose_a=True, conjugate_a=True
)


def size_of(a: jax.Array) -> jax.Array:
    """Return a bound from below of the largest eigenvalue of a factor that is positive, at least its largest entry.

    ‖a x‖ for the x of length 1 along a times its longest column: two steps of power iteration, as in Li's code.
    """
    if a.ndim != 3:
        return largest(a)
    scale = jax.lax.stop_gradient(jnp.max(jnp.abs(a), axis=(-2, -1), keepdims=True))
    a = numerics.safe_divide(a, scale.astype(a.dtype))
    squares = jnp.sum(numerics.abs_sq(a), axis=-2, keepdims=True)
    longest = jnp.argmax(jax.lax.stop_gradient(squares), axis=-1, keepdims=True)
    length = numerics.safe_sqrt(jnp.take_along_axis(squares, longest, axis=-1))
    x = product(a, numerics.safe_divide(jnp.take_along_axis(a, longest, axis=-1), length.astype(a.dtype)))
    x = product(a, numerics.safe_divide(x, norms(x).astype(a.dtype)))
    return scale * norms(x)


def balanced(QL: jax.Array, QR: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return both factors with largest entries of one size: their product is all that counts."""
    if not QL.size or not QR.size:
        return QL, QR
    sizes = [jnp.max(jnp.abs(Q), axis=tuple(range(1, Q.ndim))) for Q in (QL, QR)]
    ratio = jax.lax.stop_gradient(numerics.safe_sqrt(numerics.safe_divide(sizes[1], sizes[0])))
    up, down = (ratio.reshape(-1, *(1,) * (Q.ndim - 1)).astype(Q.dtype) for Q in (QL, QR))
    return up * QL, numerics.safe_divide(QR, down)


def kron_leaf(m, QL, QR, *, geometry):
    """Return (P m,)."""
    if geometry == "triangular":
        m, QL, QR = right(left(QL, m), adjoint(QR)), adjoint(QL), QR
    return (right(left(QL, m), QR),)


def shorten_leaf(u, *, max_rms):
    """Return u shortened to the root mean square `max_rms`, for each matrix."""
    rms = numerics.safe_sqrt(jnp.mean(numerics.abs_sq(u), axis=(-2, -1), keepdims=True))
    return (u / jnp.maximum(rms / max_rms, 1),)


@transformation
def scale_by_kron(
    b1: Decay = 0.9,
    mu_dtype: DType | None = None,
    *,
    preconditioner_lr: NonNegative = 0.1,
    update_probability: Fraction | None = None,
    damping: NonNegative = 1e-6,
    max_rms: Positive | None = 1.1,
    geometry: Geometry = "triangular",
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "diagonal",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
    seed: Any = 0,
) -> Any:
    """Multiply the debiased mean gradient of each matrix by a preconditioner P that whitens it: u = P_L m P_R.

    P minimizes E[mᴴ P m + vᴴ P⁻¹ v], v standard normal, so that P m has the covariance of v. It starts as a multiple of
    the identity; a fit is a step on its factors. What is no matrix has a diagonal P.

    Args:
      preconditioner_lr: length of a fit, at most about 1.
      update_probability: of a fit at an update; None is 1 for 500 updates, then falls to 0.03. The first one has one.
      damping: so many root mean squares of noise are added to what P is fitted to.
      max_rms: to which root mean square an update is shortened, for each matrix; None for any.
      geometry: "triangular", P_L = Q_Lᴴ Q_L and P_R = Q_Rᴴ Q_R, or "dense", P_L and P_R by products alone.
      seed: of v and of the draws: an integer, or a key of `jax.random`.

    A fit is divided by the size of its own sample, as in Li's: where that varies much, as for a single number, u rests
    a little above the identity. P starts at the scale of the gradient.

    State: 1 number per parameter, 1 for each entry of the factors, int32[] and a key. Li 2015, arXiv:1512.04202; 2018,
    arXiv:1809.10232 (triangular); 2024, arXiv:2402.11858 (without inverses).

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_kron(b1=0.0)
    >>> updates, _ = tx.update(jnp.full((3, 2), 100.0), tx.init(jnp.ones((3, 2))))
    >>> round(float(jnp.mean(updates)))
    1
    """
    owner = "scale_by_kron"
    one_of(owner, geometry=(geometry, Geometry.__args__), when_larger=(when_larger, WhenLarger.__args__))
    start, fit_leaf = KeyStart(seed), triangular_leaf if geometry == "triangular" else dense_leaf

    def planned(params: Params) -> list[Sides | None]:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        found = plan(layouts, params, max_size, when_larger, one_sided)
        return [s or entry_by_entry(x) for s, x in zip(found, leaves_of(params), strict=True)]

    def init(params: Params) -> ScaleByKronState:
        factors = zeros(planned(params), params)
        return ScaleByKronState(jnp.zeros((), jnp.int32), start.data(), moments_like(params, mu_dtype), *factors)

    def update(updates: Updates, state: ScaleByKronState) -> tuple[Updates, ScaleByKronState]:
        count, sides = numerics.safe_increment(state.count), planned(updates)
        mean, mu = tree.map_leaves(ema_leaf, updates, state.mu, decay=b1, c=numerics.bias_correction(b1, count))
        next_key, key, draw = jax.random.split(jax.random.wrap_key_data(state.key, impl=start.implementation), 3)

        def fit(factors: tuple) -> tuple:
            hyper = {"key": key, "rate": preconditioner_lr, "damping": damping}
            return on_matrices(fit_leaf, sides, (mean,), factors, results=3, **hyper)[1:]

        probability: Any = falling(state.count) if update_probability is None else update_probability
        is_due = (state.count == 0) | (jax.random.uniform(draw) < probability)
        factors = sometimes(is_due, fit, (state.left, state.right))
        (u,) = on_matrices(kron_leaf, sides, (mean,), factors, results=1, geometry=geometry)
        if max_rms is not None:
            (u,) = on_matrices(shorten_leaf, sides, (u,), results=1, whole=True, max_rms=max_rms)
        return u, ScaleByKronState(count, jax.random.key_data(next_key), mu, *factors)

    return init, update


def entry_by_entry(x: jax.Array | None) -> Sides | None:
    """Return the plan of a leaf with a diagonal P: one row."""
    return None if x is None or not x.size else Sides(Layout((), tuple(range(x.ndim))), "none", "diagonal")


def falling(count: jax.Array) -> jax.Array:
    """Return the probability of a fit after so many updates."""
    late = jnp.maximum(count - FLAT, 0).astype(jnp.result_type(float))
    return jnp.maximum(jnp.exp(-FALL * late), LEAST)


@transformation
def kron(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    preconditioner_lr: NonNegative = 0.1,
    update_probability: Fraction | None = None,
    damping: NonNegative = 1e-6,
    max_rms: Positive | None = 1.1,
    geometry: Geometry = "triangular",
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "diagonal",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
    seed: Any = 0,
) -> Any:
    """PSGD Kron: u = -learning_rate · (P_L m P_R + weight_decay · p), P_L and P_R such that P_L m P_R is white.

    m is the mean gradient. Learning rates are a little below Adam's. The arguments are those of `scale_by_kron`.

    State: that of `scale_by_kron`. Needs: params. Li 2015, arXiv:1512.04202; 2018, arXiv:1809.10232.

    >>> import gradx
    >>> gradx.kron(3e-4, geometry="dense")
    kron(learning_rate=0.0003, geometry='dense')
    """
    hyper: dict[str, Any] = {"preconditioner_lr": preconditioner_lr, "update_probability": update_probability}
    hyper |= {"damping": damping, "max_rms": max_rms, "geometry": geometry, "max_size": max_size, "seed": seed}
    hyper |= {"when_larger": when_larger, "one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_kron(b1, mu_dtype, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
