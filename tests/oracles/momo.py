"""Float64 NumPy references of MoMo, its model of the loss in sums over all steps so far, and of the plateau rule."""

from dataclasses import replace

import numpy as np

from tests.oracles.optimizers import BLOCK_RATE
from tests.oracles.optimizers_trajectory import Row, Whole, loss
from tests.oracles.parameter_free import FALLING, each, squared_norm, total, whole, with_loss


def dot(x, y):
    """Return <x, y>."""
    return total(np.multiply, x, y)


def weights(t, decay, starts_with_first):
    """Return the weights of the steps so far in a running mean; it starts at the first, or at 0."""
    own = [(1 - decay) * decay**age for age in reversed(range(t))]
    return [decay ** (t - 1), *own[1:]] if starts_with_first else own


def model(t, grads, params, memory, value, decay, starts_with_first):
    """Return the mean gradient, and f + <m, p> - the mean of <g, p>: the model of the loss at p, and the sum alone."""
    history = memory.setdefault("history", [])
    history.append((grads, value, dot(grads, params)))
    w = weights(t, decay, starts_with_first)
    m = {name: sum(x * g[name] for x, (g, _, _) in zip(w, history, strict=True)) for name in grads}
    f = sum(x * loss for x, (_, loss, _) in zip(w, history, strict=True))
    gamma = sum(x * along for x, (_, _, along) in zip(w, history, strict=True))
    return m, f - gamma, dot(m, params)


def step(memory, rest, inner, square, c1, learning_rate, lower_bound, weight_decay, adapt_lower_bound):
    """Schaipp et al. 2024: the step, and the bound of section 4."""
    bound, growth = memory.setdefault("bound", lower_bound), 1 + learning_rate * weight_decay
    if adapt_lower_bound:
        cap = growth * rest + inner
        if cap < growth * c1 * bound:
            bound = max(cap / (2 * c1 * growth), lower_bound)
    tau = min(learning_rate / c1, max(growth * (rest - c1 * bound) + inner, 0) / square)
    if adapt_lower_bound:
        memory["bound"] = max((rest + inner - tau * square / 2) / c1, lower_bound)
    return tau, growth


def momo(
    t, grads, params, memory, *, value, learning_rate=1.0, beta=0.9, lower_bound=0.0, weight_decay=0.0,
    adapt_lower_bound=False,
):  # fmt: skip
    """Schaipp et al. 2024, Algorithm 1."""
    m, rest, inner = model(t, grads, params, memory, value, beta, starts_with_first=True)
    bounds = learning_rate, lower_bound, weight_decay, adapt_lower_bound
    tau, growth = step(memory, rest, inner, squared_norm(m), 1.0, *bounds)
    return each(lambda m, p: (p - tau * m) / growth - p, m, params)


def momo_adam(
    t, grads, params, memory, *, value, learning_rate=1e-2, b1=0.9, b2=0.999, eps=1e-8, lower_bound=0.0,
    weight_decay=0.0, adapt_lower_bound=False,
):  # fmt: skip
    """Schaipp et al. 2024, Algorithm 2."""
    m, rest, inner = model(t, grads, params, memory, value, b1, starts_with_first=False)
    v = memory["v"] = each(lambda v, g: b2 * v + (1 - b2) * g**2, memory.get("v", each(np.zeros_like, grads)), grads)
    d = each(lambda m, v: m / (np.sqrt(v / (1 - b2**t)) + eps), m, v)
    bounds = learning_rate, lower_bound, weight_decay, adapt_lower_bound
    tau, growth = step(memory, rest, inner, dot(m, d), 1 - b1**t, *bounds)
    return each(lambda d, p: (p - tau * d) / growth - p, d, params)


def reduce_on_plateau(
    t, grads, params, memory, *, value, factor=0.1, patience=10, rtol=1e-4, atol=0.0, cooldown=0, accumulation_size=1,
    min_scale=0.0,
):  # fmt: skip
    """Count the means without improvement; no mean is counted while it cools down."""
    values = memory.setdefault("values", [])
    values.append(value)
    if len(values) == accumulation_size:
        mean, best = np.mean(values), memory.get("best", np.inf)
        values.clear()
        is_better = best == np.inf or mean < best - rtol * abs(best) - atol
        memory["best"] = mean if is_better else best
        memory["bad"] = 0 if is_better else memory.get("bad", 0) + 1
        if memory.get("cooling", 0):
            memory["cooling"] -= 1
            memory["bad"] = 0
        elif memory["bad"] == patience:
            memory["scale"] = max(memory.get("scale", 1.0) * factor, min_scale)
            memory["cooling"], memory["bad"] = cooldown, 0
    return each(lambda g: memory.get("scale", 1.0) * g, grads)


def with_negative_loss(params):
    """Return the loss, moved below 0."""
    return {"value": loss(params) - 20}


def normalize(grads, params):
    """Divide by the length."""
    return each(lambda g: g / np.sqrt(squared_norm(grads)), grads)


TRAJECTORIES: list[Row] = [
    whole("momo", momo, extras=with_loss, learning_rate=0.5, beta=0.8, lower_bound=7.0),
    whole("momo", momo, "momo, adapted", extras=with_loss, learning_rate=0.1, beta=0.8, lower_bound=4,
          adapt_lower_bound=True),
    # Optax does not divide the step by 1 + learning_rate · weight_decay
    whole("momo", momo, "momo, decay", peer=None, extras=with_loss, learning_rate=FALLING, beta=0.8, lower_bound=7.0,
          weight_decay=0.1),
    whole("momo_adam", momo_adam, extras=with_loss, learning_rate=0.3, b1=0.8, b2=0.95, eps=0.1, lower_bound=8.0),
    whole("momo_adam", momo_adam, "momo_adam, adapted", extras=with_loss, learning_rate=0.2, b1=0.8, b2=0.95, eps=0.1,
          lower_bound=7.0, adapt_lower_bound=True),
    whole("momo_adam", momo_adam, "momo_adam, decay", peer=None, extras=with_loss, learning_rate=FALLING, b1=0.8,
          b2=0.95, eps=0.1, lower_bound=8.0, weight_decay=0.1),
    whole("reduce_on_plateau", reduce_on_plateau, block=BLOCK_RATE, extras=with_loss, factor=0.6, patience=2, rtol=0.02,
          cooldown=1, accumulation_size=2, min_scale=0.5),
    # which means are improvements does not change with the margins' last digits: see tests/test_parameter_free.py
    replace(
        whole("reduce_on_plateau", reduce_on_plateau, "reduce_on_plateau, loss below 0", peer=None, block=BLOCK_RATE,
              extras=with_negative_loss, factor=0.5, patience=3, rtol=0.01, atol=0.1),
        hyper={"factor": 0.5},
    ),
    whole("normalize", normalize, kind=Whole, block=BLOCK_RATE),
]  # fmt: skip
