"""Float64 NumPy references of averages of parameters, of look-ahead, and of what gathers or holds back updates."""

import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE, sgd
from tests.oracles.optimizers_trajectory import Chain, Leafwise, Row


def apply_every(t, g, p, memory, *, k):
    """The sum of the last k updates at steps k, 2k, ..., else zero."""
    history = memory.setdefault("g", [])
    history.append(g)
    return np.sum(history[-k:], axis=0) if t % k == 0 else np.zeros_like(g)


def keep_params_nonnegative(t, g, p, memory):
    """The parameters after the step are projected onto the half line from 0."""
    return np.maximum(p + g, 0) - p


def before(name, tx, reference, **optax):
    """Return the row of a block behind plain gradient descent."""
    return Row(
        name,
        lambda: gradx.chain(gradx.sgd(BLOCK_RATE), tx),
        lambda **changes: Chain(Leafwise(sgd, learning_rate=BLOCK_RATE), reference(**changes)),
        **optax,
    )


def after_sgd(make):
    """Return what makes Optax's chain of gradient descent and a block."""
    return lambda optax: optax.chain(optax.sgd(BLOCK_RATE), make(optax))


TRAJECTORIES = [
    before(
        "apply_every",
        gradx.apply_every(3),
        lambda: Leafwise(apply_every, k=3),
        optax=after_sgd(lambda optax: optax.apply_every(3)),
    ),
    before(
        "keep_params_nonnegative",
        gradx.keep_params_nonnegative(),
        lambda: Leafwise(keep_params_nonnegative),
        optax=after_sgd(lambda optax: optax.keep_params_nonnegative()),
    ),
]
