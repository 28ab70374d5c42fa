"""Float64 NumPy references of those kin of Adam that Optax has in its contrib, and the rows that compare them."""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.moments import descent, means
from tests.oracles.optimizers import BLOCK_RATE, FALLING_RATE, MASK, Scheduled, sgd
from tests.oracles.optimizers_trajectory import Chain, Leafwise, Row, of_library, of_reference


def acprop_direction(t, g, p, memory, *, b1=0.9, b2=0.999, eps=1e-16, eps_root=1e-16):
    """Zhuang et al. 2021, Algorithm 2, with g less the mean before it; the first step is plain."""
    m, s = memory.get("m", 0.0), memory.get("s", 0.0)
    size = np.sqrt(s / (1 - b2 ** (t - 1))) if t > 1 else 1.0
    memory["s"] = b2 * s + (1 - b2) * (g - m) ** 2 + eps_root
    memory["m"] = b1 * m + (1 - b1) * g
    return g / (size + eps)


def ademamix_direction(t, g, p, memory, *, b1=0.9, b2=0.999, b3=0.9999, alpha=6.0, eps=1e-8, eps_root=0.0):
    """Pagliardini et al. 2024, Algorithm 1."""
    m1, v = means(g, memory, b1=b1, b2=b2)
    m2 = memory["m2"] = b3 * memory.get("m2", 0.0) + (1 - b3) * g
    return (m1 / (1 - b1**t) + alpha * m2) / (np.sqrt(v / (1 - b2**t) + eps_root) + eps)


def simplified_direction(t, g, p, memory, *, b1=0.99, b2=0.95, alpha=0.0, eps=1e-8, eps_root=0.0):
    """Morwani et al. 2025, Algorithm 1."""
    m = memory["m"] = b1 * memory.get("m", 0.0) + g
    n = memory["n"] = b2 * memory.get("n", 0.0) + (1 - b2) * g**2
    return (m + alpha * g) / (np.sqrt(n / (1 - b2**t) + eps_root) + eps)


def adopt_direction(
    t, g, p, memory, *, b1=0.9, b2=0.9999, eps=1e-6, nesterov=False, use_clipping=True, clip_value_fn=None
):
    """Taniguchi et al. 2024, Algorithm 2, without clipping Algorithm 1; the paper's step 0 is t = 1 here.

    The bound arrives as its value at this step.
    """
    if t == 1:
        memory["v"], memory["m"] = g**2, np.zeros_like(g)
        return np.zeros_like(g)
    bound = ((t - 1) ** 0.25 if clip_value_fn is None else clip_value_fn) if use_clipping else np.inf
    x = np.clip(g / np.maximum(np.sqrt(memory["v"]), eps), -bound, bound)
    m = memory["m"] = b1 * memory["m"] + (1 - b1) * x
    memory["v"] = b2 * memory["v"] + (1 - b2) * g**2
    return b1 * m + (1 - b1) * x if nesterov else m


def madgrad_step(t, g, p, memory, *, learning_rate, momentum=0.9, eps=1e-6):
    """Defazio and Jelassi 2021, Algorithm 1, eps added to the learning rate too."""
    x0 = memory.setdefault("x0", p)
    rate = (learning_rate + eps) * np.sqrt(t)
    s = memory["s"] = memory.get("s", 0.0) + rate * g
    v = memory["v"] = memory.get("v", 0.0) + rate * g**2
    z = x0 - s / (np.cbrt(v) + eps)
    return momentum * p + (1 - momentum) * z - p


def madgrad(t, g, p, memory, *, weight_decay=0.0, **rest):
    """Defazio and Jelassi 2021, Algorithm 1, on the gradient with L2 regularisation."""
    return madgrad_step(t, g + weight_decay * p, p, memory, **rest)


def line(count):
    """A bound that is no schedule of gradx, only a function."""
    return 0.3 + 0.02 * count


def contrib(name: str, leaf: Callable, title: str = "", **hyper: Any) -> Row:
    """Return the row of an optimizer of `optax.contrib`."""
    return Row(
        name=title or name,
        ours=lambda: getattr(gradx, name)(**of_library(gradx, hyper)),
        reference=lambda **changes: Leafwise(leaf, **(of_reference(hyper) | changes)),
        optax=lambda optax: getattr(optax.contrib, name)(**of_library(optax, hyper)),
        hyper=hyper,
    )


def block(name: str, leaf: Callable, title: str = "", **hyper: Any) -> Row:
    """Return the row of a `scale_by_*` of `optax.contrib` with plain descent behind it."""
    return Row(
        name=title or name,
        ours=lambda: gradx.chain(getattr(gradx, name)(**hyper), gradx.sgd(BLOCK_RATE)),
        reference=lambda **changes: Chain(Leafwise(leaf, **(hyper | changes)), Leafwise(sgd, learning_rate=BLOCK_RATE)),
        optax=lambda optax: optax.chain(getattr(optax.contrib, name)(**hyper), optax.sgd(BLOCK_RATE)),
        hyper=hyper,
    )


RISING_ALPHA = Scheduled(lambda lib: lib.linear_schedule(0.0, 5.0, 30), lambda n: 5.0 * min(n / 30, 1))

TRAJECTORIES: list[Row] = [
    contrib(
        "acprop",
        descent(acprop_direction),
        learning_rate=0.02,
        b1=0.8,
        b2=0.9,
        eps=0.3,
        eps_root=0.05,
        weight_decay=0.2,
        mask=MASK,
    ),
    block("scale_by_acprop", acprop_direction, b1=0.8, b2=0.9, eps=0.5, eps_root=0.05),
    contrib(
        "ademamix",
        descent(ademamix_direction),
        learning_rate=0.02,
        b1=0.8,
        b2=0.9,
        b3=0.95,
        alpha=RISING_ALPHA,
        eps=0.1,
        weight_decay=0.2,
        mask=MASK,
    ),
    block("scale_by_ademamix", ademamix_direction, b1=0.8, b2=0.9, b3=0.95, alpha=2.0, eps=0.1, eps_root=0.1),
    contrib(
        "simplified_ademamix",
        descent(simplified_direction),
        learning_rate=0.02,
        b1=0.7,
        b2=0.9,
        alpha=1.5,
        eps=0.1,
        weight_decay=0.2,
        mask=MASK,
    ),
    block("scale_by_simplified_ademamix", simplified_direction, b1=0.5, b2=0.9, alpha=0.7, eps=0.5, eps_root=0.1),
    contrib("adopt", descent(adopt_direction), learning_rate=0.05, b1=0.8, b2=0.9, eps=0.5),
    contrib(
        "adopt",
        descent(adopt_direction),
        "adopt, Nesterov, no clipping",
        learning_rate=0.02,
        b1=0.8,
        b2=0.9,
        eps=0.5,
        nesterov=True,
        use_clipping=False,
    ),
    block("scale_by_adopt", adopt_direction, b1=0.7, b2=0.9, eps=0.5, clip_value_fn=line),
    contrib("madgrad", madgrad, learning_rate=0.05, momentum=0.7, weight_decay=0.2, eps=0.1),
    contrib("madgrad", madgrad, "madgrad, scheduled", learning_rate=FALLING_RATE, momentum=0.8, eps=0.01),
    contrib("scale_by_madgrad", madgrad_step, learning_rate=0.05, momentum=0.7, eps=0.1),
]
