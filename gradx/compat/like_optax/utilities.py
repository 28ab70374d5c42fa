"""Small functions that programs reach for in Optax's private modules."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from gradx import numerics, tree

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
    """Return `a` repeated along a new axis before its last, as often as that is long."""
    a = jnp.asarray(a)
    return jnp.broadcast_to(a[..., None, :], (*a.shape, a.shape[-1]))


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
    if a.ndim != 3 or new_diags.ndim != 2:
        raise ValueError(f"Expected a batch of matrices and one of diagonals, got {a.shape} and {new_diags.shape}")
    if a.shape[1] != a.shape[2] or new_diags.shape != a.shape[:2]:
        raise ValueError(f"Expected square matrices and diagonals of their size, got {a.shape} and {new_diags.shape}")
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
