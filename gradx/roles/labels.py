"""Roles as labels and masks, for `partition`, `masked` and weight decay."""

from typing import Any

import jax

from gradx.roles.inference import infer
from gradx.roles.role import KINDS, Role
from gradx.typing import Params, PyTree


def labels(params: Params, **of_kind: Any) -> PyTree:
    """Return a label for every leaf, by the kind of its role: for `gradx.partition`.

    Args:
      params: the parameters, or their roles as `infer` returns them, with overrides say.
      **of_kind: labels by kind; `other` is that of the rest. Without a label of its own a convolution has that of a
        matrix.

    >>> import gradx, jax.numpy as jnp
    >>> params = {"embedding": jnp.ones((9, 2)), "block": {"up": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}}
    >>> labels = gradx.roles.labels(params, matrix="muon", other="adam")
    >>> labels["block"]["up"]["kernel"], labels["embedding"]
    ('muon', 'adam')
    >>> tx = gradx.partition({"muon": gradx.muon(0.02), "adam": gradx.adamw(1e-3)}, labels)
    """
    if unknown := sorted(of_kind.keys() - {*KINDS, "other"}):
        raise TypeError(f"labels: no kind {unknown[0]!r}; there are {', '.join(KINDS)}, and other")
    known = dict(of_kind)
    if "matrix" in known:
        known.setdefault("convolution", known["matrix"])

    def label(role: Role) -> Any:
        if role.kind not in known and "other" not in known:
            raise ValueError(f"labels: no label for {role}: give {role.kind}=... or other=...")
        return known.get(role.kind, known.get("other"))

    return jax.tree.map(label, _roles_of(params))


def is_matrix(params: Params) -> PyTree:
    """Return True for matrices and convolutions inside the network, False for the rest: a mask, for weight decay say.

    Args:
      params: the parameters, or their roles as `infer` returns them.

    >>> import gradx, jax.numpy as jnp
    >>> gradx.roles.is_matrix({"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)})
    {'bias': False, 'kernel': True}
    >>> tx = gradx.adamw(1e-3, weight_decay=0.1, mask=gradx.roles.is_matrix)
    """
    return jax.tree.map(lambda role: role.is_matrix, _roles_of(params))


def _roles_of(params: Params) -> PyTree:
    leaves = jax.tree.leaves(params)
    return params if leaves and all(isinstance(x, Role) for x in leaves) else infer(params)
