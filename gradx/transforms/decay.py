"""Weight decay: pull the parameters towards zero, everywhere, cautiously, or in step with the learning rate."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.combine import masked, partition
from gradx.core import EmptyState, transformation
from gradx.transforms.scale import no_state
from gradx.typing import LearningRate, Mask, NonNegative, Params, Positive, Updates


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


def cautious_decay_leaf(u: jax.Array, p: jax.Array, *, weight_decay: jax.Array) -> jax.Array:
    """Return u + weight_decay · p where u and p have no opposite signs, else u; of complex numbers each part."""
    if jnp.iscomplexobj(u):
        parts = (cautious_decay_leaf(f(u), f(p), weight_decay=weight_decay) for f in (jnp.real, jnp.imag))
        return jax.lax.complex(*parts)
    # Signs, because the product of small numbers is 0. A NaN decays, and is none the less for it.
    return jnp.where(jnp.sign(u) * jnp.sign(p) < 0, u, u + weight_decay * p)


@transformation
def add_cautious_decayed_weights(weight_decay: NonNegative = 0.0, mask: Mask | None = None) -> Any:
    """Add the parameters to the update where both pull the same way: u ← u + weight_decay · p where u · p ≥ 0.

    Where the step is about to enlarge a weight, the decay leaves it alone: so the weights settle where the loss itself
    is stationary. It stands where `add_decayed_weights` does, behind Adam's scaling and before the learning rate; u is
    still uphill there.

    Args:
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.

    State: none. Needs: params. Chen et al. 2025, arXiv:2510.12402, Algorithm 1.

    >>> import gradx
    >>> tx = gradx.add_cautious_decayed_weights(0.5)
    >>> [float(tx.update(u, tx.init(4.0), 4.0)[0]) for u in (1.0, -1.0)]
    [3.0, -1.0]
    """
    if mask is not None:
        return masked(add_cautious_decayed_weights(weight_decay), mask)

    def update(updates: Updates, state: EmptyState, params: Params) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(cautious_decay_leaf, updates, params, weight_decay=weight_decay), state

    return no_state, update


@transformation
def add_corrected_decayed_weights(
    weight_decay: NonNegative,
    learning_rate: LearningRate,
    max_learning_rate: Positive,
    mask: Mask | None = None,
    normalized: Mask = True,
) -> Any:
    """Add the parameters to the update, less of them as the learning rate falls: u ← u + weight_decay · r · p.

    r = learning_rate / max_learning_rate in layers that a norm follows, else 1. There the ratio of gradient to weights
    settles at sqrt(2 · weight_decay / learning_rate), which would rise as the rate falls; this keeps it level.

    Args:
      weight_decay: at least 0.
      learning_rate: the same as behind it.
      max_learning_rate: its highest value, above 0, that of the schedule's peak.
      mask: where to decay, as in `add_decayed_weights`.
      normalized: which layers a norm follows, a mask too; the last layer of a language model, say, is none.

    State: as the schedules need, int32[] each. Needs: params. Defazio 2025, arXiv:2506.02285, Algorithm 1 (AdamC).

    >>> import gradx
    >>> tx = gradx.add_corrected_decayed_weights(0.5, learning_rate=0.1, max_learning_rate=0.2)
    >>> updates, _ = tx.update(1.0, tx.init(4.0), 4.0)
    >>> float(updates)
    2.0
    """
    rate: Any = learning_rate
    corrected = add_decayed_weights(weight_decay * (rate / max_learning_rate))
    if normalized is not True:
        corrected = partition({True: corrected, False: add_decayed_weights(weight_decay)}, normalized)
    return corrected if mask is None else masked(corrected, mask)
