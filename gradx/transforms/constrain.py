"""Keep what must not pass from passing."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.core import transformation
from gradx.typing import Params, Updates


class ZeroNansState(NamedTuple):
    """The state of `zero_nans`."""

    found_nan: Updates
    """bool[] for each leaf: whether the last update held a NaN there."""


def zero_nans_leaf(u: jax.Array, found: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (u with 0 for NaN, whether there was one)."""
    nan = jnp.isnan(u)
    return jnp.where(nan, 0, u), jnp.any(nan)


@transformation
def zero_nans() -> Any:
    """Replace NaN by 0 and leave everything else, infinities too. State: bool[] per leaf.

    >>> import gradx
    >>> tx = gradx.zero_nans()
    >>> updates, _ = tx.update(float("nan"), tx.init(0.0))
    >>> float(updates)
    0.0
    """

    def init(params: Params) -> ZeroNansState:
        # A function of the parameters, so that inside shard_map the flag varies over the mesh as update's does.
        return ZeroNansState(jax.tree.map(lambda p: jnp.any(jnp.zeros_like(p, bool)), params))

    def update(updates: Updates, state: ZeroNansState) -> tuple[Updates, ZeroNansState]:
        updates, found = tree.map_leaves(zero_nans_leaf, updates, state.found_nan)
        return updates, ZeroNansState(found)

    return init, update
