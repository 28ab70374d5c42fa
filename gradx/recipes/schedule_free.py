"""Schedule-free learning around gradient descent and AdamW, without their momentum."""

from typing import Any

from gradx.combine import chain
from gradx.core import identity, transformation
from gradx.optimizers.rmsprop import scale_by_rms
from gradx.optimizers.sgd import sgd
from gradx.schedules.warmup import warmup_constant_schedule
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, NonNegative, PositiveInt
from gradx.wrappers.schedule_free import Interpolation, schedule_free


@transformation
def schedule_free_sgd(
    learning_rate: LearningRate = 1.0,
    warmup_steps: PositiveInt | None = None,
    b1: Interpolation = 0.9,
    weight_decay: NonNegative | None = None,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType | None = None,
) -> Any:
    """Schedule-free gradient descent: z ← z - learning_rate · (g + weight_decay · y), the gradient taken at y.

    y and the mean to evaluate, `gradx.eval_params(state, params)`, are those of `schedule_free`.

    Args:
      warmup_steps: a rise of the learning rate from 0, over so many steps.
      weight_decay: pull of y towards zero, at least 0, times the learning rate; None is 0.

    The rest as in `schedule_free`.

    State: 1 number per parameter. Needs: params. Defazio et al. 2024, arXiv:2405.15682, eq. 3-5.

    >>> import gradx
    >>> gradx.schedule_free_sgd(0.5).expand().arguments["base_optimizer"]
    sgd(learning_rate=0.5)
    """
    rate = _warm(learning_rate, warmup_steps)
    base = sgd(rate) if weight_decay is None else chain(add_decayed_weights(weight_decay), sgd(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


@transformation
def schedule_free_adamw(
    learning_rate: LearningRate = 0.0025,
    warmup_steps: PositiveInt | None = None,
    b1: Interpolation = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative | None = None,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType | None = None,
) -> Any:
    """Schedule-free AdamW: z ← z - learning_rate · (g / (sqrt(nu / c2) + eps) + weight_decay · y), g taken at y.

    nu is the running mean of |g|², c2 = 1 - b2^t. y and the mean to evaluate, `gradx.eval_params(state, params)`, are
    those of `schedule_free`; y does what Adam's momentum did.

    Args:
      warmup_steps: a rise of the learning rate from 0, over so many steps.
      weight_decay: pull of y towards zero, at least 0, times the learning rate; None is 0.

    The rest as in `schedule_free`.

    State: 2 numbers per parameter. Needs: params. Defazio et al. 2024, arXiv:2405.15682, Algorithm 1, whose weights of
    the mean have a factor c2 more; Optax's have it no more than these.

    >>> import gradx
    >>> gradx.schedule_free_adamw(warmup_steps=100)
    schedule_free_adamw(warmup_steps=100)
    """
    rate = _warm(learning_rate, warmup_steps)
    decay = identity() if weight_decay is None else add_decayed_weights(weight_decay)
    direction = scale_by_rms(b2, eps, eps_in_sqrt=False, bias_correction=True)
    base = chain(direction, decay, scale_by_learning_rate(rate))
    return schedule_free(base, rate, b1, weight_lr_power, state_dtype)


def _warm(learning_rate: Any, warmup_steps: int | None) -> Any:
    return learning_rate if warmup_steps is None else warmup_constant_schedule(0.0, learning_rate, warmup_steps)
