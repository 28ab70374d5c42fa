"""Layers stacked for a scan, members of an ensemble, experts under `vmap`: leading axes that a whole node shares."""

from collections.abc import Mapping

from gradx.roles.names import Leaf


def depths(leaves: list[Leaf], bias_of: Mapping[int, int]) -> list[int]:
    """Return for each leaf how many of its leading axes count copies of the node that it lies in.

    A node is stacked if all leaves under it share their first axis and one of them proves it: a scale with an axis more
    than a scale has, a bias that fits its kernel's outputs behind that axis and does not fit before.
    """
    found = [0] * len(leaves)

    def visit(members: list[int], level: int, depth: int) -> None:
        depth = _behind_copies({i: leaves[i] for i in members}, bias_of, depth)
        children: dict[str, list[int]] = {}
        for i in members:
            found[i] = depth
            if len(leaves[i].parts) > level + 1:
                children.setdefault(leaves[i].parts[level], []).append(i)
        for inside in children.values():
            visit(inside, level + 1, depth)

    visit(list(range(len(leaves))), 0, 0)
    return found


def _behind_copies(members: Mapping[int, Leaf], bias_of: Mapping[int, int], depth: int) -> int:
    """Return where the axes begin that are a leaf's own: behind those which all have in common and one proves."""
    common = min(len(leaf.shape) for leaf in members.values()) if len(members) > 1 else 0
    for end in range(depth + 1, common + 1):
        if len({leaf.shape[depth:end] for leaf in members.values()}) > 1:
            break
        if _is_proved(members, bias_of, depth, end):
            return _behind_copies(members, bias_of, end)
    return depth


def _is_proved(members: Mapping[int, Leaf], bias_of: Mapping[int, int], depth: int, end: int) -> bool:
    """Whether the axes from `depth` to `end` count copies: all leaves make sense without, and one does not with."""
    rest = {i: leaf.shape[end:] for i, leaf in members.items()}
    kernel_of = {bias: kernel for kernel, bias in bias_of.items() if kernel in members}
    is_proved = False
    for i, leaf in members.items():
        if i in kernel_of:
            kernel, beside = kernel_of[i], members[kernel_of[i]]
            if not fits(rest[i], rest[kernel], beside.has_outputs_first):
                return False
            is_proved |= not fits(leaf.shape[depth:], beside.shape[depth:], beside.has_outputs_first)
        elif leaf.is_scale or leaf.is_bias:
            if leaf.is_bias and not rest[i]:
                return False
            is_proved |= len(rest[i]) == 1
        elif (leaf.is_kernel or leaf.is_embedding) and len(rest[i]) < 2:
            return False
    return is_proved


def fits(bias: tuple[int, ...], kernel: tuple[int, ...], outputs_first: bool) -> bool:
    """Whether a bias has the shape of its kernel's outputs, which stand last, or first in PyTorch's order."""
    if outputs_first:
        bias = without_ones(bias)
        if bias == kernel[: len(bias)] != kernel:
            return bool(bias)
    return 0 < len(bias) < len(kernel) and kernel[-len(bias) :] == bias


def without_ones(bias: tuple[int, ...]) -> tuple[int, ...]:
    """Return the shape of a convolution's bias (outputs, 1, 1) without the axes that only broadcast."""
    return without_ones(bias[:-1]) if len(bias) > 1 and bias[-1] == 1 else bias
