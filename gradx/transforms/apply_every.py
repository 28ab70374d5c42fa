"""Gather updates and let their sum out every k-th step."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.core import transformation
from gradx.typing import Params, PositiveInt, Updates


class ApplyEvery(NamedTuple):
    """The state of `apply_every`."""

    count: jax.Array
    """int32[]: the updates gathered since the last sum was let out, below k."""
    grad_acc: Updates
    """The sum so far; like the parameters, at least float32."""


def apply_every_leaf(
    g: jax.Array, acc: jax.Array, *, starts: jax.Array, ends: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Return (u, acc): acc ← g at the first of k steps, else acc + g; u = acc at the last, else 0."""
    acc = jnp.where(starts, g, acc + g)
    return jnp.where(ends, acc, 0), acc


@transformation
def apply_every(k: PositiveInt = 1) -> Any:
    """Let the sum of k updates out at every k-th step; the updates between are zero.

    What stands before it in a chain still moves at every step. To run an optimizer once for k gradients, use
    `MultiSteps`, which also takes their mean.

    Args:
      k: at least 1.

    State: 1 number per parameter and int32[].

    >>> import gradx
    >>> tx = gradx.apply_every(2)
    >>> first, state = tx.update(1.0, tx.init(0.0))
    >>> second, state = tx.update(2.0, state)
    >>> float(first), float(second)
    (0.0, 3.0)
    """

    def init(params: Params) -> ApplyEvery:
        return ApplyEvery(jnp.zeros((), jnp.int32), tree.zeros_like(params))

    def update(updates: Updates, state: ApplyEvery) -> tuple[Updates, ApplyEvery]:
        starts, ends = state.count == 0, state.count == k - 1
        updates, acc = tree.map_leaves(apply_every_leaf, updates, state.grad_acc, starts=starts, ends=ends)
        return updates, ApplyEvery((state.count + 1) % k, acc)

    return init, update
