"""Per-layer statistics of one step, as arrays that `jit`, `vmap` and `scan` carry along."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import checks, numerics, tree
from gradx.typing import Params, Updates


class StepStatistics(NamedTuple):
    """What one step did to every leaf: float32[layers], in the order of `gradx.tree.paths(params)`.

    A history has the steps in front: float32[steps, layers].
    """

    gradient_norm: jax.Array
    """‖g‖; 0 where there is no gradient."""
    update_norm: jax.Array
    """‖u‖, u what is added to the weights."""
    weight_norm: jax.Array
    """‖w‖ before the step."""
    update_ratio: jax.Array
    """‖u‖ / ‖w‖; infinite where a weight of zero is moved, 0 where neither is there."""
    dead: jax.Array
    """Fraction of the gradient's entries that are exactly 0; 0 where there is no gradient."""
    non_finite: jax.Array
    """Fraction of the places where gradient, update or weight is NaN or infinite."""
    loss: jax.Array | None
    """float32[]; `None` when it was not given."""


def step_statistics(grads: Updates, updates: Updates, params: Params, loss: ArrayLike | None = None) -> StepStatistics:
    """Return norms, update/weight ratio and fractions of dead and non-finite entries of every leaf, as arrays.

    Norms are gathered in float32 whatever the dtype, scaled by the largest entry so that no square overflows; a NaN
    makes the norm NaN. A leaf of `None` or `float0` in `grads` or `updates` counts as absent.

    Args:
      grads: gradients at `params`, as given to `tx.update`.
      updates: what `tx.update` returned.
      params: the weights before the step.
      loss: the loss at `params`, where learning lowers it; without it `explain` judges the layers alone. Leave it out
        for adversaries and policy gradients, whose losses rise while they learn.

    Raises ValueError when the trees differ in structure or shapes, naming the leaf.

    >>> import gradx, jax.numpy as jnp
    >>> grads, params = {"w": jnp.array([3.0, 0.0])}, {"w": jnp.array([0.0, 3.0])}
    >>> seen = gradx.diagnose.step_statistics(grads, {"w": -0.1 * grads["w"]}, params)
    >>> float(seen.gradient_norm[0]), float(seen.dead[0]), round(float(seen.update_ratio[0]), 3)
    (3.0, 0.5, 0.1)
    """
    params, grads, updates = tree.unbox(params), tree.unbox(grads), tree.unbox(updates)
    checks.same_leaves("step_statistics", "grads", grads, params, "params", dtypes=False)
    checks.same_leaves("step_statistics", "updates", updates, params, "params", dtypes=False)
    weights, treedef = jax.tree.flatten(params)
    rows = [
        _leaf_statistics(_array(g), _array(u), _array(w))
        for g, u, w in zip(treedef.flatten_up_to(grads), treedef.flatten_up_to(updates), weights, strict=True)
    ]
    columns = [jnp.stack(column) for column in zip(*rows, strict=True)] or [jnp.zeros(0, jnp.float32)] * 6
    return StepStatistics(*columns, loss=None if loss is None else jnp.asarray(loss).astype(jnp.float32))


def stack(steps: Sequence[StepStatistics]) -> StepStatistics:
    """Return the history of a Python loop's steps: the statistics stacked along a new first axis, as `scan` does.

    Args:
      steps: a list of `StepStatistics`, one for each step.

    >>> import gradx, jax.numpy as jnp
    >>> w = {"w": jnp.ones(2)}
    >>> steps = [gradx.diagnose.step_statistics(w, w, w)] * 5
    >>> gradx.diagnose.stack(steps).gradient_norm.shape
    (5, 1)
    """
    if not steps:
        raise ValueError("stack: no statistics of any step to stack")
    return jax.tree.map(lambda *xs: jnp.stack(xs), *steps)


def _leaf_statistics(g: jax.Array | None, u: jax.Array | None, w: jax.Array | None) -> tuple[jax.Array, ...]:
    gradient, update, weight = _norm(g), _norm(u), _norm(w)
    infinite = jnp.where(update == 0, jnp.float32(0), jnp.float32(jnp.inf))
    ratio = jnp.where(weight == 0, infinite, update / jnp.where(weight == 0, jnp.float32(1), weight))
    dead = jnp.float32(0) if g is None or g.size == 0 else jnp.mean(g == 0, dtype=jnp.float32)
    return gradient, update, weight, ratio, dead, _fraction_non_finite([g, u, w])


def _array(x: Any) -> jax.Array | None:
    """Return the leaf in at least float32; `None` for what has no norm: no leaf, `float0`, a random key."""
    if x is None or checks.dtype_of(x) == jax.dtypes.float0:
        return None
    x = jnp.asarray(x)
    if jnp.issubdtype(x.dtype, jax.dtypes.prng_key):
        return None
    return x.astype(numerics.at_least_float32(x.dtype))


def _norm(x: jax.Array | None) -> jax.Array:
    """Return the Euclidean norm in float32; the entries are divided by the largest, so squares stay in range."""
    if x is None or x.size == 0:
        return jnp.zeros((), jnp.float32)
    size = jnp.abs(x)
    largest = jnp.max(size)
    scale = jnp.where(largest == 0, jnp.ones_like(largest), largest)
    norm = largest * jnp.sqrt(jnp.sum(jnp.square(size / scale)))
    return jnp.where(jnp.isinf(largest), largest, norm).astype(jnp.float32)


def _fraction_non_finite(leaves: list[jax.Array | None]) -> jax.Array:
    masks = [~jnp.isfinite(x) for x in leaves if x is not None and x.size]
    if not masks:
        return jnp.zeros((), jnp.float32)
    anywhere = masks[0]
    for mask in masks[1:]:
        anywhere = anywhere | mask
    return jnp.mean(anywhere, dtype=jnp.float32)
