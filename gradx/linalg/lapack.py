"""Decompositions and solves of batches of matrices, such that they lower wherever the batch lies, and come to an end.

On a CPU, jaxlib before 0.11.2 splits the batch of a LAPACK call among the threads that run the program, and the call
waits for them: as many calls side by side as there are threads, two on a small machine, wait for ever. There the
matrices go one after the other, also where `vmap` makes the batch.
"""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jax.custom_batching import sequential_vmap

IN_TURN = jax.__version_info__ < (0, 11, 2)


def of_each(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    """Return `f(*arrays)`, where `f` treats each matrix (..., m, n) alone; the derivative is that of `f`.

    Leading axes may be sharded over explicit axes, all arrays alike: each device runs `f` on its own share, for JAX's
    decompositions refuse to lower a batch that is sharded.
    """
    run = functools.partial(_of_each, f) if IN_TURN else f
    sharding = jax.typeof(arrays[0]).sharding
    if all(name is None for name in sharding.spec):
        return run(*arrays)
    return jax.shard_map(run, mesh=sharding.mesh, in_specs=sharding.spec, out_specs=sharding.spec)(*arrays)


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _of_each(f: Callable[..., Any], *arrays: jax.Array) -> Any:
    in_turn = sequential_vmap(lambda *matrices: f(*matrices))  # it would trace the defaults of f too
    for _ in range(arrays[0].ndim - 2):
        in_turn = jax.vmap(in_turn)
    return jax.lax.platform_dependent(*arrays, cpu=in_turn, default=f)


@_of_each.defjvp
def _of_each_jvp(f: Callable[..., Any], primals: tuple, tangents: tuple) -> Any:
    return jax.jvp(f, primals, tangents)
