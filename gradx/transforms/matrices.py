"""Which leaves are matrices, and what is done to those alone: for optimizers of matrices."""

import functools
import math
from collections.abc import Callable, Mapping
from typing import Any, Literal

import jax
import jax.numpy as jnp

from gradx import checks, numerics, roles, tree
from gradx.combine import chain, partition
from gradx.core import EmptyState, GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.matrices import Layout
from gradx.transforms.decay import add_cautious_decayed_weights, add_decayed_weights
from gradx.transforms.scale import no_state, scale_by_learning_rate
from gradx.typing import Labels, Mask, NonNegative, Params, PyTree, State, Updates

ShapeScaling = Literal["jordan", "moonlight", "spectral"]


def layouts_of(owner: str, given: Labels | None, params: Params) -> list[Layout | None]:
    """Say how each leaf is a batch of matrices, or None; without a word the leaves with two axes are matrices."""
    bare = tree.unbox(params)
    rules = _rules_of(owner, given, bare)
    return [_layout_of(owner, rule, x) for rule, x in zip(rules, jax.tree.leaves(bare), strict=True)]


def _rules_of(owner: str, given: Labels | None, bare: Params) -> list[Any]:
    """Return for each leaf what the user says of it."""
    rule: Any = given
    answer: Any = rule(bare) if checks.is_function(rule) else rule
    if answer is None:
        return [jnp.ndim(x) == 2 for x in jax.tree.leaves(bare)]
    held = jax.tree.map(lambda x: functools.partial(_itself, x), answer, is_leaf=_is_rule)  # None is a leaf then
    return [x() for x in jax.tree.leaves(tree.broadcast(held, bare, f"{owner}: the dimension numbers"))]


def _itself(x: Any) -> Any:
    return x


def _layout_of(owner: str, given: Any, x: jax.Array) -> Layout | None:
    """Return the layout of one leaf, its axes counted from the front; True stands for the last two."""
    if hasattr(given, "is_matrix"):  # a role
        given = given.layout if given.is_matrix else None
    if given is None or given is False:
        return None
    ndim, splits = jnp.ndim(x), getattr(given, "splits", 1)
    if ndim < 2:
        raise ValueError(f"{owner}: {checks.describe(x)} is no matrix: give None or False for it")
    if isinstance(given, Layout):
        sides = given[:2]
    else:
        sides = (-2, -1) if given is True else (given.reduction_axis, given.output_axis)
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
def by_role(
    owner: str, transforms: Mapping[str, GradientTransformation], weight_dimension_numbers: Labels | None = None
) -> Any:
    """Apply to each leaf the transformation of its role, and tell those for matrices how it is a batch of matrices.

    The roles are asked of all parameters together. The parts see nothing but their own: what asks for them there, an
    argument `weight_dimension_numbers`, is filled in.

    Args:
      owner: the recipe, for messages and as the label of what it does to matrices.
      transforms: from label to transformation, perhaps a `chain`. `owner` is for matrices and convolutions, the kind of
        another role for those, any other label for the rest.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, with no other kinds then; None asks
        `gradx.roles.infer`.

    State: that of a `partition`.
    """
    rest = next(label for label in transforms if label != owner and label not in roles.KINDS)

    def label_of(rule: Any, layout: Layout | None) -> str:
        if getattr(rule, "kind", None) in transforms:
            return rule.kind
        return owner if layout is not None and getattr(rule, "is_matrix", True) else rest

    def resolved(params: Params) -> GradientTransformation:
        bare = tree.unbox(params)
        leaves, treedef = jax.tree.flatten(bare)
        given = _roles(owner, bare) if weight_dimension_numbers is None else weight_dimension_numbers
        rules = _rules_of(owner, given, bare)
        layouts = [
            rule.layout if hasattr(rule, "kind") else _layout_of(owner, rule, x)
            for rule, x in zip(rules, leaves, strict=True)
        ]
        labels = treedef.unflatten([label_of(*pair) for pair in zip(rules, layouts, strict=True)])
        told: dict[Any, GradientTransformation] = {
            label: _told(part, treedef.unflatten(layouts)) for label, part in transforms.items()
        }
        return partition(told, labels)

    def init(params: Params) -> State:
        return run_init(resolved(params), params)

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        return run_update(resolved(updates if params is None else params), updates, state, params, extras)

    def parts(state: Any) -> list:
        return [(label, part, state and state.inner_states[label]) for label, part in transforms.items()]

    return Wrapper(init, update, parts, is_frame=True)


def descent(
    owner: str,
    direction: GradientTransformation,
    rest: GradientTransformation,
    learning_rate: Any,
    weight_decay: Any,
    mask: Mask | None,
    weight_dimension_numbers: Labels | None,
    cautious_decay: bool = False,
    **shape: Any,
) -> GradientTransformation:
    """Return the recipe of a method for matrices: its direction, the factor of the shape, decay, the learning rate."""
    decayed = add_cautious_decayed_weights if cautious_decay else add_decayed_weights
    matrices = chain(
        direction,
        scale_by_shape(**shape),
        decayed(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
    return by_role(owner, {owner: matrices, "adam": rest}, weight_dimension_numbers)


def _roles(owner: str, params: Params) -> PyTree:
    try:
        return roles.infer(params)
    except ValueError as error:
        cure = "give the function of the parameters that returns it as the dimension numbers"
        raise ValueError(f"{owner}: {error}; {cure}: lambda params: gradx.roles.infer(params, ...)") from error


def _told(tx: GradientTransformation, layouts: PyTree) -> GradientTransformation:
    if tx.name == "chain":
        return chain(*(_told(part, layouts) for part in tx.arguments["parts"]))
    known = "weight_dimension_numbers" in tx.arguments
    return tx.replace(weight_dimension_numbers=layouts) if known else tx
