"""Transformations made of others: one after the other, on a part of the tree, or each on a part of its own."""

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.core import Tracer

from gradx import checks, tree
from gradx.core import EmptyState, GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.labels import by_label
from gradx.running import Part, is_transformation
from gradx.typing import Labels, Mask, Params, PyTree, State, Updates


class MaskedState(NamedTuple):
    """The state of `masked`."""

    inner_state: State
    """The inner state, with `None` where the mask is False."""


class PartitionState(NamedTuple):
    """The state of `partition`."""

    inner_states: dict[Any, State]
    """For each label the state of its transformation, with `None` at the leaves of other labels."""


@transformation
def chain(*parts: GradientTransformation) -> Any:
    """Apply the parts one after the other, each to the updates of the one before.

    Parts may come from Optax. An extra reaches every part that names it. State: a tuple, one state for each part.

    >>> import gradx
    >>> gradx.chain(gradx.clip_by_global_norm(1.0), gradx.sgd(0.1))
    chain(clip_by_global_norm(max_norm=1.0), sgd(learning_rate=0.1))
    """
    for i, part in enumerate(parts):
        _check_part("chain", f"part {i}", part)

    def init(params: Params) -> tuple:
        return tuple(run_init(part, params) for part in parts)

    def update(updates: Updates, state: tuple, params: Params | None = None, **extras: Any) -> tuple[Updates, tuple]:
        states = []
        for part, part_state in zip(parts, state, strict=True):
            updates, part_state = run_update(part, updates, part_state, params, extras)
            states.append(part_state)
        return updates, tuple(states)

    def inside(state: tuple | None) -> list[Part]:
        return [("", part, state[i] if state else None) for i, part in enumerate(parts)]

    return Wrapper(init, update, inside, is_frame=True)


@transformation
def named_chain(*parts: tuple[str, GradientTransformation]) -> Any:
    """Apply the parts of `(name, transformation)` pairs one after the other; names outlive insertions in checkpoints.

    Args:
      *parts: pairs of a name and a transformation.

    State: a dict from name to state.

    >>> import gradx
    >>> tx = gradx.named_chain(("clip", gradx.clip(1.0)), ("step", gradx.sgd(0.1, momentum=0.9)))
    >>> list(tx.init(0.0))
    ['clip', 'step']
    """
    for part in parts:
        if not (isinstance(part, tuple) and len(part) == 2 and isinstance(part[0], str)):
            raise TypeError(f"named_chain: each part must be a pair (name, transformation), got {part!r}")
        _check_part("named_chain", repr(part[0]), part[1])
    names = [name for name, _ in parts]
    if repeated := sorted({name for name in names if names.count(name) > 1}):
        raise ValueError(f"named_chain: names must differ, got {repeated[0]!r} more than once")

    def init(params: Params) -> dict[str, State]:
        return {name: run_init(part, params) for name, part in parts}

    def update(updates: Updates, state: dict, params: Params | None = None, **extras: Any) -> tuple[Updates, dict]:
        states = {}
        for name, part in parts:
            updates, states[name] = run_update(part, updates, state[name], params, extras)
        return updates, states

    def inside(state: dict | None) -> list[Part]:
        return [(name, part, state[name] if state else None) for name, part in parts]

    return Wrapper(init, update, inside, is_frame=True)


@transformation
def masked(inner: GradientTransformation, mask: Mask) -> Any:
    """Apply `inner` where the mask is True. Elsewhere the update passes through UNCHANGED: a raw gradient stays one.

    `chain(masked(sgd(0.1), mask))` therefore climbs where the mask is False. To train only a part, use `partition` or
    put `freeze` behind it; `masked` is for steps such as weight decay, whose absence means "leave the update alone".

    Args:
      inner: the transformation; it sees `None` where the mask is False.
      mask: a pytree of bools, a prefix of the parameters, or a function from the parameters to one (flax's boxes
        removed, so that paths read the same at init and at update). A callable pytree is a mask, not a function.

    State: the inner state on the chosen leaves.

    >>> import gradx
    >>> tx = gradx.masked(gradx.scale(-1.0), {"w": True, "b": False})
    >>> params = {"w": 0.0, "b": 0.0}
    >>> updates, _ = tx.update({"w": 4.0, "b": 4.0}, tx.init(params))
    >>> float(updates["w"]), float(updates["b"])
    (-4.0, 4.0)
    """
    _check_part("masked", "inner", inner)

    def init(params: Params) -> MaskedState:
        return MaskedState(run_init(inner, select(resolve_mask("masked", mask, params), params)))

    def update(
        updates: Updates, state: MaskedState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, MaskedState]:
        chosen = resolve_mask("masked", mask, updates if params is None else params)
        inner_params = None if params is None else select(chosen, params)
        new, inner_state = run_update(inner, select(chosen, updates), state.inner_state, inner_params, extras)
        return merge(chosen, new, updates), MaskedState(inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)], is_frame=True)


@transformation
def partition(transforms: Mapping[Hashable, GradientTransformation], param_labels: Labels) -> Any:
    """Apply to each leaf the transformation of its label; a leaf is updated by that one alone.

    Args:
      transforms: from label to transformation; `set_to_zero()` freezes.
      param_labels: a pytree of labels, a prefix of the parameters, or a function from the parameters to one. The
        function sees the parameters without flax's boxes: with `gradx.tree.map_with_path` it labels by names like
        `layer/kernel`.

    State: a dict from label to state. Errors: a label without a transformation is named with its leaf.

    >>> import gradx
    >>> def decays(params):
    ...     return gradx.tree.map_with_path(lambda name, _: "no" if name.endswith("bias") else "yes", params)
    >>> tx = gradx.partition({"yes": gradx.adamw(1e-3), "no": gradx.adam(1e-3)}, decays)
    """
    for label, part in transforms.items():
        _check_part("partition", repr(label), part)

    def is_label(x: Any) -> bool:
        try:
            return x in transforms  # a tuple or None too, which are trees otherwise
        except TypeError:  # a tuple with a list inside, a module that hashes its arrays
            return False

    def labelled(params: Params) -> tuple[list[Hashable], Any]:
        given = _resolve("partition", "param_labels", param_labels, params, is_label)
        labels, treedef = jax.tree.flatten(given, is_leaf=is_label)
        if unknown := set(labels) - set(transforms):
            i = next(i for i, label in enumerate(labels) if label in unknown)
            name, known = tree.paths(treedef.unflatten(range(len(labels))))[i], ", ".join(map(repr, transforms))
            raise ValueError(f"partition: the label {labels[i]!r} at '{name}' has no transformation; known are {known}")
        return labels, treedef

    def init(params: Params) -> PartitionState:
        labels, treedef = labelled(params)
        shares = _shares(transforms, labels, treedef, params)
        return PartitionState(by_label({label: run_init(part, shares[label]) for label, part in transforms.items()}))

    def update(
        updates: Updates, state: PartitionState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, PartitionState]:
        labels, treedef = labelled(updates if params is None else params)
        shares = _shares(transforms, labels, treedef, updates)
        params_of = dict.fromkeys(transforms) if params is None else _shares(transforms, labels, treedef, params)
        states, new = {}, {}
        for label, part in transforms.items():
            part_state = state.inner_states[label]
            result, states[label] = run_update(part, shares[label], part_state, params_of[label], extras)
            new[label] = treedef.flatten_up_to(result)
        updates = treedef.unflatten([new[label][i] for i, label in enumerate(labels)])
        return updates, PartitionState(by_label(states))

    def inside(state: PartitionState | None) -> list[Part]:
        return [(str(label), part, state and state.inner_states[label]) for label, part in transforms.items()]

    return Wrapper(init, update, inside, is_frame=True)


@transformation
def set_to_zero() -> Any:
    """Replace every update by zero: the parameters stay.

    State: none.

    >>> import gradx
    >>> tx = gradx.set_to_zero()
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    0.0
    """

    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        return jax.tree.map(jax.numpy.zeros_like, updates), state

    return init, update


@transformation
def freeze(mask: Mask) -> Any:
    """Set the update to zero where the mask is True, and leave it alone elsewhere; put it last in a chain.

    >>> import gradx
    >>> tx = gradx.chain(gradx.sgd(1.0), gradx.freeze({"w": False, "b": True}))
    >>> params = {"w": 0.0, "b": 0.0}
    >>> updates, _ = tx.update({"w": 4.0, "b": 4.0}, tx.init(params))
    >>> float(updates["w"]), float(updates["b"])
    (-4.0, 0.0)
    """
    return masked(set_to_zero(), mask)


@transformation
def selective_transform(optimizer: GradientTransformation, *, freeze_mask: Mask) -> Any:
    """Apply `optimizer` where the mask is False, and set the update to zero where it is True.

    Args:
      optimizer: the transformation; it keeps no state for what is frozen.
      freeze_mask: where not to train: a pytree of bools (a prefix will do), or a function from the parameters to one.

    State: that of `partition`, labels "train" and "freeze".

    >>> import gradx
    >>> tx = gradx.selective_transform(gradx.sgd(1.0), freeze_mask={"w": False, "b": True})
    >>> params = {"w": 0.0, "b": 0.0}
    >>> updates, _ = tx.update({"w": 4.0, "b": 4.0}, tx.init(params))
    >>> float(updates["w"]), float(updates["b"])
    (-4.0, 0.0)
    """

    def labels(params: Params) -> PyTree:
        frozen = resolve_mask("selective_transform", freeze_mask, params)
        return jax.tree.map(lambda leaf: "freeze" if leaf else "train", frozen)

    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)


def resolve_mask(owner: str, mask: Mask, params: Params) -> PyTree:
    """Return the mask as a pytree of Python bools that is a prefix of the parameters."""
    resolved = _resolve(owner, "mask", mask, params)
    for name, leaf in zip(tree.paths(resolved), jax.tree.leaves(resolved), strict=True):
        if isinstance(leaf, Tracer) or np.size(leaf) != 1 or np.asarray(leaf).dtype.kind not in "biu":
            raise TypeError(f"{owner}: the mask at '{name}' must be a Python bool (it decides structure), got {leaf}")
    return jax.tree.map(bool, resolved)


def _resolve(
    owner: str, what: str, given: PyTree | Callable, params: Params, is_leaf: Callable[[Any], bool] | None = None
) -> PyTree:
    bare = tree.unbox(params)
    prefix = given(bare) if checks.is_function(given) else tree.unbox(given)
    tree.broadcast(prefix, bare, f"{owner}: {what}", is_leaf)
    return prefix


def select(mask: PyTree, params: PyTree) -> PyTree:
    """Keep the leaves under True, put `None` for those under False."""
    kept = jax.tree.map(lambda keep, node: node if keep else jax.tree.map(lambda _: None, node), mask, params)
    return _some(kept)


def _some(kept: PyTree) -> PyTree:
    """Return the tree; parameters that are one array may be left out whole, and None would say that none are given."""
    return () if kept is None else kept


def _shares(
    labels: Iterable[Hashable], label_of: list[Hashable], treedef: Any, params: PyTree
) -> dict[Hashable, PyTree]:
    """Split a tree among the labels: each gets the whole structure, with `None` for the leaves of others."""
    nodes = treedef.flatten_up_to(params)
    left_out = [jax.tree.map(lambda _: None, node) for node in nodes]

    def share(label: Hashable) -> PyTree:
        kept = [x if own == label else none for x, none, own in zip(nodes, left_out, label_of, strict=True)]
        return _some(treedef.unflatten(kept))

    return {label: share(label) for label in labels}


def merge(mask: PyTree, new: PyTree, old: PyTree) -> PyTree:
    """Take the leaves of `new` under True, those of `old` under False."""
    return jax.tree.map(lambda keep, x, y: x if keep else y, mask, new, old)


def _check_part(owner: str, what: str, part: Any) -> None:
    if isinstance(part, list | tuple) and part and all(map(is_transformation, part)) and not is_transformation(part):
        raise TypeError(
            f"{owner}: {what} is a {type(part).__name__} of transformations: give them without it, chain(*parts)"
        )
    if checks.is_function(part) and not isinstance(part, type) and not is_transformation(part):
        raise TypeError(f"{owner}: {what} is the function {getattr(part, '__name__', part)}: call it, as in adam(1e-3)")
    if not is_transformation(part):
        raise TypeError(f"{owner}: {what} must be a transformation with init and update, got {part!r}")
