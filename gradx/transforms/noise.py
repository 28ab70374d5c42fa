"""Add noise to the update."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import numerics, tree
from gradx.core import transformation
from gradx.typing import NonNegative, Params, ScalarOrSchedule, Updates


class AddNoiseState(NamedTuple):
    """The state of `add_noise`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    rng_key: jax.Array
    """The data of the key from which the next update splits its own: plain integers, for checkpoints."""


def noise_leaf(u, index, *, key, eta, gamma, t):
    """Return u + sqrt(eta / t^gamma) · n, n standard normal; for a complex u of unit variance in all."""
    own = jax.random.fold_in(key, index.astype(jnp.uint32))
    return u + numerics.safe_sqrt(eta / t**gamma) * jax.random.normal(own, u.shape, u.dtype)


DEFAULT_KEYS = "jax_default_prng_impl"  # type checkers do not see the attributes of jax.config


class KeyStart:
    """The first of a row of keys, which a state keeps as plain integers; no device is asked before `data` is."""

    def __init__(self, start: Any) -> None:
        is_number = isinstance(start, int | np.integer)
        self.start = int(start) if is_number else start
        self.implementation = _default_keys() if is_number else jax.random.key_impl(as_key(start))

    def data(self) -> jax.Array:
        """Return the data of the first key, in a buffer of its own."""
        return jnp.array(jax.random.key_data(as_key(self.start, self.implementation)), copy=True)

    def split(self, data: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the data of the next key, and a key to draw with."""
        following, own = jax.random.split(jax.random.wrap_key_data(data, impl=self.implementation))
        return jax.random.key_data(following), own


def _default_keys() -> Any:
    return getattr(jax.config, DEFAULT_KEYS)


def as_key(start: Any, implementation: Any = None) -> Any:
    """Return the key that an integer stands for, and a key as it is."""
    is_integer = isinstance(start, int | np.integer) or (
        jnp.ndim(start) == 0 and jnp.issubdtype(jnp.result_type(start), jnp.integer)
    )
    key: Any = jax.random.key(start, impl=implementation) if is_integer else start
    return key


@transformation
def add_noise(eta: NonNegative, gamma: ScalarOrSchedule, key: Any = None, *, seed: int | None = None) -> Any:
    """Add Gaussian noise of variance eta / (1 + t)^gamma, t = 0 at the first update.

    Args:
      eta: variance at the first update.
      gamma: how fast it falls; the paper uses 0.55.
      key: a key of `jax.random`, or an integer, of NumPy and traced too; give this or `seed`.
      seed: an integer from which the key is made.

    The derivative by eta at 0, infinite in truth, is taken as 0.

    State: int32[] and a key. Neelakantan et al. 2015, arXiv:1511.06807, eq. 1.

    >>> import gradx
    >>> gradx.add_noise(eta=0.01, gamma=0.55, seed=0)
    add_noise(eta=0.01, gamma=0.55, seed=0)
    """
    if (key is None) == (seed is None):
        raise TypeError("add_noise: give either key or seed")
    first = KeyStart(key if seed is None else seed)

    def init(params: Params) -> AddNoiseState:
        return AddNoiseState(jnp.zeros((), jnp.int32), first.data())

    def update(updates: Updates, state: AddNoiseState) -> tuple[Updates, AddNoiseState]:
        count = numerics.safe_increment(state.count)
        next_key, key = first.split(state.rng_key)
        treedef = jax.tree.structure(updates)
        index = treedef.unflatten(list(np.arange(treedef.num_leaves, dtype=np.uint32)))
        t = count.astype(jnp.result_type(float))
        updates = tree.map_leaves(noise_leaf, updates, index, key=key, eta=eta, gamma=gamma, t=t)
        return updates, AddNoiseState(count, next_key)

    return init, update
