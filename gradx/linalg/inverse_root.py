"""The inverse p-th root of a positive semidefinite matrix, as Shampoo's preconditioners need it.

>>> import jax.numpy as jnp
>>> from gradx.linalg import matrix_inverse_pth_root
>>> root, error = matrix_inverse_pth_root(jnp.diag(jnp.array([16.0, 81.0])), 4)
>>> print(jnp.round(root, 3), error < 1e-5)
[[0.5   0.   ]
 [0.    0.333]] True
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.lax import Precision, PrecisionLike
from jax.typing import ArrayLike

from gradx import checks, numerics
from gradx.linalg import lapack, sharding
from gradx.linalg.power import power_iteration, scaled, square
from gradx.typing import Range

_LEAST_EIGENVALUE = 1e-16
"""The ridge is relative to the largest eigenvalue, or to this where that is smaller."""
_GROWTH = 1.2
"""A step that raises ‖M - I‖ by this factor is not taken: the norm has reached its rounding floor.

In exact arithmetic the Frobenius norm never rises, for no eigenvalue of M ever moves away from 1. The largest entry of
M - I may rise, long before the end; stopping there, as is customary, leaves roots that are far off.
"""

_matmul = functools.partial(jnp.matmul, precision=Precision.HIGHEST)


def matrix_inverse_pth_root(
    matrix: ArrayLike,
    p: int,
    num_iters: ArrayLike = 100,
    ridge_epsilon: ArrayLike = 1e-6,
    error_tolerance: ArrayLike = 1e-6,
    precision: PrecisionLike = Precision.HIGHEST,
) -> tuple[jax.Array, jax.Array]:
    """Return B^(-1/p), B = A + ridge_epsilon max(lambda_max(A), 1e-16) I, by coupled Newton iteration.

    T = ((p + 1) I - M) / p,  M <- Tᵖ M,  H <- H T,  from M = z B, H = z^(1/p) I with z = (1 + p) / (2 ‖B‖);
    M tends to I and H to the root.

    Args:
      matrix: (n, n), symmetric or Hermitian, positive semidefinite; its Hermitian part is read.
      p: a Python int, at least 1.
      num_iters: most steps.
      ridge_epsilon: the ridge, as a share of the largest eigenvalue, at least 0.
      error_tolerance: stop at max |M - I| <= it, or where rounding lets ‖M - I‖ fall no further.
      precision: of the products.

    Returns (root, max |M - I|), in float32 at least; `vmap` does a batch. A large second value: the matrix
    was not positive semidefinite, or the steps ran out. The zero matrix gives (1e-16 ridge_epsilon)^(-1/p) I;
    a singular one with ridge_epsilon=0 has no root, and the second value says so. inf or NaN: NaN. In float32
    the root keeps about 1e-7 times B's condition number, at worst 1e-1 with the default ridge.
    Derivative: that of the exact root, by an eigendecomposition; equal eigenvalues do no harm. Only the zero
    matrix's at p = 1, -1e44, is too large for float32.
    An explicitly sharded matrix is gathered once; the root is sharded like it.
    Errors: ValueError for no square matrix, p below 1 or a negative number; TypeError for a p that is no int.
    Reference: Guo and Higham 2006; Higham, Functions of Matrices, equation 7.18.

    >>> from gradx import linalg
    >>> import jax.numpy as jnp
    >>> root, error = linalg.matrix_inverse_pth_root(jnp.diag(jnp.array([4.0, 16.0])), 2)
    >>> [[round(x, 3) for x in row] for row in root.tolist()]
    [[0.5, 0.0], [0.0, 0.25]]
    """
    owner = "matrix_inverse_pth_root"
    num_iters = checks.hyperparameter(owner, "num_iters", num_iters, Range(low=0, integer=True))
    checks.hyperparameter(owner, "error_tolerance", error_tolerance, Range(low=0.0))
    p, whole, scale = _prepare(owner, matrix, p, ridge_epsilon)
    largest, _ = power_iteration(whole, precision=precision)
    damped = whole + _ridge(jnp.real(largest), ridge_epsilon, scale) * jnp.eye(len(whole), dtype=whole.dtype)
    root, error = _coupled_newton(jax.lax.stop_gradient(damped), p, num_iters, error_tolerance, precision)
    return _finish(matrix, damped, root, scale, p), error


def matrix_inverse_pth_root_eigh(
    matrix: ArrayLike, p: int, ridge_epsilon: ArrayLike = 1e-6
) -> tuple[jax.Array, jax.Array]:
    """Return B^(-1/p), B = A + ridge_epsilon max(lambda_max(A), 1e-16) I, as V diag(lambda^(-1/p)) Vᴴ.

    Arguments, ridge, derivative, sharding, results and errors as for `matrix_inverse_pth_root`; the second
    result is max |Hᵖ B - I| for the root H. Negative eigenvalues are taken to be 0, so with a positive ridge
    the root is finite. It needs no tolerance and no number of steps.

    >>> from gradx import linalg
    >>> import jax.numpy as jnp
    >>> root, error = linalg.matrix_inverse_pth_root_eigh(jnp.diag(jnp.array([4.0, 16.0])), 2)
    >>> [[round(x, 3) for x in row] for row in root.tolist()]
    [[0.5, 0.0], [0.0, 0.25]]
    """
    p, whole, scale = _prepare("matrix_inverse_pth_root_eigh", matrix, p, ridge_epsilon)
    values, vectors = lapack.of_each(jnp.linalg.eigh, jax.lax.stop_gradient(whole))
    top = vectors[:, -1:]
    largest = jnp.sum(jnp.real(top.conj() * _matmul(whole, top)))
    ridge = _ridge(largest, ridge_epsilon, scale)
    identity = jnp.eye(len(whole), dtype=whole.dtype)
    damped = whole + ridge * identity
    roots = (jnp.maximum(values, 0) + jax.lax.stop_gradient(ridge)) ** (-1 / p)
    root = _matmul(vectors * roots[None, :], vectors.T.conj())
    error = _largest(_matmul(_power(root, p, _matmul), damped) - identity)
    return _finish(matrix, damped, root, scale, p), error


def _prepare(owner: str, matrix: ArrayLike, p: int, ridge_epsilon: ArrayLike) -> tuple[int, jax.Array, jax.Array]:
    """Return p, the Hermitian part of `matrix` divided by s and whole on every device, and s."""
    if isinstance(p, jax.Array):
        raise TypeError(f"{owner}: p must be a Python int, known while tracing, got {p!r}")
    p = checks.hyperparameter(owner, "p", p, Range(low=1, integer=True))
    checks.hyperparameter(owner, "ridge_epsilon", ridge_epsilon, Range(low=0.0))
    whole, scale = scaled(sharding.gather(square(owner, matrix)), least=_LEAST_EIGENVALUE)
    return p, (whole + whole.T.conj()) / 2, scale


def _ridge(largest: jax.Array, ridge_epsilon: ArrayLike, scale: jax.Array) -> jax.Array:
    return jnp.asarray(ridge_epsilon, largest.dtype) * jnp.maximum(largest, _LEAST_EIGENVALUE / scale)


def _finish(matrix: ArrayLike, damped: jax.Array, root: jax.Array, scale: jax.Array, p: int) -> jax.Array:
    """Give the root of the scaled matrix its derivative, undo the scale, and shard it like `matrix`."""
    root = _differentiable(p, damped, jax.lax.stop_gradient(root)) * scale ** (-1 / p)
    return sharding.shard_like(root, jnp.asarray(matrix))


def _coupled_newton(
    matrix: jax.Array, p: int, num_iters: ArrayLike, tolerance: ArrayLike, precision: PrecisionLike
) -> tuple[jax.Array, jax.Array]:
    matmul = functools.partial(jnp.matmul, precision=precision)
    identity = jnp.eye(len(matrix), dtype=matrix.dtype)

    def unfinished(state: tuple) -> jax.Array:
        m, _, count, rising = state
        return (_largest(m - identity) > tolerance) & ~rising & (count < num_iters)

    def advance(state: tuple) -> tuple:
        m, h, count, _ = state
        t = ((p + 1) * identity - m) / p
        new_m, new_h = matmul(_power(t, p, matmul), m), matmul(h, t)
        rising = ~(_norm(new_m - identity) < _GROWTH * _norm(m - identity))  # so that NaN counts as rising
        return jnp.where(rising, m, new_m), jnp.where(rising, h, new_h), count + 1, rising

    z = (1 + p) / (2 * _norm(matrix))
    state = (z * matrix, z ** (1 / p) * identity, 0, jnp.array(False))
    start = numerics.vary_together(*state)
    m, h, _, _ = jax.lax.while_loop(unfinished, advance, start)
    return h, _largest(m - identity)


def _norm(x: jax.Array) -> jax.Array:
    return jnp.sqrt(jnp.sum(numerics.abs_sq(x)))


def _largest(x: jax.Array) -> jax.Array:
    return jnp.max(jnp.abs(x), initial=0)


def _power(x: jax.Array, p: int, matmul: Callable) -> jax.Array:
    """Return xᵖ in about log2(p) products."""
    if p == 1:
        return x
    half = _power(x, p // 2, matmul)
    even = matmul(half, half)
    return matmul(even, x) if p % 2 else even


def _root_of(p: int, matrix: jax.Array, root: jax.Array) -> jax.Array:
    """Return `root`, the inverse p-th root of `matrix`; its derivative by `matrix` follows."""
    del p, matrix
    return root


def _root_of_jvp(p: int, primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    """In the eigenbasis V of the root, with its eigenvalues h, those of the matrix being h^-p:

    dH = V (F * Vᴴ dB V) Vᴴ,
    F_ij = (h_i - h_j) / (h_i^-p - h_j^-p) = -1 / sum_{k=0}^{p-1} h_i^(k-p) h_j^(-k-1),

    where the last form has no difference in it and so serves equal eigenvalues too.
    """
    (_, root), (d_matrix, _) = primals, tangents
    h, v = lapack.of_each(jnp.linalg.eigh, root)
    quotients = -1 / sum(h[:, None] ** (k - p) * h[None, :] ** (-k - 1) for k in range(p))
    inner = quotients * _matmul(_matmul(v.T.conj(), d_matrix), v)
    return root, _matmul(_matmul(v, inner), v.T.conj())


_differentiable = jax.custom_jvp(_root_of, nondiff_argnums=(0,))
_differentiable.defjvp(_root_of_jvp)
