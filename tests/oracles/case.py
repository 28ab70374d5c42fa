"""One function, its reference, and the arguments on which they must agree."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


@dataclass(frozen=True)
class Case:
    """A plain function of gradx beside its float64 reference and, where the definition is the same, a peer."""

    name: str
    ours: Callable
    """Arrays in, an array or a tuple of arrays out."""
    reference: Callable
    """The same from the definition: NumPy, SciPy, scikit-learn, float64."""
    arguments: Callable[[np.random.Generator], tuple[Any, ...]]
    """Draws float64 (or integer) arguments; tests cast them down for other precisions."""
    tolerance: float = 1e-12
    """Largest relative deviation in float64: |ours - reference| <= tolerance * (1 + |reference|)."""
    tolerance32: float = 1e-5
    """The same in float32, against the float64 reference."""
    peer: Callable | None = None
    """Optax's function of the same definition, called with the same arguments."""
    differentiable: bool = True
    """Whether gradients with respect to every floating argument are checked against finite differences."""

    def __str__(self) -> str:
        return self.name
