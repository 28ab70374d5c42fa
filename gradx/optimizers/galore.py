"""GaLore: the optimizer of each matrix works in a subspace of the gradient, where its state is small."""

import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.linalg import lapack, sharding
from gradx.matrices import Layout
from gradx.optimizers.adam import scale_by_adam
from gradx.sometimes import sometimes
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import layouts_of
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, ScalarOrSchedule, State, Updates


class GaLoreDimensionNumbers(NamedTuple):
    """Which axes of an array are the rows and the columns of its matrices; one matrix for each entry of the others."""

    reduction_axis: tuple[int, ...] | int = 0
    """The axes of the inputs."""
    output_axis: tuple[int, ...] | int = 1
    """The axes of the outputs."""


class GaLoreState(NamedTuple):
    """The state of `scale_by_galore`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    base_optimizer_state: State
    """That of the inner transformation, on (shorter side, rank) in place of each matrix, behind the axes of a batch."""
    projector: Updates
    """For each matrix (longer side, rank), orthonormal columns, behind a batch; `None` for other leaves."""


class View(NamedTuple):
    """A leaf as a batch of matrices."""

    matrices: jax.Array
    """(m, n), or (b, m, n) with axes of a batch; m at most n."""
    back: Callable[[jax.Array], jax.Array]
    """The way back to the leaf's shape."""
    rank: int
    is_turned: bool
    """Whether the leaf's matrices are the transposed ones."""


def subspace(view: View) -> jax.Array:
    """Return the first right singular vectors of the matrices, as columns (..., n, rank)."""
    x = jax.lax.stop_gradient(numerics.lift(view.matrices))
    if view.is_turned:  # as they are: another problem may give other signs, which the inner state would feel
        return lapack.of_each(_svd, x.mT)[0][..., : view.rank].conj()
    return lapack.of_each(_svd, x)[2][..., : view.rank, :].mT.conj()


_svd = functools.partial(jnp.linalg.svd, full_matrices=False)


def product(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return x @ y in full precision."""
    return jnp.matmul(x, y, precision=jax.lax.Precision.HIGHEST)


def projected(view: View, p: jax.Array) -> jax.Array:
    """Return the matrices times P; of turned ones what they were is multiplied, which XLA:CPU need not copy first."""
    return product(p.mT, view.matrices.mT).mT if view.is_turned else product(view.matrices, p)


def scale_leaf(u: jax.Array, *, factor: jax.Array) -> jax.Array:
    """Return factor · u."""
    return factor * u


@transformation
def scale_by_galore(
    rank: PositiveInt = 128,
    update_proj_gap: PositiveInt = 200,
    scale: ScalarOrSchedule = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Run `base_optimizer` on each matrix's gradient G in a subspace: u = scale · base(G P) Pᵀ.

    P has the first `rank` singular vectors of G on its longer side for columns, renewed at every `update_proj_gap`-th
    update, the first among them; the inner state stays as it is then.

    Args:
      rank: columns of P, at most the shorter side.
      update_proj_gap: updates from one P to the next.
      scale: factor of what comes back; the paper uses 0.25.
      base_optimizer: sees no parameters; other leaves reach it as they are. None is `scale_by_adam()`.
      weight_dimension_numbers: which leaves are matrices: a pytree (a prefix will do), or a function from the
        parameters to one, of `GaLoreDimensionNumbers`, of True for the last two axes, of None or False for no matrix.
        None takes the leaves with two axes.

    State: with Adam 2 · rank numbers per row or column of the shorter side, rank per one of the longer. Zhao et al.
    2024, arXiv:2403.03507, Algorithm 2, which projects the shorter side; the longer, as in Optax, makes Adam's state
    smaller.

    >>> import gradx, jax.numpy as jnp
    >>> [x.shape for x in gradx.scale_by_galore(rank=2).init(jnp.ones((5, 4))).base_optimizer_state[1:]]
    [(4, 2), (4, 2)]
    """
    base = scale_by_adam() if base_optimizer is None else base_optimizer

    def view_of(leaf: Any, layout: Layout | None) -> View | None:
        if layout is None or not jnp.size(leaf):
            return None
        rows, columns = layout.fans(leaf.shape)
        is_turned = rows >= columns
        is_one = jnp.ndim(leaf) == len(layout.rows) + len(layout.columns) and layout.splits == 1
        x = sharding.gather(layout.batch_of(leaf))
        x = x.mT if is_turned else x

        def back(y: jax.Array) -> jax.Array:
            y = y[None] if is_one else y
            return layout.array_of(y.mT if is_turned else y, leaf)

        return View(x[0] if is_one else x, back, min(rank, rows, columns), is_turned)

    def layouts_in(params: Params) -> list[Layout | None]:
        return layouts_of("scale_by_galore", weight_dimension_numbers, params)

    def init(params: Params) -> GaLoreState:
        leaves, treedef = jax.tree.flatten(params)
        views = [view_of(leaf, layout) for leaf, layout in zip(leaves, layouts_in(params), strict=True)]
        columns = [v and tree.zeros_like(v.matrices[..., : v.rank, :].mT) for v in views]
        inside = [
            p if v is None else tree.zeros_like(v.matrices[..., : v.rank]) for v, p in zip(views, leaves, strict=True)
        ]
        state = run_init(base, treedef.unflatten(inside))
        return GaLoreState(jnp.zeros((), jnp.int32), state, treedef.unflatten(columns))

    def renewed(leaf: jax.Array, layout: Layout | None, projector: jax.Array | None, is_due: jax.Array) -> Any:
        """Return P, where it is due that of `leaf`, whose matrices are made there: turned outside they are a copy."""

        def renew(old: jax.Array) -> jax.Array:
            view = view_of(leaf, layout)
            return old if view is None else subspace(view).astype(old.dtype)

        return None if projector is None else sometimes(is_due, renew, projector)

    def update(
        updates: Updates, state: GaLoreState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, GaLoreState]:
        gradients, treedef = jax.tree.flatten(updates)
        layouts, is_due = layouts_in(updates), state.count % update_proj_gap == 0
        rows = zip(gradients, layouts, treedef.flatten_up_to(state.projector), strict=True)
        projectors = [renewed(*row, is_due) for row in rows]
        leaves = list(zip([view_of(*x) for x in zip(gradients, layouts, strict=True)], projectors, strict=True))
        low = [g if v is None else projected(v, p) for g, (v, p) in zip(gradients, leaves, strict=True)]
        new, inner = run_update(base, treedef.unflatten(low), state.base_optimizer_state, None, extras)
        full = [
            u if v is None else tree.map_leaves(scale_leaf, v.back(product(u, p.mT.conj())), factor=scale)
            for u, (v, p) in zip(treedef.flatten_up_to(new), leaves, strict=True)
        ]
        count = numerics.safe_increment(state.count)
        return treedef.unflatten(full), GaLoreState(count, inner, treedef.unflatten(projectors))

    def parts(state: GaLoreState | None) -> list:
        return [("", base, state and state.base_optimizer_state)]

    return Wrapper(init, update, parts, runs_as_given=False)


@transformation
def galore(
    learning_rate: LearningRate,
    rank: PositiveInt = 128,
    update_proj_gap: PositiveInt = 200,
    scale: ScalarOrSchedule = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """GaLore: u = -learning_rate · (scale · base(G P) Pᵀ + weight_decay · p), base Adam's direction by default.

    P spans the first singular vectors of the gradient G, on the longer side of each matrix; other leaves go to the base
    as they are.

    The arguments are those of `scale_by_galore`.

    State: that of the base in the subspace, and P. Needs: params. Zhao et al. 2024, arXiv:2403.03507, Algorithm 2.

    >>> import gradx
    >>> gradx.galore(0.01, rank=8)
    galore(learning_rate=0.01, rank=8)
    """
    return chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
