"""Give the update a set mean or size, from itself alone."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import EmptyState, transformation
from gradx.transforms.scale import no_state, scale_leaf
from gradx.typing import Updates


def centralize_leaf(g: jax.Array) -> jax.Array:
    """Return g minus its mean over the inputs of each output unit; a vector or scalar as it is."""
    if g.ndim < 2 or g.size == 0:
        return g
    return g - jnp.mean(g, axis=tuple(range(g.ndim - 1)), keepdims=True)


@transformation
def centralize() -> Any:
    """Subtract from the gradient of each output unit its mean over the inputs; vectors and scalars stay.

    The paper's units are the columns of a kernel (inputs, outputs), flax's layout: the mean is over all axes but the
    last. (Optax averages over all axes but the first, the units of the layout (outputs, inputs).)

    State: none. Yong et al. 2020, arXiv:2004.01461, eq. 1.

    >>> import gradx, jax.numpy as jnp
    >>> kernel = jnp.array([[1.0, 2.0], [3.0, 6.0]])
    >>> tx = gradx.centralize()
    >>> updates, _ = tx.update(kernel, tx.init(kernel))
    >>> updates.tolist()
    [[-1.0, -2.0], [1.0, 2.0]]
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(centralize_leaf, updates), state

    return no_state, update


@transformation
def normalize() -> Any:
    """Divide the whole update by its length: u ← u / ‖u‖, the Euclidean norm over all leaves together.

    A zero update stays zero (Optax's is NaN).

    State: none.

    >>> import gradx
    >>> tx = gradx.normalize()
    >>> updates, _ = tx.update({"w": 3.0, "b": 4.0}, tx.init({"w": 0.0, "b": 0.0}))
    >>> round(float(updates["w"]), 4)
    0.6
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        factor = numerics.safe_divide(jnp.ones(()), tree.norm(updates))
        return tree.map_leaves(scale_leaf, updates, factor=factor), state

    return no_state, update
