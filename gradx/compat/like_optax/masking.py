"""Masks and partitions with Optax's states: `MaskedNode` where a leaf is left out, `MaskedState` around each part."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax

from gradx.combine import MaskedState, PartitionState, set_to_zero
from gradx.compat.like_optax.base import as_optax
from gradx.compat.like_optax.trees import is_placeholder
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.labels import by_label
from gradx.running import MaskedNode, Part
from gradx.typing import Labels, Mask, Params, PyTree, Updates

MultiTransformState = PartitionState


@as_optax
@transformation
def masked(inner: GradientTransformation, mask: Mask, *, mask_compatible_extra_args: bool = False) -> Any:
    """Apply `inner` where the mask is True; elsewhere the update passes unchanged.

    Args:
      inner: the transformation; it sees a `MaskedNode` where the mask is False.
      mask: a pytree of bools, a prefix of the parameters, or a function to one: at init from the parameters, then from
        the updates.
      mask_compatible_extra_args: mask the extras that have the structure of the updates too.

    >>> import gradx.compat.optax as optax
    >>> optax.masked(optax.scale(-1.0), {"w": True, "b": False}).init({"w": 0.0, "b": 0.0})
    MaskedState(inner_state=EmptyState())
    """

    def init(params: Params) -> MaskedState:
        return _init_where(None if is_placeholder(params) else _asked(mask, params), inner, params)

    def update(
        updates: Updates, state: MaskedState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, MaskedState]:
        chosen = _asked(mask, updates)
        return _update_where(chosen, inner, updates, state, params, extras, mask_compatible_extra_args)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)], is_frame=True)


@as_optax
@transformation
def partition(
    transforms: Mapping[Hashable, GradientTransformation],
    param_labels: Labels,
    *,
    mask_compatible_extra_args: bool = False,
) -> Any:
    """Apply to each leaf the transformation of its label.

    Args:
      transforms: from label to transformation.
      param_labels: a pytree of labels, a prefix of the parameters, or a function to one: at init from the parameters,
        then from the updates.
      mask_compatible_extra_args: as in `masked`.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.partition({"a": optax.sgd(0.1), "b": optax.set_to_zero()}, {"w": "a", "b": "b"})
    >>> sorted(tx.init({"w": 0.0, "b": 0.0}).inner_states)
    ['a', 'b']
    """

    def shares(tree: PyTree) -> dict[Hashable, PyTree]:
        labels = _asked(param_labels, tree)
        if unknown := sorted(map(str, set(jax.tree.leaves(labels)) - set(transforms))):
            known = ", ".join(map(str, transforms))
            raise ValueError(f"Some parameters have no corresponding transformation: {unknown}; known are {known}")
        return {label: jax.tree.map(lambda x, label=label: x == label, labels) for label in transforms}

    def init(params: Params) -> PartitionState:
        chosen = dict.fromkeys(transforms) if is_placeholder(params) else shares(params)
        return PartitionState(
            by_label({label: _init_where(chosen[label], tx, params) for label, tx in transforms.items()})
        )

    def update(
        updates: Updates, state: PartitionState, params: Params | None = None, **extras: Any
    ) -> tuple[Updates, PartitionState]:
        states = {}
        for label, chosen in shares(updates).items():
            tx, part_state = transforms[label], state.inner_states[label]
            updates, states[label] = _update_where(
                chosen, tx, updates, part_state, params, extras, mask_compatible_extra_args
            )
        return updates, PartitionState(by_label(states))

    def inside(state: PartitionState | None) -> list[Part]:
        return [(str(label), tx, state and state.inner_states[label].inner_state) for label, tx in transforms.items()]

    return Wrapper(init, update, inside, is_frame=True)


multi_transform = partition


def _asked(tree: Any, of: PyTree) -> PyTree:
    """Return a pytree, or what a function answers; a pytree all of whose leaves are functions counts as one."""
    leaves = jax.tree.leaves(tree)
    return tree(of) if leaves and all(map(callable, leaves)) else tree


def _init_where(chosen: PyTree | None, inner: Any, params: Params) -> MaskedState:
    return MaskedState(run_init(inner, params if chosen is None else _shown(chosen, params)))


def _update_where(
    chosen: PyTree, inner: Any, updates: Updates, state: MaskedState, params: Params | None, extras: dict, masks: bool
) -> tuple[Updates, MaskedState]:
    if masks:
        like = jax.tree.structure(updates)
        extras = {k: _shown(chosen, x) if jax.tree.structure(x) == like else x for k, x in extras.items()}
    inner_params = None if params is None else _shown(chosen, params)
    new, inner_state = run_update(inner, _shown(chosen, updates), state.inner_state, inner_params, extras)
    return jax.tree.map(lambda m, x, old: x if m else old, chosen, new, updates), MaskedState(inner_state)


def _shown(mask: PyTree, tree: PyTree) -> PyTree:
    return jax.tree.map(lambda m, x: x if m else MaskedNode(), mask, tree)


def freeze(mask: Any) -> GradientTransformation:
    """Set the updates to zero where the mask is True.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.freeze({"w": True, "b": False})
    >>> float(tx.update({"w": 1.0, "b": 1.0}, tx.init({"w": 0.0, "b": 0.0}))[0]["w"])
    0.0
    """
    return masked(set_to_zero(), mask)


def selective_transform(optimizer: GradientTransformation, *, freeze_mask: Any) -> GradientTransformation:
    """Train where the mask is False, and keep the parameters where it is True.

    >>> import gradx.compat.optax as optax
    >>> tx = optax.selective_transform(optax.sgd(1.0), freeze_mask={"w": True, "b": False})
    >>> float(tx.update({"w": 1.0, "b": 1.0}, tx.init({"w": 0.0, "b": 0.0}))[0]["b"])
    -1.0
    """

    def labels(params: Params) -> PyTree:
        del params
        return jax.tree.map(lambda frozen: "freeze" if frozen else "train", freeze_mask)

    return partition({"train": optimizer, "freeze": set_to_zero()}, labels)
