"""Decompositions and solves of batches of matrices, such that they lower wherever the batch lies, and come to an end.

On a CPU, jaxlib before 0.11.2 splits the batch of a LAPACK call among the threads that run the program, and the call
waits for them: as many calls side by side as there are threads, two on a small machine, wait for ever. There the
matrices go one after the other, also where `vmap` makes the batch.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.custom_batching import custom_vmap

IN_TURN = jax.__version_info__ < (0, 11, 2)


def of_each(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    """Return `f(*arrays)`, where `f` treats each matrix (..., m, n) alone; the derivative is that of `f`.

    Leading axes may be sharded over explicit axes, all arrays alike: each device runs `f` on its own share, for JAX's
    decompositions refuse to lower a batch that is sharded.
    """
    return _on_shares(functools.partial(_of_each, f) if IN_TURN else f, *arrays)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _of_each(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    return jax.lax.platform_dependent(*arrays, cpu=functools.partial(_in_turn, f), default=f)


@_of_each.defjvp
def _of_each_jvp(f: Callable[..., Any], primals: tuple, tangents: tuple) -> Any:
    return jax.jvp(f, primals, tangents)


def _in_turn(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    if arrays[0].ndim > 2:
        return jax.lax.map(lambda matrices: _in_turn(f, *matrices), arrays)

    @custom_vmap
    def alone(*matrices: jax.Array) -> Any:
        return f(*matrices)

    @alone.def_vmap
    def _(axis_size: int, in_batched: list[bool], *matrices: jax.Array) -> Any:
        each = [
            x if is_batch else jnp.broadcast_to(x, (axis_size, *x.shape))
            for x, is_batch in zip(matrices, in_batched, strict=True)
        ]
        found = _on_shares(functools.partial(_in_turn, f), *each)
        return found, jax.tree.map(lambda _: True, found)

    return alone(*arrays)


def _on_shares(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    sharding = jax.typeof(arrays[0]).sharding
    if all(name is None for name in sharding.spec):
        return f(*arrays)
    batch = jax.P(*sharding.spec[:-2])  # eigenvalues have an axis less than matrices
    return jax.shard_map(f, mesh=sharding.mesh, in_specs=batch, out_specs=batch)(*arrays)
