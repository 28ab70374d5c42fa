"""Losses over classes, from their formulas: the sparse projection by root finding, the vocabulary by all logits."""

import functools

import jax
import numpy as np
import optax
import scipy.optimize
from scipy.special import log_softmax, logsumexp, softmax

from gradx import losses
from tests.oracles.case import Case
from tests.oracles.losses_elements import mask, with_where

ROWS, CLASSES = 4, 5
SHAPE = (ROWS, CLASSES)


def logits_and_distributions(rng):
    return rng.normal(size=SHAPE) * 2, rng.dirichlet(np.ones(CLASSES), size=ROWS)


def logits_and_labels(rng):
    return rng.normal(size=SHAPE) * 2, rng.integers(0, CLASSES, size=ROWS)


def masked_labels(rng):
    """Labels of which the second names a class that its row's mask leaves out."""
    x, labels = logits_and_labels(rng)
    keep = mask(rng, SHAPE)
    keep[np.arange(ROWS - 1), labels[:-1]] = True
    keep[1] = np.arange(CLASSES) != labels[1]
    return x, labels, keep


def masked_distributions(rng):
    return *logits_and_distributions(rng), mask(rng, SHAPE)


def row_by_row(reference):
    """Apply the reference to what the mask leaves of each row; 0 if that is nothing."""

    def masked(x, y, where):
        rows = zip(x, y, where, strict=True)
        return np.array([reference(a[None, k], b[None, k])[0] if k.any() else 0.0 for a, b, k in rows])

    return masked


def row_by_row_labels(reference):
    """The same for integer labels: 0 too if the label is left out."""

    def masked(x, labels, where):
        out = np.zeros(len(x))
        for i, (row, label, keep) in enumerate(zip(x, labels, where, strict=True)):
            if keep.any() and keep[label]:
                out[i] = reference(row[None, keep], np.array([keep[:label].sum()]))[0]
        return out

    return masked


def cross_entropy(x, y):
    return -(y * log_softmax(x, axis=-1)).sum(-1)


def label_cross_entropy(x, labels):
    return logsumexp(x, axis=-1) - x[np.arange(len(x)), labels]


def poly(x, y, epsilon=2.0):
    return cross_entropy(x, y) + epsilon * (y * (1 - softmax(x, axis=-1))).sum(-1)


def multiclass_hinge(scores, labels):
    rivals = [np.delete(s, k) for s, k in zip(scores, labels, strict=True)]
    own = scores[np.arange(len(scores)), labels]
    return np.array([max(0, 1 + max(r, default=-np.inf) - s) for r, s in zip(rivals, own, strict=True)])


def multiclass_perceptron(scores, labels):
    return scores.max(-1) - scores[np.arange(len(scores)), labels]


def multiclass_sparsemax(scores, labels):
    """max_p ⟨s, p⟩ - ½ ‖p‖², the threshold of the projection p found by root finding."""
    out = []
    for s, label in zip(scores, labels, strict=True):
        excess = functools.partial(lambda tau, s: np.maximum(s - tau, 0).sum() - 1, s=s)
        p = np.maximum(s - scipy.optimize.brentq(excess, s.max() - 1, s.max(), xtol=1e-15), 0)
        out.append(s @ p - p @ p / 2 + 0.5 - s[label])
    return np.array(out)


def smooth(labels, alpha=0.1):
    return (1 - alpha) * labels + alpha / labels.shape[-1]


def smooth_masked(labels, where, alpha=0.1):
    number = np.maximum(where.sum(-1, keepdims=True), 1)
    return np.where(where, (1 - alpha) * labels + alpha / number, 0)


def ranking(x, y, w):
    return -(w * y * log_softmax(x, axis=-1)).sum(-1)


def relevances(rng):
    return rng.normal(size=SHAPE), rng.uniform(0, 2, size=SHAPE), rng.uniform(0.5, 2, size=SHAPE)


def ranking_masked(x, y, where):
    per_list = row_by_row(lambda a, b: ranking(a, b, 1.0))(x, y, where)
    return per_list[where.any(-1)].mean()


VOCABULARY, WIDTH = 11, 3


def hidden_matrix_labels(rng):
    """One label is 7: in chunks of 4 the last is moved back from 8 to fit, and class 7 is met twice."""
    labels = rng.integers(0, VOCABULARY, size=(2, 3))
    labels[0, 0] = 7
    return rng.normal(size=(2, 3, WIDTH)), rng.normal(size=(VOCABULARY, WIDTH)), labels


def vocabulary(hidden, matrix, labels, z_loss=0.0, label_smoothing=0.0):
    x = hidden @ matrix.T
    target = (1 - label_smoothing) * np.eye(len(matrix))[labels] + label_smoothing / len(matrix)
    return -(target * log_softmax(x, axis=-1)).sum(-1) + z_loss * logsumexp(x, axis=-1) ** 2


OPTIONS = {"z_loss": 0.05, "label_smoothing": 0.2}


def fenchel_young(scores, targets):
    return logsumexp(scores, axis=-1) - (scores * targets).sum(-1)


CASES = [
    Case(
        "softmax_cross_entropy",
        losses.softmax_cross_entropy,
        cross_entropy,
        logits_and_distributions,
        peer=optax.losses.softmax_cross_entropy,
    ),
    Case(
        "softmax_cross_entropy-axis",
        functools.partial(losses.softmax_cross_entropy, axis=0),
        lambda x, y: cross_entropy(x.T, y.T),
        logits_and_distributions,
        peer=functools.partial(optax.losses.softmax_cross_entropy, axis=0),
    ),
    Case(
        "softmax_cross_entropy-where",
        with_where(losses.softmax_cross_entropy),
        row_by_row(cross_entropy),
        masked_distributions,
    ),
    Case(
        "safe_softmax_cross_entropy",
        losses.safe_softmax_cross_entropy,
        cross_entropy,
        logits_and_distributions,
        peer=optax.losses.safe_softmax_cross_entropy,
    ),
    Case(
        "safe_softmax_cross_entropy-where",
        with_where(losses.safe_softmax_cross_entropy),
        row_by_row(cross_entropy),
        masked_distributions,
    ),
    Case(
        "softmax_cross_entropy_with_integer_labels",
        losses.softmax_cross_entropy_with_integer_labels,
        label_cross_entropy,
        logits_and_labels,
        peer=optax.losses.softmax_cross_entropy_with_integer_labels,
    ),
    Case(
        "softmax_cross_entropy_with_integer_labels-axes",
        functools.partial(losses.softmax_cross_entropy_with_integer_labels, axis=(3, 1)),
        lambda x, labels: label_cross_entropy(x.transpose(0, 2, 3, 1).reshape(4, -1), labels.reshape(-1)).reshape(2, 2),
        lambda rng: (rng.normal(size=(2, 3, 2, 4)), rng.integers(0, 12, size=(2, 2))),
        peer=functools.partial(optax.losses.softmax_cross_entropy_with_integer_labels, axis=(3, 1)),
    ),
    Case(
        "softmax_cross_entropy_with_integer_labels-where",
        with_where(losses.softmax_cross_entropy_with_integer_labels),
        row_by_row_labels(label_cross_entropy),
        masked_labels,
    ),
    Case(
        "poly_loss_cross_entropy",
        functools.partial(losses.poly_loss_cross_entropy, epsilon=-0.8),
        functools.partial(poly, epsilon=-0.8),
        logits_and_distributions,
        peer=functools.partial(optax.losses.poly_loss_cross_entropy, epsilon=-0.8),
    ),
    Case(
        "poly_loss_cross_entropy-where",
        with_where(losses.poly_loss_cross_entropy),
        row_by_row(poly),
        masked_distributions,
    ),
    Case(
        "multiclass_hinge_loss",
        losses.multiclass_hinge_loss,
        multiclass_hinge,
        logits_and_labels,
        peer=optax.losses.multiclass_hinge_loss,
    ),
    Case(
        "multiclass_hinge_loss-where",
        with_where(losses.multiclass_hinge_loss),
        row_by_row_labels(multiclass_hinge),
        masked_labels,
    ),
    Case(
        "multiclass_perceptron_loss",
        losses.multiclass_perceptron_loss,
        multiclass_perceptron,
        logits_and_labels,
        peer=optax.losses.multiclass_perceptron_loss,
    ),
    Case(
        "multiclass_perceptron_loss-where",
        with_where(losses.multiclass_perceptron_loss),
        row_by_row_labels(multiclass_perceptron),
        masked_labels,
    ),
    Case(
        "multiclass_sparsemax_loss",
        losses.multiclass_sparsemax_loss,
        multiclass_sparsemax,
        logits_and_labels,
        peer=optax.losses.multiclass_sparsemax_loss,
    ),
    Case(
        "multiclass_sparsemax_loss-where",
        with_where(losses.multiclass_sparsemax_loss),
        row_by_row_labels(multiclass_sparsemax),
        masked_labels,
    ),
    Case(
        "smooth_labels",
        functools.partial(losses.smooth_labels, alpha=0.1),
        smooth,
        lambda rng: logits_and_distributions(rng)[1:],
        peer=functools.partial(optax.losses.smooth_labels, alpha=0.1),
    ),
    Case(
        "smooth_labels-where",
        with_where(losses.smooth_labels, alpha=0.1),
        smooth_masked,
        lambda rng: masked_distributions(rng)[1:],
    ),
    Case(
        "ranking_softmax_loss",
        lambda x, y, w: losses.ranking_softmax_loss(x, y, weights=w),
        lambda x, y, w: ranking(x, y, w).mean(),
        relevances,
        peer=lambda x, y, w: optax.losses.ranking_softmax_loss(x, y, weights=w),
    ),
    Case(
        "ranking_softmax_loss-no-reduction",
        lambda x, y, w: losses.ranking_softmax_loss(x, y, weights=w, reduce_fn=None),
        ranking,
        relevances,
        peer=lambda x, y, w: optax.losses.ranking_softmax_loss(x, y, weights=w, reduce_fn=None),
    ),
    Case(
        "ranking_softmax_loss-where",
        with_where(losses.ranking_softmax_loss),
        ranking_masked,
        lambda rng: (*relevances(rng)[:2], mask(rng, SHAPE)),
        peer=with_where(optax.losses.ranking_softmax_loss),
    ),
    Case(
        "make_fenchel_young_loss",
        losses.make_fenchel_young_loss(jax.nn.logsumexp),
        fenchel_young,
        logits_and_distributions,
        peer=optax.losses.make_fenchel_young_loss(jax.nn.logsumexp),
    ),
    Case(
        "make_fenchel_young_loss-where",
        with_where(losses.make_fenchel_young_loss(jax.nn.logsumexp)),
        lambda s, y, where: np.where(where, fenchel_young(s, y), 0),
        lambda rng: (*logits_and_distributions(rng), np.array([True, False, True, False])),
    ),
    *(
        Case(
            f"vocabulary_cross_entropy-chunk-{chunk}",
            functools.partial(losses.vocabulary_cross_entropy, chunk_size=chunk, **options),
            functools.partial(vocabulary, **options),
            hidden_matrix_labels,
        )
        for chunk, options in ((1, OPTIONS), (4, OPTIONS), (11, {}), (100, OPTIONS))
    ),
    Case(
        "vocabulary_cross_entropy-where",
        with_where(losses.vocabulary_cross_entropy, chunk_size=4, **OPTIONS),
        lambda h, m, y, where: np.where(where, vocabulary(h, m, y, **OPTIONS), 0),
        lambda rng: (*hidden_matrix_labels(rng), np.array([[True, False, True], [False, False, True]])),
    ),
]
