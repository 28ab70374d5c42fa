"""`optax.contrib._complex_valued`, by gradx."""

from gradx import (
    SplitRealAndImaginaryArrays as SplitRealAndImaginaryArrays,
    SplitRealAndImaginaryState as SplitRealAndImaginaryState,
)
from gradx.compat.like_optax.factories import split_real_and_imaginary as split_real_and_imaginary
