"""Labels made less certain.

>>> import jax.numpy as jnp
>>> smooth_labels(jnp.array([0.0, 1.0]), 0.25).tolist()
[0.125, 0.875]
"""

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments


def smooth_labels(
    labels: ArrayLike, alpha: ArrayLike, *, axis: int | tuple[int, ...] = -1, where: ArrayLike | None = None
) -> jax.Array:
    """Return (1 - alpha) labels + alpha / K: a share of the probability spread over the K classes.

    Args:
      labels: distributions along `axis`, usually one-hot, (..., K).
      alpha: the share to spread, in [0, 1].
      axis: the axis or axes of the classes.
      where: the classes to include, or the rows (the shape without `axis`); K counts what is included.

    Reduction: none; the shape is that of `labels`. Excluded entries are 0.

    Raises: ValueError if `alpha` is out of range or `where` does not fit.

    Reference: Szegedy et al., Rethinking the Inception Architecture, arXiv:1512.00567, section 7.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> losses.smooth_labels(jnp.array([1.0, 0.0]), 0.5).tolist()
    [0.75, 0.25]
    """
    owner = "smooth_labels"
    (p,) = arguments.floats(owner, labels=labels)
    over = arguments.axes(owner, axis, p.ndim)
    alpha = arguments.number(owner, "alpha", alpha, arguments.FRACTION, p.dtype)
    keep = arguments.mask(owner, where, p.shape, over)
    if keep is None:
        return (1 - alpha) * p + alpha / max(arguments.size(p.shape, over), 1)
    (p,) = arguments.blank(keep, p)
    classes = jnp.maximum(jnp.sum(keep, axis=over, keepdims=True), 1).astype(p.dtype)
    return arguments.keep(keep, (1 - alpha) * p + alpha / classes)
