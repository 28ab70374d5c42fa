"""Keep a training and take it up again, by other processes on another mesh: Orbax writes, each process its own shards.

The arguments are those of `gradx.checkpoint.save` and `restore`, which belong in this place.
"""

from pathlib import Path
from typing import Any

import jax
import orbax.checkpoint as ocp

from gradx import Params, State


def save(directory: Path, step: int, tx: Any, state: State, params: Params) -> None:
    """Write parameters and state under `directory/step`; all processes call it."""
    with ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(directory / str(step), _by_number((params, state)))


def restore(directory: Path, tx: Any, params: Params, *, shardings: State, step: int) -> tuple[Params, State]:
    """Return parameters and state of a step, where `params` lie and where `shardings` says."""
    abstract = jax.tree.map(_typed, jax.eval_shape(tx.init, params), shardings)
    like = jax.tree.map(lambda x: _typed(x, x.sharding), params), abstract
    with ocp.StandardCheckpointer() as checkpointer:
        found = checkpointer.restore(directory / str(step), _by_number(like))
    return jax.tree.unflatten(jax.tree.structure(like), [found[name] for name in _by_number(like)])


def _typed(x: Any, sharding: Any) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding)


def _by_number(tree: Any) -> dict[str, Any]:
    return {f"{i:04}": x for i, x in enumerate(jax.tree.leaves(tree))}
