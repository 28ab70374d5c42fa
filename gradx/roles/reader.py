"""What a leaf's name and shape say of it, and what the leaves around it say."""

from collections import defaultdict

from gradx.matrices import Layout
from gradx.roles.kernels import Kernel, Undecided, is_window, layout_of
from gradx.roles.names import BIASES, HIDDEN, SCALES, TABLES, Leaf, biases, is_head, is_norm
from gradx.roles.role import Kind, Role
from gradx.roles.stacking import depths


class Reader:
    """The leaves of a tree and what each says of the others."""

    def __init__(self, leaves: list[Leaf]) -> None:
        self.leaves = leaves
        self.bias_of = biases(leaves)
        self.depths = depths(leaves, self.bias_of)
        self.kernel_of = {bias: kernel for kernel, bias in self.bias_of.items()}
        self.by_path = {leaf.path.lower(): i for i, leaf in enumerate(leaves)}
        self.kernels_in: dict[tuple[str, ...], list[int]] = defaultdict(list)
        """The kernels of the layers of each node."""
        for i, leaf in enumerate(leaves):
            if leaf.is_kernel and not leaf.is_bias and not leaf.is_scale:
                self.kernels_in[leaf.layer[:-1]].append(i)

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
        is_kernel = leaf.is_kernel or i in self.bias_of
        if len(shape) < 2 or (not is_table and not is_kernel):
            return Role("vector")
        if not is_kernel:
            return Undecided("no name that tells")
        return self.with_layout("head" if is_head(leaf.layer_words) else None, i)

    def is_map(self, i: int) -> bool:
        """Whether the `weight` of a normalization's layer is that of a linear map: no bias beside it has its shape."""
        leaf = self.leaves[i]
        beside = self.by_path.get("/".join((*leaf.module, "bias")).lower())
        has_axes = len(self.shape(i)) > 1 and not leaf.words & SCALES and not is_norm(leaf.words)
        return has_axes and (beside is None or self.leaves[beside].shape != leaf.shape)

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
        """Return a leaf as a linear map's array, with what is around it."""
        leaf, bias, hidden = self.leaves[i], self.bias_of.get(i), self.hidden(i)
        around = [k for k in self.kernels_in[leaf.layer[:-1]] if k != i and len(self.shape(k)) > 1]
        return Kernel(
            leaf,
            self.shape(i),
            None if bias is None else self.shape(bias),
            None if hidden is None else self.shape(hidden),
            tuple(Leaf(self.leaves[k].parts, self.shape(k)) for k in around),
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
        k = self.kernel_of.get(i, i)
        kernel = self.leaves[k]
        has_experts = kernel.is_of_experts and kernel.is_kernel and len(kernel.shape) - self.depths[k] == 3
        return shape[1:] if has_experts else shape
