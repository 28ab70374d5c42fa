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


class NonNegativeParamsState(NamedTuple):
    """The state of `keep_params_nonnegative`, which keeps none."""


def nonnegative_leaf(u: jax.Array, p: jax.Array) -> jax.Array:
    """Return u, and -p where p + u is below 0."""
    return jnp.where(p + u < 0, -p, u)


@transformation
def keep_params_nonnegative() -> Any:
    """Shorten the update of each parameter that would become negative so that it becomes 0; put it last in a chain.

    State: none. Needs: params, at least 0 and real; a negative one is moved to 0.

    >>> import gradx
    >>> tx = gradx.chain(gradx.sgd(1.0), gradx.keep_params_nonnegative())
    >>> updates, _ = tx.update(4.0, tx.init(3.0), 3.0)
    >>> float(updates)
    -3.0
    """

    def init(params: Params) -> NonNegativeParamsState:
        return NonNegativeParamsState()

    def update(
        updates: Updates, state: NonNegativeParamsState, params: Params
    ) -> tuple[Updates, NonNegativeParamsState]:
        return tree.map_leaves(nonnegative_leaf, updates, params), state

    return init, update
