"""State in the host's memory, on the device only while a step needs it."""

from typing import Any

import jax
from jax.core import Tracer

from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.typing import Params, State, Updates

HOST = "pinned_host"


@transformation
def offload(tx: GradientTransformation) -> Any:
    """Keep the state's arrays in pinned memory of the host; each is brought to its device for the update, and back.

    Every array moves for itself, so that XLA may overlap its way with the work on others. Scalars stay. Put it
    outermost: `offload(zero1(tx))`. A layout with `memory_kind="pinned_host"` says the same of shardings.

    State: that of `tx`, in the host's memory. Errors: devices without such memory.

    >>> import gradx, jax, jax.numpy as jnp
    >>> state = gradx.sharding.offload(gradx.adam(0.1)).init({"w": jnp.ones(4)})
    >>> state[0].mu["w"].sharding.memory_kind, state[0].count.sharding.memory_kind
    ('pinned_host', 'device')
    """

    def init(params: Params) -> State:
        return jax.tree.map(_to_host, run_init(tx, params))

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        updates, new = run_update(tx, updates, jax.tree.map(_to_device, state), params, extras)
        return updates, jax.tree.map(_to_host, new)

    return Wrapper(init, update, lambda state: [("", tx, state)])


def _to_device(x: jax.Array) -> jax.Array:
    return x if jax.typeof(x).memory_space == jax.memory.Space.Device else jax.device_put(x, jax.memory.Space.Device)


def _to_host(x: jax.Array) -> jax.Array:
    if not x.ndim:
        return x
    device = jax.devices()[0] if isinstance(x, Tracer) else next(iter(x.sharding.device_set))
    check_memory("offload", device, HOST)
    return jax.device_put(x, jax.memory.Space.Host)


def check_memory(owner: str, device: Any, kind: str) -> None:
    """Raise ValueError unless the device reaches a memory of that kind."""
    kinds = [memory.kind for memory in device.addressable_memories()]
    if kind not in kinds:
        raise ValueError(f"{owner}: the memories of a {device.platform} device here are {kinds}, no {kind!r}")
