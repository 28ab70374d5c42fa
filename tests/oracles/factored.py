"""Float64 NumPy references of second moments that rows and columns share, and of averaged descent."""

import jax.numpy as jnp
import numpy as np

import gradx
from tests.oracles.layerwise import without_peer
from tests.oracles.optimizers import (
    MASK,
    direction,
    not_vectors,
    optimizer,
)
from tests.oracles.optimizers_trajectory import Leafwise, Row


def sm3_direction(t, g, p, memory, *, b1=0.9, b2=1.0, eps=1e-8):
    """Anil et al. 2019, SM3-II, the cover being the slices along each axis, entry by entry; momentum behind it."""
    ndim = max(np.ndim(g), 1) if np.ndim(g) < 2 else np.ndim(g)
    flat = np.reshape(g, (-1,)) if np.ndim(g) < 2 else g
    mu = memory.setdefault("mu", [np.zeros(flat.shape[r]) for r in range(ndim)])
    new = [np.zeros_like(x) for x in mu]
    scaled = np.zeros_like(flat)
    for i in np.ndindex(flat.shape):
        nu = b2 * min(mu[r][i[r]] for r in range(ndim)) + (1 if b2 == 1 else 1 - b2) * flat[i] ** 2
        scaled[i] = flat[i] / np.sqrt(nu + eps)
        for r in range(ndim):
            new[r][i[r]] = max(new[r][i[r]], nu)
    memory["mu"] = new
    m = memory["m"] = b1 * memory.get("m", 0.0) + (1 - b1) * np.reshape(scaled, np.shape(g))
    return m


def sm3(t, g, p, memory, *, learning_rate, momentum=0.9):
    """Anil et al. 2019, SM3-II."""
    return -learning_rate * sm3_direction(t, g, p, memory, b1=momentum)


def factored_direction(
    t, g, p, memory, *, factored=True, decay_rate=0.8, step_offset=0, min_dim_size_to_factor=128, epsilon=1e-30
):
    """Shazeer and Stern 2018, Algorithm 1 on the two largest axes, which go last; Algorithm 2 for the rest."""
    d = 1 - max(t - step_offset, 1) ** -decay_rate
    square = g**2 + epsilon
    shape = np.shape(g)
    if not factored or len(shape) < 2 or sorted(shape)[-2] < min_dim_size_to_factor:
        v = memory["v"] = d * memory.get("v", 0.0) + (1 - d) * square
        return g / np.sqrt(v)
    order = sorted(range(len(shape)), key=lambda axis: (shape[axis], axis))
    square = np.transpose(square, order)
    r = memory["r"] = d * memory.get("r", 0.0) + (1 - d) * square.sum(-1)
    c = memory["c"] = d * memory.get("c", 0.0) + (1 - d) * square.sum(-2)
    v = r[..., :, None] * c[..., None, :] / r.sum(-1)[..., None, None]
    return g / np.sqrt(np.transpose(v, np.argsort(order)))


def adafactor(
    t,
    g,
    p,
    memory,
    *,
    learning_rate=1.0,
    decay_offset=0,
    multiply_by_parameter_scale=True,
    clipping_threshold=1.0,
    momentum=None,
    weight_decay_rate=0.0,
    eps=1e-30,
    weight_decay_mask=True,
    **rest,
):
    """Shazeer and Stern 2018, Algorithms 4 and 5; with momentum a mean of the steps, and decay that the rate spares."""
    u = factored_direction(t, g, p, memory, step_offset=decay_offset, epsilon=eps, **rest)
    if clipping_threshold is not None:
        u = u / max(1.0, np.sqrt(np.mean(u**2)) / clipping_threshold)
    alpha = learning_rate * (max(1e-3, np.sqrt(np.mean(p**2))) if multiply_by_parameter_scale else 1.0)
    step = alpha * u
    if momentum is not None:
        step = memory["m"] = momentum * memory.get("m", 0.0) + (1 - momentum) * step
    return -(step + weight_decay_rate * p if weight_decay_mask else step)


def last_axes_factored(d, square, memory):
    """Return v from the means of `square` over the last axis and over the one before, as PyTorch and Keras take it."""
    if np.ndim(square) < 2:
        v = memory["v"] = d * memory.get("v", 0.0) + (1 - d) * square
        return v
    r = memory["r"] = d * memory.get("r", 0.0) + (1 - d) * square.mean(-1, keepdims=True)
    c = memory["c"] = d * memory.get("c", 0.0) + (1 - d) * square.mean(-2, keepdims=True)
    return r * c / r.mean(-2, keepdims=True)


def pytorch_adafactor(t, g, p, memory, *, lr=0.01, beta2_decay=-0.8, eps2=1e-3, d=1.0, weight_decay=0.0):
    """The formulas of `torch.optim.Adafactor`'s documentation, epsilon 1 left out: it bounds what is almost 0."""
    rho = min(lr, 1 / np.sqrt(t))
    alpha = max(eps2, np.sqrt(np.mean(p**2))) * rho
    u = g / np.sqrt(last_axes_factored(1 - t**beta2_decay, g**2, memory))
    return -lr * weight_decay * p - alpha * u / max(1.0, np.sqrt(np.mean(u**2)) / d)


def keras_adafactor(
    t,
    g,
    p,
    memory,
    *,
    learning_rate=1e-3,
    beta_2_decay=-0.8,
    epsilon_1=1e-30,
    epsilon_2=1e-3,
    clip_threshold=1.0,
    weight_decay=0.0,
):
    """`keras.optimizers.Adafactor`: the decay comes first, and the size of what it leaves scales the step."""
    left = p - p * weight_decay * learning_rate
    rho = min(learning_rate, 1 / np.sqrt(t))
    alpha = max(epsilon_2, np.sqrt(np.mean(left**2))) * rho
    u = g / np.sqrt(last_axes_factored(1 - t**beta_2_decay, g**2 + epsilon_1, memory))
    return left - alpha * u / max(1.0, np.sqrt(np.mean(u**2)) / clip_threshold) - p


def relative(rate, factor=1.0):
    """Return the schedule factor · min(rate, 1 / sqrt(t)), t = 1 at the first update."""
    return lambda step: factor * jnp.minimum(rate, (step + 1) ** -0.5)


PYTORCH = {"lr": 0.2, "beta2_decay": -0.6, "d": 1.1, "weight_decay": 0.1}
KERAS = {"learning_rate": 0.2, "beta_2_decay": -0.6, "clip_threshold": 0.8, "weight_decay": 0.1}


def like_pytorch():
    """Return gradx's Adafactor with the arguments that make it PyTorch's."""
    rate, decay = PYTORCH["lr"], PYTORCH["weight_decay"]
    hyper = {"decay_rate": -PYTORCH["beta2_decay"], "clipping_threshold": PYTORCH["d"]}
    return gradx.adafactor(relative(rate), 1, weight_decay_rate=rate * decay, last_axes=True, **hyper)


def like_keras():
    """Return the same for Keras."""
    rate, decay = KERAS["learning_rate"], KERAS["weight_decay"]
    hyper = {"decay_rate": -KERAS["beta_2_decay"], "clipping_threshold": KERAS["clip_threshold"]}
    slower = relative(rate, 1 - rate * decay)
    return gradx.adafactor(slower, 1, weight_decay_rate=rate * decay, last_axes=True, **hyper)


def asgd(t, g, p, memory, *, learning_rate=0.01, lambd=1e-4, alpha=0.75, weight_decay=0.0):
    """Bottou 2012, section 5.3, in PyTorch's order: decay, then the step."""
    eta = learning_rate / (1 + lambd * learning_rate * (t - 1)) ** alpha
    return p * (1 - lambd * eta) - eta * (g + weight_decay * p) - p


TRAJECTORIES: list[Row] = [
    # Optax has no sum for a scalar, and raises IndexError
    without_peer(optimizer("sm3", sm3, learning_rate=0.2, momentum=0.8)),
    without_peer(direction("scale_by_sm3", sm3_direction, b1=0.8, eps=0.1)),
    without_peer(direction("scale_by_sm3", sm3_direction, "scale_by_sm3, means", b1=0.5, b2=0.9, eps=0.1)),
    direction("scale_by_factored_rms", factored_direction, decay_rate=0.6, epsilon=0.1, min_dim_size_to_factor=3),
    direction(
        "scale_by_factored_rms",
        factored_direction,
        "scale_by_factored_rms, whole",
        factored=False,
        epsilon=0.1,
        min_dim_size_to_factor=2,
    ),
    without_peer(  # Optax raises a negative t to a power before the offset
        direction(
            "scale_by_factored_rms",
            factored_direction,
            "scale_by_factored_rms, offset",
            decay_rate=0.6,
            step_offset=3,
            epsilon=0.1,
            min_dim_size_to_factor=3,
        )
    ),
    optimizer("adafactor", adafactor, learning_rate=0.1, eps=0.1, min_dim_size_to_factor=2, clipping_threshold=0.8),
    optimizer(
        "adafactor",
        adafactor,
        "adafactor, momentum, decay",
        learning_rate=0.1,
        decay_rate=0.5,
        multiply_by_parameter_scale=False,
        clipping_threshold=None,
        momentum=0.8,
        weight_decay_rate=0.02,
        weight_decay_mask=MASK,
    ),
    optimizer(
        "adafactor",
        adafactor,
        "adafactor, mask",
        learning_rate=0.1,
        weight_decay_rate=0.02,
        weight_decay_mask=not_vectors,
    ),
    Row(
        "adafactor, PyTorch's",
        ours=like_pytorch,
        reference=lambda **changes: Leafwise(pytorch_adafactor, **(PYTORCH | changes)),
        torch=lambda torch, ps: torch.optim.Adafactor(ps, **PYTORCH),
        hyper=PYTORCH,
    ),
    Row(
        "adafactor, Keras's",
        ours=like_keras,
        reference=lambda **changes: Leafwise(keras_adafactor, **(KERAS | changes)),
        hyper=KERAS,
    ),
    without_peer(
        optimizer(
            "asgd",
            asgd,
            learning_rate=0.1,
            lambd=0.3,
            alpha=0.9,
            weight_decay=0.2,
            torch=lambda torch, ps: torch.optim.ASGD(ps, lr=0.1, lambd=0.3, alpha=0.9, weight_decay=0.2),
        )
    ),
]
