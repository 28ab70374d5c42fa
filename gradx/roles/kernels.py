"""Which axes of a linear map's array are its inputs, which its outputs: told by its name, its bias and its shape."""

import math
from typing import NamedTuple

from gradx.matrices import Layout
from gradx.roles.names import COMPRESSED, DEPTHWISE, FUSED, MAPS, OUTPUTS, QUERIES, Leaf, is_conv
from gradx.roles.stacking import without_ones


class Kernel(NamedTuple):
    """A linear map's array behind the axes that count copies of its layer."""

    leaf: Leaf
    shape: tuple[int, ...]
    bias: tuple[int, ...] | None
    """The shape of its bias."""
    hidden: tuple[int, ...] | None = None
    """For a kernel of a recurrent cell the shape of that which its hidden state goes through."""
    around: tuple[Leaf, ...] = ()
    """The other kernels of the node around its layer."""

    @property
    def words(self) -> set[str]:
        """What names it: its layer and itself."""
        return self.leaf.layer_words | self.leaf.words

    @property
    def is_conv(self) -> bool:
        """Whether a name says that it is a convolution."""
        return is_conv(self.words)


class Undecided(NamedTuple):
    """Why a parameter's role cannot be told."""

    reason: str


def layout_of(kernel: Kernel) -> Layout | Undecided:
    """Return the layout of a kernel, its axes counted from 0 behind those of copies."""
    n, said = len(kernel.shape), kernel.words
    if parts := _parts(kernel):
        return _fused(kernel, parts)
    if kernel.bias is not None:
        outputs = _outputs_by_bias(kernel)
        if outputs is None:
            return Undecided(f"its bias {kernel.bias} is not where its outputs are")
    elif n == 2 or kernel.is_conv:
        outputs = (0,) if kernel.leaf.has_outputs_first else (n - 1,)
    elif n == 3 and _is_query(kernel):
        outputs = (1, 2)
    elif n == 3 and _is_output(kernel):
        outputs = (2,)
    elif n > 3 and len(set(_window(kernel))) == 1 and not said & MAPS:
        outputs = (0,) if kernel.leaf.has_outputs_first else (n - 1,)
    else:
        return Undecided("which axes are inputs and which outputs? stacked layers, experts, heads or a window")
    inputs = tuple(i for i in range(n) if i not in outputs)
    if said & DEPTHWISE and len(outputs) == 1 and kernel.shape[1 if outputs == (0,) else -2] == 1:
        return Layout(inputs, ())  # each channel has a filter of its own
    return Layout(inputs, outputs, _gates(kernel, outputs))


def is_window(kernel: Kernel, layout: Layout) -> bool:
    """Whether a kernel is a convolution's rather than that of a map of several axes."""
    n = len(kernel.shape)
    if n < 3 or _parts(kernel) or len(layout.columns) > 1:
        return False
    return kernel.is_conv or not kernel.words & MAPS


def _outputs_by_bias(kernel: Kernel) -> tuple[int, ...] | None:
    """Return the axes on which the bias is added: where the convention puts them, or where else they must be."""
    shape, first = kernel.shape, kernel.leaf.has_outputs_first
    bias = without_ones(kernel.bias or ()) if first else kernel.bias or ()
    width, n = len(bias), len(shape)
    if not 0 < width < n:
        return None
    usual = 0 if first else n - width
    places = [i for i in range(n - width + 1) if shape[i : i + width] == bias]
    if usual not in places and (len(places) != 1 or width > 1):
        return None
    start = usual if usual in places else places[0]
    return tuple(range(start, start + width))


def _window(kernel: Kernel) -> tuple[int, ...]:
    return kernel.shape[2:] if kernel.leaf.has_outputs_first else kernel.shape[:-2]


def _is_query(kernel: Kernel) -> bool:
    """Whether a kernel (inputs, heads, width) fits an output kernel (heads, width, outputs) beside it."""
    a, b, c = kernel.shape
    outputs = [leaf.shape for leaf in kernel.around if leaf.layer_words & OUTPUTS and len(leaf.shape) == 3]
    fits = any((x[0], x[1]) == (b, c) or (x[1], x[2]) == (c, a) for x in outputs)  # fewer heads for keys and values
    return bool(kernel.words & QUERIES) and "einsum" not in kernel.words and fits


def _is_output(kernel: Kernel) -> bool:
    """Whether a kernel (heads, width, outputs) fits a query kernel (inputs, heads, width) beside it."""
    queries = [leaf.shape for leaf in kernel.around if leaf.layer_words & QUERIES]
    fits = any(shape[1:] == kernel.shape[:2] for shape in queries)
    return bool(kernel.words & OUTPUTS) and "einsum" not in kernel.words and fits


def _parts(kernel: Kernel) -> int:
    """Return how many matrices the name says lie side by side; 0 for no word about it."""
    said = kernel.words
    if {"gate", "up"} <= said:
        return 2
    if {"query", "key", "value"} <= said or {"c", "attn"} <= said or {"in", "proj", "weight"} <= kernel.leaf.words:
        return 3
    found = [n for word, n in FUSED.items() if word in said]
    return found[0] if found and not said & COMPRESSED else 0


def _fused(kernel: Kernel, parts: int) -> Layout | Undecided:
    shape = kernel.shape
    if {"query", "key", "value"} <= kernel.words or "einsum" in kernel.words:
        return Undecided("are query, key and value one behind the other, or in turns, head by head?")
    if len(shape) == 2:
        outputs = _outputs_by_bias(kernel) or ((0,) if kernel.leaf.has_outputs_first else (1,))
        inputs = (1 - outputs[0],)
        width, rest = divmod(shape[outputs[0]], parts)
        if rest or (parts == 3 and width not in _widths(kernel, shape[inputs[0]])):
            return Undecided(f"are its {shape[outputs[0]]} outputs {parts} equal parts? keys may be fewer than queries")
        return Layout(inputs, outputs, parts)
    if parts in shape[:2] and len(shape) in (3, 4):
        inputs, *outputs = (i for i in range(len(shape)) if i != shape.index(parts))
        return Layout((inputs,), tuple(outputs))
    return Undecided("how do its axes hold query, key and value?")


def _widths(kernel: Kernel, inputs: int) -> set[int]:
    """Return what the width of the values may be: that of the inputs, or what a layer beside it takes in."""
    found = {inputs}
    for leaf in kernel.around:
        found.add(leaf.shape[-1] if leaf.has_outputs_first else math.prod(leaf.shape[:-1]))
    return found


def _gates(kernel: Kernel, outputs: tuple[int, ...]) -> int:
    """Return how many gates of a recurrent cell lie side by side along the outputs."""
    hidden, n = kernel.hidden, len(kernel.shape)
    if hidden is None or len(hidden) != n or len(outputs) != 1:
        return 1
    width = kernel.shape[outputs[0]]
    gates, rest = divmod(width, hidden[1 if outputs == (0,) else -2])
    return gates if not rest and gates in (3, 4) and hidden[outputs[0]] == width else 1
