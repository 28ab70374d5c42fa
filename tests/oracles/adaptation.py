"""Float64 NumPy references of D-Adaptation and Prodigy, whose sums are taken over all steps so far."""

import numpy as np

from tests.oracles.optimizers_trajectory import Row, Scheduled
from tests.oracles.parameter_free import each, total, whole


def adams_step(t, d, learning_rate, b1, b2):
    """Return Adam's step, both corrections of the start in it."""
    return d * learning_rate * np.sqrt(1 - b2**t) / (1 - b1**t)


def weighted(decay, terms):
    """Return the sum of decay^(t - i) · terms[i] of trees or numbers."""
    ages = range(len(terms) - 1, -1, -1)
    if isinstance(terms[0], dict):
        return {name: sum(decay**age * x[name] for age, x in zip(ages, terms, strict=True)) for name in terms[0]}
    return sum(decay**age * x for age, x in zip(ages, terms, strict=True))


def prodigy(
    t, grads, params, memory, *, learning_rate=1.0, betas=(0.9, 0.999), beta3=None, eps=1e-8, estim_lr0=1e-6,
    estim_lr_coef=1.0, weight_decay=0.0, safeguard_warmup=False,
):  # fmt: skip
    """Mishchenko and Defazio 2024, Algorithm 4, with the step of Adam; not divided by estim_lr0."""
    b1, b2 = betas
    b3 = np.sqrt(b2) if beta3 is None else beta3
    d, start = memory.setdefault("d", estim_lr0), memory.setdefault("start", dict(params))
    step = adams_step(t, d, learning_rate, b1, b2)
    history = memory.setdefault("history", {"m": [], "v": [], "s": [], "r": []})
    history["m"].append(each(lambda g: (1 - b1) * d * g, grads))
    history["v"].append(each(lambda g: (1 - b2) * (d * g) ** 2, grads))
    history["s"].append(each(lambda g: d * (d if safeguard_warmup else step) * g, grads))
    history["r"].append(d * step * total(lambda g, p0, p: g * (p0 - p), grads, start, params))
    length = total(np.abs, weighted(b3, history["s"]))
    memory["d"] = d_next = max(d, estim_lr_coef * weighted(b3, history["r"]) / length)
    m, v = weighted(b1, history["m"]), weighted(b2, history["v"])
    return each(lambda m, v, p: -step * (m / (np.sqrt(v) + d_next * eps) + weight_decay * p), m, v, params)


def dadapt_adamw(
    t, grads, params, memory, *, learning_rate=1.0, betas=(0.9, 0.999), eps=1e-8, estim_lr0=1e-6, weight_decay=0.0
):
    """Defazio and Mishchenko 2023, Algorithm 5, with the step of Adam."""
    b1, b2 = betas
    b3, d = np.sqrt(b2), memory.setdefault("d", estim_lr0)
    step = adams_step(t, d, learning_rate, b1, b2)
    history = memory.setdefault("history", {"m": [], "v": [], "s": [], "r": []})
    way = 0.0
    if t > 1:
        before = weighted(b3, history["s"]), weighted(b2, history["v"])
        way = total(lambda g, s, v: g * s / (np.sqrt(v) + eps), grads, *before)
    history["m"].append(each(lambda g: (1 - b1) * step * g, grads))
    history["v"].append(each(lambda g: (1 - b2) * g**2, grads))
    history["s"].append(each(lambda g: (1 - b3) * step * g, grads))
    history["r"].append((1 - b3) * step * way)
    length = (1 - b3) * total(np.abs, weighted(b3, history["s"]))
    memory["d"] = max(d, weighted(b3, history["r"]) / length)
    m, v = weighted(b1, history["m"]), weighted(b2, history["v"])
    return each(lambda m, v, p: -m / (np.sqrt(v) + eps) - step * weight_decay * p, m, v, params)


FALLING = Scheduled(lambda lib: lib.linear_schedule(1.0, 0.1, 40), lambda n: 1.0 - 0.9 * min(n / 40, 1))
DECAYS = (0.8, 0.95)

TRAJECTORIES: list[Row] = [
    whole(
        "prodigy", prodigy, betas=DECAYS, eps=0.3, estim_lr0=0.01, estim_lr_coef=0.8, weight_decay=0.2,
    ),
    whole(
        "prodigy", prodigy, "prodigy, scheduled, safeguarded", peer=None, learning_rate=FALLING, betas=DECAYS,
        beta3=0.8, eps=0.3, estim_lr0=0.02, safeguard_warmup=True,
    ),
    whole("prodigy", prodigy, "prodigy, defaults", peer=None, estim_lr0=0.01),  # Optax's 1 - b2**t cancels
    whole(
        "dadapt_adamw", dadapt_adamw, learning_rate=1.5, betas=DECAYS, eps=0.03, estim_lr0=0.02, weight_decay=0.1,
    ),
    whole(
        "dadapt_adamw", dadapt_adamw, "dadapt_adamw, scheduled", peer=None, learning_rate=FALLING, betas=DECAYS,
        eps=0.03, estim_lr0=0.05,
    ),
]  # fmt: skip
