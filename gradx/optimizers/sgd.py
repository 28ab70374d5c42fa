"""Gradient descent, plain, with momentum, with Nesterov's momentum."""

from typing import Any

from gradx.combine import chain
from gradx.core import identity, transformation
from gradx.transforms.momentum import momentum as heavy_ball
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate


@transformation
def sgd(
    learning_rate: LearningRate,
    momentum: Decay | None = None,
    nesterov: bool = False,
    accumulator_dtype: DType | None = None,
) -> Any:
    """Gradient descent: u = -learning_rate · g; with momentum, g is replaced by m ← g + momentum · m.

    Whether it is batch, stochastic or mini-batch descent lies in the gradient it is given.

    Args:
      learning_rate: step size; diverges above 2 / L on a loss of curvature L.
      momentum: decay of the sum of gradients, in [0, 1); usually 0.9. None keeps no sum.
      nesterov: take the gradient where the momentum is heading: g + momentum · m.

    State: none; with momentum 1 number per parameter. Sutskever et al. 2013, eq. 1-4 (with the learning rate outside
    the sum, as everywhere in deep learning).

    >>> import gradx
    >>> tx = gradx.sgd(0.1, momentum=0.9)
    >>> tx.expand()
    chain(momentum(decay=0.9), scale_by_learning_rate(learning_rate=0.1))
    """
    return chain(
        identity() if momentum is None else heavy_ball(momentum, nesterov, accumulator_dtype),
        scale_by_learning_rate(learning_rate),
    )
