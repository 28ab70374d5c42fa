"""What a call without `jit` asks of its arguments before it runs as one compiled program."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from gradx.typing import PyTree

CONCRETE = (jax.Array, np.ndarray, np.generic, float, int, complex)
WITHOUT_JIT = "jax_disable_jit"
DEFAULT_DEVICE = "jax_default_device"  # type checkers do not see the attributes of jax.config


def are_concrete(tree: PyTree) -> bool:
    """Whether all leaves are arrays or numbers with a value: there are thousands of leaves, and few types of them."""
    types = set(map(type, jax.tree.leaves(tree)))
    return all(issubclass(x, CONCRETE) and not issubclass(x, Tracer) for x in types)


def are_ordinary(tree: PyTree) -> bool:
    """Whether a compiled program without instructions would put its results where the leaves are."""
    usual = _default_sharding(getattr(jax.config, DEFAULT_DEVICE), jax.sharding.get_abstract_mesh())
    return all(not isinstance(x, jax.Array) or x.sharding == usual for x in jax.tree.leaves(tree))


@functools.lru_cache(maxsize=8)
def _default_sharding(*context: Any) -> Any:
    del context  # the key: what `jnp.zeros` goes by
    try:
        with jax.ensure_compile_time_eval():  # the first to ask may be a function that is traced
            return jnp.zeros(()).sharding
    except ValueError:  # a mesh without devices: nothing lies anywhere
        return None
