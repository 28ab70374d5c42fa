"""Weight decay: pull the parameters towards zero."""

from typing import Any

import jax

from gradx import tree
from gradx.combine import masked
from gradx.core import EmptyState, transformation
from gradx.transforms.scale import no_state
from gradx.typing import Mask, NonNegative, Params, Updates


def decay_leaf(u: jax.Array, p: jax.Array, *, weight_decay: jax.Array) -> jax.Array:
    """Return u + weight_decay · p."""
    return u + weight_decay * p


@transformation
def add_decayed_weights(weight_decay: NonNegative = 0.0, mask: Mask | None = None) -> Any:
    """Add the parameters to the update: u ← u + weight_decay · p.

    Before the learning rate and behind Adam's scaling this is the decoupled decay of AdamW; on the raw gradient it is
    L2 regularisation. The sum is taken in at least float32 and rounded once, at the end of the whole update.

    Args:
      weight_decay: at least 0.
      mask: where to decay: a pytree of bools (a prefix will do), or a function from the parameters to one.

    State: none. Needs: params. Loshchilov and Hutter 2019, arXiv:1711.05101.

    >>> import gradx
    >>> tx = gradx.add_decayed_weights(0.5)
    >>> updates, _ = tx.update(1.0, tx.init(4.0), 4.0)
    >>> float(updates)
    3.0
    """
    if mask is not None:
        return masked(add_decayed_weights(weight_decay), mask)

    def update(updates: Updates, state: EmptyState, params: Params) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(decay_leaf, updates, params, weight_decay=weight_decay), state

    return no_state, update
