"""Logarithms of sums of exponentials under a mask: finite values and gradients where nothing is left.

>>> import jax.numpy as jnp
>>> print(log_softmax(jnp.array([1e4, 1e4, 3.0]), (0,), jnp.array([True, True, False])).round(4))
[-0.6931 -0.6931  0.    ]
"""

import jax
import jax.numpy as jnp


def maximum(x: jax.Array, over: tuple[int, ...], where: jax.Array | None = None) -> jax.Array:
    """Return the largest entry along `over`, kept as size-1 axes and constant to derivatives; 0 if there is none."""
    lowest = jnp.finfo(x.dtype).min  # and not -inf, which `jax_debug_infs` would report
    largest = jnp.max(jax.lax.stop_gradient(x), axis=over, keepdims=True, where=where, initial=lowest)
    return jnp.where(jnp.isfinite(largest) & (largest > lowest), largest, 0)


def log_sum_exp(x: jax.Array, over: tuple[int, ...], where: jax.Array | None = None) -> jax.Array:
    """Return log Σ exp(x) over the unmasked entries, kept as size-1 axes; of none, far below every other."""
    largest = maximum(x, over, where)
    # What is masked becomes `largest` itself: exp of it is 1 and cannot overflow before the mask drops it.
    shifted = x - largest if where is None else jnp.where(where, x - largest, 0)
    total = jnp.sum(jnp.exp(shifted), axis=over, keepdims=True, where=where)
    empty = total == 0
    return jnp.where(empty, jnp.finfo(x.dtype).min / 2, largest + jnp.log(jnp.where(empty, 1, total)))


def log_softmax(x: jax.Array, over: tuple[int, ...], where: jax.Array | None = None) -> jax.Array:
    """Return x - log Σ exp(x) along `over`, and 0 at what the mask leaves out."""
    shifted = x - maximum(x, over, where)
    shifted = shifted if where is None else jnp.where(where, shifted, 0)
    total = jnp.sum(jnp.exp(shifted), axis=over, keepdims=True, where=where)
    log_p = shifted - jnp.log(jnp.where(total == 0, 1, total))
    return log_p if where is None else jnp.where(where, log_p, 0)
