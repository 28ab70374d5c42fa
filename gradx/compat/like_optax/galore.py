"""GaLore with Optax's states: in the subspace a tall matrix is (rank, columns), a wide one (rows, rank)."""

from typing import Any

import jax

import gradx
from gradx import checks
from gradx.compat.like_optax.base import as_optax
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.matrices import Layout
from gradx.optimizers.galore import GaLoreDimensionNumbers, GaLoreState
from gradx.transforms.matrices import layouts_of
from gradx.typing import (
    Labels,
    LearningRate,
    Mask,
    NonNegative,
    Params,
    PositiveInt,
    PyTree,
    ScalarOrSchedule,
    State,
    Updates,
)


@as_optax
@transformation
def scale_by_galore(
    rank: PositiveInt = 128,
    update_proj_gap: PositiveInt = 200,
    scale: ScalarOrSchedule = 1.0,
    base_optimizer: GradientTransformation | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Run `base_optimizer` on each matrix's gradient in a subspace.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> optax.contrib.scale_by_galore(rank=2).init(jnp.ones((5, 4))).base_optimizer_state.mu.shape
    (2, 4)
    """
    base = gradx.scale_by_adam() if base_optimizer is None else base_optimizer
    given: Any = weight_dimension_numbers

    def axes_of(params: Params) -> PyTree:
        if isinstance(given, GaLoreDimensionNumbers):  # of all that may be matrices
            return jax.tree.map(lambda p: given if p.ndim >= 2 else None, params)
        return given(params) if checks.is_function(given) else given

    def made_for(params: Params) -> GradientTransformation:
        axes = axes_of(params)
        layouts = layouts_of("scale_by_galore", axes, params)
        is_tall = [_is_tall(p, layout) for p, layout in zip(jax.tree.leaves(params), layouts, strict=True)]
        return gradx.scale_by_galore(rank, update_proj_gap, scale, _turned(base, is_tall), axes)

    def init(params: Params) -> GaLoreState:
        return run_init(made_for(params), params)

    def update(
        updates: Updates, state: GaLoreState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, GaLoreState]:
        return run_update(made_for(updates), updates, state, params, extras)

    return Wrapper(init, update, lambda state: [("", base, state and state.base_optimizer_state)], runs_as_given=False)


def _is_tall(p: jax.Array, layout: Layout | None) -> bool:
    if layout is None or not p.size:
        return False
    rows, columns = layout.fans(p.shape)
    return rows >= columns


def _turned(base: Any, is_tall: list[bool]) -> GradientTransformation:
    """Return the transformation that sees the matrices of some leaves transposed."""

    def turn(tree: PyTree) -> PyTree:
        leaves, treedef = jax.tree.flatten(tree)
        return treedef.unflatten([x.mT if tall else x for x, tall in zip(leaves, is_tall, strict=True)])

    def init(params: Params) -> State:
        return run_init(base, turn(params))

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        new, state = run_update(base, turn(updates), state, params, extras)
        return turn(new), state

    return GradientTransformation(init, update)


@as_optax
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
    """GaLore, Adam's direction in the subspace by default.

    >>> import gradx.compat.optax as optax
    >>> optax.contrib.galore(0.01, rank=8)
    galore(learning_rate=0.01, rank=8)
    """
    return gradx.chain(
        scale_by_galore(rank, update_proj_gap, scale, base_optimizer, weight_dimension_numbers),
        gradx.add_decayed_weights(weight_decay, mask),
        gradx.scale_by_learning_rate(learning_rate),
    )
