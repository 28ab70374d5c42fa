"""Losses that work element by element or on vectors, from their formulas."""

import functools

import numpy as np
import optax
from scipy.special import expit, log_expit

from gradx import losses
from tests.oracles.case import Case

SHAPE = (3, 5)


def two(rng):
    return rng.normal(size=SHAPE) * 2, rng.normal(size=SHAPE) * 2


def two_masked(rng):
    return *two(rng), mask(rng)


def mask(rng, shape=SHAPE):
    """A mask that leaves something in every row but the last, of which nothing is left."""
    keep = rng.uniform(size=shape) > 0.4
    keep[:, 0] = True
    keep[-1] = False
    return keep


def signs(rng):
    return rng.normal(size=SHAPE), rng.choice([-1, 1], size=SHAPE)


def logits_and_bits(rng):
    return rng.normal(size=SHAPE) * 3, rng.integers(0, 2, size=SHAPE)


def logits_and_shares(rng):
    return rng.normal(size=SHAPE) * 3, rng.uniform(0.05, 0.95, size=SHAPE)


def log_measure_and_measure(rng):
    return rng.normal(size=SHAPE), rng.uniform(0.1, 1.0, size=SHAPE)


def three(rng):
    return rng.normal(size=SHAPE), rng.normal(size=SHAPE), rng.normal(size=SHAPE)


def squared_error(p, t):
    return (p - t) ** 2


def huber(p, t, delta):
    e = np.abs(p - t)
    return np.where(e <= delta, e**2 / 2, delta * e - delta**2 / 2)


def log_cosh(p, t):
    return np.log(np.cosh(p - t))


def cosine(p, t, epsilon=0.0, where=None):
    out = np.zeros(p.shape[:-1])
    for i in np.ndindex(out.shape):
        a, b = (p[i], t[i]) if where is None else (p[i][where[i]], t[i][where[i]])
        out[i] = a @ b / np.sqrt(max(a @ a, epsilon) * max(b @ b, epsilon)) if a.size else 0
    return out


def binary_cross_entropy(x, y):
    return -y * log_expit(x) - (1 - y) * log_expit(-x)


def focal(x, y, alpha, gamma):
    p = expit(x)
    miss = 1 - (p * y + (1 - p) * (1 - y))
    return (alpha * y + (1 - alpha) * (1 - y)) * miss**gamma * binary_cross_entropy(x, y)


def hinge(f, y):
    return np.maximum(0, 1 - f * y)


def perceptron(f, y):
    return np.maximum(0, -f * y)


def binary_sparsemax(x, y):
    margin = np.where(y, x, -x)
    return np.where(margin >= 1, 0, np.where(margin <= -1, -margin, (1 - margin) ** 2 / 4))


def masked(reference):
    """The reference, 0 where the last argument is False."""
    return lambda *arguments: np.where(arguments[-1], reference(*arguments[:-1]), 0)


def kl(log_q, t, where=True):
    return np.sum(t * (np.log(t) - log_q), axis=-1, where=where)


def generalized_kl(log_q, t, where=True):
    return np.sum(t * (np.log(t) - log_q) - t + np.exp(log_q), axis=-1, where=where)


def triplet(a, p, n, degree, margin, eps):
    near = (np.abs(a - p) ** degree).sum(-1) + eps
    far = (np.abs(a - n) ** degree).sum(-1) + eps
    return np.maximum(0, near ** (1 / degree) - far ** (1 / degree) + margin)


def with_where(loss, **options):
    return lambda *arguments: loss(*arguments[:-1], where=arguments[-1], **options)


def axis_last(loss):
    """Optax's divergences sum over the last axis by default; the mask is their last argument."""
    return lambda *arguments: loss(*arguments[:-1], where=arguments[-1])


EPSILON = 4.0
"""Larger than some squared norms among the draws and smaller than others."""

ELEMENTS = [
    Case("squared_error", losses.squared_error, squared_error, two, peer=optax.losses.squared_error),
    Case(
        "squared_error-no-targets",
        losses.squared_error,
        lambda p: p * p,
        lambda rng: two(rng)[:1],
        peer=optax.losses.squared_error,
    ),
    Case("squared_error-where", with_where(losses.squared_error), masked(squared_error), two_masked),
    Case("l2_loss", losses.l2_loss, lambda p, t: squared_error(p, t) / 2, two, peer=optax.losses.l2_loss),
    Case("l2_loss-where", with_where(losses.l2_loss), masked(lambda p, t: squared_error(p, t) / 2), two_masked),
    Case(
        "huber_loss",
        functools.partial(losses.huber_loss, delta=0.7),
        functools.partial(huber, delta=0.7),
        two,
        peer=functools.partial(optax.losses.huber_loss, delta=0.7),
    ),
    Case(
        "huber_loss-where",
        with_where(losses.huber_loss),
        masked(functools.partial(huber, delta=1.0)),
        two_masked,
    ),
    Case("log_cosh", losses.log_cosh, log_cosh, two, peer=optax.losses.log_cosh),
    Case("log_cosh-where", with_where(losses.log_cosh), masked(log_cosh), two_masked),
    Case(
        "sigmoid_binary_cross_entropy",
        losses.sigmoid_binary_cross_entropy,
        binary_cross_entropy,
        logits_and_bits,
        peer=optax.losses.sigmoid_binary_cross_entropy,
    ),
    Case(
        "sigmoid_binary_cross_entropy-soft-where",
        with_where(losses.sigmoid_binary_cross_entropy),
        masked(binary_cross_entropy),
        lambda rng: (*logits_and_shares(rng), mask(rng)),
    ),
    Case(
        "sigmoid_focal_loss",
        functools.partial(losses.sigmoid_focal_loss, alpha=0.3, gamma=1.5),
        functools.partial(focal, alpha=0.3, gamma=1.5),
        logits_and_bits,
        peer=functools.partial(optax.losses.sigmoid_focal_loss, alpha=0.3, gamma=1.5),
    ),
    Case(
        "sigmoid_focal_loss-soft-where",
        with_where(losses.sigmoid_focal_loss),
        masked(lambda x, y: 2 * focal(x, y, 0.5, 2.0)),
        lambda rng: (*logits_and_shares(rng), mask(rng)),
    ),
    Case("hinge_loss", losses.hinge_loss, hinge, signs, peer=optax.losses.hinge_loss),
    Case("hinge_loss-where", with_where(losses.hinge_loss), masked(hinge), lambda rng: (*signs(rng), mask(rng))),
    Case("perceptron_loss", losses.perceptron_loss, perceptron, signs, peer=optax.losses.perceptron_loss),
    Case(
        "perceptron_loss-where",
        with_where(losses.perceptron_loss),
        masked(perceptron),
        lambda rng: (*signs(rng), mask(rng)),
    ),
    Case(
        "sparsemax_loss",
        losses.sparsemax_loss,
        binary_sparsemax,
        logits_and_bits,
        peer=optax.losses.sparsemax_loss,
    ),
    Case(
        "sparsemax_loss-where",
        with_where(losses.sparsemax_loss),
        masked(binary_sparsemax),
        lambda rng: (*logits_and_bits(rng), mask(rng)),
    ),
]

VECTORS = [
    Case("cosine_similarity", losses.cosine_similarity, cosine, two, peer=optax.losses.cosine_similarity),
    Case(
        "cosine_similarity-epsilon",
        functools.partial(losses.cosine_similarity, epsilon=EPSILON),
        functools.partial(cosine, epsilon=EPSILON),
        lambda rng: (rng.normal(size=SHAPE) * np.array([[0.3], [1.0], [3.0]]), rng.normal(size=SHAPE)),
        peer=functools.partial(optax.losses.cosine_similarity, epsilon=EPSILON),
    ),
    Case(
        "cosine_similarity-where",
        with_where(losses.cosine_similarity),
        lambda p, t, where: cosine(p, t, where=where),
        two_masked,
    ),
    Case(
        "cosine_similarity-axes",
        functools.partial(losses.cosine_similarity, axis=(0, 2)),
        lambda p, t: cosine(*(x.transpose(1, 0, 2).reshape(3, -1) for x in (p, t))),
        lambda rng: (rng.normal(size=(2, 3, 4)), rng.normal(size=(2, 3, 4))),
    ),
    Case(
        "cosine_distance",
        losses.cosine_distance,
        lambda p, t: 1 - cosine(p, t),
        two,
        peer=optax.losses.cosine_distance,
    ),
    Case(
        "cosine_distance-where",
        with_where(losses.cosine_distance),
        lambda p, t, where: np.where(where.any(-1), 1 - cosine(p, t, where=where), 0),
        two_masked,
    ),
    Case("kl_divergence", losses.kl_divergence, kl, log_measure_and_measure, peer=optax.losses.kl_divergence),
    Case(
        "kl_divergence-where",
        with_where(losses.kl_divergence),
        kl,
        lambda rng: (*log_measure_and_measure(rng), mask(rng)),
        peer=axis_last(optax.losses.kl_divergence),
    ),
    Case(
        "generalized_kl_divergence",
        losses.generalized_kl_divergence,
        generalized_kl,
        log_measure_and_measure,
        peer=optax.losses.generalized_kl_divergence,
    ),
    Case(
        "generalized_kl_divergence-where",
        with_where(losses.generalized_kl_divergence),
        generalized_kl,
        lambda rng: (*log_measure_and_measure(rng), mask(rng)),
        peer=axis_last(optax.losses.generalized_kl_divergence),
    ),
    Case(
        "kl_divergence_with_log_targets",
        losses.kl_divergence_with_log_targets,
        lambda log_q, log_t: kl(log_q, np.exp(log_t)),
        lambda rng: (rng.normal(size=SHAPE), rng.normal(size=SHAPE)),
        peer=optax.losses.kl_divergence_with_log_targets,
    ),
    Case(
        "kl_divergence_with_log_targets-where",
        with_where(losses.kl_divergence_with_log_targets),
        lambda log_q, log_t, where: kl(log_q, np.exp(log_t), where),
        lambda rng: (rng.normal(size=SHAPE), rng.normal(size=SHAPE), mask(rng)),
        peer=axis_last(optax.losses.kl_divergence_with_log_targets),
    ),
    Case(
        "triplet_margin_loss",
        losses.triplet_margin_loss,
        functools.partial(triplet, degree=2, margin=1.0, eps=1e-6),
        three,
        peer=optax.losses.triplet_margin_loss,
    ),
    *(
        Case(
            f"triplet_margin_loss-L{degree}",
            functools.partial(losses.triplet_margin_loss, norm_degree=degree, margin=3.0, eps=0.01),
            functools.partial(triplet, degree=degree, margin=3.0, eps=0.01),
            three,
        )
        for degree in (1, 1.5, 3)
    ),
    Case(
        "triplet_margin_loss-where",
        with_where(losses.triplet_margin_loss, margin=4.0),
        lambda a, p, n, where: np.where(
            where.any(-1), triplet(a * where, p * where, n * where, degree=2, margin=4.0, eps=1e-6), 0
        ),
        lambda rng: (*three(rng), mask(rng)),
    ),
]

CASES = ELEMENTS + VECTORS
