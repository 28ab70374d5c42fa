"""What happens at some steps only: the k-th mini-step, a refresh, a skip."""

from collections.abc import Callable
from typing import Any, TypeVar

import jax
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
        return jax.lax.cond(ready, renew, lambda carry: carry, carry)
    # In a shard_map both branches must vary over the same mesh axes: over those of the result and of the carry.
    renewed = jax.eval_shape(renew, carry)
    carry = jax.tree.map(_vary_as, carry, renewed)
    return jax.lax.cond(ready, lambda carry: jax.tree.map(_vary_as, renew(carry), carry), lambda carry: carry, carry)


def _vary_as(x: Any, other: Any) -> jax.Array:
    missing = _axes(other) - _axes(x)
    return jax.lax.pcast(x, tuple(sorted(missing)), to="varying") if missing else x


def _axes(x: Any) -> frozenset:
    kind = (x if isinstance(x, jax.ShapeDtypeStruct) else jax.typeof(x)).manual_axis_type
    return frozenset() if kind is None else kind.varying  # pmap, and a shard_map without checks, keep no account
