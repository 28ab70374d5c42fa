"""Which leaves are matrices, and what is done to those alone: for optimizers of matrices."""

import functools
import math
from collections.abc import Callable
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gradx import checks, numerics, tree
from gradx.combine import chain, partition
from gradx.core import EmptyState, GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.matrices import Layout
from gradx.transforms.scale import no_state
from gradx.typing import Labels, NonNegative, Params, PyTree, State, Updates

ShapeScaling = Literal["jordan", "moonlight", "spectral"]


def layouts_of(owner: str, given: Labels | None, params: Params) -> list[Layout | None]:
    """Say how each leaf is a batch of matrices, or None; without a word the leaves with two axes are matrices."""
    bare = tree.unbox(params)
    rule: Any = given
    answer: Any = rule(bare) if checks.is_function(rule) else rule
    if answer is None:
        return [_layout_of(owner, jnp.ndim(x) == 2, x) for x in jax.tree.leaves(bare)]
    rules = jax.tree.map(lambda x: functools.partial(_layout_of, owner, x), answer, is_leaf=_is_rule)
    rules = tree.broadcast(rules, bare, f"{owner}: the dimension numbers")
    return [rule(x) for rule, x in zip(jax.tree.leaves(rules), jax.tree.leaves(bare), strict=True)]


def _layout_of(owner: str, given: Any, x: jax.Array) -> Layout | None:
    """Return the layout of one leaf, its axes counted from the front; True stands for the last two."""
    ndim = jnp.ndim(x)
    if hasattr(given, "is_matrix"):  # a role
        given = given.layout if given.is_matrix else None
    if given is None or given is False:
        return None
    if ndim < 2:
        raise ValueError(f"{owner}: {checks.describe(x)} is no matrix: give None or False for it")
    if isinstance(given, Layout):
        sides, splits = given[:2], given.splits
    else:
        sides, splits = ((-2, -1) if given is True else (given.reduction_axis, given.output_axis)), 1
    rows, columns = (tuple(i % ndim for i in ((s,) if isinstance(s, int) else s)) for s in sides)
    if set(rows) & set(columns):
        raise ValueError(f"{owner}: rows and columns share an axis in {given}, for {checks.describe(x)}")
    return Layout(rows, columns, splits)


def _is_rule(x: Any) -> bool:
    """Whether `x` says how a leaf is a batch of matrices, and is no tree of such."""
    return x is None or isinstance(x, bool | Layout) or hasattr(x, "reduction_axis") or hasattr(x, "is_matrix")


def mean_leaf(g: jax.Array, mu: jax.Array, *, beta: jax.Array, nesterov: bool) -> tuple[jax.Array, jax.Array]:
    """Return (u, mu), mu ← beta · mu + (1 - beta) · g; u = mu, with Nesterov beta · mu + (1 - beta) · g."""
    mu = beta * mu + (1 - beta) * g
    return (beta * mu + (1 - beta) * g if nesterov else mu), mu


def each_matrix(rule: Callable, layouts: list[Layout | None], *trees: PyTree, **hyper: Any) -> Any:
    """Apply `rule(x, y, ..., layout=..., **hyper)` to the leaves that are matrices, as `tree.map_leaves` does.

    It returns the new values of the first trees, and as many trees come back as there are; other leaves stay.
    """
    leaves, treedef = jax.tree.flatten(trees[0], is_leaf=lambda x: x is None)
    columns = [leaves, *(treedef.flatten_up_to(tree) for tree in trees[1:])]
    layout_of = iter(layouts)
    rows = []
    for row in zip(*columns, strict=True):
        layout = None if row[0] is None else next(layout_of)
        new = row if layout is None else tree.map_leaves(rule, *row, layout=layout, **hyper)
        new = new if isinstance(new, tuple) else (new,)
        rows.append((*new, *row[len(new) :]))
    renewed = [treedef.unflatten(column) for column in zip(*rows, strict=True)] if rows else list(trees)
    return tuple(renewed) if len(trees) > 1 else renewed[0]


def with_norm_of_orthogonal(u: jax.Array, layout: Layout) -> jax.Array:
    """Return u with the Frobenius norm, in each matrix, that an orthogonal one has: sqrt(min(m, n)); 0 stays 0."""
    norm = numerics.safe_sqrt(layout.total(numerics.abs_sq(u)))
    return numerics.safe_divide(u, norm / math.sqrt(min(layout.fans(u.shape))))


def shape_leaf(u: jax.Array, *, factor: jax.Array) -> jax.Array:
    """Return factor · u."""
    return factor * u


def factor_of(scaling: str | None, inputs: int, outputs: int) -> float:
    """Return the factor of a matrix with so many inputs and outputs."""
    if scaling == "moonlight":
        return 0.2 * math.sqrt(max(inputs, outputs))
    if scaling == "spectral":
        return math.sqrt(outputs / max(inputs, 1))
    return 1.0 if scaling is None else math.sqrt(max(1.0, outputs / max(inputs, 1)))


@transformation
def scale_by_shape(
    weight_dimension_numbers: Labels | None = None,
    consistent_rms: NonNegative | None = None,
    *,
    shape_scaling: ShapeScaling | None = "jordan",
) -> Any:
    """Multiply each matrix by a factor of its numbers of inputs and outputs, and leave what is no matrix.

    Args:
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.
      consistent_rms: multiply by consistent_rms · sqrt(max(inputs, outputs)) whatever `shape_scaling` says, which gives
        an orthogonal matrix about that root mean square: Adam's is about 0.2.
      shape_scaling: "jordan", sqrt(max(1, outputs / inputs)); "moonlight", 0.2 · sqrt(max(inputs, outputs));
        "spectral", sqrt(outputs / inputs); None, 1.

    State: none. Jordan et al. 2024; Liu et al. 2025, arXiv:2502.16982, eq. 4; Yang et al. 2023, arXiv:2310.17813.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_shape()
    >>> updates, _ = tx.update(jnp.ones((1, 4)), tx.init(jnp.ones((1, 4))))
    >>> float(updates[0, 0])
    2.0
    """
    if shape_scaling not in (None, *ShapeScaling.__args__):
        known = ", ".join(map(repr, ShapeScaling.__args__))
        raise ValueError(f"scale_by_shape: shape_scaling must be {known} or None, got {shape_scaling!r}")

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        leaves, treedef = jax.tree.flatten(updates)
        layouts = layouts_of("scale_by_shape", weight_dimension_numbers, updates)
        rms: Any = consistent_rms
        for i, layout in enumerate(layouts):
            if layout is not None:
                fans = layout.fans(leaves[i].shape)
                factor = factor_of(shape_scaling, *fans) if rms is None else math.sqrt(max(fans)) * rms
                leaves[i] = tree.map_leaves(shape_leaf, leaves[i], factor=factor)
        return treedef.unflatten(leaves), state

    return no_state, update


@transformation
def by_matrix(
    matrices: GradientTransformation, rest: GradientTransformation, weight_dimension_numbers: Labels | None = None
) -> Any:
    """Apply `matrices` to the leaves that are matrices and `rest` to the others.

    Which they are is asked of all parameters together, and told to the parts of `matrices` that have an argument
    `weight_dimension_numbers`: the parts themselves see matrices alone.

    Args:
      matrices: a transformation or a `chain`.
      rest: that of all other leaves.
      weight_dimension_numbers: as in `muon`.

    State: that of a `partition` with the labels "muon" and "adam".
    """

    def resolved(params: Params) -> GradientTransformation:
        treedef = jax.tree.structure(tree.unbox(params))
        layouts = layouts_of("muon", weight_dimension_numbers, params)
        labels = treedef.unflatten(["adam" if x is None else "muon" for x in layouts])
        return partition({"muon": _told(matrices, treedef.unflatten(layouts)), "adam": rest}, labels)

    def init(params: Params) -> State:
        return run_init(resolved(params), params)

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        return run_update(resolved(updates if params is None else params), updates, state, params, extras)

    def parts(state: Any) -> list:
        return [
            ("muon", matrices, state and state.inner_states["muon"]),
            ("adam", rest, state and state.inner_states["adam"]),
        ]

    return Wrapper(init, update, parts, is_frame=True)


def _told(tx: GradientTransformation, layouts: PyTree) -> GradientTransformation:
    if tx.name == "chain":
        return chain(*(_told(part, layouts) for part in tx.arguments["parts"]))
    known = "weight_dimension_numbers" in tx.arguments
    return tx.replace(weight_dimension_numbers=layouts) if known else tx
