"""L-BFGS: the inverse Hessian, as far as the last steps tell it."""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import GradientTransformation, identity, transformation
from gradx.transforms.line_search import value_dtype
from gradx.transforms.more_thuente import scale_by_more_thuente_linesearch
from gradx.transforms.scale import scale, scale_by_learning_rate
from gradx.typing import LearningRate, Params, PositiveInt, PyTree, Updates


class ScaleByLBFGSState(NamedTuple):
    """The state of `scale_by_lbfgs`; m pairs are kept in a ring."""

    count: jax.Array
    """int32[]: the updates already applied."""
    params: Params
    """The parameters at the last update; at least float32."""
    updates: Updates
    """The gradient there; at least float32."""
    diff_params_memory: Params
    """The steps s; (m, *shape) for each parameter, at least float32."""
    diff_updates_memory: Updates
    """The changes y of the gradient; (m, *shape) for each parameter, at least float32."""
    weights_memory: jax.Array
    """(m,): 1 / (s·y); 0 for a pair that is left out, or not there yet."""


def pair_leaf(memory: jax.Array, new: jax.Array, old: jax.Array, *, index: jax.Array, good: jax.Array) -> jax.Array:
    """Return the memory with new - old at `index`; zeros there unless the pair is good."""
    return jax.lax.dynamic_update_index_in_dim(memory, jnp.where(good, new - old, 0), index, 0)


def at(memory: PyTree, index: jax.Array) -> PyTree:
    """Return the tree that the memory holds at `index`."""
    return jax.tree.map(lambda x: jax.lax.dynamic_index_in_dim(x, index, 0, keepdims=False), memory)


def dot(tree_x: PyTree, tree_y: PyTree) -> jax.Array:
    """Return Re sum(conj(x) · y)."""
    return jnp.real(tree.vdot(tree_x, tree_y))


def weighted(weight: jax.Array, x: jax.Array) -> jax.Array:
    """Return weight · x, and 0 for a pair that is not there, whatever x is."""
    return jnp.where(weight > 0, weight * x, 0)


def pair_weight(s: PyTree, y: PyTree) -> tuple[jax.Array, jax.Array]:
    """Return 1 / (s·y) and s·y / y·y; zeros unless s·y > eps · |s| · |y|: less is rounding, or a bend down."""
    sy, yy = dot(s, y), tree.norm(y, squared=True)
    good = (sy > jnp.finfo(sy.dtype).eps * tree.norm(s) * numerics.safe_sqrt(yy)) & (yy > 0)
    return jnp.where(good, 1 / jnp.where(good, sy, 1), 0), jnp.where(good, sy / jnp.where(good, yy, 1), 0)


def two_loops(
    g: Updates, weights: jax.Array, diff_params: PyTree, diff_updates: PyTree, order: jax.Array, gamma: jax.Array
) -> Updates:
    """Return H·g by the two loops over the pairs, first in `order`, newest first, and then back.

    H0 = gamma · I; a gamma of 0 stands for s·y / y·y of the newest pair there is, min(1, 1 / |g|) where there is none.
    Found in the loop: read beside it, a pair would cost a copy of the memory.
    """

    def down(carry: tuple[Updates, jax.Array], i: jax.Array) -> tuple[tuple[Updates, jax.Array], jax.Array]:
        q, gamma = carry
        alpha = weighted(weights[i], dot(at(diff_params, i), q))
        missing = (gamma == 0) & (weights[i] > 0)
        weight, y = weights[i], at(diff_updates, i)
        gamma = jax.lax.cond(missing, lambda: scale_of(weight, y), lambda: gamma)
        return (tree.add_scale(q, -alpha, y), gamma), alpha

    def up(r: Updates, pair: tuple[jax.Array, jax.Array]) -> tuple[Updates, None]:
        i, alpha = pair
        beta = weighted(weights[i], dot(at(diff_updates, i), r))
        return tree.add_scale(r, alpha - beta, at(diff_params, i)), None

    alone = 1 / jnp.maximum(tree.norm(jax.lax.stop_gradient(g)), 1).astype(weights.dtype)
    g, gamma, *_ = numerics.vary_together(g, gamma, weights, diff_params, diff_updates)
    (q, gamma), alphas = jax.lax.scan(down, (g, gamma), order)
    r, _ = jax.lax.scan(up, tree.scale(jnp.where(gamma == 0, alone, gamma), q), (order, alphas), reverse=True)
    return r


def scale_of(weight: jax.Array, y: PyTree) -> jax.Array:
    """Return s·y / y·y of a pair that is there."""
    return (1 / (weight * tree.norm(y, squared=True))).astype(weight.dtype)


@transformation
def scale_by_lbfgs(memory_size: PositiveInt = 10, scale_init_precond: bool = True) -> Any:
    """Multiply the gradient by L-BFGS's inverse Hessian: H·g, of the last m steps s and changes y of the gradient.

    H ← (I - s·y' / s·y)' H (I - s·y' / s·y) + s·s' / s·y over the pairs, oldest first, from H0 = gamma · I.

    Args:
      memory_size: m, how many pairs are kept, at least 1.
      scale_init_precond: gamma = s·y / y·y of the newest pair, and min(1, 1 / |g|) before the first; False is 1.

    A pair is left out unless s·y > eps · |s| · |y|, so that H·g always descends (Optax takes it as it is). Where the
    parameters did not move since the last update all pairs are forgotten: the search along H·g found nothing.

    State: 2 · m + 2 numbers per parameter. Needs: params. Liu and Nocedal 1989; Nocedal and Wright 2006, Algorithm 7.4.

    >>> import gradx
    >>> tx = gradx.scale_by_lbfgs()
    >>> updates, state = tx.update(4.0, tx.init(0.0), 2.0)  # the gradient of x²
    >>> updates, state = tx.update(2.0, state, 1.0)
    >>> float(updates)  # divided by the second derivative
    1.0
    """

    def init(params: Params) -> ScaleByLBFGSState:
        def memory() -> PyTree:
            return tree.zeros_like(tree.batch_shape(params, (memory_size,)))

        zeros, _ = numerics.vary_together(jnp.zeros(memory_size, value_dtype(params)), params)
        start = (tree.zeros_like(params), tree.zeros_like(params))
        return ScaleByLBFGSState(jnp.zeros((), jnp.int32), *start, memory(), memory(), zeros)

    def update(updates: Updates, state: ScaleByLBFGSState, params: Params) -> tuple[Updates, ScaleByLBFGSState]:
        def present(kept: PyTree) -> PyTree:
            return jax.tree.map(lambda u, x: None if u is None else x, updates, kept, is_leaf=_is_none)

        old_params, old_updates = present(state.params), present(state.updates)
        new_params, new_updates = tree.cast_like(present(params), old_params), tree.cast_like(updates, old_updates)
        s, y = tree.sub(new_params, old_params), tree.sub(new_updates, old_updates)
        first, dtype = state.count == 0, state.weights_memory.dtype
        weight, gamma = (jnp.where(first, 0, x).astype(dtype) for x in pair_weight(s, y))
        moved = tree.norm(s, "inf") != 0
        index = (state.count - 1) % memory_size
        weights = jnp.where(moved, state.weights_memory, 0).at[index].set(weight)
        put = functools.partial(pair_leaf, index=index, good=weight > 0)
        steps = jax.tree.map(put, present(state.diff_params_memory), new_params, old_params)
        changes = jax.tree.map(put, present(state.diff_updates_memory), new_updates, old_updates)
        order = (index - jnp.arange(memory_size, dtype=jnp.int32)) % memory_size
        gamma = gamma if scale_init_precond else jnp.ones_like(gamma)
        direction = two_loops(updates, weights, steps, changes, order, gamma)
        new_state = ScaleByLBFGSState(
            count=numerics.safe_increment(state.count),
            params=_kept(tree.copy(new_params), state.params),
            updates=_kept(tree.copy(new_updates), state.updates),
            diff_params_memory=_kept(steps, state.diff_params_memory),
            diff_updates_memory=_kept(changes, state.diff_updates_memory),
            weights_memory=weights,
        )
        return direction, new_state

    return init, update


def _kept(new: PyTree, old: PyTree) -> PyTree:
    """Return what is stored next: what was stored where there is no gradient."""
    return jax.tree.map(lambda x, kept: kept if x is None else x.astype(kept.dtype), new, old, is_leaf=_is_none)


def _is_none(x: Any) -> bool:
    return x is None


@transformation
def lbfgs(
    learning_rate: LearningRate | None = None,
    memory_size: PositiveInt = 10,
    scale_init_precond: bool = True,
    linesearch: GradientTransformation | None = scale_by_more_thuente_linesearch(20),
) -> Any:
    """L-BFGS: u = -a · H·g, H the inverse Hessian as the last steps tell it, a the step that a line search finds.

    For functions without noise. `gradx.minimize(fun, params)` runs it; in a loop of one's own
    `value_and_grad_from_state` reuses what the search computed.

    Args:
      learning_rate: a factor before the search; None is 1.
      memory_size, scale_init_precond: as in `scale_by_lbfgs`.
      linesearch: a transformation that chooses the step; None takes `learning_rate` itself.

    The search is that of Moré and Thuente, which SciPy's L-BFGS-B uses too; Optax's zoom takes more evaluations:
    `linesearch=gradx.scale_by_zoom_linesearch(20, initial_guess_strategy="one")` is its default.

    State: 2 · m + 3 numbers per parameter. Needs: params, value_fn; value and grad, else computed at params.
    Liu and Nocedal 1989; Moré and Thuente 1994.

    >>> import gradx
    >>> gradx.lbfgs(memory_size=5)
    lbfgs(memory_size=5)
    """
    descend = scale(-1.0) if learning_rate is None else scale_by_learning_rate(learning_rate)
    return chain(scale_by_lbfgs(memory_size, scale_init_precond), descend, linesearch or identity())
