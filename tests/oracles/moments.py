"""Float64 NumPy references of Adam's kin, from the papers, and the rows that compare them.

As in `optimizers.py`: one array at a time, t is 1 at the first step, and each hyperparameter moves the trajectory.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from tests.oracles.optimizers import (
    FALLING_RATE,
    MASK,
    RISING_MOMENTUM,
    direction,
    not_vectors,
    optimizer,
)
from tests.oracles.optimizers_trajectory import Row


def descent(rule: Callable) -> Callable:
    """Return the optimizer -learning_rate · (direction + weight_decay · p) of a direction."""

    def leaf(t, g, p, memory, *, learning_rate, weight_decay=0.0, mask=True, **rest):
        decay = weight_decay * p if mask else 0.0
        return -learning_rate * (rule(t, g, p, memory, **rest) + decay)

    return leaf


def means(g, memory, **decays):
    """Renew and return the running means of g and g², from 0, at the decays b1 and b2."""
    m = memory["m"] = decays["b1"] * memory.get("m", 0.0) + (1 - decays["b1"]) * g
    v = memory["v"] = decays["b2"] * memory.get("v", 0.0) + (1 - decays["b2"]) * g**2
    return m, v


def belief(t, g, p, memory, *, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16, nesterov=False):
    """Zhuang et al. 2020, Algorithm 2; with `nesterov` the momentum of Dozat 2016."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    s = memory["s"] = b2 * memory.get("s", 0.0) + (1 - b2) * (g - m) ** 2 + eps_root
    m_hat, s_hat = m / (1 - b1**t), s / (1 - b2**t)
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    return m_hat / (np.sqrt(s_hat) + eps)


def adamax_direction(t, g, p, memory, *, b1=0.9, b2=0.999, eps=1e-8):
    """Kingma and Ba 2015, Algorithm 2, with eps on |g|."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * g
    u = memory["u"] = np.maximum(b2 * memory.get("u", 0.0), np.abs(g) + eps)
    return m / (1 - b1**t) / u


def amsgrad_direction(
    t,
    g,
    p,
    memory,
    *,
    b1=0.9,
    b2=0.999,
    eps=1e-8,
    eps_root=0.0,
    bias_correction_mu=True,
    bias_correction_nu=True,
):
    """Reddi, Kale and Kumar 2018, Algorithm 2; bias corrected or, as there, not."""
    m, v = means(g, memory, b1=b1, b2=b2)
    m = m / (1 - b1**t) if bias_correction_mu else m
    v = v / (1 - b2**t) if bias_correction_nu else v
    v_hat = memory["v_hat"] = np.maximum(memory.get("v_hat", 0.0), v)
    return m / (np.sqrt(v_hat + eps_root) + eps)


def lion_direction(t, g, p, memory, *, b1=0.9, b2=0.99, mode="hard", smooth_beta=1.0):
    """Chen et al. 2023, Algorithm 2."""
    m = memory.get("m", np.zeros_like(g))
    c = b1 * m + (1 - b1) * g
    memory["m"] = b2 * m + (1 - b2) * g
    return {"hard": np.sign(c), "smooth": np.tanh(smooth_beta * c), "refined": np.clip(c, -1, 1)}[mode]


def radam_direction(t, g, p, memory, *, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0, threshold=5.0, nesterov=False):
    """Liu et al. 2020, Algorithm 2."""
    m, v = means(g, memory, b1=b1, b2=b2)
    m_hat = m / (1 - b1**t)
    if nesterov:
        m_hat = b1 * m / (1 - b1 ** (t + 1)) + (1 - b1) * g / (1 - b1**t)
    rho_inf = 2 / (1 - b2) - 1
    rho = rho_inf - 2 * t * b2**t / (1 - b2**t)
    if rho < threshold:
        return m_hat
    r = np.sqrt((rho - 4) * (rho - 2) * rho_inf / ((rho_inf - 4) * (rho_inf - 2) * rho))
    return r * m_hat / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


def yogi_direction(t, g, p, memory, *, b1=0.9, b2=0.999, eps=1e-3, eps_root=0.0, initial_accumulator_value=1e-6):
    """Zaheer et al. 2018, Algorithm 2, both moments from a number on and bias corrected."""
    m = memory["m"] = b1 * memory.get("m", initial_accumulator_value) + (1 - b1) * g
    v = memory.get("v", initial_accumulator_value)
    v = memory["v"] = v - (1 - b2) * np.sign(v - g**2) * g**2
    return m / (1 - b1**t) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


def adan_direction(t, g, p, memory, *, b1=0.98, b2=0.92, b3=0.99, eps=1e-8, eps_root=0.0):
    """Xie et al. 2022, Algorithm 1, in the paper's betas, which are 1 less these; bias corrected."""
    beta1, beta2, beta3 = 1 - b1, 1 - b2, 1 - b3
    d = g - memory.get("g", g)
    memory["g"] = g
    m = memory["m"] = (1 - beta1) * memory.get("m", 0.0) + beta1 * g
    v = memory["v"] = (1 - beta2) * memory.get("v", 0.0) + beta2 * d
    n = memory["n"] = (1 - beta3) * memory.get("n", 0.0) + beta3 * (g + (1 - beta2) * d) ** 2
    m, v, n = m / (1 - b1**t), v / (1 - b2**t), n / (1 - b3**t)
    return (m + (1 - beta2) * v) / (np.sqrt(n + eps_root) + eps)


def novograd_direction(t, g, p, memory, *, b1=0.9, b2=0.25, eps=1e-8, eps_root=0.0, weight_decay=0.0):
    """Ginsburg et al. 2019, Algorithm 1."""
    square = np.sum(g**2)
    v = memory["v"] = b2 * memory["v"] + (1 - b2) * square if "v" in memory else square
    scaled = g / (np.sqrt(v + eps_root) + eps) + weight_decay * p
    m = memory["m"] = b1 * memory["m"] + scaled if "m" in memory else scaled
    return m


def novograd(t, g, p, memory, *, learning_rate, **rest):
    """Ginsburg et al. 2019, Algorithm 1, the decay inside the sum."""
    return -learning_rate * novograd_direction(t, g, p, memory, **rest)


def nadam_direction(t, g, p, memory, *, momentum_decay, b1=0.9, b2=0.999, eps=1e-8, eps_root=0.0):
    """Dozat 2016, Algorithm 8, the mean of g at the highest momentum, as in PyTorch's NAdam."""
    m, v = means(g, memory, b1=b1, b2=b2)
    momenta = [b1 * (1 - 0.5 * 0.96 ** (i * momentum_decay)) for i in range(1, t + 2)]
    m_bar = (1 - momenta[-2]) * g / (1 - np.prod(momenta[:-1])) + momenta[-1] * m / (1 - np.prod(momenta))
    return m_bar / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


def without_optax(row: Row) -> Row:
    """Return the row without the peer."""
    return dataclasses.replace(row, optax=None)


def moments(name: str, rule: Callable, title: str = "", **hyper: Any) -> Row:
    """Return the row of an optimizer with decoupled weight decay."""
    return optimizer(name, descent(rule), title, **hyper)


TRAJECTORIES: list[Row] = [
    moments("adabelief", belief, learning_rate=0.05, b1=0.8, b2=0.95, eps=0.1, eps_root=1e-2),
    moments("adabelief", belief, "adabelief, Nesterov", learning_rate=0.02, b1=0.8, b2=0.9, eps=0.1, nesterov=True),
    direction("scale_by_belief", belief, b1=0.7, b2=0.9, eps=0.1, eps_root=1e-2),
    moments(
        "adamax",
        adamax_direction,
        learning_rate=0.05,
        b1=0.8,
        b2=0.95,
        eps=0.1,
        torch=lambda torch, ps: torch.optim.Adamax(ps, lr=0.05, betas=(0.8, 0.95), eps=0.1),
    ),
    moments("adamax", adamax_direction, "adamax, scheduled", learning_rate=FALLING_RATE, b1=RISING_MOMENTUM, b2=0.9),
    moments("adamaxw", adamax_direction, learning_rate=0.05, b1=0.8, b2=0.9, weight_decay=0.2, mask=MASK),
    direction("scale_by_adamax", adamax_direction, b1=0.8, b2=0.9, eps=0.1),
    moments("amsgrad", amsgrad_direction, learning_rate=0.05, b1=0.8, b2=0.9, eps=0.1, eps_root=1e-2),
    moments(
        "amsgrad",
        amsgrad_direction,
        "amsgrad, the paper's",
        learning_rate=0.05,
        b1=0.8,
        b2=0.8,
        eps=0.1,
        bias_correction_mu=False,
        bias_correction_nu=False,
    ),
    direction("scale_by_amsgrad", amsgrad_direction, b1=0.8, b2=0.9, eps=0.1, bias_correction_mu=False),
    moments("lion", lion_direction, learning_rate=0.02, b1=0.8, b2=0.95, weight_decay=0.2, mask=not_vectors),
    moments(
        "lion", lion_direction, "lion, scheduled", learning_rate=FALLING_RATE, b1=RISING_MOMENTUM, weight_decay=0.1
    ),
    direction("scale_by_lion", lion_direction, "scale_by_lion, smooth", b1=0.6, b2=0.9, mode="smooth", smooth_beta=2.0),
    direction("scale_by_lion", lion_direction, "scale_by_lion, refined", b1=0.95, b2=0.8, mode="refined"),
    moments("radam", radam_direction, learning_rate=0.05, b1=0.8, b2=0.9, eps=0.1, eps_root=1e-2),
    moments("radam", radam_direction, "radam, Nesterov", learning_rate=0.05, b1=0.8, b2=0.9, eps=0.1, nesterov=True),
    # torch adds eps to sqrt(v), before v is freed of its start at 0
    moments(
        "radam",
        radam_direction,
        "radam, eps 0",
        learning_rate=0.05,
        b1=0.8,
        b2=0.9,
        eps=0.0,
        torch=lambda torch, ps: torch.optim.RAdam(ps, lr=0.05, betas=(0.8, 0.9), eps=0.0),
    ),
    # Optax takes rho = 1999 - 1994 in float32: r has two digits, and with b2 = 0.9995 it begins a step early.
    without_optax(
        moments(
            "radam",
            radam_direction,
            "radam, defaults",
            learning_rate=0.01,
            torch=lambda torch, ps: torch.optim.RAdam(ps, lr=0.01),
        )
    ),
    direction("scale_by_radam", radam_direction, b1=0.8, b2=0.9, eps=0.1, threshold=7.0),
    moments("yogi", yogi_direction, learning_rate=0.05, b1=0.8, b2=0.9, eps=0.1),
    direction("scale_by_yogi", yogi_direction, b1=0.8, b2=0.9, eps=0.1, eps_root=0.1, initial_accumulator_value=0.3),
    # Optax's weight of the differences is 1 - b2, where the paper's is b2: google-deepmind/optax#1715.
    without_optax(
        moments(
            "adan",
            adan_direction,
            learning_rate=0.05,
            b1=0.9,
            b2=0.8,
            b3=0.95,
            eps=0.1,
            eps_root=1e-2,
            weight_decay=0.2,
            mask=MASK,
        )
    ),
    without_optax(direction("scale_by_adan", adan_direction, b1=0.9, b2=0.7, b3=0.9, eps=0.1)),
    optimizer("novograd", novograd, learning_rate=0.05, b1=0.8, b2=0.5, eps=0.1, eps_root=0.1, weight_decay=0.2),
    direction("scale_by_novograd", novograd_direction, b1=0.8, b2=0.5, eps=0.1, eps_root=0.1, weight_decay=0.2),
    # Optax has no rising momentum; with momentum_decay = 1 it is that of Keras.
    without_optax(
        moments(
            "nadam",
            nadam_direction,
            "nadam, rising",
            learning_rate=0.05,
            b2=0.9,
            eps=0.1,
            momentum_decay=1.0,
            torch=lambda torch, ps: torch.optim.NAdam(ps, lr=0.05, betas=(0.9, 0.9), eps=0.1, momentum_decay=1.0),
        )
    ),
    dataclasses.replace(
        moments(
            "nadam",
            nadam_direction,
            "nadam, PyTorch's",
            learning_rate=0.05,
            b1=0.95,
            momentum_decay=4e-3,
            torch=lambda torch, ps: torch.optim.NAdam(ps, lr=0.05, betas=(0.95, 0.999)),
        ),
        optax=None,
        hyper={"learning_rate": 0.05, "b1": 0.95},  # fifty steps hardly feel how slowly the momentum rises
    ),
    without_optax(
        moments(
            "nadamw",
            nadam_direction,
            "nadamw, PyTorch's",
            learning_rate=0.05,
            b1=0.8,
            b2=0.9,
            eps=0.1,
            weight_decay=0.2,
            momentum_decay=0.5,
            torch=lambda torch, ps: torch.optim.NAdam(
                ps, 0.05, (0.8, 0.9), 0.1, weight_decay=0.2, momentum_decay=0.5, decoupled_weight_decay=True
            ),
        )
    ),
    without_optax(
        moments(
            "nadamw",
            nadam_direction,
            "nadamw, rising",
            learning_rate=0.05,
            b1=0.8,
            b2=0.9,
            eps=0.1,
            eps_root=1e-2,
            weight_decay=0.2,
            mask=MASK,
            momentum_decay=0.5,
        )
    ),
    without_optax(direction("scale_by_nadam", nadam_direction, b1=0.8, b2=0.9, eps=0.1, momentum_decay=0.5)),
]
