"""The loss that belongs to a maximum function.

>>> import jax
>>> import jax.numpy as jnp
>>> loss = make_fenchel_young_loss(jax.nn.logsumexp)
>>> print(loss(jnp.zeros((2, 4)), jnp.eye(4)[:2]).round(4))
[1.3863 1.3863]
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments


def make_fenchel_young_loss(max_fun: Callable[..., jax.Array]) -> Callable[..., jax.Array]:
    """Return the loss max_fun(scores) - ⟨scores, targets⟩ over the last axis.

    `max_fun` is max_p ⟨scores, p⟩ - Ω(p) for some regulariser Ω, so that the loss differs by the constant Ω(targets)
    from the Fenchel-Young loss of the paper; its gradient is argmax_p minus the targets. Log-sum-exp gives softmax
    cross-entropy.

    Args:
      max_fun: from scores (n,), and whatever else the loss is called with, to a scalar.

    Returns: `loss(scores, targets, *args, where=None, **kwargs)`, with scores (..., n), targets that broadcast to them,
    and `where` the rows to include, of the scores' shape without the last axis; `args` and `kwargs` go to `max_fun`.

    Reduction: over the last axis only. Excluded rows are 0, and `max_fun` sees zeros in their place.

    Reference: Blondel, Martins and Niculae, Learning with Fenchel-Young Losses, arXiv:1901.02324.

    >>> from gradx import losses
    >>> import jax, jax.numpy as jnp
    >>> loss = losses.make_fenchel_young_loss(jax.nn.logsumexp)
    >>> round(float(loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))), 4)  # log 2
    0.6931
    """

    def fenchel_young_loss(
        scores: ArrayLike, targets: ArrayLike, *args: Any, where: ArrayLike | None = None, **kwargs: Any
    ) -> jax.Array:
        owner = "fenchel_young_loss"
        s, y = arguments.floats(owner, scores=scores, targets=targets)
        if s.ndim == 0:
            raise ValueError(f"{owner}: scores must have a last axis, got a scalar")
        y = arguments.expand_to(owner, "targets", y, s.shape, "scores")
        rows = arguments.mask(owner, where, s.shape[:-1])
        if rows is not None:
            s, y = arguments.blank(rows[..., None], s, y)
        largest = jnp.vectorize(lambda row: max_fun(row, *args, **kwargs), signature="(n)->()")(s)
        return arguments.keep(rows, largest - jnp.sum(s * y, axis=-1))

    return fenchel_young_loss
