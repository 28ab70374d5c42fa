"""Float64 NumPy references of the classic optimizers, from the papers, and the rows that compare them.

A reference says what the paper says, in its order, for one array; t is 1 at the first step. Hyperparameters in the rows
are chosen so that each of them moves the trajectory by far more than the tolerances: an eps of 1e-8 would hide whether
it stands inside the root or outside.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.optimizers_trajectory import Chain, Leafwise, Row, Scheduled, of_library, of_reference


def sgd(t, g, p, memory, *, learning_rate, momentum=None, nesterov=False):
    """Sutskever et al. 2013, eq. 1-4, in the variables where the gradient is taken, learning rate outside the sum."""
    if momentum is None:
        return -learning_rate * g
    v = memory["v"] = momentum * memory.get("v", 0.0) + g
    return -learning_rate * (momentum * v + g if nesterov else v)


def adam_direction(t, g, p, memory, *, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, nesterov=False):
    """Kingma and Ba 2015, Algorithm 1; with `nesterov` Dozat 2016, Algorithm 2, with constant momentum."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    v = memory["v"] = b2 * memory.get("v", 0.0) + (1 - b2) * g**2
    m_hat, v_hat = m / (1 - b1**t), v / (1 - b2**t)
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    return m_hat / (np.sqrt(v_hat + eps_root) + eps)


def adam(t, g, p, memory, *, learning_rate, **rest):
    """Kingma and Ba 2015, Algorithm 1."""
    return -learning_rate * adam_direction(t, g, p, memory, **rest)


def nadam(t, g, p, memory, *, learning_rate, **rest):
    """Dozat 2016, Algorithm 2."""
    return -learning_rate * adam_direction(t, g, p, memory, nesterov=True, **rest)


def adamw(t, g, p, memory, *, learning_rate, weight_decay=1e-4, mask=True, **rest):
    """Loshchilov and Hutter 2019, Algorithm 2, the decay multiplied by the learning rate."""
    decay = weight_decay * p if mask else 0.0
    return -learning_rate * (adam_direction(t, g, p, memory, **rest) + decay)


def nadamw(t, g, p, memory, **rest):
    """As `adamw`, on Dozat 2016, Algorithm 2."""
    return adamw(t, g, p, memory, nesterov=True, **rest)


def rms_direction(
    t, g, p, memory, *, decay=0.9, eps=1e-8, initial_scale=0.0, eps_in_sqrt=True, bias_correction=False, centered=False
):
    """Hinton 2012, lecture 6e: the mean of g² at `decay`; centered, Graves 2013, eq. 38-40: less the mean squared."""
    n = memory["n"] = decay * memory.get("n", initial_scale) + (1 - decay) * g**2
    gbar = memory["g"] = decay * memory.get("g", 0.0) + (1 - decay) * g
    if bias_correction:
        n, gbar = n / (1 - decay**t), gbar / (1 - decay**t)
    # At the first step the debiased variance is 0, which rounding can miss from below.
    variance = np.maximum(n - gbar**2, 0) if centered else n
    return g / (np.sqrt(variance + eps) if eps_in_sqrt else np.sqrt(variance) + eps)


def stddev_direction(t, g, p, memory, **rest):
    """Graves 2013, eq. 38-40."""
    return rms_direction(t, g, p, memory, centered=True, **rest)


def rmsprop(t, g, p, memory, *, learning_rate, momentum=None, nesterov=False, **rest):
    """Hinton 2012; with momentum Graves 2013, eq. 41-42: the sum is of steps, learning rate inside."""
    step = -learning_rate * rms_direction(t, g, p, memory, **rest)
    if momentum is None:
        return step
    delta = memory["delta"] = momentum * memory.get("delta", 0.0) + step
    return momentum * delta + step if nesterov else delta


def rss_direction(t, g, p, memory, *, initial_accumulator_value=0.1, eps=1e-7):
    """Duchi, Hazan and Singer 2011, Figure 1, diagonal; the sum starts at a number."""
    s = memory["s"] = memory.get("s", initial_accumulator_value) + g**2
    return g / np.sqrt(s + eps)


def adagrad(t, g, p, memory, *, learning_rate, **rest):
    """Duchi, Hazan and Singer 2011, Figure 1."""
    return -learning_rate * rss_direction(t, g, p, memory, **rest)


def adadelta_direction(t, g, p, memory, *, rho=0.9, eps=1e-6):
    """Zeiler 2012, Algorithm 1, without the sign."""

    def rms(mean_square):
        return np.sqrt(mean_square + eps)

    eg = memory["eg"] = rho * memory.get("eg", 0.0) + (1 - rho) * g**2
    dx = rms(memory.get("ex", 0.0)) / rms(eg) * g
    memory["ex"] = rho * memory.get("ex", 0.0) + (1 - rho) * dx**2
    return dx


def adadelta(t, g, p, memory, *, learning_rate=1.0, weight_decay=0.0, weight_decay_mask=True, **rest):
    """Zeiler 2012, Algorithm 1, on the gradient with L2 regularisation."""
    g = g + weight_decay * p if weight_decay_mask else g
    return -learning_rate * adadelta_direction(t, g, p, memory, **rest)


BLOCK_RATE = 0.1
"""The learning rate behind a building block, which does not descend by itself."""


def optimizer(name: str, leaf: Callable, title: str = "", *, torch: Callable | None = None, **hyper: Any) -> Row:
    """Return the row of an optimizer that gradx, Optax and the reference call alike."""
    scheduled = any(isinstance(h, Scheduled) for h in hyper.values())

    def peer(optax: Any) -> Any:
        make = getattr(optax, name)
        return (optax.inject_hyperparams(make) if scheduled else make)(**of_library(optax, hyper))

    return Row(
        name=title or name,
        ours=lambda: getattr(gradx, name)(**of_library(gradx, hyper)),
        reference=lambda **changes: Leafwise(leaf, **(of_reference(hyper) | changes)),
        optax=peer,
        torch=torch,
        hyper=hyper,
    )


def direction(name: str, leaf: Callable, title: str = "", **hyper: Any) -> Row:
    """Return the row of a `scale_by_*` with plain descent behind it."""
    return Row(
        name=title or name,
        ours=lambda: gradx.chain(getattr(gradx, name)(**hyper), gradx.sgd(BLOCK_RATE)),
        reference=lambda **changes: Chain(Leafwise(leaf, **(hyper | changes)), Leafwise(sgd, learning_rate=BLOCK_RATE)),
        optax=lambda optax: optax.chain(getattr(optax, name)(**hyper), optax.sgd(BLOCK_RATE)),
        hyper=hyper,
    )


def not_vectors(params):
    """Decay matrices and kernels only: the usual mask."""
    return {name: np.ndim(p) >= 2 for name, p in params.items()}


def shrinking(step):
    """A schedule that is no value of gradx, only a function."""
    return 0.1 * 0.97**step


MASK = {"heads": True, "kernel": False, "matrix": True, "scalar": False, "vector": True}

RATE = 0.01
"""Where b2 is left at 0.999: Optax takes 1 - b2**t in float32, which loses four digits at the first steps and alone
moves its trajectory by 2e-4 times the learning rate."""

DEBIASED_EPS = 1.0
"""Where a variance is debiased: it is 0 at the first step, the difference of two equal numbers, of which float32 leaves
rounding alone; the root of that is seen unless eps is larger."""

RISING_MOMENTUM = Scheduled(lambda lib: lib.linear_schedule(0.5, 0.95, 30), lambda n: 0.5 + 0.45 * min(n / 30, 1))
FALLING_RATE = Scheduled(lambda lib: lib.exponential_decay(0.1, 20, 0.5), lambda n: 0.1 * 0.5 ** (n / 20))
COSINE_RATE = Scheduled(
    lambda lib: lib.cosine_decay_schedule(0.1, 40, 0.1),
    lambda n: 0.1 * (0.9 * (1 + np.cos(np.pi * min(n / 40, 1))) / 2 + 0.1),
)
PLAIN_FUNCTION = Scheduled(lambda lib: shrinking, lambda n: 0.1 * 0.97**n)
RISING_DECAY = Scheduled(
    lambda lib: lib.linear_schedule(0.0, 0.2, 25, 10), lambda n: 0.2 * np.clip((n - 10) / 25, 0, 1)
)

TRAJECTORIES: list[Row] = [
    optimizer("sgd", sgd, learning_rate=0.1, torch=lambda torch, ps: torch.optim.SGD(ps, lr=0.1)),
    optimizer("sgd", sgd, "sgd, a plain function as schedule", learning_rate=PLAIN_FUNCTION),
    optimizer(
        "sgd",
        sgd,
        "sgd, momentum",
        learning_rate=0.05,
        momentum=0.9,
        torch=lambda torch, ps: torch.optim.SGD(ps, lr=0.05, momentum=0.9),
    ),
    optimizer(
        "sgd",
        sgd,
        "sgd, Nesterov",
        learning_rate=0.05,
        momentum=0.8,
        nesterov=True,
        torch=lambda torch, ps: torch.optim.SGD(ps, lr=0.05, momentum=0.8, nesterov=True),
    ),
    optimizer("rmsprop", rmsprop, learning_rate=0.02, decay=0.95, eps=1e-2),
    optimizer(
        "rmsprop",
        rmsprop,
        "rmsprop, eps outside the root",
        learning_rate=0.02,
        decay=0.8,
        eps=1e-2,
        eps_in_sqrt=False,
        torch=lambda torch, ps: torch.optim.RMSprop(ps, lr=0.02, alpha=0.8, eps=1e-2),
    ),
    optimizer(
        "rmsprop",
        rmsprop,
        "rmsprop, centered",
        learning_rate=0.02,
        decay=0.9,
        eps=1e-2,
        initial_scale=0.5,
        centered=True,
    ),
    optimizer(
        "rmsprop",
        rmsprop,
        "rmsprop, centered, eps outside the root",
        learning_rate=0.01,
        decay=0.9,
        eps=0.1,
        eps_in_sqrt=False,
        centered=True,
        torch=lambda torch, ps: torch.optim.RMSprop(ps, lr=0.01, alpha=0.9, eps=0.1, centered=True),
    ),
    optimizer(
        "rmsprop",
        rmsprop,
        "rmsprop, momentum",
        learning_rate=0.01,
        decay=0.9,
        eps=1e-2,
        eps_in_sqrt=False,
        momentum=0.8,
        torch=lambda torch, ps: torch.optim.RMSprop(ps, lr=0.01, alpha=0.9, eps=1e-2, momentum=0.8),
    ),
    optimizer(
        "rmsprop",
        rmsprop,
        "rmsprop, Nesterov, bias correction",
        learning_rate=0.01,
        decay=0.9,
        eps=1e-2,
        momentum=0.8,
        nesterov=True,
        bias_correction=True,
    ),
    optimizer(
        "rmsprop",
        rmsprop,
        "rmsprop, centered, momentum, bias correction",
        learning_rate=0.01,
        decay=0.5,
        eps=DEBIASED_EPS,
        centered=True,
        momentum=0.7,
        bias_correction=True,
    ),
    optimizer("rmsprop", rmsprop, "rmsprop, scheduled", learning_rate=FALLING_RATE, decay=0.9, eps=1e-2, momentum=0.7),
    direction("scale_by_rms", rms_direction, decay=0.8, eps=1e-2, initial_scale=0.3),
    direction(
        "scale_by_rms",
        rms_direction,
        "scale_by_rms, bias correction, eps outside the root",
        decay=0.8,
        eps=1e-2,
        eps_in_sqrt=False,
        bias_correction=True,
    ),
    direction("scale_by_stddev", stddev_direction, decay=0.8, eps=0.1, initial_scale=0.3),
    direction(
        "scale_by_stddev",
        stddev_direction,
        "scale_by_stddev, bias correction",
        decay=0.5,
        eps=DEBIASED_EPS,
        bias_correction=True,
    ),
    optimizer(
        "adam",
        adam,
        learning_rate=0.05,
        b1=0.8,
        b2=0.95,
        eps=1e-2,
        torch=lambda torch, ps: torch.optim.Adam(ps, lr=0.05, betas=(0.8, 0.95), eps=1e-2),
    ),
    optimizer(
        "adam", adam, "adam, defaults", learning_rate=RATE, torch=lambda torch, ps: torch.optim.Adam(ps, lr=RATE)
    ),
    optimizer("adam", adam, "adam, eps_root", learning_rate=0.05, b1=0.8, b2=0.95, eps=1e-2, eps_root=1e-2),
    direction("scale_by_adam", adam_direction, b1=0.8, b2=0.95, eps=1e-2, nesterov=True),
    Row(
        "add_decayed_weights before adam (L2)",
        ours=lambda: gradx.chain(gradx.add_decayed_weights(0.3), gradx.adam(RATE, eps=1e-2)),
        reference=lambda: Chain(
            lambda grads, params: {name: g + 0.3 * params[name] for name, g in grads.items()},
            Leafwise(adam, learning_rate=RATE, eps=1e-2),
        ),
        optax=lambda optax: optax.chain(optax.add_decayed_weights(0.3), optax.adam(RATE, eps=1e-2)),
        torch=lambda torch, ps: torch.optim.Adam(ps, lr=RATE, eps=1e-2, weight_decay=0.3),
    ),
    optimizer(
        "adamw",
        adamw,
        learning_rate=0.05,
        b1=0.8,
        b2=0.95,
        eps=1e-2,
        weight_decay=0.2,
        torch=lambda torch, ps: torch.optim.AdamW(ps, lr=0.05, betas=(0.8, 0.95), eps=1e-2, weight_decay=0.2),
    ),
    optimizer("adamw", adamw, "adamw, mask by pytree", learning_rate=RATE, eps=1e-2, weight_decay=0.2, mask=MASK),
    optimizer("adamw", adamw, "adamw, mask by function", learning_rate=RATE, weight_decay=0.2, mask=not_vectors),
    optimizer(
        "adamw",
        adamw,
        "adamw, everything scheduled",
        learning_rate=COSINE_RATE,
        b1=RISING_MOMENTUM,
        b2=0.95,
        eps=1e-2,
        weight_decay=RISING_DECAY,
    ),
    optimizer("nadam", nadam, learning_rate=0.05, b1=0.8, b2=0.95, eps=1e-2, eps_root=1e-2),
    optimizer("nadamw", nadamw, learning_rate=0.05, b1=0.8, b2=0.95, eps=1e-2, weight_decay=0.2, mask=MASK),
    optimizer("adagrad", adagrad, learning_rate=0.3, initial_accumulator_value=0.2, eps=0.1),
    optimizer(
        "adagrad",
        adagrad,
        "adagrad, eps 0",
        learning_rate=0.3,
        initial_accumulator_value=0.2,
        eps=0.0,
        torch=lambda torch, ps: torch.optim.Adagrad(ps, lr=0.3, initial_accumulator_value=0.2, eps=0.0),
    ),
    direction("scale_by_rss", rss_direction, initial_accumulator_value=0.2, eps=0.1),
    optimizer(
        "adadelta",
        adadelta,
        learning_rate=0.8,
        rho=0.8,
        eps=1e-3,
        weight_decay=0.2,
        torch=lambda torch, ps: torch.optim.Adadelta(ps, lr=0.8, rho=0.8, eps=1e-3, weight_decay=0.2),
    ),
    optimizer(
        "adadelta",
        adadelta,
        "adadelta, mask",
        learning_rate=0.8,
        rho=0.8,
        eps=1e-3,
        weight_decay=0.2,
        weight_decay_mask=not_vectors,
    ),
    direction("scale_by_adadelta", adadelta_direction, rho=0.8, eps=1e-3),
]
