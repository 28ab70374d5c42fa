"""What programs and tests call in Optax's private modules, by names with an underscore there."""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.compat.like_optax.trees import is_placeholder
from gradx.optimizers.lbfgs import at, dot
from gradx.typing import PyTree, Updates


def precondition_by_lbfgs(
    updates: Updates,
    diff_params_memory: PyTree,
    diff_updates_memory: PyTree,
    weights_memory: jax.Array,
    identity_scale: Any,
    memory_idx: Any,
) -> Updates:
    """Return H·g by the two loops, of pairs that are taken as they are; the oldest lies at `memory_idx`."""
    size = weights_memory.shape[0]
    order = (memory_idx + jnp.arange(size)) % size

    def down(q: Updates, i: jax.Array) -> tuple[Updates, jax.Array]:
        alpha = weights_memory[i] * dot(at(diff_params_memory, i), q)
        return tree.cast_like(tree.add_scale(q, -alpha, at(diff_updates_memory, i)), q), alpha

    def up(r: Updates, pair: tuple[jax.Array, jax.Array]) -> tuple[Updates, None]:
        i, alpha = pair
        beta = weights_memory[i] * dot(at(diff_updates_memory, i), r)
        return tree.cast_like(tree.add_scale(r, alpha - beta, at(diff_params_memory, i)), r), None

    q, alphas = jax.lax.scan(down, updates, order, reverse=True)
    return jax.lax.scan(up, tree.cast_like(tree.scale(identity_scale, q), q), (order, alphas))[0]


def power_iteration_goes_on(num_iters: int, error_tolerance: float, loop_vars: tuple) -> jax.Array:
    """Return whether a power iteration has not found its vector yet: loop_vars are v, A v, the eigenvalue, the step."""
    v, product, value, step = loop_vars
    away = tree.norm(tree.sub(product, tree.scale(value, v)))
    return (step < num_iters) & (away > error_tolerance)


def is_function_of_trees(mask: Any) -> bool:
    """Whether a mask is a function to one, and no pytree that may be called."""
    leaves = jax.tree.leaves(mask)
    return callable(mask) and len(leaves) == 1 and leaves[0] is mask and not is_placeholder(mask)


def muon_reshape(x: jax.Array, dim_nums: Any) -> tuple[Callable, Callable]:
    """Return the function to (batch, inputs, outputs), and its inverse."""
    if x.ndim < 2:
        raise ValueError(f"Muon optimized parameters must have rank >= 2, got {x.ndim=}")
    rows, columns = (_positive(axes, x.ndim) for axes in (dim_nums.reduction_axis, dim_nums.output_axis))
    if set(rows) & set(columns):
        raise ValueError(
            f"Normalized reduction axes and output axes must be disjoint, got {rows} and {columns} of {dim_nums}"
        )
    batch = tuple(i for i in range(x.ndim) if i not in rows + columns)
    order = batch + rows + columns
    moved = tuple(x.shape[i] for i in order)
    flat = tuple(math.prod(x.shape[i] for i in axes) for axes in (batch, rows, columns))
    back = tuple(order.index(i) for i in range(x.ndim))
    return (
        lambda x: jnp.reshape(jnp.transpose(x, order), flat),
        lambda y: jnp.transpose(jnp.reshape(y, moved), back),
    )


def _positive(axes: Any, ndim: int) -> tuple[int, ...]:
    return tuple(i % ndim for i in ((axes,) if isinstance(axes, int) else axes))
