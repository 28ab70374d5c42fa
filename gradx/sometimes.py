"""What happens at some steps only: the k-th mini-step, a refresh, a skip."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
import jax.numpy as jnp
from jax.core import Tracer

T = TypeVar("T")


def sometimes(ready: jax.Array, renew: Callable[[T], T], carry: T) -> T:
    """Return `renew(carry)` where `ready`, else `carry`.

    What goes in is what comes out, and nothing else does: so XLA works in place. A result of another kind leaves in the
    place of something that is not needed any more, an update in that of the gradient. A concrete `ready` is Python's
    `if`: without `jit`, `renew` may be ordinary Python.
    """
    if not isinstance(ready, Tracer):
        return renew(carry) if ready else carry
    if not jax.sharding.get_abstract_mesh().manual_axes:
        # Under `vmap` a condition is both branches and a choice; the outer one is of all lanes, and stays a condition.
        return _cond(_in_any_lane(ready), lambda carry: _cond(_in_this_lane(ready), renew, carry), carry)
    # In a shard_map both branches must vary over the same mesh axes: over those of the result and of the carry.
    renewed = jax.eval_shape(renew, carry)
    carry = jax.tree.map(_vary_as, carry, renewed)
    return jax.lax.cond(ready, lambda carry: jax.tree.map(_vary_as, renew(carry), carry), lambda carry: carry, carry)


@jax.custom_batching.custom_vmap
def _in_any_lane(ready: jax.Array) -> jax.Array:
    return ready


@_in_any_lane.def_vmap
def _(axis_size: int, in_batched: list[bool], ready: jax.Array) -> tuple[jax.Array, bool]:
    return _in_any_lane(jnp.any(ready, axis=0)), False


@jax.custom_batching.custom_vmap
def _in_this_lane(ready: jax.Array) -> jax.Array:
    return jnp.ones_like(ready)  # without `vmap` the outer condition has said so: XLA drops one that always holds


@_in_this_lane.def_vmap
def _(axis_size: int, in_batched: list[bool], ready: jax.Array) -> tuple[jax.Array, bool]:
    return ready, True


def _cond(ready: jax.Array, renew: Callable[[T], T], carry: T) -> T:
    return jax.lax.cond(ready, renew, lambda carry: carry, carry)


def _vary_as(x: Any, other: Any) -> jax.Array:
    missing = _axes(other) - _axes(x)
    return jax.lax.pcast(x, tuple(sorted(missing)), to="varying") if missing else x


def _axes(x: Any) -> frozenset:
    kind = (x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)).manual_axis_type
    return frozenset() if kind is None else kind.varying  # pmap, and a shard_map without checks, keep no account
