"""Eigenbases of Kronecker factors: found once, then followed, and gradients turned into them and back."""

from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from gradx import numerics
from gradx.linalg import lapack
from gradx.matrices.factors import adjoint, left, product, right


def corrections(count: jax.Array, *decays: Any) -> Iterator[dict[str, jax.Array]]:
    """Yield for each decay c, the weight of so many gradients, and that of one less, `c_turned`, for matrices."""
    for decay in decays:
        late = numerics.bias_correction(decay, jnp.maximum(count - 1, 1))
        yield {"c": numerics.bias_correction(decay, count), "c_turned": late}


def turn_leaf(g, m, QL, QR):
    """Return (Q_Lᴴ g Q_R, Q_Lᴴ m Q_R)."""
    return turned(g, QL, QR), turned(m, QL, QR)


def turn_back_leaf(u, QL, QR):
    """Return (Q_L u Q_Rᴴ,)."""
    return (right(left(QL, u), adjoint(QR)),)


def turned(x: jax.Array, QL: jax.Array, QR: jax.Array) -> jax.Array:
    """Return Q_Lᴴ x Q_R."""
    return right(left(adjoint(QL), x), QR)


def mean_leaf(g, mu, is_turned, *, b1, c, c_turned, at_start):
    """Return (mu / c, mu) with mu ← b1 · mu + (1 - b1) · g; the first gradient of a matrix only finds its bases.

    Were it in mu and not in nu, the second update would divide numbers by others, as near to 0 as they like.
    """
    mu = b1 * mu + jnp.where(is_turned & at_start, 0, 1 - b1) * g
    return mu / jnp.where(is_turned, c_turned, c), mu


def divided_leaf(m, nu, g, is_turned, *, b2, eps, c, c_turned):
    """Return (m / (sqrt(nu / c) + eps), nu) with nu ← b2 · nu + (1 - b2) · |g|²; 0 where both are 0."""
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    root = numerics.safe_sqrt(nu / jnp.where(is_turned, c_turned, c))
    return numerics.safe_divide(m, root + eps), nu


def eigenbasis(a: jax.Array) -> jax.Array:
    """Return the eigenvectors of Hermitian matrices (b, m, m) as columns, by falling eigenvalue; other factors as is.

    A constant to differentiation, as are the bases below: equal eigenvalues have none.
    """
    return lapack.of_each(lambda x: jnp.linalg.eigh(x)[1], _unit(a))[..., ::-1] if a.ndim == 3 else a


def follow(a: jax.Array, q: jax.Array) -> tuple[jax.Array, jax.Array | None]:
    """Return an orthonormal basis nearer to the eigenvectors of `a` than `q`, and the order that its columns were in.

    One step of orthogonal iteration, Q R = a q. The columns are first sorted by falling qᴴ a q: the iteration comes to
    rest only where they are, and two eigenvalues that cross would else leave it turning for long.
    """
    if q.ndim != 3:
        return q, None
    a, q = _unit(a), jax.lax.stop_gradient(q)
    image = product(a, q)
    order = jnp.argsort(-jnp.sum(jnp.real(q.conj() * image), axis=-2), axis=-1)
    return lapack.of_each(lambda x: jnp.linalg.qr(x)[0], permuted(image, order, -1)), order


def permuted(x: jax.Array, order: jax.Array | None, axis: int) -> jax.Array:
    """Return the entries along an axis in another order for each of a batch; `None` is the order in which they are."""
    if order is None or not x.size:
        return x
    shape = [1] * x.ndim
    shape[0], shape[axis] = order.shape
    return jnp.take_along_axis(x, order.reshape(shape), axis=axis)


def _unit(a: jax.Array) -> jax.Array:
    """Divide matrices by their largest entries, so that no square over- or underflows."""
    a = jax.lax.stop_gradient(a)
    largest = jnp.max(jnp.abs(a), axis=(-2, -1), keepdims=True)
    return numerics.safe_divide(a, largest.astype(a.dtype))
