"""RMSProp: divide by a running root mean square of the gradients."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import identity, transformation
from gradx.transforms.momentum import momentum as heavy_ball
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, LearningRate, NonNegative, Params, Updates


class ScaleByRmsState(NamedTuple):
    """The state of `scale_by_rms`."""

    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


class ScaleByRmsWithCountState(NamedTuple):
    """The state of `scale_by_rms` with `bias_correction`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


class ScaleByRStdDevState(NamedTuple):
    """The state of `scale_by_stddev`."""

    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


class ScaleByRStdDevWithCountState(NamedTuple):
    """The state of `scale_by_stddev` with `bias_correction`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters, at least float32."""


RmsState = ScaleByRmsState | ScaleByRmsWithCountState
StdDevState = ScaleByRStdDevState | ScaleByRStdDevWithCountState


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


def count_on(state: Any, decay: Any) -> tuple[dict[str, jax.Array], Any]:
    """Return the next count, as fields of the state, and the divisor of the means: none and 1 where none is kept."""
    if "count" not in state._fields:
        return {}, 1.0
    count = numerics.safe_increment(state.count)
    return {"count": count}, numerics.bias_correction(decay, count)


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

    State: 1 number per parameter; int32[] to correct the bias. Hinton 2012, "Neural Networks for Machine Learning", 6e.

    >>> import gradx
    >>> tx = gradx.scale_by_rms(decay=0.75, eps=0.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> float(updates)  # 3 / sqrt(9 / 4)
    2.0
    """

    def init(params: Params) -> RmsState:
        nu = tree.real_full_like(params, initial_scale)
        return ScaleByRmsWithCountState(jnp.zeros((), jnp.int32), nu) if bias_correction else ScaleByRmsState(nu)

    def update(updates: Updates, state: RmsState) -> tuple[Updates, RmsState]:
        count, c = count_on(state, decay)
        updates, nu = tree.map_leaves(rms_leaf, updates, state.nu, decay=decay, eps=eps, c=c, eps_in_sqrt=eps_in_sqrt)
        return updates, state._replace(nu=nu, **count)

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

    State: 2 numbers per parameter; int32[] to correct the bias. Graves 2013, arXiv:1308.0850, eq. 38-40.

    >>> import gradx
    >>> tx = gradx.scale_by_stddev(decay=0.5, eps=0.0)
    >>> updates, _ = tx.update(3.0, tx.init(0.0))
    >>> float(updates)  # 3 / sqrt(9 / 2 - 9 / 4)
    2.0
    """

    def init(params: Params) -> StdDevState:
        mu, nu = tree.zeros_like(params), tree.real_full_like(params, initial_scale)
        if bias_correction:
            return ScaleByRStdDevWithCountState(jnp.zeros((), jnp.int32), mu, nu)
        return ScaleByRStdDevState(mu, nu)

    def update(updates: Updates, state: StdDevState) -> tuple[Updates, StdDevState]:
        count, c = count_on(state, decay)
        updates, mu, nu = tree.map_leaves(
            stddev_leaf, updates, state.mu, state.nu, decay=decay, eps=eps, c=c, eps_in_sqrt=eps_in_sqrt
        )
        return updates, state._replace(mu=mu, nu=nu, **count)

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
    return chain(
        by(decay, eps, initial_scale, eps_in_sqrt, bias_correction),
        scale_by_learning_rate(learning_rate),
        identity() if momentum is None else heavy_ball(momentum, nesterov),
    )
