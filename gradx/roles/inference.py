"""The role of every leaf, decided in one place."""

import fnmatch
from collections.abc import Mapping

import jax
import numpy as np

from gradx import tree
from gradx.matrices import Layout
from gradx.roles.heads import with_heads
from gradx.roles.kernels import Kernel, Undecided, is_window, layout_of
from gradx.roles.names import BIASES, EXPERTS, HIDDEN, QUERIES, SCALES, TABLES, Leaf, biases, is_head, is_norm, words
from gradx.roles.role import KINDS, WITH_LAYOUT, Kind, Role, spell
from gradx.roles.stacking import depths
from gradx.typing import Params, PyTree

Override = Kind | Layout | Role


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
    leaves = leaves_of(params)
    chosen = _chosen(leaves, params, overrides or {})
    reader = _Reader(leaves)
    roles = [reader.role(i) if chosen[i] is None else reader.as_given(i, *chosen[i]) for i in range(len(leaves))]
    free = [i for i in range(len(leaves)) if chosen[i] is None]
    return with_heads(leaves, roles, free)


def leaves_of(params: Params) -> list[Leaf]:
    """Return the leaves with the names on the way to them, and their shapes."""
    bare = tree.unbox(params)
    names = [name.split("/") if name else [] for name in tree.paths(bare)]
    return [Leaf(tuple(name), np.shape(x)) for name, x in zip(names, jax.tree.leaves(bare), strict=True)]


class _Reader:
    """The leaves of a tree and what each says of the others."""

    def __init__(self, leaves: list[Leaf]) -> None:
        self.leaves = leaves
        self.bias_of = biases(leaves)
        self.depths = depths(leaves, self.bias_of)
        self.kernel_of = {bias: kernel for kernel, bias in self.bias_of.items()}
        self.by_path = {leaf.path.lower(): i for i, leaf in enumerate(leaves)}

    def role(self, i: int) -> Role | Undecided:
        """Return the role of a leaf by its name and shape."""
        leaf, shape = self.leaves[i], self.shape(i)
        is_table = sum(n != 1 for n in shape) > 1
        if (leaf.name == "embedding" and len(shape) > 1) or (is_table and leaf.words & TABLES):
            return self.with_layout("embedding", i)
        if i in self.kernel_of or (leaf.is_bias and (len(shape) < 2 or leaf.words & BIASES)):
            return Role("bias")
        if leaf.is_scale and not self.is_map(i):
            return Role("scale")
        if leaf.is_embedding and is_table and i not in self.bias_of:
            return self.with_layout("embedding", i)
        if len(shape) < 2 or (not is_table and not leaf.is_kernel):
            return Role("vector")
        if not leaf.is_kernel:
            return Undecided("no name that tells")
        return self.with_layout("head" if is_head(leaf.layer_words) else None, i)

    def is_map(self, i: int) -> bool:
        """Whether the `weight` of a normalization's layer is that of a linear map: no bias beside it has its shape."""
        leaf = self.leaves[i]
        beside = self.by_path.get("/".join((*leaf.module, "bias")).lower())
        has_axes = len(self.shape(i)) > 1 and not leaf.words & SCALES and not is_norm(leaf.words)
        return has_axes and (beside is None or self.leaves[beside].shape != leaf.shape)

    def as_given(self, i: int, pattern: str, given: Override) -> Role | Undecided:
        """Return the role that an override gives a leaf."""
        leaf, shape = self.leaves[i], self.shape(i)
        if isinstance(given, Role):
            return _checked(given, leaf, pattern)
        if isinstance(given, Layout):
            known = self.role(i)
            kind = known.kind if isinstance(known, Role) and known.layout is not None else "matrix"
            return _checked(Role(kind, given), leaf, pattern)
        if given not in WITH_LAYOUT:
            return Role(given)
        if len(shape) < 2:
            raise ValueError(
                f"infer: {pattern!r} calls '{leaf.path}' {leaf.shape} {_a(given)}, and it is no matrix: write a pattern"
                " that leaves it out, or a kind without a layout"
            )
        return self.with_layout(given, i)

    def with_layout(self, kind: Kind | None, i: int) -> Role | Undecided:
        """Return the role with the layout that its kind has; None is a matrix or a convolution."""
        leaf, depth = self.leaves[i], len(self.leaves[i].shape) - len(self.shape(i))
        if kind == "embedding":
            n = len(leaf.shape)
            return Role(kind, Layout((n - 2,), (n - 1,))) if n > 1 else Undecided("a table has two axes")
        kernel = self.kernel(i)
        layout = layout_of(kernel)
        if isinstance(layout, Undecided):
            return layout
        kind = kind or ("convolution" if is_window(kernel, layout) else "matrix")
        rows, columns = (tuple(axis + depth for axis in side) for side in layout[:2])
        return Role(kind, Layout(rows, columns, layout.splits))

    def kernel(self, i: int) -> Kernel:
        leaf, bias, hidden = self.leaves[i], self.bias_of.get(i), self.hidden(i)
        inside = [k for k, x in enumerate(self.leaves) if k != i and x.is_kernel and not x.is_bias and not x.is_scale]
        parent = leaf.layer[:-1]
        around = [Leaf(self.leaves[k].parts, self.shape(k)) for k in inside if self.leaves[k].layer[:-1] == parent]
        return Kernel(
            leaf,
            self.shape(i),
            None if bias is None else self.shape(bias),
            None if hidden is None else self.shape(hidden),
            tuple(x for x in around if len(x.shape) > 1),
        )

    def hidden(self, i: int) -> int | None:
        """Return the kernel that the hidden state goes through, of the recurrent cell to which a kernel belongs."""
        parts = [part.lower() for part in self.leaves[i].parts]
        for at in range(len(parts) - 1, max(len(parts) - 3, -1), -1):
            for inputs, hidden in HIDDEN.items():
                for name, other in ((inputs, hidden), (hidden, inputs)):
                    if parts[at].startswith(name):
                        path = "/".join([*parts[:at], other + parts[at].removeprefix(name), *parts[at + 1 :]])
                        if path in self.by_path:
                            return self.by_path[path] if name == inputs else i
        return None

    def shape(self, i: int) -> tuple[int, ...]:
        """Return the shape of a leaf behind the axes of stacked layers, and behind that of experts."""
        shape = self.leaves[i].shape[self.depths[i] :]
        kernel = self.kernel_of.get(i, i)
        behind = self.leaves[kernel].shape[self.depths[kernel] :]
        is_of_experts = self.leaves[kernel].is_kernel and len(behind) == 3 and self.is_expert(kernel)
        return shape[1:] if is_of_experts else shape

    def is_expert(self, i: int) -> bool:
        """Whether the first axis of a kernel with three counts experts."""
        leaf = self.leaves[i]
        return not leaf.layer_words & QUERIES and any(set(words(part)) & EXPERTS for part in leaf.parts)


def _checked(role: Role, leaf: Leaf, pattern: str) -> Role:
    """Return the role, or raise where its layout is not one of the leaf's."""
    layout, n = role.layout, len(leaf.shape)
    if layout is None:
        return role
    axes = (*layout.rows, *layout.columns)
    if any(not 0 <= axis < n for axis in axes) or len(set(axes)) < len(axes):
        raise ValueError(f"infer: {spell(layout)} for {pattern!r} names no axes of '{leaf.path}' {leaf.shape}")
    if np.prod([leaf.shape[axis] for axis in layout.columns], dtype=int) % layout.splits:
        raise ValueError(f"infer: {spell(layout)} for {pattern!r} does not divide '{leaf.path}' {leaf.shape}")
    return role


def _chosen(leaves: list[Leaf], params: Params, overrides: Mapping[str, Override]) -> list[tuple[str, Override] | None]:
    """Return for each leaf the pattern and the override that counts, or None."""
    chosen: list[tuple[str, Override] | None] = [None] * len(leaves)
    everywhere = tree.paths(jax.tree.map(lambda x: 0, tree.unbox(params), is_leaf=lambda x: x is None))
    for pattern, given in overrides.items():
        if not isinstance(given, Layout | Role) and given not in KINDS:
            raise ValueError(f"infer: {pattern!r} must be a Layout, a Role or one of {', '.join(KINDS)}; got {given!r}")
        if not any(_fits(name, pattern) for name in everywhere):
            raise ValueError(f"infer: no leaf fits {pattern!r}; there are {', '.join(everywhere)}")
        for i, leaf in enumerate(leaves):
            if _fits(leaf.path, pattern):
                chosen[i] = pattern, given
    return chosen


def _fits(path: str, pattern: str) -> bool:
    return fnmatch.fnmatchcase(path, pattern) or fnmatch.fnmatchcase(f"/{path}", pattern)


def _message(questions: list[tuple[Leaf, Undecided]]) -> str:
    listed = "".join(f"\n  {leaf.path} {leaf.shape}: {why.reason}" for leaf, why in questions)
    cures = ", ".join(f'"{leaf.path}": {_cure(leaf)}' for leaf, _ in questions)
    return (
        f"infer: these leaves do not say what they are for:{listed}\n"
        f"say it by path or pattern: infer(params, {{{cures}}}); kinds are {', '.join(KINDS)}, and * stands for anything"
    )


def _cure(leaf: Leaf) -> str:
    n = len(leaf.shape)
    return '"matrix"' if n == 2 else spell(Layout((n - 2,), (n - 1,)))


def _a(kind: str) -> str:
    return f"an {kind}" if kind[0] in "aeiou" else f"a {kind}"
