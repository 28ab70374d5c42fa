"""Lion: steps of one size, in the direction of a sign."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative, Params, PositiveDecay, Updates

MODES = ("hard", "smooth", "refined")


class ScaleByLionState(NamedTuple):
    """The state of `scale_by_lion`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g at the decay b2; like the parameters, in `mu_dtype` or at least float32."""


def lion_leaf(g, mu, *, b1, b2, mode, smooth_beta):
    """Return (sign(b1 · mu + (1 - b1) · g), mu) with mu ← b2 · mu + (1 - b2) · g."""
    mu = b2 * mu + (1 - b2) * g
    # The direction out of the renewed mu, which is the same: had XLA to read the old mu again, it would copy it first.
    share = b1 / b2
    return sign(share * mu + (1 - share) * g, mode, smooth_beta), mu


def sign(x: jax.Array, mode: str, smooth_beta: jax.Array) -> jax.Array:
    """Return x / |x|, made continuous by the mode."""
    if mode == "hard":
        return jnp.sign(x)
    if mode == "refined":
        return jnp.where(jnp.abs(x) < 1, x, jnp.sign(x))
    return jnp.sign(x) * jnp.tanh(smooth_beta * jnp.abs(x)) if jnp.iscomplexobj(x) else jnp.tanh(smooth_beta * x)


@transformation
def scale_by_lion(
    b1: Decay = 0.9,
    b2: PositiveDecay = 0.99,
    mu_dtype: DType | None = None,
    *,
    mode: Literal["hard", "smooth", "refined"] = "hard",
    smooth_beta: NonNegative = 1.0,
) -> Any:
    """Replace the gradient by the sign of its mean: u = sign(b1 · mu + (1 - b1) · g), mu ← b2 · mu + (1 - b2) · g.

    Args:
      b1: weight of mu in the direction, in [0, 1).
      b2: decay of mu, in (0, 1).
      mode: "hard" is the sign; "smooth" is tanh(smooth_beta · x); "refined" is x held within ±1.
      smooth_beta: steepness of "smooth" at 0, at least 0.

    The sign of a complex number is x / |x|. State: 1 number per parameter and int32[].
    Chen et al. 2023, arXiv:2302.06675, Algorithm 2; the modes other than "hard" are Optax's.

    >>> import gradx
    >>> tx = gradx.scale_by_lion()
    >>> updates, _ = tx.update(-3.0, tx.init(0.0))
    >>> float(updates)
    -1.0
    """
    if mode not in MODES:
        raise ValueError(f"scale_by_lion: mode must be one of {', '.join(MODES)}, got {mode!r}")

    def init(params: Params) -> ScaleByLionState:
        return ScaleByLionState(jnp.zeros((), jnp.int32), moments_like(params, mu_dtype))

    def update(updates: Updates, state: ScaleByLionState) -> tuple[Updates, ScaleByLionState]:
        hyper = {"b1": b1, "b2": b2, "mode": mode, "smooth_beta": smooth_beta}
        updates, mu = tree.map_leaves(lion_leaf, updates, state.mu, **hyper)
        return updates, ScaleByLionState(numerics.safe_increment(state.count), mu)

    return init, update


@transformation
def lion(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: PositiveDecay = 0.99,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-3,
    mask: Mask | None = None,
) -> Any:
    """Lion: u = -learning_rate · (sign(b1 · mu + (1 - b1) · g) + weight_decay · p).

    Every entry moves by the learning rate: take one 3 to 10 times smaller than Adam's, and a weight decay as much
    larger. The other arguments are those of `scale_by_lion`.

    State: 1 number per parameter. Needs: params. Chen et al. 2023, arXiv:2302.06675, Algorithm 2.

    >>> import gradx
    >>> gradx.lion(1e-4, weight_decay=0.1)
    lion(learning_rate=0.0001, weight_decay=0.1)
    """
    return chain(
        scale_by_lion(b1, b2, mu_dtype),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
