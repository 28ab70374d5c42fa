"""Give the update a set mean or size: from itself alone, or from the size of the parameters."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import EmptyState, transformation
from gradx.transforms.scale import no_state, scale_leaf
from gradx.typing import NonNegative, Params, ScalarOrSchedule, Updates


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


def trust_ratio_leaf(
    u: jax.Array, p: jax.Array, *, min_norm: jax.Array, trust_coefficient: jax.Array, eps: jax.Array
) -> jax.Array:
    """Return trust_coefficient · ‖p‖ / (‖u‖ + eps) · u, norms at least min_norm; u itself where one of them is 0."""
    p_norm, u_norm = (jnp.maximum(tree.norm(x), min_norm) for x in (p, u))
    is_zero = (p_norm == 0) | (u_norm == 0)
    ratio = trust_coefficient * p_norm / jnp.where(is_zero, 1, u_norm + eps)
    return jnp.where(is_zero, 1, ratio) * u


@transformation
def scale_by_trust_ratio(
    min_norm: NonNegative = 0.0, trust_coefficient: NonNegative = 1.0, eps: NonNegative = 0.0
) -> Any:
    """Give each array's update the size of its parameters: u ← trust_coefficient · ‖p‖ / (‖u‖ + eps) · u.

    Norms are Euclidean, over one array. Where ‖p‖ or ‖u‖ is 0 the update stays as it is.

    Args:
      min_norm: the least that both norms count for, at least 0.
      trust_coefficient: the length of the step in lengths of the parameters, at least 0.
      eps: added to ‖u‖.

    State: none. Needs: params. You, Gitman and Ginsburg 2017, arXiv:1708.03888, eq. 6; You et al. 2020,
    arXiv:1904.00962, Algorithm 2.

    >>> import gradx
    >>> tx = gradx.scale_by_trust_ratio()
    >>> updates, _ = tx.update(4.0, tx.init(-2.0), -2.0)
    >>> float(updates)
    2.0
    """

    def update(updates: Updates, state: EmptyState, params: Params) -> tuple[Updates, EmptyState]:
        hyper = {"min_norm": min_norm, "trust_coefficient": trust_coefficient, "eps": eps}
        return tree.map_leaves(trust_ratio_leaf, updates, params, **hyper), state

    return no_state, update


def block_norm_leaf(u: jax.Array, p: jax.Array, *, min_scale: jax.Array) -> jax.Array:
    """Return max(‖p‖, min_scale) · u."""
    return jnp.maximum(tree.norm(p), min_scale) * u


def block_rms_leaf(u: jax.Array, p: jax.Array, *, min_scale: jax.Array) -> jax.Array:
    """Return max(rms(p), min_scale) · u."""
    return numerics.safe_root_mean_squares(p, min_scale) * u


@transformation
def scale_by_param_block_norm(min_scale: NonNegative = 1e-3) -> Any:
    """Multiply each array's update by the Euclidean norm of its parameters: u ← max(‖p‖, min_scale) · u.

    Args:
      min_scale: the least factor, so that parameters at 0 can leave it.

    State: none. Needs: params.

    >>> import gradx
    >>> tx = gradx.scale_by_param_block_norm()
    >>> updates, _ = tx.update(4.0, tx.init(-2.0), -2.0)
    >>> float(updates)
    8.0
    """

    def update(updates: Updates, state: EmptyState, params: Params) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(block_norm_leaf, updates, params, min_scale=min_scale), state

    return no_state, update


@transformation
def scale_by_param_block_rms(min_scale: NonNegative = 1e-3) -> Any:
    """Multiply each array's update by the root mean square of its parameters: u ← max(rms(p), min_scale) · u.

    Args:
      min_scale: the least factor, so that parameters at 0 can leave it.

    State: none. Needs: params. Shazeer and Stern 2018, arXiv:1804.04235, section 8.

    >>> import gradx
    >>> tx = gradx.scale_by_param_block_rms()
    >>> updates, _ = tx.update(4.0, tx.init(-2.0), -2.0)
    >>> float(updates)
    8.0
    """

    def update(updates: Updates, state: EmptyState, params: Params) -> tuple[Updates, EmptyState]:
        return tree.map_leaves(block_rms_leaf, updates, params, min_scale=min_scale), state

    return no_state, update


def normalizing_factor(norm: jax.Array, scale_factor: Any, eps: Any) -> jax.Array:
    """Return scale_factor / (norm + eps), and 0 for a norm of 0 without eps."""
    return numerics.safe_divide(jnp.asarray(scale_factor, norm.dtype), norm + eps)


@transformation
def normalize_by_update_norm(scale_factor: ScalarOrSchedule = 1.0, eps: NonNegative = 1e-6) -> Any:
    """Give the whole update one length: u ← scale_factor / (‖u‖ + eps) · u, and 0 for 0.

    ‖u‖ is the Euclidean norm over all leaves together. A NaN anywhere makes the whole update NaN.

    Args:
      scale_factor: the new length; negative turns it round.
      eps: added to the norm; makes the step fade where gradients are tiny.

    State: none.

    >>> import gradx
    >>> tx = gradx.normalize_by_update_norm(eps=0.0)
    >>> params = {"w": 0.0, "b": 0.0}
    >>> updates, _ = tx.update({"w": 3.0, "b": 4.0}, tx.init(params))  # of norm 5
    >>> round(float(updates["w"]), 4), round(float(updates["b"]), 4)
    (0.6, 0.8)
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        factor = normalizing_factor(tree.norm(updates), scale_factor, eps)
        return tree.map_leaves(scale_leaf, updates, factor=factor), state

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
