"""Gradient descent, plain, with momentum, with Nesterov's momentum, with noise."""

from typing import Any

from gradx.combine import chain
from gradx.core import identity, transformation
from gradx.transforms.momentum import momentum as heavy_ball
from gradx.transforms.noise import add_noise
from gradx.transforms.privacy import differentially_private_aggregate
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, NonNegative, ScalarOrSchedule


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


@transformation
def noisy_sgd(
    learning_rate: LearningRate,
    eta: NonNegative = 0.01,
    gamma: ScalarOrSchedule = 0.55,
    key: Any = None,
    *,
    seed: int | None = None,
) -> Any:
    """Gradient descent with noise: u = -learning_rate · (g + n), n Gaussian of variance eta / (1 + t)^gamma.

    t = 0 at the first update. The arguments are those of `add_noise`.

    State: int32[] and a key. Neelakantan et al. 2015, arXiv:1511.06807, eq. 1.

    >>> import gradx
    >>> gradx.noisy_sgd(0.1, seed=0)
    noisy_sgd(learning_rate=0.1, seed=0)
    """
    return chain(add_noise(eta, gamma, key, seed=seed), scale_by_learning_rate(learning_rate))


@transformation
def dpsgd(
    learning_rate: LearningRate,
    l2_norm_clip: NonNegative,
    noise_multiplier: NonNegative,
    key: Any = None,
    momentum: Decay | None = None,
    nesterov: bool = False,
    *,
    seed: int | None = None,
) -> Any:
    """Differentially private gradient descent: each example's gradient is clipped, their mean gets noise.

    u = -learning_rate · (sum of clipped g + n) / examples. The gradients come with a first axis of examples, as from
    `vmap(grad(loss), (None, 0))`. How private it is depends on steps and sampling too: an accountant tells.

    Args:
      momentum: decay of a running sum of the noisy means, in [0, 1); None keeps no sum.
      nesterov: the momentum's form.

    The rest as in `differentially_private_aggregate`.

    State: a key; with momentum 1 number per parameter. Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.

    >>> import gradx
    >>> gradx.dpsgd(0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=0)
    dpsgd(learning_rate=0.1, l2_norm_clip=1.0, noise_multiplier=1.1, seed=0)
    """
    mean = differentially_private_aggregate(l2_norm_clip, noise_multiplier, key, seed=seed)
    return chain(mean, sgd(learning_rate, momentum, nesterov))
