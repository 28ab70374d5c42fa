"""What losses with an integer label share: an upper bound on the scores, minus the label's own score.

>>> import jax.numpy as jnp
>>> def largest(x, hot, over, keep):
...     return jnp.max(x, axis=over, where=keep, initial=-100)
>>> scores = jnp.array([[1.0, 3.0], [5.0, 2.0]])
>>> bound_minus_score("example", "scores", scores, jnp.array([0, 0]), -1, None, largest).tolist()
[2.0, 0.0]
"""

from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx.losses import arguments, normalize

Bound = Callable[[jax.Array, jax.Array, tuple[int, ...], jax.Array | None], jax.Array]
"""From scores of largest 0, their labels one-hot, the class axes and a mask to one number a row.

Adding c to all scores must add c to it, for the scores are shifted before.
"""


def bound_minus_score(
    owner: str,
    name: str,
    scores: ArrayLike,
    labels: ArrayLike,
    axis: int | tuple[int, ...],
    where: ArrayLike | None,
    bound: Bound,
) -> jax.Array:
    """Return bound(scores) - scores[label]; 0 if the row or the label is masked, NaN if the label is out of range."""
    (x,) = arguments.floats(owner, **{name: scores})
    over = arguments.axes(owner, axis, x.ndim)
    labels = arguments.integers(owner, "labels", labels)
    rows = tuple(n for i, n in enumerate(x.shape) if i not in over)
    if labels.shape != rows:
        raise ValueError(
            f"{owner}: labels must have the shape {rows} of {name} without its classes, got {labels.shape}"
        )
    keep = arguments.mask(owner, where, x.shape, over)
    (x,) = arguments.blank(keep, x)
    hot = one_hot(labels, x.shape, over)
    # Differences of large scores keep their digits if the largest is taken off first.
    (x,) = arguments.blank(keep, x - normalize.maximum(x, over, keep))
    loss = bound(x, hot, over, keep) - _own_score(x, labels, hot, over)
    if keep is not None:
        loss = jnp.where(jnp.any(hot & keep, axis=over), loss, 0)
    in_range = (labels >= 0) & (labels < arguments.size(x.shape, over))
    return arguments.keep_rows(keep, arguments.nan_unless(in_range, loss), over)


def _own_score(x: jax.Array, labels: jax.Array, hot: jax.Array, over: tuple[int, ...]) -> jax.Array:
    """Return scores[label]; some finite number if the label is out of range.

    A gather's gradient is written into the softmax's in place, where that of a comparison costs a copy of all scores;
    but a gather along a sharded axis is refused.
    """
    (axis, *others) = over
    if others or jax.typeof(x).sharding.spec[axis] is not None or x.shape[axis] == 0:
        return jnp.sum(jnp.where(hot, x, 0), axis=over)
    index = jnp.expand_dims(jnp.clip(labels, 0, x.shape[axis] - 1), axis)
    return jnp.squeeze(jnp.take_along_axis(x, index, axis=axis), axis)


def one_hot(labels: jax.Array, shape: tuple[int, ...], over: tuple[int, ...]) -> jax.Array:
    """Return bools of `shape`: whether an entry's flat index along the axes `over` is its row's label."""
    index = jnp.arange(arguments.size(shape, over), dtype=labels.dtype).reshape([shape[a] for a in over])
    index = jnp.transpose(index, [over.index(a) for a in sorted(over)])
    index = jnp.expand_dims(index, [a for a in range(len(shape)) if a not in over])
    return jnp.expand_dims(labels, over) == index
