"""Plain functions that loops and transformations of one's own call."""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics, tree
from gradx.core import EmptyState
from gradx.sometimes import sometimes
from gradx.typing import Params, PyTree, Updates


def global_norm(updates: Updates) -> jax.Array:
    """Return the Euclidean norm of all entries as one vector, in at least float32: `gradx.tree.norm(updates)`.

    >>> import gradx
    >>> float(gradx.global_norm({"w": 3.0, "b": 4.0}))
    5.0
    """
    return tree.norm(updates)


def incremental_update(new_tensors: Params, old_tensors: Params, step_size: ArrayLike) -> Params:
    """Return step_size · new + (1 - step_size) · old: a target network, or an average, that follows slowly.

    Computed in the wider precision of both and in the dtypes of `old_tensors`, which therefore never change (Optax
    returns the wider dtype). Keep the old ones in float32: in bfloat16 a small step is rounded away. Where one is
    `None` the result is. Polyak and Juditsky 1992.

    Args:
      new_tensors: the latest parameters.
      old_tensors: those that follow.
      step_size: the share of the new ones, in [0, 1].

    >>> import gradx
    >>> float(gradx.incremental_update({"w": 4.0}, {"w": 0.0}, 0.25)["w"])
    1.0
    """
    old, new = _where_both(old_tensors, new_tensors), _where_both(new_tensors, old_tensors)
    return tree.map_leaves(_follow, old, new, step_size=step_size)


def _where_both(chosen: PyTree, other: PyTree) -> PyTree:
    return jax.tree.map(lambda x, y: None if y is None else x, chosen, other, is_leaf=lambda x: x is None)


def _follow(old: jax.Array, new: jax.Array, *, step_size: jax.Array) -> jax.Array:
    return step_size * new + (1 - step_size) * old


def periodic_update(new_tensors: Params, old_tensors: Params, steps: ArrayLike, update_period: ArrayLike) -> Params:
    """Return the new ones at steps 0, update_period, 2 · update_period, ..., else the old ones: a target network.

    The result has the dtypes of `old_tensors`, and takes their place in memory where they are donated.

    Args:
      new_tensors: the latest parameters.
      old_tensors: those that are renewed now and then.
      steps: the number of the step, an integer.
      update_period: the steps from one renewal to the next, at least 1.

    >>> import gradx
    >>> [float(gradx.periodic_update(1.0, 0.0, step, 2)) for step in (1, 2)]
    [0.0, 1.0]
    """
    old = jax.tree.map(jnp.asarray, old_tensors)
    due = jnp.asarray(steps) % update_period == 0
    return sometimes(due, lambda old: tree.cast_like(jax.tree.map(jnp.asarray, new_tensors), old), old)


def safe_increment(count: ArrayLike) -> jax.Array:
    """Return count + 1, held at the largest number of its dtype instead of wrapping round to a negative one.

    Args:
      count: of an integer dtype; of a float one it is held where 1 is less than its last digit.

    >>> import gradx, jax.numpy as jnp
    >>> int(gradx.safe_increment(jnp.int8(126))), int(gradx.safe_increment(jnp.int8(127)))
    (127, 127)
    """
    count = jnp.asarray(count)
    return count + 1 if jnp.issubdtype(count.dtype, jnp.floating) else numerics.safe_increment(count)


def init_empty_state(params: Params) -> EmptyState:
    """Return `EmptyState()`: the `init` of a transformation that keeps nothing.

    >>> import gradx
    >>> tx = gradx.GradientTransformation(gradx.init_empty_state, lambda updates, state, params=None: (updates, state))
    >>> tx.init(0.0)
    EmptyState()
    """
    del params
    return EmptyState()


def scale_gradient(inputs: PyTree, scale: ArrayLike) -> PyTree:
    """Return the inputs as they are; the derivative through them is multiplied by `scale`, in both modes.

    With 0 the derivative is 0, also where it would be NaN otherwise. No derivative flows to `scale`.

    Args:
      inputs: a pytree of arrays.
      scale: a number.

    >>> import gradx, jax
    >>> float(jax.grad(lambda x: gradx.scale_gradient(x, 0.5) ** 2)(3.0))
    3.0
    """
    return jax.tree.map(lambda x: _with_scaled_derivative(x, scale), inputs)


@jax.custom_jvp
def _with_scaled_derivative(x: jax.Array, scale: ArrayLike) -> jax.Array:
    return x


@_with_scaled_derivative.defjvp
def _scaled_derivative(primals: tuple, tangents: tuple) -> tuple[jax.Array, jax.Array]:
    x, scale = primals
    kept = jnp.asarray(scale) != 0
    # `where` around, not a product with 0: 0 * NaN is NaN.
    tangent = jnp.where(kept, tangents[0], 0) * jnp.asarray(scale).astype(tangents[0].dtype)
    return x, tangent
