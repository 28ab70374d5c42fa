"""Hyperball: matrices keep their norm, and each step turns them by a set angle."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.matrices import Layout
from gradx.transforms.matrices import layouts_of
from gradx.typing import Labels, LearningRate, Params, State, Updates


class HyperballState(NamedTuple):
    """The state of `hyperball`."""

    radius: Params
    """The norms that are kept, a number for each matrix, its own axes of length 1; `None` for other leaves."""
    inner_state: State


def hyperball_leaf(u, p, radius, *, learning_rate, layout):
    """Return the way from p to radius · Norm(p + learning_rate · radius · Norm(u)); u itself where radius is 0."""
    radius = spread(radius, p, layout)
    moved = p + learning_rate * radius * numerics.safe_divide(u, norms_of(u, layout))
    length = norms_of(moved, layout)
    is_nowhere = (radius == 0) | (length == 0)
    shrink = radius / jnp.where(is_nowhere, 1, length)
    return jnp.where(is_nowhere, jnp.where(radius == 0, u, 0), shrink * moved - p)


def norms_of(x: jax.Array, layout: Layout) -> jax.Array:
    """Return the Frobenius norm of each matrix, in a shape that goes with that of x."""
    return numerics.safe_sqrt(layout.total(numerics.abs_sq(x)))


def radius_of(p: jax.Array, layout: Layout) -> jax.Array:
    """Return the norm of each matrix, one number for each."""
    if layout.splits == 1:
        return norms_of(p, layout)
    return numerics.safe_sqrt(jnp.sum(layout.batch_of(numerics.abs_sq(p)), axis=(1, 2), keepdims=True))


def spread(radius: jax.Array, x: jax.Array, layout: Layout) -> jax.Array:
    """Return the numbers of `radius_of` in a shape that goes with that of x."""
    if layout.splits == 1:
        return radius
    return layout.array_of(jnp.broadcast_to(radius, (len(radius), *layout.fans(x.shape))), x)


@transformation
def hyperball(
    inner: GradientTransformation, learning_rate: LearningRate, weight_dimension_numbers: Labels | None = None
) -> Any:
    """Keep the Frobenius norm R of each matrix, that of init, and give each of its steps the length learning_rate · R.

    W + u = R · Norm(W + learning_rate · R · Norm(u')), Norm(x) = x / ‖x‖, u' the update of `inner`, of which only the
    direction counts. So the learning rate is about the angle by which a matrix turns, whatever its size, and weight
    decay has nothing left to do. Leaves that are no matrices get u', with the learning rate of `inner`.

    Args:
      inner: a whole optimizer: with `adam` the paper's AdamH, with `muon` MuonH.
      learning_rate: of the matrices, at least 0; the paper's are about 0.01 to 0.02, falling to 0.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`: None takes those with two axes, True
        says the last two, False none. All other axes are a batch, each matrix with a norm of its own.

    State: 1 number for each matrix, that of `inner`. Needs: params. Wen et al. 2026, arXiv:2606.16899. A matrix that
    starts at 0 has no norm to keep and gets u'. In float32 norms hold to 1e-6; bfloat16 parameters are rounded.

    >>> import gradx, jax.numpy as jnp
    >>> tx, w = gradx.hyperball(gradx.adam(1e-3), 0.1), jnp.array([[3.0, 0.0], [0.0, 4.0]])
    >>> updates, _ = tx.update(jnp.ones((2, 2)), tx.init(w), w)
    >>> round(float(jnp.linalg.norm(w + updates)), 4)
    5.0
    """

    def layouts(params: Params) -> list[Layout | None]:
        return layouts_of("hyperball", weight_dimension_numbers, params)

    def init(params: Params) -> HyperballState:
        leaves, treedef = jax.tree.flatten(params)
        radius = [x and radius_of(tree.lift(p), x) for p, x in zip(leaves, layouts(params), strict=True)]
        return HyperballState(treedef.unflatten(radius), run_init(inner, params))

    def turned(u: Any, p: jax.Array, radius: Any, layout: Layout | None) -> Any:
        if u is None or layout is None:
            return u
        return tree.map_leaves(hyperball_leaf, u, p, radius, learning_rate=learning_rate, layout=layout)

    def update(
        updates: Updates, state: HyperballState, params: Params, **extras: Any
    ) -> tuple[Updates, HyperballState]:
        new, inner_state = run_update(inner, updates, state.inner_state, params, extras)
        leaves, treedef = jax.tree.flatten(params)
        columns = (treedef.flatten_up_to(new), leaves, treedef.flatten_up_to(state.radius), layouts(params))
        updates = treedef.unflatten([turned(*row) for row in zip(*columns, strict=True)])
        return updates, HyperballState(state.radius, inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])
