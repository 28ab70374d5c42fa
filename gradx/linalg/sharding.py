"""Matrices that are whole on every device, for algorithms that contract both of their axes many times.

Under a mesh with explicit axes JAX refuses a product over a sharded dimension, and moving data once beats
moving it in every product anyway. Under automatic axes the sharding is not known while tracing: nothing
happens here then, and the compiler places the collectives. An array says how it lies
under both, and what is made of it without `jit` lies alike.
"""

import jax
from jax.core import Tracer
from jax.sharding import NamedSharding, PartitionSpec


def gather(x: jax.Array, axes: int = 2) -> jax.Array:
    """Return `x` with its last `axes` axes unsharded; leading (batch) axes keep their sharding."""
    own = None if isinstance(x, Tracer) else getattr(x, "sharding", None)
    sharding = own if isinstance(own, NamedSharding) else jax.typeof(x).sharding
    spec = (*sharding.spec, *(None,) * (x.ndim - len(sharding.spec)))
    if all(name is None for name in spec[x.ndim - axes :]):
        return x
    whole = NamedSharding(sharding.mesh, PartitionSpec(*spec[: x.ndim - axes], *(None,) * axes))
    return jax.device_put(x, whole) if sharding is own else jax.sharding.reshard(x, whole)


def shard_like(y: jax.Array, x: jax.Array) -> jax.Array:
    """Return `y`, shaped like `x`, in the sharding of `x`: a slice on each device, no communication."""
    wanted = jax.typeof(x).sharding
    if jax.typeof(y).sharding.spec == wanted.spec:
        return y
    return jax.sharding.reshard(y, NamedSharding(wanted.mesh, wanted.spec))
