"""The role of every leaf, decided in one place."""

import functools
from collections.abc import Mapping

import jax
import numpy as np

from gradx import tree
from gradx.matrices import Layout
from gradx.roles.heads import with_heads
from gradx.roles.kernels import Undecided
from gradx.roles.names import Leaf
from gradx.roles.overrides import Override, checked_overrides, chosen, role_of
from gradx.roles.reader import Reader
from gradx.roles.role import KINDS, Role, spell
from gradx.typing import Params, PyTree


def infer(params: Params, overrides: Mapping[str, Override] | None = None) -> PyTree:
    """Return the role of every leaf, told by its path and its shape: a tree like `params`, without flax's boxes.

    Names are those of flax, Equinox, Haiku, PyTorch and of plain dicts. A `kernel` or `w` is (in, ..., out), a `weight`
    (out, in, ...) as in PyTorch and Equinox, unless its bias says otherwise. Layers stacked for a scan are told by the
    first axis that all leaves of a node share; heads join the outputs of queries and the inputs of what follows; fused
    queries, keys and values, and the gates of a recurrent cell, are matrices of their own.

    Args:
      params: arrays, or their shapes (`jax.ShapeDtypeStruct`).
      overrides: from a path, or a pattern in which `*` stands for anything, to a kind (`"embedding"`), a `Layout` or a
        `Role`; the last that fits counts.

    Raises ValueError for leaves that cannot be told: it lists them and what to write. Nothing is guessed.

    >>> import gradx, jax.numpy as jnp
    >>> params = {"embedding": jnp.ones((9, 2)), "block": {"up": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}}}
    >>> gradx.roles.infer(params)["block"]["up"]
    {'bias': Role('bias'), 'kernel': Role('matrix', Layout(rows=(0,), columns=(1,)))}
    >>> gradx.roles.infer(params, {"*/up/kernel": "head"})["block"]["up"]["kernel"].kind
    'head'
    """
    decided = decide(params, overrides)
    leaves = leaves_of(params)
    open_questions = [(leaf, x) for leaf, x in zip(leaves, decided, strict=True) if isinstance(x, Undecided)]
    if open_questions:
        raise ValueError(_message(open_questions))
    return jax.tree.structure(tree.unbox(params)).unflatten(decided)


def decide(params: Params, overrides: Mapping[str, Override] | None = None) -> list[Role | Undecided]:
    """Return for each leaf its role, or why it cannot be told."""
    given = checked_overrides(params, overrides or {})
    return list(_decided(tuple(leaves_of(params)), tuple(given.items())))


@functools.lru_cache(maxsize=64)
def _decided(leaves: tuple[Leaf, ...], overrides: tuple[tuple[str, Override], ...]) -> tuple[Role | Undecided, ...]:
    """Decide, once for all trees of the same names and shapes: without `jit` a mask is asked for at every step."""
    reader, given = Reader(list(leaves)), chosen(leaves, overrides)
    roles = [reader.role(i) if x is None else role_of(reader, i, *x) for i, x in enumerate(given)]
    return tuple(with_heads(reader.leaves, roles, free=[i for i, x in enumerate(given) if x is None]))


def leaves_of(params: Params) -> list[Leaf]:
    """Return the leaves with the names on the way to them, and their shapes."""
    bare = tree.unbox(params)
    names = [name.split("/") if name else [] for name in tree.paths(bare)]
    return [Leaf(tuple(name), np.shape(x)) for name, x in zip(names, jax.tree.leaves(bare), strict=True)]


def _message(questions: list[tuple[Leaf, Undecided]]) -> str:
    listed = "".join(f"\n  {leaf.path} {leaf.shape}: {why.reason}" for leaf, why in questions)
    cures = ", ".join(f'"{leaf.path}": {_cure(leaf)}' for leaf, _ in questions)
    cure = f"say it by path or pattern: infer(params, {{{cures}}})"
    known = f"kinds are {', '.join(KINDS)}, and * stands for anything"
    return f"infer: these leaves do not say what they are for:{listed}\n{cure}; {known}"


def _cure(leaf: Leaf) -> str:
    n = len(leaf.shape)
    return '"matrix"' if n == 2 else spell(Layout((n - 2,), (n - 1,)))
