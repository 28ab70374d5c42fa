"""Dicts by label, whatever the labels are: jax sorts the keys of a dict, and not everything hashable has an order."""

from collections.abc import Hashable, Mapping
from typing import Any

import jax


class Labelled(dict):
    """A dict that jax takes in the order in which its keys were put: members of an enum, or of several types."""


jax.tree_util.register_pytree_with_keys(
    Labelled,
    lambda x: ([(jax.tree_util.DictKey(key), value) for key, value in x.items()], tuple(x)),
    lambda keys, values: Labelled(zip(keys, values, strict=True)),
    lambda x: (list(x.values()), tuple(x)),
)


def by_label(values: Mapping[Hashable, Any]) -> dict[Any, Any]:
    """Return a dict that jax can flatten: a plain one where the keys can be sorted."""
    try:
        return {key: values[key] for key in sorted(values)}  # pyright: ignore[reportArgumentType]
    except TypeError:
        return Labelled(values)
