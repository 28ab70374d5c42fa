"""What a parameter is for, as a value."""

from dataclasses import dataclass
from typing import Literal, get_args

from gradx.matrices import Layout

Kind = Literal["embedding", "head", "matrix", "convolution", "scale", "bias", "vector"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""An `embedding` is a table of vectors, one for each symbol or place; the `head` is the layer that gives a network's
outputs; a `matrix` is any other linear map, a `convolution` one of windows; a `scale` multiplies each channel, in norms
above all; a `bias` is added; a `vector` is whatever else has one axis or none."""
WITH_LAYOUT: tuple[Kind, ...] = ("embedding", "head", "matrix", "convolution")
"""The kinds whose arrays are batches of matrices."""


@dataclass(frozen=True, slots=True, repr=False)
class Role:
    """What a parameter is for, and how it is a batch of matrices; a leaf of trees, not a node.

    >>> from gradx.roles import Layout, Role
    >>> Role("matrix", Layout(rows=(1,), columns=(2,)))  # the kernels of stacked layers
    Role('matrix', Layout(rows=(1,), columns=(2,)))
    >>> Role("bias").is_matrix
    False
    """

    kind: Kind
    """One of `KINDS`."""
    layout: Layout | None = None
    """The axes of inputs and of outputs; None where there are no matrices. Axes of a batch are those left over: stacked
    layers, experts, the three of a fused query-key-value kernel."""

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"Role: kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        if (self.layout is not None) != (self.kind in WITH_LAYOUT):
            wanted = "needs a Layout" if self.layout is None else "has none: its layout must be None"
            raise ValueError(f"Role: a {self.kind} {wanted}")

    @property
    def is_matrix(self) -> bool:
        """Whether methods for matrices are for it: a linear map inside a network, neither table nor head."""
        return self.kind in ("matrix", "convolution")

    def __repr__(self) -> str:
        return f"Role({self.kind!r})" if self.layout is None else f"Role({self.kind!r}, {spell(self.layout)})"


def spell(layout: Layout) -> str:
    """Return the text that makes a layout."""
    splits = "" if layout.splits == 1 else f", splits={layout.splits}"
    return f"Layout(rows={layout.rows}, columns={layout.columns}{splits})"
