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


def lookahead(t, g, p, memory, *, learning_rate, sync_period, slow_step_size):
    """Zhang et al. 2019, Algorithm 1, inner optimizer gradient descent: phi the slow weights, theta the fast ones."""
    phi, theta = memory.get("phi", p), p - learning_rate * g
    if t % sync_period == 0:
        theta = phi = phi + slow_step_size * (theta - phi)
    memory["phi"] = phi
    return theta - p


def mean_of(history, decay, debias=True):
    """The weighted mean of the parameters seen, weights decay^age; without debias the first stands for all before."""
    if decay is None:
        return np.mean(history, axis=0)
    weights = [(1 - decay) * decay**age for age in reversed(range(len(history)))]
    if not debias:
        weights[0] = decay ** (len(history) - 1)
    return sum(w * x for w, x in zip(weights, history, strict=True)) / sum(weights)


def overwritten(t, g, p, memory, *, learning_rate, decay, debias, every):
    """Keras 3, `use_ema` with `ema_overwrite_frequency`: the average, started at the first weights, replaces them."""
    history = memory.setdefault("p", [] if debias else [p])
    moved = p - learning_rate * g
    history.append(moved)
    return (mean_of(history, decay, debias) if t % every == 0 else moved) - p


def keras_ema(t, g, p, memory, *, learning_rate, ema_momentum, ema_overwrite_frequency):
    """`keras.optimizers.SGD(use_ema=True)`: the momentum of the average is 0 at the first update, then ema_momentum."""
    moved = p - learning_rate * g
    momentum = ema_momentum if t > 1 else 0.0
    average = memory["average"] = momentum * memory.get("average", 0.0) + (1 - momentum) * moved
    return (average if t % ema_overwrite_frequency == 0 else moved) - p


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


USE_EMA = {"learning_rate": 0.05, "ema_momentum": 0.8, "ema_overwrite_frequency": 7}
LOOKAHEAD = {"learning_rate": 0.05, "sync_period": 4, "slow_step_size": 0.6}
OVERWRITTEN = {"learning_rate": 0.05, "decay": 0.8, "debias": True, "every": 5}


def of_lookahead(**changes):
    hyper = LOOKAHEAD | changes
    return gradx.lookahead(gradx.sgd(hyper["learning_rate"]), hyper["sync_period"], hyper["slow_step_size"])


def of_use_ema():
    """Return gradx's average with the arguments that make it that of Keras."""
    rate, momentum, every = USE_EMA.values()
    return gradx.average_params(gradx.sgd(rate), lambda step: momentum * (step > 0), False, overwrite_every=every)


def of_average(**changes):
    hyper = OVERWRITTEN | changes
    options = {"debias": hyper["debias"], "overwrite_every": hyper["every"]}
    return gradx.average_params(gradx.sgd(hyper["learning_rate"]), hyper["decay"], **options)


TRAJECTORIES = [
    Row("lookahead", of_lookahead, lambda **c: Leafwise(lookahead, **(LOOKAHEAD | c)), hyper=LOOKAHEAD),
    Row("average_params", of_average, lambda **c: Leafwise(overwritten, **(OVERWRITTEN | c)), hyper=OVERWRITTEN),
    Row(
        "average_params without debias",
        lambda: of_average(debias=False),
        lambda **c: Leafwise(overwritten, **(OVERWRITTEN | {"debias": False} | c)),
        hyper=OVERWRITTEN | {"debias": False},
    ),
    Row("average_params, Keras's", of_use_ema, lambda **c: Leafwise(keras_ema, **(USE_EMA | c)), hyper=USE_EMA),
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
