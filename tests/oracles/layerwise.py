"""Float64 NumPy references of steps by sign and by length, from the papers, and the rows that compare them."""

import dataclasses

import numpy as np

import gradx
from tests.oracles.optimizers import (
    FALLING_RATE,
    MASK,
    RATE,
    adam_direction,
    direction,
    not_vectors,
    optimizer,
    sgd,
)
from tests.oracles.optimizers_trajectory import Chain, Leafwise, Row, Tree
from tests.oracles.transforms import block


def sign(t, g, p, memory):
    """-1, 0 or 1."""
    return (g > 0) * 1.0 - (g < 0) * 1.0


def sign_sgd(t, g, p, memory, *, learning_rate):
    """Bernstein et al. 2018, Algorithm 1."""
    return -learning_rate * sign(t, g, p, memory)


def signum(t, g, p, memory, *, learning_rate, beta=0.9):
    """Bernstein et al. 2018, Algorithm 2."""
    m = memory["m"] = beta * memory.get("m", 0.0) + (1 - beta) * g
    return -learning_rate * sign(t, m, p, memory)


def length(x, least=0.0):
    """The Euclidean norm of all entries, or `least`."""
    return max(np.sqrt(np.sum(x**2)), least)


def trust_ratio(t, g, p, memory, *, min_norm=0.0, trust_coefficient=1.0, eps=0.0):
    """You et al. 2020, Algorithm 2, line 10, without the learning rate."""
    return trust_coefficient * length(p, min_norm) * g / (length(g, min_norm) + eps)


def block_norm(t, g, p, memory, *, min_scale=1e-3):
    """Multiply by the length of the parameters."""
    return g * length(p, min_scale)


def block_rms(t, g, p, memory, *, min_scale=1e-3):
    """Shazeer and Stern 2018, section 8: alpha = max(epsilon_2, RMS(x)) rho."""
    return g * max(min_scale, np.sqrt(np.mean(p**2)))


def normalize(grads: Tree, params: Tree, *, scale_factor: float = 1.0, eps: float = 1e-6) -> Tree:
    """Divide by the length of all arrays as one vector."""
    whole = length(np.concatenate([np.ravel(g) for g in grads.values()]))
    return {name: scale_factor * g / (whole + eps) for name, g in grads.items()}


def lars(
    t,
    g,
    p,
    memory,
    *,
    learning_rate,
    weight_decay=0.0,
    weight_decay_mask=True,
    trust_coefficient=1e-3,
    eps=0.0,
    trust_ratio_mask=True,
    momentum=0.9,
    nesterov=False,
):
    """You, Gitman and Ginsburg 2017, Algorithm 1; eps for its beta ‖w‖."""
    d = g + weight_decay * p if weight_decay_mask else g
    local = trust_coefficient * length(p) / (length(d) + eps) if trust_ratio_mask else 1.0
    step = learning_rate * local * d
    v = memory["v"] = momentum * memory.get("v", 0.0) + step
    return -(momentum * v + step if nesterov else v)


def lamb(t, g, p, memory, *, learning_rate, eps=1e-6, weight_decay=0.0, mask=True, **rest):
    """You et al. 2020, Algorithm 2."""
    r = adam_direction(t, g, p, memory, eps=eps, **rest)
    r = r + weight_decay * p if mask else r
    return -learning_rate * length(p) / length(r) * r


def fromage(t, g, p, memory, *, learning_rate, min_norm=1e-6):
    """Bernstein et al. 2020, Algorithm 1."""
    new = p - learning_rate * g * length(p, min_norm) / length(g, min_norm)
    return new / np.sqrt(1 + learning_rate**2) - p


def rprop_step(t, g, p, memory, *, learning_rate, eta_minus=0.5, eta_plus=1.2, min_step_size=1e-6, max_step_size=50.0):
    """Igel and Hüsken 2000, iRprop-, entry by entry: line 9 forgets the gradient whose sign has changed."""
    delta = memory.setdefault("delta", np.full(np.shape(g), learning_rate))
    last = memory.setdefault("g", np.zeros(np.shape(g)))
    g = np.array(g)
    for i in np.ndindex(np.shape(g)):
        if last[i] * g[i] > 0:
            delta[i] = min(delta[i] * eta_plus, max_step_size)
        elif last[i] * g[i] < 0:
            delta[i] = max(delta[i] * eta_minus, min_step_size)
            g[i] = 0.0
        last[i] = g[i]
    return np.sign(g) * delta


def rprop(t, g, p, memory, **rest):
    """Igel and Hüsken 2000, iRprop-."""
    return -rprop_step(t, g, p, memory, **rest)


def optimistic_direction(t, g, p, memory, *, alpha=1.0, beta=1.0):
    """Mokhtari et al. 2020, the generalised form; no change before the first gradient."""
    last = memory.get("g", g)
    memory["g"] = g
    return alpha * g + beta * (g - last)


def optimistic_gradient_descent(t, g, p, memory, *, learning_rate, **rest):
    """Daskalakis et al. 2018, eq. 5: w ← w - 2 eta g_t + eta g_{t-1}."""
    return -learning_rate * optimistic_direction(t, g, p, memory, **rest)


def optimistic_adam(t, g, p, memory, *, learning_rate, alpha=1.0, beta=1.0, nesterov=True, **rest):
    """Daskalakis et al. 2018, Algorithm 1, on Dozat's direction."""
    d = adam_direction(t, g, p, memory.setdefault("adam", {}), nesterov=nesterov, **rest)
    return optimistic_gradient_descent(t, d, p, memory, learning_rate=learning_rate, alpha=alpha, beta=beta)


def without_peer(row: Row) -> Row:
    """Return the row without Optax, whose definition is another."""
    return dataclasses.replace(row, optax=None)


TRAJECTORIES: list[Row] = [
    Row(  # with one rate for all steps, entries would come back to where they were
        "scale_by_sign",
        ours=lambda: gradx.chain(gradx.scale_by_sign(), gradx.sgd(FALLING_RATE.ours(gradx))),
        reference=lambda: Chain(Leafwise(sign), Leafwise(sgd, learning_rate=FALLING_RATE.value)),
        optax=lambda optax: optax.chain(optax.scale_by_sign(), optax.sgd(FALLING_RATE.ours(optax))),
    ),
    optimizer("sign_sgd", sign_sgd, learning_rate=FALLING_RATE),
    optimizer("signum", signum, learning_rate=0.02, beta=0.7),
    direction("scale_by_trust_ratio", trust_ratio, min_norm=1.0, trust_coefficient=0.5, eps=0.3),
    Row(
        "scale_by_param_block_norm",
        ours=lambda: gradx.chain(gradx.scale_by_param_block_norm(0.7), gradx.sgd(0.01)),
        reference=lambda min_scale=0.7: Chain(
            Leafwise(block_norm, min_scale=min_scale), Leafwise(sgd, learning_rate=0.01)
        ),
        optax=lambda optax: optax.chain(optax.scale_by_param_block_norm(0.7), optax.sgd(0.01)),
        hyper={"min_scale": 0.7},
    ),
    direction("scale_by_param_block_rms", block_rms, min_scale=0.7),
    block("normalize_by_update_norm", normalize, scale_factor=3.0, eps=0.3),
    optimizer("lars", lars, learning_rate=0.5, weight_decay=0.2, trust_coefficient=0.1, eps=0.3, momentum=0.8),
    optimizer(
        "lars",
        lars,
        "lars, Nesterov, masks",
        learning_rate=0.1,
        weight_decay=0.2,
        weight_decay_mask=MASK,
        trust_coefficient=0.5,
        trust_ratio_mask=not_vectors,
        momentum=0.7,
        nesterov=True,
    ),
    optimizer("lamb", lamb, learning_rate=0.02, b1=0.8, b2=0.95, eps=0.1, eps_root=0.1, weight_decay=0.2, mask=MASK),
    optimizer("lamb", lamb, "lamb, defaults", learning_rate=RATE),
    optimizer("fromage", fromage, learning_rate=0.2, min_norm=1.0),
    optimizer("fromage", fromage, "fromage, scheduled", learning_rate=FALLING_RATE),
    # Optax returns each step one update late, and 0 at the first
    without_peer(
        optimizer(
            "rprop",
            rprop,
            learning_rate=0.05,
            eta_minus=0.4,
            eta_plus=1.3,
            torch=lambda torch, ps: torch.optim.Rprop(ps, lr=0.05, etas=(0.4, 1.3)),
        )
    ),
    without_peer(
        optimizer(
            "rprop",
            rprop,
            "rprop, bounds",
            learning_rate=0.05,
            min_step_size=0.02,
            max_step_size=0.1,
            torch=lambda torch, ps: torch.optim.Rprop(ps, lr=0.05, step_sizes=(0.02, 0.1)),
        )
    ),
    without_peer(direction("scale_by_rprop", rprop_step, learning_rate=0.5)),
    direction("scale_by_optimistic_gradient", optimistic_direction, alpha=0.7, beta=0.4),
    optimizer(
        "optimistic_gradient_descent", optimistic_gradient_descent, learning_rate=FALLING_RATE, alpha=0.7, beta=0.4
    ),
    optimizer("optimistic_adam_v2", optimistic_adam, learning_rate=0.02, alpha=0.7, beta=0.4, b1=0.8, b2=0.95, eps=0.1),
    optimizer(
        "optimistic_adam_v2",
        optimistic_adam,
        "optimistic_adam_v2, not Nesterov",
        learning_rate=0.02,
        b2=0.95,
        eps=0.1,
        eps_root=0.1,
        nesterov=False,
    ),
]
