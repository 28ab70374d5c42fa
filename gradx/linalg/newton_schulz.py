"""Newton-Schulz orthogonalisation: the nearest matrix with orthonormal rows or columns, by products alone.

>>> import jax.numpy as jnp
>>> from gradx.linalg import Coefficients, orthogonalize
>>> matrix = jnp.array([[3.0, 0.0, 0.0], [0.0, 4.0, 0.0]])
>>> near = orthogonalize(matrix, "polar_express")  # fast; within [0.84, 1.15]
>>> print(f"{near[0, 0]:.2f} {near[1, 1]:.2f}")
0.95 0.88
>>> cubic = Coefficients(((1.5, -0.5, 0.0),))  # slow, and exact in the limit
>>> print(jnp.round(orthogonalize(matrix, cubic, steps=15), 5))
[[1. 0. 0.]
 [0. 1. 0.]]
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from gradx import checks, numerics
from gradx.linalg import sharding
from gradx.typing import Range


class Coefficients(NamedTuple):
    """What `orthogonalize` does to a singular value."""

    polynomials: tuple[tuple[float, float, float], ...]
    """(a, b, c) of s <- a s + b s³ + c s⁵, one row a step; steps beyond the last row repeat it."""
    margin: float = 1.0
    """The matrix starts divided by `margin` times its Frobenius norm."""


COEFFICIENTS = {
    "quintic": Coefficients(((3.4445, -4.7750, 2.0315),)),
    "polar_express": Coefficients(
        (
            (8.1566, -22.4833, 15.8788),
            (4.0429, -2.8089, 0.5000),
            (3.8917, -2.7725, 0.5061),
            (3.2858, -2.3681, 0.4645),
            (2.3465, -1.7098, 0.4232),
        ),
        margin=1.02,
    ),
}
"""Jordan's quintic (Muon, kellerjordan.github.io/posts/muon) and Polar Express (Amsel and others 2025)."""


def orthogonalize(
    x: ArrayLike,
    coefficients: str | Coefficients = "quintic",
    steps: int = 5,
    *,
    dtype: DTypeLike | None = None,
) -> jax.Array:
    """Push all singular values of each matrix towards 1 and keep its singular vectors: U S Vᵀ -> about U Vᵀ.

    X <- x / (margin ‖x‖), then `steps` times X <- a X + (b A + c A²) X with A = X Xᴴ, on the shorter side. In float32
    and wider the polynomials of long matrices are multiplied first, on A alone, and their product with X: 0.56 of the
    operations of 5 steps on 4 x 1 (Zhang and others 2026, tridao.me/blog/2026/gram-newton-schulz). Where singular
    values are below 1e-3 of the largest, whose squares A holds badly, that is off by up to 0.01; bfloat16 by 0.4.
    Where a singular value ends after 5 steps, s being its share of the Frobenius norm at the start:

    | set | float32 | bfloat16, measured | s -> 0 |
    |---|---|---|---|
    | quintic | [0.68, 1.21] from s = 0.003 | [0.65, 1.21] from 0.003 | 485 s: times a = 3.4445 a step |
    | polar_express | [0.84, 1.15] from s = 0.001 | [0.76, 1.17] from 0.003 | 970 s: the product of its a |

    In bfloat16 a smaller share drowns in the rounding error of the rest, 2^-9. Steps after the fifth repeat
    Polar Express's last row, which stays in the band and tends slowly to 1.035.

    Args:
      x: (..., m, n), any sizes.
      coefficients: a name in `COEFFICIENTS` or a `Coefficients`.
      steps: at least 1.
      dtype: in which products are taken (bfloat16 for speed), sums in float32; None is x's, float32 at least.

    Returns x's shape in x's dtype, float32 at least. A zero matrix gives 0, with derivative 0. The scale of x
    cancels, from the smallest normal number to the largest; inf or NaN makes its own matrix NaN.
    Explicitly sharded matrices are gathered once, the result is sharded like x; batch axes stay as they are.
    Errors: ValueError for less than 2 axes, an unknown name or steps below 1; TypeError for no float dtype.

    >>> from gradx import linalg
    >>> import jax.numpy as jnp
    >>> x = linalg.orthogonalize(jnp.diag(jnp.array([3.0, -0.2])), "polar_express", steps=9)
    >>> [[round(entry) for entry in row] for row in x.tolist()]
    [[1, 0], [0, -1]]
    """
    x = jnp.asarray(x)
    polynomials, margin = _named(coefficients)
    steps = checks.hyperparameter("orthogonalize", "steps", steps, Range(low=1, integer=True))
    if x.ndim < 2:
        raise ValueError(f"orthogonalize: x must have at least 2 axes, got {checks.describe(x)}")
    out_dtype = numerics.at_least_float32(x.dtype)
    dtype = _product_dtype(dtype, out_dtype)
    if x.size == 0:
        return x.astype(out_dtype)
    tall = x.shape[-2] > x.shape[-1]
    y = sharding.gather(x).astype(out_dtype)
    y = _unit_norm(y.mT if tall else y, margin).astype(dtype)
    y = _iterate(y, [polynomials[min(step, len(polynomials) - 1)] for step in range(steps)])
    return sharding.shard_like((y.mT if tall else y).astype(out_dtype), x)


def _iterate(x: jax.Array, rows: list) -> jax.Array:
    """Return what the steps of `rows` make of x (..., m, n), m at most n, in the form that takes fewer products."""
    (m, n), steps = x.shape[-2:], len(rows)
    pieces = -(-steps // LONGEST_PIECE)
    plain, gram = steps * (2 * n + m), pieces * (2 * n - 3 * m) + steps * 4 * m  # multiplications, over m²
    if gram >= plain or jnp.finfo(x.dtype).bits < 32:
        for row in rows:
            x = newton_schulz_step(x, *row)
        return x
    for k in range(pieces):
        piece = rows[k * steps // pieces : (k + 1) * steps // pieces]
        x = _matmul(gram_polynomial(_matmul(x, x.mT.conj()), piece), x)
    return x


def newton_schulz_step(x: jax.Array, a: float, b: float, c: float) -> jax.Array:
    """Return a X + (b A + c A²) X, A = X Xᴴ: every singular value s becomes a s + b s³ + c s⁵.

    Products are taken in the dtype of x, sums in float32 at least, and each sum is rounded once: rounding its
    terms one by one lets bfloat16 end at 0.55 where this ends at 0.66 (quintic, from a share of 0.003).
    """
    gram = _matmul(x, x.mT.conj())
    mixed = (b * gram + c * _matmul(gram.astype(x.dtype), gram.astype(x.dtype))).astype(x.dtype)
    return (a * x.astype(gram.dtype) + _matmul(mixed, x)).astype(x.dtype)


LONGEST_PIECE = 5
"""So many steps at most are taken on one X Xᴴ. Its rounding, an ulp of the largest eigenvalue, makes eigenvalues below
that negative, and every step multiplies them by about a²: 12 for the quintic, which five steps leave far below 1."""


def gram_polynomial(r: jax.Array, rows: list) -> jax.Array:
    """Return Q with Q X = what the steps make of X, R = X Xᴴ: the product of all P = a I + b R + c R², R ← P R P.

    All of them are polynomials in the first R, and commute: 4 products of m x m for each step, none with n columns.
    """
    identity = jnp.expand_dims(jnp.eye(r.shape[-1], dtype=r.dtype), tuple(range(r.ndim - 2)))
    q = None
    for k, (a, b, c) in enumerate(rows):
        mixed = b * r + c * _matmul(r, r)
        q = a * identity + mixed if q is None else a * q + _matmul(q, mixed)
        if k < len(rows) - 1:
            half = a * r + _matmul(r, mixed)
            r = a * half + _matmul(mixed, half)
    assert q is not None
    return q


def _matmul(x: jax.Array, y: jax.Array) -> jax.Array:
    sums = numerics.at_least_float32(x.dtype)
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST, preferred_element_type=sums)


def _unit_norm(x: jax.Array, margin: float) -> jax.Array:
    """Divide each matrix by margin ‖x‖; by its largest entry first, so that no square over- or underflows."""
    largest = jax.lax.stop_gradient(jnp.max(jnp.abs(x), axis=(-2, -1), keepdims=True))
    x = numerics.safe_divide(x, largest.astype(x.dtype))
    norm = numerics.safe_sqrt(jnp.sum(numerics.abs_sq(x), axis=(-2, -1), keepdims=True))
    return numerics.safe_divide(x, (margin * norm).astype(x.dtype))


def _named(coefficients: str | Coefficients) -> Coefficients:
    if isinstance(coefficients, Coefficients):
        return coefficients
    if coefficients not in COEFFICIENTS:
        known = ", ".join(map(repr, COEFFICIENTS))
        raise ValueError(f"orthogonalize: coefficients must be one of {known} or a Coefficients, got {coefficients!r}")
    return COEFFICIENTS[coefficients]


def _product_dtype(dtype: DTypeLike | None, own: jnp.dtype) -> jnp.dtype:
    if dtype is None:
        return own
    is_complex = jnp.issubdtype(own, jnp.complexfloating)
    if not jnp.issubdtype(dtype, jnp.complexfloating if is_complex else jnp.floating):
        kind = "complex" if is_complex else "a real float"
        raise TypeError(f"orthogonalize: dtype must be {kind} for x computed in {own}, got {jnp.dtype(dtype)}")
    return jnp.dtype(dtype)
