"""RMSProp: divide by a running root mean square of the gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.momentum import momentum as heavy_ball
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, NonNegative, Params, Updates


class ScaleByRmsState(NamedTuple):
    """The state of `scale_by_rms`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


class ScaleByRStdDevState(NamedTuple):
    """The state of `scale_by_stddev`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


def rms_leaf(g, nu, *, decay, eps, c, eps_in_sqrt):
    """Return (g / sqrt(nu / c + eps), nu) with nu ← decay · nu + (1 - decay) · |g|²."""
    nu = decay * nu + (1 - decay) * numerics.abs_sq(g)
    return g / root(nu / c, eps, eps_in_sqrt), nu


def stddev_leaf(g, mu, nu, *, decay, eps, c, eps_in_sqrt):
    """Return (g / sqrt(nu / c - |mu / c|² + eps), mu, nu), mu and nu the running means of g and |g|²."""
    mu = decay * mu + (1 - decay) * g
    nu = decay * nu + (1 - decay) * numerics.abs_sq(g)
    variance = nu / c - numerics.abs_sq(mu / c)
    # Rounding may leave it just below 0. It is lifted by a constant: clamped, its derivative would be cut off at 0.
    variance = variance + jax.lax.stop_gradient(jnp.maximum(-variance, 0))
    return g / root(variance, eps, eps_in_sqrt), mu, nu


def root(x: jax.Array, eps: jax.Array, eps_in_sqrt: bool) -> jax.Array:
    """Return sqrt(x + eps), or sqrt(x) + eps."""
    return numerics.safe_sqrt(x + eps) if eps_in_sqrt else numerics.safe_sqrt(x) + eps


@transformation
def scale_by_rms(
    decay: Decay = 0.9,
    eps: NonNegative = 1e-8,
    initial_scale: NonNegative = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Any:
    """Divide by a running root mean square: nu ← decay · nu + (1 - decay) · |g|², u = g / sqrt(nu + eps).

    Args:
      decay: of the mean, in [0, 1).
      eps: added to the mean square.
      initial_scale: where nu starts.
      eps_in_sqrt: False gives u = g / (sqrt(nu) + eps), as in PyTorch.
      bias_correction: divide nu by 1 - decay^t, which undoes a start at zero.

    State: 1 number per parameter and int32[]. Hinton 2012, lecture 6e of "Neural Networks for Machine Learning".

    >>> import gradx
    >>> tx = gradx.scale_by_rms(decay=0.75, eps=0.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> float(updates)  # 3 / sqrt(9 / 4)
    2.0
    """

    def init(params: Params) -> ScaleByRmsState:
        nu = tree.real_full_like(params, initial_scale)
        return ScaleByRmsState(jnp.zeros((), jnp.int32), nu)

    def update(updates: Updates, state: ScaleByRmsState) -> tuple[Updates, ScaleByRmsState]:
        count = numerics.safe_increment(state.count)
        c = numerics.bias_correction(decay, count) if bias_correction else 1.0
        updates, nu = tree.map_leaves(rms_leaf, updates, state.nu, decay=decay, eps=eps, c=c, eps_in_sqrt=eps_in_sqrt)
        return updates, ScaleByRmsState(count, nu)

    return init, update


@transformation
def scale_by_stddev(
    decay: Decay = 0.9,
    eps: NonNegative = 1e-8,
    initial_scale: NonNegative = 0.0,
    eps_in_sqrt: bool = True,
    bias_correction: bool = False,
) -> Any:
    """Divide by a running standard deviation: u = g / sqrt(nu - |mu|² + eps).

    mu and nu are the running means of g and |g|².

    Arguments as in `scale_by_rms`; `bias_correction` divides both means.

    State: 2 numbers per parameter and int32[]. Graves 2013, arXiv:1308.0850, eq. 38-40.

    >>> import gradx
    >>> tx = gradx.scale_by_stddev(decay=0.5, eps=0.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> float(updates)  # 3 / sqrt(9 / 2 - 9 / 4)
    2.0
    """

    def init(params: Params) -> ScaleByRStdDevState:
        nu = tree.real_full_like(params, initial_scale)
        return ScaleByRStdDevState(jnp.zeros((), jnp.int32), tree.zeros_like(params), nu)

    def update(updates: Updates, state: ScaleByRStdDevState) -> tuple[Updates, ScaleByRStdDevState]:
        count = numerics.safe_increment(state.count)
        c = numerics.bias_correction(decay, count) if bias_correction else 1.0
        updates, mu, nu = tree.map_leaves(
            stddev_leaf, updates, state.mu, state.nu, decay=decay, eps=eps, c=c, eps_in_sqrt=eps_in_sqrt
        )
        return updates, ScaleByRStdDevState(count, mu, nu)

    return init, update


@transformation
def rmsprop(
    learning_rate: LearningRate,
    decay: Decay = 0.9,
    eps: NonNegative = 1e-8,
    initial_scale: NonNegative = 0.0,
    eps_in_sqrt: bool = True,
    centered: bool = False,
    momentum: Decay | None = None,
    nesterov: bool = False,
    bias_correction: bool = False,
) -> Any:
    """RMSProp: u = -learning_rate · g / sqrt(nu + eps), then momentum.

    Args:
      centered: divide by the standard deviation instead (Graves 2013).
      momentum: decay of a running sum of the steps, behind the learning rate. None keeps no sum.
      nesterov: the momentum's form.

    The rest as in `scale_by_rms`. PyTorch's RMSprop is `eps_in_sqrt=False`, and its alpha is `decay`.
    State: 1 number per parameter, one more each for `centered` and `momentum`. Hinton 2012, lecture 6e.

    >>> import gradx
    >>> gradx.rmsprop(1e-3, momentum=0.9)
    rmsprop(learning_rate=0.001, momentum=0.9)
    """
    by = scale_by_stddev if centered else scale_by_rms
    parts = [
        by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
    ]
    if momentum is not None:
        parts.append(heavy_ball(momentum, nesterov))
    return chain(*parts)
