"""Hyperball: matrices keep their norm, and each step turns them by a set angle."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.transforms.matrices import layouts_of
from gradx.typing import Labels, LearningRate, Params, State, Updates


class HyperballState(NamedTuple):
    """The state of `hyperball`."""

    radius: Params
    """The norms that are kept: for each matrix a number, axes of length 1 in place of its own; `None` elsewhere."""
    inner_state: State


def hyperball_leaf(u, p, radius, *, learning_rate, axes):
    """Return the way from p to radius · Norm(p + learning_rate · radius · Norm(u)); u itself where radius is 0."""
    step = learning_rate * radius * numerics.safe_divide(u, norm_over(u, axes))
    moved = p + step
    length = norm_over(moved, axes)
    is_nowhere = (radius == 0) | (length == 0)
    shrink = radius / jnp.where(is_nowhere, 1, length)
    return jnp.where(is_nowhere, jnp.where(radius == 0, u, 0), shrink * moved - p)


def norm_over(x: jax.Array, axes: Sequence[int]) -> jax.Array:
    """Return the Euclidean norm over some axes, which stay with length 1."""
    return numerics.safe_sqrt(jnp.sum(numerics.abs_sq(x), axis=tuple(axes), keepdims=True))


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

    def axes_of(params: Params) -> list[tuple[int, ...] | None]:
        return [x and (*x[0], *x[1]) for x in layouts_of("hyperball", weight_dimension_numbers, params)]

    def init(params: Params) -> HyperballState:
        leaves, treedef = jax.tree.flatten(params)
        norms = [x and norm_over(tree.lift(p), x) for p, x in zip(leaves, axes_of(params), strict=True)]
        return HyperballState(treedef.unflatten(norms), run_init(inner, params))

    def update(
        updates: Updates, state: HyperballState, params: Params, **extras: Any
    ) -> tuple[Updates, HyperballState]:
        new, inner_state = run_update(inner, updates, state.inner_state, params, extras)
        leaves, treedef, rate = *jax.tree.flatten(params), learning_rate
        columns = (treedef.flatten_up_to(new), leaves, treedef.flatten_up_to(state.radius), axes_of(params))
        turned = [
            u if u is None or axes is None else tree.map_leaves(hyperball_leaf, u, p, r, axes=axes, learning_rate=rate)
            for u, p, r, axes in zip(*columns, strict=True)
        ]
        return treedef.unflatten(turned), HyperballState(state.radius, inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])
