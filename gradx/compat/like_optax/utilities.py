"""Small functions that programs reach for in Optax's private modules."""

import contextlib
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from gradx import linalg, numerics, tree

safe_int32_increment = numerics.safe_increment


def canonicalize_dtype(dtype: DTypeLike | None) -> Any:
    """Return the dtype that arrays of this one have here: float32 for float64 without x64, None for None.

    >>> from gradx.compat.optax._src import utils
    >>> utils.canonicalize_dtype("float32")
    dtype('float32')
    """
    return None if dtype is None else jax.dtypes.canonicalize_dtype(dtype)


def canonicalize_key(key_or_seed: Any) -> jax.Array:
    """Return the key that a seed stands for, and a key as it is."""
    if isinstance(key_or_seed, jax.Array) and not jnp.issubdtype(key_or_seed.dtype, jnp.integer):
        return key_or_seed
    return jax.random.key(key_or_seed) if jnp.ndim(key_or_seed) == 0 else key_or_seed


def cast_tree(x: Any, dtype: DTypeLike | None) -> Any:
    """Return the tree in another dtype, or as it is for None."""
    return tree.cast(x, dtype)


def tile_second_to_last_dim(a: ArrayLike) -> jax.Array:
    """Return `a` with a new last axis, along which each entry is repeated as often as the old last axis is long."""
    a = jnp.asarray(a)
    return jnp.broadcast_to(a[..., None], (*a.shape, a.shape[-1]))


def check_subdtype(array: ArrayLike, subdtype: Any) -> None:
    """Raise ValueError unless the array's dtype is of a kind."""
    if not jnp.issubdtype(jnp.result_type(array), subdtype):
        raise ValueError(f"Expected dtype {subdtype}, got {jnp.result_type(array)}")


def check_shapes_equal(a: ArrayLike, b: ArrayLike) -> None:
    """Raise ValueError unless two arrays have one shape."""
    if jnp.shape(a) != jnp.shape(b):
        raise ValueError(f"Expected equal shapes, got {jnp.shape(a)} and {jnp.shape(b)}")


def check_rank(array: ArrayLike, rank: int) -> None:
    """Raise ValueError unless an array has so many axes."""
    if jnp.ndim(array) != rank:
        raise ValueError(f"Expected rank {rank}, got {jnp.ndim(array)}")


def set_diags(a: jax.Array, new_diags: ArrayLike) -> jax.Array:
    """Return a batch of square matrices with other diagonals."""
    new_diags = jnp.asarray(new_diags)
    for name, x, axes in (("a", a, 3), ("new_diags", new_diags, 2)):
        if x.ndim != axes:
            kind = "tensor" if axes == 3 else "array"
            raise ValueError(f"Expected `{name}` to be a {axes}D {kind}, got {x.ndim}D instead")
    if a.shape[1] != a.shape[2]:
        raise ValueError(f"Shape mismatch: expected `a.shape` to be of square matrices, got {a.shape} instead")
    if new_diags.shape != a.shape[:2]:
        raise ValueError(
            f"Shape mismatch: expected `new_diags.shape` to be {a.shape[:2]}, got {new_diags.shape} instead"
        )
    i = jnp.arange(a.shape[1])
    return a.at[:, i, i].set(new_diags)


class MultiNormalDiagFromLogScale:
    """Independent normals, by their means and the logarithms of their scales."""

    def __init__(self, loc: jax.Array, log_scale: jax.Array) -> None:
        self._param_shape = jnp.broadcast_shapes(loc.shape, log_scale.shape)
        self._loc, self._log_scale = loc, log_scale

    def sample(self, shape: Any, seed: jax.Array) -> jax.Array:
        """Return draws of this shape, each of the parameters' own."""
        noise = jax.random.normal(seed, (*shape, *self._param_shape))
        return self._loc + jnp.exp(self._log_scale) * noise

    def log_prob(self, x: jax.Array) -> jax.Array:
        """Return the logarithm of the density at `x`, summed over the parameters' axes."""
        logs = jax.scipy.stats.norm.logpdf(x, self._loc, jnp.exp(self._log_scale))
        return jnp.sum(logs, axis=tuple(range(-len(self._param_shape), 0)))

    @property
    def log_scale(self) -> jax.Array:
        """The logarithms of the scales."""
        return self._log_scale

    @property
    def params(self) -> list[jax.Array]:
        """The means, and the logarithms of the scales."""
        return [self._loc, self._log_scale]


def multi_normal(loc: jax.Array, log_scale: jax.Array) -> MultiNormalDiagFromLogScale:
    """Return independent normals.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> normal = optax.multi_normal(jnp.zeros(2), jnp.zeros(2))
    >>> round(float(normal.log_prob(jnp.zeros(2))), 4)
    -1.8379
    """
    return MultiNormalDiagFromLogScale(loc, log_scale)


def nnls(A: jax.Array, b: jax.Array, iters: int, unroll: int | bool = 1, L: Any = None) -> jax.Array:
    """Return the x, nowhere negative, that minimizes the norm of A x - b, in their dtype.

    >>> from gradx.compat.optax import nnls
    >>> import jax.numpy as jnp
    >>> [round(float(x), 4) for x in nnls(jnp.eye(2), jnp.array([1.0, -1.0]), 20)]
    [1.0, 0.0]
    """
    return linalg.nnls(A, b, iters, unroll, L).astype(jnp.result_type(A, b))


@contextlib.contextmanager
def x64_precision(enable_x64_precision: bool = True) -> Iterator[None]:
    """Switch 64-bit types on, or off, for a while."""
    with jax.enable_x64(enable_x64_precision):
        yield


def get_spectral_radius_upper_bound(matrix: jax.Array) -> jax.Array:
    """Return the smaller of two norms that no eigenvalue exceeds: Frobenius's, and the largest sum of a column."""
    columns = jnp.max(jnp.sum(jnp.abs(matrix), axis=-2), axis=-1, initial=0.0)
    return jnp.minimum(jnp.linalg.norm(matrix, axis=(-2, -1)), columns)
