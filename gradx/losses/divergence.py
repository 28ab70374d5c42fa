"""Kullback-Leibler divergences between distributions, the model's given by logarithms.

Throughout, 0 log 0 is 0: a class that the target gives no probability contributes nothing, whatever the model says;
NaN alone is never passed over.

>>> import jax.numpy as jnp
>>> kl_divergence(jnp.log(jnp.array([0.5, 0.5, 0.0])), jnp.array([0.5, 0.5, 0.0])).tolist()
0.0
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments


def kl_divergence(
    log_predictions: ArrayLike,
    targets: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return KL(targets ‖ predictions) = Σ t (log t - log q).

    Args:
      log_predictions: log q, (..., K).
      targets: t >= 0, that broadcast to the shape of `log_predictions`.
      axis: the axis or axes of the distribution.
      where: the classes to include, or the rows (the shape without `axis`).

    Reduction: sum over `axis` only; a row of which nothing is included is 0. Where t is 0 the term and its gradients
    are 0, also at log q = -inf (the derivative in t there is minus infinity in truth). Where t is positive and log q is
    -inf the divergence is infinite, as it must be.

    Raises: ValueError if the shapes do not fit.

    Reference: Kullback and Leibler, On Information and Sufficiency, 1951.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> log_q = jnp.log(jnp.array([0.5, 0.5]))
    >>> round(float(losses.kl_divergence(log_q, jnp.array([1.0, 0.0]))), 4)  # log 2
    0.6931
    """
    log_q, t, over, keep = _arguments("kl_divergence", log_predictions, "targets", targets, axis, where)
    return _sum(keep, _terms(log_q, t), over)


def generalized_kl_divergence(
    log_predictions: ArrayLike,
    targets: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return Σ t (log t - log q) - t + q: the divergence of measures that need not sum to 1; never negative.

    Args, reduction and errors are those of `kl_divergence`. q = exp(log_predictions) overflows float32 above 88.

    Reference: Csiszár, Why Least Squares and Maximum Entropy?, 1991.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> log_q = jnp.log(jnp.array([0.5, 0.5]))
    >>> round(float(losses.generalized_kl_divergence(log_q, jnp.array([1.0, 1.0]))), 4)  # 2 log 2 - 1
    0.3863
    """
    owner = "generalized_kl_divergence"
    log_q, t, over, keep = _arguments(owner, log_predictions, "targets", targets, axis, where)
    return _sum(keep, _terms(log_q, t) + jnp.exp(log_q) - t, over)


def kl_divergence_with_log_targets(
    log_predictions: ArrayLike,
    log_targets: ArrayLike,
    axis: int | tuple[int, ...] = -1,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return KL(targets ‖ predictions) = Σ exp(log t) (log t - log q), both given by logarithms.

    Args:
      log_predictions: log q, (..., K).
      log_targets: log t, that broadcast to the shape of `log_predictions`; -inf where the target is 0.
      axis: the axis or axes of the distribution.
      where: the classes to include, or the rows (the shape without `axis`).

    Reduction: sum over `axis` only; a row of which nothing is included is 0. Where log t is -inf the term and its
    gradients are 0, also if log q is -inf.

    Raises: ValueError if the shapes do not fit.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> log_q = jnp.log(jnp.array([0.5, 0.5]))
    >>> round(float(losses.kl_divergence_with_log_targets(log_q, jnp.log(jnp.array([1.0, 0.0])))), 4)  # log 2
    0.6931
    """
    owner = "kl_divergence_with_log_targets"
    log_q, log_t, over, keep = _arguments(owner, log_predictions, "log_targets", log_targets, axis, where)
    # -inf alone is below the least number; `jax_debug_infs` would report a constant -inf to compare with
    absent = (log_t < jnp.finfo(log_t.dtype).min) & ~jnp.isnan(log_q)
    log_q, log_t = jnp.where(absent, 0, log_q), jnp.where(absent, 0, log_t)
    return _sum(keep, jnp.where(absent, 0, jnp.exp(log_t) * (log_t - log_q)), over)


def _terms(log_q: jax.Array, t: jax.Array) -> jax.Array:
    absent = (t == 0) & ~jnp.isnan(log_q)
    t, log_q = jnp.where(absent, 1, t), jnp.where(absent, 0, log_q)
    return jnp.where(absent, 0, t * (jnp.log(t) - log_q))


def _sum(keep: jax.Array | None, terms: jax.Array, over: tuple[int, ...]) -> jax.Array:
    return jnp.sum(arguments.keep(keep, terms), axis=over)


def _arguments(
    owner: str,
    log_predictions: ArrayLike,
    name: str,
    targets: ArrayLike,
    axis: int | tuple[int, ...],
    where: ArrayLike | None,
) -> tuple[jax.Array, jax.Array, tuple[int, ...], jax.Array | None]:
    log_q, t = arguments.floats(owner, log_predictions=log_predictions, targets=targets)
    t = arguments.expand_to(owner, name, t, log_q.shape, "log_predictions")
    over = arguments.axes(owner, axis, log_q.ndim)
    keep = arguments.mask(owner, where, log_q.shape, over)
    log_q, t = arguments.blank(keep, log_q, t)
    return log_q, t, over, keep
