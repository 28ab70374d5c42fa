"""Losses of sets, images and sequences: pairs by loops, overlaps by sums, alignments by listing every one."""

import functools
import itertools

import jax.numpy as jnp
import numpy as np
import optax
from scipy.special import expit, log_softmax, softmax

from gradx import losses
from tests.oracles.case import Case
from tests.oracles.losses_elements import with_where

SAMPLES, WIDTH = 5, 3
CLASS_WEIGHTS = np.array([1.0, 2.0, 0.5])


def embeddings(rng):
    return rng.normal(size=(SAMPLES, WIDTH)), np.array([0, 1, 0, 1, 1])


def ntxent(x, labels, temperature=0.5, keep=None):
    x, labels = (x, labels) if keep is None else (x[keep], labels[keep])
    unit = x / np.linalg.norm(x, axis=1, keepdims=True)
    s = np.exp(unit @ unit.T / temperature)
    terms = []
    for i, j in itertools.permutations(range(len(x)), 2):
        if labels[i] == labels[j]:
            terms.append(-np.log(s[i, j] / (s[i, j] + s[i, labels != labels[i]].sum())))
    return np.mean(terms)


IMAGES = (2, 3, 2, 3)


COLUMN = (2, 6, 1)


def image_logits(rng):
    """Logits and one-hot targets in which every class occurs."""
    labels = rng.integers(0, IMAGES[-1], size=IMAGES[:-1])
    labels[0, 0, :], labels[0, 1, 0] = (0, 1), 2
    return rng.normal(size=IMAGES), np.eye(IMAGES[-1])[labels]


def tversky(p, t, where=None, alpha=0.5, beta=0.5, smooth=1.0, axis=None):
    """Per image and class, from the three counts."""
    where = np.ones_like(p) * (1 if where is None else where)
    axis = tuple(range(1, p.ndim - 1)) if axis is None else axis
    hits, extra, missed = ((where * x).sum(axis) for x in (p * t, p * (1 - t), (1 - p) * t))
    return 1 - (hits + smooth) / (hits + alpha * extra + beta * missed + smooth)


def generalized_dice(x, t, where=1.0, skip=0):
    weights = 1 / (t * where).sum((0, 1, 2))[skip:] ** 2
    return (tversky(softmax(x, axis=-1), t, where)[:, skip:] @ weights / weights.sum()).mean()


def pixel_mask(rng):
    """A mask that leaves each class somewhere."""
    keep = rng.uniform(size=(*IMAGES[:-1], 1)) > 0.4
    keep[0, :2] = True
    return *image_logits(rng), keep


FRAMES, SYMBOLS, LENGTH = 4, 3, 2


def sequences(rng):
    """Four sequences: plain, with equal neighbours, with fewer frames, with a shorter label and padding inside."""
    logits = rng.normal(size=(4, FRAMES, SYMBOLS))
    frame_padding = np.array([[0, 0, 0, 0], [0, 0, 0, 0], [0, 0, 0, 1], [0, 1, 0, 0]])
    labels = np.array([[1, 2], [2, 2], [2, 1], [1, 0]])
    return logits, frame_padding, labels, np.array([[0, 0], [0, 0], [0, 0], [0, 1]])


def spelled(path):
    """What an alignment spells: repeats merged, blanks (0) dropped."""
    return tuple(symbol for symbol, _ in itertools.groupby(path) if symbol)


@functools.cache
def alignments(frames, label, end=None):
    """All paths that spell `label`, ending in a blank or a label if `end` says so; indices to add log-probabilities."""
    paths = [p for p in itertools.product(range(SYMBOLS), repeat=frames) if spelled(p) == label]
    if end is not None:
        paths = [p for p in paths if (p[-1] == 0) == (end == "blank")]
    return np.array(paths, dtype=int).reshape(-1, frames)


def likelihood(log_p, label, end=None):
    frames = len(log_p)
    return np.exp(log_p[np.arange(frames), alignments(frames, label, end)].sum(-1)).sum()


def ctc(logits, frame_padding, labels, label_padding):
    log_p = log_softmax(logits, axis=-1)
    rows = zip(log_p, frame_padding, labels, label_padding, strict=True)
    return np.array([-np.log(likelihood(p[pad == 0], tuple(y[end == 0]))) for p, pad, y, end in rows])


def forward_probabilities(logits, frame_padding, labels, label_padding):
    """As probabilities, 0 where unreachable; only prefixes of the real labels."""
    log_p = log_softmax(logits, axis=-1)
    batch = len(logits)
    blank, label = np.zeros((FRAMES, batch, LENGTH + 1)), np.zeros((FRAMES, batch, LENGTH))
    for t, b in np.ndindex(FRAMES, batch):
        seen = log_p[b, : t + 1][frame_padding[b, : t + 1] == 0]
        for n in range(int((label_padding[b] == 0).sum()) + 1):
            prefix = tuple(labels[b, :n])
            blank[t, b, n] = likelihood(seen, prefix, "blank")
            if n:
                label[t, b, n - 1] = likelihood(seen, prefix, "label")
    return blank, label


def probabilities_of(loss):
    """The forward probabilities, no logarithms, those of padded labels set to 0 (they are never read)."""

    def function(logits, frame_padding, labels, label_padding):
        _, blank, label = loss(logits, frame_padding, labels, label_padding)
        real = jnp.asarray(label_padding) == 0
        reached = jnp.concatenate([jnp.ones_like(real[:, :1]), real], axis=1)
        return jnp.where(reached[None], jnp.exp(blank), 0), jnp.where(real[None], jnp.exp(label), 0)

    return function


def before_last_frame(loss):
    """At the last frame Optax's blank probabilities are those of ending in the label as well."""
    return lambda *arguments: tuple(x[:-1] for x in probabilities_of(loss)(*arguments))


SETS = [
    Case(
        "ntxent",
        functools.partial(losses.ntxent, temperature=0.5),
        ntxent,
        embeddings,
        peer=functools.partial(optax.losses.ntxent, temperature=0.5),
    ),
    Case(
        "ntxent-where",
        with_where(losses.ntxent, temperature=0.5),
        lambda x, labels, where: ntxent(x, labels, keep=np.asarray(where)),
        lambda rng: (*embeddings(rng), np.array([True, True, True, False, True])),
    ),
]

IMAGES_CASES = [
    Case(
        "dice_loss",
        losses.dice_loss,
        lambda x, t: tversky(softmax(x, axis=-1), t).mean(-1),
        image_logits,
        peer=optax.losses.dice_loss,
    ),
    Case(
        "dice_loss-weights",
        functools.partial(losses.dice_loss, class_weights=CLASS_WEIGHTS, alpha=0.3, beta=0.7, ignore_background=True),
        lambda x, t: (tversky(softmax(x, axis=-1), t, alpha=0.3, beta=0.7) * CLASS_WEIGHTS)[:, 1:].mean(-1),
        image_logits,
        peer=functools.partial(
            optax.losses.dice_loss, class_weights=CLASS_WEIGHTS, alpha=0.3, beta=0.7, ignore_background=True
        ),
    ),
    Case(
        "dice_loss-none-axis",
        functools.partial(losses.dice_loss, reduction="none", axis=(0, 1, 2), smooth=0.1),
        lambda x, t: tversky(softmax(x, axis=-1), t, smooth=0.1, axis=(0, 1, 2)),
        image_logits,
        peer=functools.partial(optax.losses.dice_loss, reduction="none", axis=(0, 1, 2), smooth=0.1),
    ),
    Case(
        "dice_loss-sum-where",
        with_where(losses.dice_loss, reduction="sum"),
        lambda x, t, where: tversky(softmax(x, axis=-1), t, where).sum(-1),
        pixel_mask,
    ),
    Case(
        "dice_loss-probabilities",
        functools.partial(losses.dice_loss, apply_softmax=False),
        lambda p, t: tversky(p, t).mean(-1),
        lambda rng: (softmax(rng.normal(size=IMAGES), axis=-1), image_logits(rng)[1]),
    ),
    Case(
        "binary_dice_loss",
        losses.binary_dice_loss,
        lambda x, t: tversky(expit(x)[..., None], t[..., None])[..., 0],
        lambda rng: (rng.normal(size=(2, 3, 4)), rng.integers(0, 2, size=(2, 3, 4)).astype(float)),
        peer=optax.losses.binary_dice_loss,
    ),
    Case(
        "binary_dice_loss-probabilities-where",
        with_where(losses.binary_dice_loss, apply_sigmoid=False),
        lambda p, t, where: tversky(p, t, where)[..., 0],
        lambda rng: (
            rng.uniform(size=(2, 6, 1)),
            rng.integers(0, 2, size=(2, 6, 1)),
            rng.uniform(size=(2, 6, 1)) > 0.4,
        ),
    ),
    Case(
        "multiclass_generalized_dice_loss",
        losses.multiclass_generalized_dice_loss,
        generalized_dice,
        image_logits,
        peer=optax.losses.multiclass_generalized_dice_loss,
    ),
    Case(
        "multiclass_generalized_dice_loss-no-background",
        functools.partial(losses.multiclass_generalized_dice_loss, ignore_background=True),
        functools.partial(generalized_dice, skip=1),
        image_logits,
    ),
    Case(
        "multiclass_generalized_dice_loss-where",
        with_where(losses.multiclass_generalized_dice_loss),
        generalized_dice,
        pixel_mask,
    ),
]

SEQUENCES = [
    Case("ctc_loss", losses.ctc_loss, ctc, sequences, peer=optax.losses.ctc_loss),
    Case(
        "ctc_loss-where",
        with_where(losses.ctc_loss),
        lambda *arguments: np.where(arguments[-1], ctc(*arguments[:-1]), 0),
        lambda rng: (*sequences(rng), np.array([True, False, True, True])),
    ),
    Case(
        "ctc_loss_with_forward_probs",
        probabilities_of(losses.ctc_loss_with_forward_probs),
        forward_probabilities,
        sequences,
    ),
    Case(
        "ctc_loss_with_forward_probs-before-the-last-frame",
        before_last_frame(losses.ctc_loss_with_forward_probs),
        lambda *arguments: tuple(x[:-1] for x in forward_probabilities(*arguments)),
        sequences,
        peer=before_last_frame(optax.losses.ctc_loss_with_forward_probs),
    ),
]

CASES = SETS + IMAGES_CASES + SEQUENCES
