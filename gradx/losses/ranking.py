"""Losses of a list of items with relevances.

>>> import jax.numpy as jnp
>>> print(ranking_softmax_loss(jnp.zeros((1, 4)), jnp.array([[1.0, 0.0, 0.0, 0.0]])).round(4))
1.3863
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments, normalize


def ranking_softmax_loss(
    logits: ArrayLike,
    labels: ArrayLike,
    *,
    where: ArrayLike | None = None,
    weights: ArrayLike | None = None,
    reduce_fn: Callable[..., jax.Array] | None = jnp.mean,
) -> jax.Array:
    """Return -Σ w y log softmax(x) over the items of a list, then reduced over lists.

    Args:
      logits: x, the items' scores, (..., items); finite, or -inf where the label is 0.
      labels: y >= 0, the items' relevances, that broadcast to the logits' shape; they need not sum to 1.
      where: the items to include, or the lists (the shape without the last axis).
      weights: w, one weight per item, that broadcast to the logits' shape.
      reduce_fn: reduces over the lists and takes a keyword `where` (`jnp.mean`, `jnp.sum`); None keeps each list.

    Reduction: sum over the items, then `reduce_fn` over those lists that have an included item; 0 if none has. A mean
    over an empty batch is NaN, as `jnp.mean` of nothing is.

    Raises: ValueError if the shapes do not fit.

    Reference: Cao et al., Learning to Rank: From Pairwise Approach to Listwise Approach, 2007 (ListNet).

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> round(float(losses.ranking_softmax_loss(jnp.array([0.0, 0.0]), jnp.array([1.0, 0.0]))), 4)  # log 2
    0.6931
    """
    owner = "ranking_softmax_loss"
    given = {} if weights is None else {"weights": weights}
    x, y, *w = arguments.floats(owner, logits=logits, labels=labels, **given)
    y = arguments.expand_to(owner, "labels", y, x.shape, "logits")
    if w:
        y = y * arguments.expand_to(owner, "weights", w[0], x.shape, "logits")
    over = arguments.axes(owner, -1, x.ndim)
    keep = arguments.mask(owner, where, x.shape, over)
    x, y = arguments.blank(keep, x, y)
    log_p = normalize.log_softmax(x, over, keep)
    absent = (y == 0) & (log_p < jnp.finfo(log_p.dtype).min)  # -inf, and no constant inf for the debug flags to find
    loss = -jnp.sum(y * jnp.where(absent, 0, log_p), axis=over)
    if reduce_fn is None or keep is None:
        return loss if reduce_fn is None else reduce_fn(loss)
    lists = jnp.any(keep, axis=over)
    # Without any list to reduce, reduce all: they are 0, and a mean over them divides by no zero.
    return reduce_fn(loss, where=lists | ~jnp.any(lists))
