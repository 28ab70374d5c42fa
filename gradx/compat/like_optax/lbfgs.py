"""L-BFGS of pairs that are taken as they are, as Optax takes them; gradx leaves out those that bend down."""

from typing import Any

import jax
import jax.numpy as jnp

import gradx
from gradx import numerics, tree
from gradx.compat.like_optax.base import as_optax
from gradx.compat.like_optax.private import precondition_by_lbfgs
from gradx.core import GradientTransformation, run_init, transformation
from gradx.optimizers.lbfgs import ScaleByLBFGSState, dot
from gradx.typing import LearningRate, Params, PositiveInt, Updates


@as_optax
@transformation
def scale_by_lbfgs(memory_size: PositiveInt = 10, scale_init_precond: bool = True) -> Any:
    """Multiply the gradient by L-BFGS's inverse Hessian; needs params.

    >>> import gradx.compat.optax as optax
    >>> optax.scale_by_lbfgs(5)
    scale_by_lbfgs(memory_size=5)
    """
    if memory_size < 1:
        raise ValueError("memory_size must be >= 1")
    begin = gradx.scale_by_lbfgs(memory_size)

    def init(params: Params) -> ScaleByLBFGSState:
        return run_init(begin, params)

    def update(updates: Updates, state: ScaleByLBFGSState, params: Params) -> tuple[Updates, ScaleByLBFGSState]:
        is_later, index, dtype = state.count > 0, (state.count - 1) % memory_size, state.weights_memory.dtype
        now = tree.cast_like(params, state.params), tree.cast_like(updates, state.updates)
        s, y = (
            jax.tree.map(lambda new, old: jnp.where(is_later, new - old, 0), x, kept)
            for x, kept in zip(now, (state.params, state.updates), strict=True)
        )
        sy, yy = dot(y, s), tree.norm(y, squared=True)
        weight = jnp.where(sy == 0, 0, 1 / jnp.where(sy == 0, 1, sy))
        steps, changes, weights = jax.tree.map(
            lambda memory, x: memory.at[index].set(x.astype(memory.dtype)),
            (state.diff_params_memory, state.diff_updates_memory, state.weights_memory),
            (s, y, weight),
        )
        alone = 1 / jnp.maximum(tree.norm(jax.lax.stop_gradient(updates)), 1)
        scale = jnp.where(is_later, jnp.where(yy > 0, sy / jnp.where(yy > 0, yy, 1), 1), alone).astype(dtype)
        scale = scale if scale_init_precond else jnp.ones_like(scale)
        direction = precondition_by_lbfgs(updates, steps, changes, weights, scale, (index + 1) % memory_size)
        kept_params, kept_updates = jax.tree.map(lambda x: jnp.array(x, copy=True), now)
        count = numerics.safe_increment(state.count)
        return direction, ScaleByLBFGSState(count, kept_params, kept_updates, steps, changes, weights)

    return init, update


@as_optax
@transformation
def lbfgs(
    learning_rate: LearningRate | None = None,
    memory_size: PositiveInt = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = gradx.scale_by_more_thuente_linesearch(20),
) -> Any:
    """L-BFGS, with the line search of Moré and Thuente unless another is given.

    >>> import gradx.compat.optax as optax
    >>> optax.lbfgs(memory_size=5)
    lbfgs(memory_size=5)
    """
    descend = gradx.scale(-1.0) if learning_rate is None else gradx.scale_by_learning_rate(learning_rate)
    return gradx.chain(scale_by_lbfgs(memory_size, scale_init_precond), descend, linesearch or gradx.identity())
