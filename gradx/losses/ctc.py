"""Connectionist temporal classification: the likelihood of a label sequence under any alignment with the frames.

>>> import jax.numpy as jnp
>>> logits, labels = jnp.zeros((1, 2, 2)), jnp.array([[1]])
>>> print(ctc_loss(logits, jnp.zeros((1, 2)), labels, jnp.zeros((1, 1))).round(4))  # three of four paths
[0.2877]
"""

import functools
import operator
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike

from gradx import numerics
from gradx.losses import arguments, normalize


def ctc_loss(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: float = -1e5,
    where: ArrayLike | None = None,
) -> jax.Array:
    """Return -log p(labels | logits), summed over all alignments of the labels with the frames.

    An alignment names a class or a blank at every frame; it spells the labels once repeats are merged and blanks are
    dropped, so equal neighbours need a blank between them.

    Args:
      logits: (batch, frames, classes).
      logit_paddings: (batch, frames), 1 where a frame is padding, else 0; padding may stand anywhere.
      labels: (batch, length), integers in [0, classes) other than `blank_id`; padded ones may be anything.
      label_paddings: (batch, length), 1 where a label is padding; each row zeros, then ones.
      blank_id: the class of the blank.
      log_epsilon: stands for log 0, so that every gradient is finite.
      where: (batch,), the sequences to include.

    Reduction: none over the batch; the shape is (batch,), excluded sequences are 0. Labels that do not fit into the
    frames have a loss near -log_epsilon in place of infinity. A label out of range gives NaN.

    Raises: TypeError for labels that are no integers; ValueError for shapes that do not fit and a bad `blank_id`.

    Reference: Graves et al., Connectionist Temporal Classification, ICML 2006, section 4.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> logits, paddings = jnp.zeros((1, 2, 3)), jnp.zeros((1, 2))
    >>> labels = jnp.array([[1]])
    >>> loss = losses.ctc_loss(logits, paddings, labels, jnp.zeros((1, 1)))
    >>> round(float(loss[0]), 4)  # log 3: of the 9 ways through two frames, 3 spell the label
    1.0986
    """
    loss, _, _ = ctc_loss_with_forward_probs(
        logits, logit_paddings, labels, label_paddings, blank_id=blank_id, log_epsilon=log_epsilon, where=where
    )
    return loss


def ctc_loss_with_forward_probs(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    *,
    blank_id: int = 0,
    log_epsilon: float = -1e5,
    where: ArrayLike | None = None,
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Return `ctc_loss` and the logarithms of the forward probabilities.

    Args, reduction and errors are those of `ctc_loss`.

    Returns: (loss, blank, label). blank[t, b, n], (frames, batch, length + 1), is the log-probability that the frames
    up to t spell the first n labels and end in a blank; label[t, b, n], (frames, batch, length), that they spell the
    first n + 1 labels and end in the last of them; so at the last frame too, where Optax adds the label's share to the
    blank's. Padding frames repeat the frame before. Values near `log_epsilon` and below stand for log 0.

    >>> from gradx import losses
    >>> import jax.numpy as jnp
    >>> logits, paddings = jnp.zeros((1, 2, 3)), jnp.zeros((1, 2))
    >>> labels = jnp.array([[1]])
    >>> loss, blank, label = losses.ctc_loss_with_forward_probs(logits, paddings, labels, jnp.zeros((1, 1)))
    >>> blank.shape, label.shape
    ((2, 1, 2), (2, 1, 1))
    """
    problem = _check(logits, logit_paddings, labels, label_paddings, blank_id, where)
    log_zero = jnp.asarray(log_epsilon, problem.logits.dtype)
    log_p = normalize.log_softmax(problem.logits, (2,))
    # Frames first, for the scan: the blank's log-probability, the labels', and whether the frame is padding.
    frames = (
        jnp.moveaxis(log_p[..., operator.index(blank_id)], 1, 0)[..., None],
        jnp.moveaxis(_label_log_probabilities(log_p, problem.labels), 1, 0),
        jnp.moveaxis(problem.frame_padding, 1, 0)[..., None],
    )
    batch, length = problem.labels.shape
    repeats = problem.labels[:, 1:] == problem.labels[:, :-1]
    repeats = jnp.concatenate([jnp.zeros((batch, min(length, 1)), bool), repeats], axis=1)
    start = jnp.arange(length + 1)[None, :] == 0
    blank = jnp.broadcast_to(jnp.where(start, 0, log_zero), (batch, length + 1))
    label = jnp.full((batch, length), log_zero)
    frames, repeats, blank, label = numerics.vary_together(frames, repeats, blank, label)
    step = functools.partial(_advance, repeats=repeats, log_zero=log_zero)
    (blank, label), (blanks, emitted) = jax.lax.scan(step, (blank, label), frames)
    ends = jnp.logaddexp(blank, _shift(label, log_zero))
    at_end = jnp.arange(length + 1)[None, :] == problem.lengths[:, None]
    loss = -jnp.sum(jnp.where(at_end, ends, 0), axis=1)
    return arguments.keep(problem.keep, loss), blanks, emitted


class _Problem(NamedTuple):
    logits: jax.Array
    """(batch, frames, classes), 0 in padding and in excluded sequences."""
    frame_padding: jax.Array
    """bool (batch, frames)."""
    labels: jax.Array
    """(batch, length), 0 in padding."""
    lengths: jax.Array
    """(batch,), labels before the padding."""
    keep: jax.Array | None
    """bool (batch,)."""


def _check(
    logits: ArrayLike,
    logit_paddings: ArrayLike,
    labels: ArrayLike,
    label_paddings: ArrayLike,
    blank_id: int,
    where: ArrayLike | None,
) -> _Problem:
    owner = "ctc_loss"
    (x,) = arguments.floats(owner, logits=logits)
    labels = arguments.integers(owner, "labels", labels)
    frame_padding, label_padding = jnp.asarray(logit_paddings) != 0, jnp.asarray(label_paddings) != 0
    if x.ndim != 3:
        raise ValueError(f"{owner}: logits must be (batch, frames, classes), got {x.shape}")
    if frame_padding.shape != x.shape[:2]:
        raise ValueError(f"{owner}: logit_paddings must have the shape {x.shape[:2]}, got {frame_padding.shape}")
    if labels.ndim != 2 or labels.shape[0] != x.shape[0]:
        raise ValueError(f"{owner}: labels must be ({x.shape[0]}, length), got {labels.shape}")
    if label_padding.shape != labels.shape:
        raise ValueError(f"{owner}: label_paddings must have the shape {labels.shape}, got {label_padding.shape}")
    if not 0 <= blank_id < x.shape[2]:
        raise ValueError(f"{owner}: blank_id must be in [0, {x.shape[2]}), got {blank_id}")
    keep = arguments.mask(owner, where, x.shape[:1])
    real = ~frame_padding if keep is None else ~frame_padding & keep[:, None]
    lengths = jnp.sum(~label_padding, axis=1)
    return _Problem(jnp.where(real[..., None], x, 0), frame_padding, jnp.where(label_padding, 0, labels), lengths, keep)


def _label_log_probabilities(log_p: jax.Array, labels: jax.Array) -> jax.Array:
    """Return log_p[b, t, labels[b, n]] as (batch, frames, length), NaN for a label out of range."""
    classes = log_p.shape[2]
    in_range = (labels >= 0) & (labels < classes)
    picked = jnp.take_along_axis(log_p, jnp.clip(labels, 0, classes - 1)[:, None, :], axis=2)
    return arguments.nan_unless(in_range[:, None, :], picked)


def _shift(label: jax.Array, log_zero: jax.Array) -> jax.Array:
    """Return label[n - 1] at n, log 0 at n = 0: the state after n labels that ends in the n-th."""
    return jnp.concatenate([jnp.broadcast_to(log_zero, (label.shape[0], 1)), label], axis=1)


def _advance(
    states: tuple[jax.Array, jax.Array],
    frame: tuple[jax.Array, jax.Array, jax.Array],
    *,
    repeats: jax.Array,
    log_zero: jax.Array,
) -> tuple[tuple[jax.Array, jax.Array], tuple[jax.Array, jax.Array]]:
    """Take one frame into account; a label may follow its predecessor without a blank unless the two are equal."""
    blank, label = states
    blank_log_p, label_log_p, padding = frame
    before = _shift(label, log_zero)
    new_blank = jnp.logaddexp(blank, before) + blank_log_p
    entering = jnp.logaddexp(blank[:, :-1], jnp.where(repeats, log_zero, before[:, :-1]))
    new_label = jnp.logaddexp(label, entering) + label_log_p
    states = jnp.where(padding, blank, new_blank), jnp.where(padding, label, new_label)
    return states, states
