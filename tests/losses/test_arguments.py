"""Wrong arguments are refused with names and numbers; masks may be given by element or by row."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx import losses

X = jnp.zeros((2, 3))
LABELS = jnp.zeros(2, int)
IMAGE = jnp.zeros((2, 4, 3))
SEQUENCE = (jnp.zeros((2, 4, 3)), jnp.zeros((2, 4)), jnp.ones((2, 1), int), jnp.zeros((2, 1)))

REFUSED = {
    "shapes": (lambda: losses.squared_error(X, X[:1]), ValueError, r"squared_error.*\(2, 3\).*\(1, 3\)"),
    "delta": (lambda: losses.huber_loss(X, delta=-1.0), ValueError, r"huber_loss: delta must be in \(0, inf\], got -1"),
    "delta-type": (lambda: losses.huber_loss(X, delta="1"), TypeError, r"delta must be a number"),
    "epsilon": (lambda: losses.cosine_similarity(X, X, epsilon=-1e-3), ValueError, r"epsilon must be in \[0, inf\]"),
    "ranks": (lambda: losses.cosine_distance(X, X[0]), ValueError, r"cosine_distance.*\(2, 3\).*\(3,\)"),
    "axis": (lambda: losses.kl_divergence(X, X, axis=2), ValueError, r"axis 2 is out of range .* 2 dimensions"),
    "axis-twice": (lambda: losses.softmax_cross_entropy(X, X, axis=(1, -1)), ValueError, r"names a dimension twice"),
    "complex": (lambda: losses.l2_loss(X + 1j), TypeError, r"l2_loss: predictions must be real, got complex64\[2,3\]"),
    "alpha": (lambda: losses.smooth_labels(X, 1.5), ValueError, r"smooth_labels: alpha must be in \[0, 1\], got 1.5"),
    "gamma": (lambda: losses.sigmoid_focal_loss(X, X, gamma=-1), ValueError, r"gamma must be in \[0, inf\], got -1"),
    "broadcast": (lambda: losses.hinge_loss(X[0], X), ValueError, r"targets \(2, 3\) .* predictor_outputs \(3,\)"),
    "distribution": (
        lambda: losses.poly_loss_cross_entropy(X, X[:, :2]),
        ValueError,
        r"labels \(2, 2\).*logits \(2, 3\)",
    ),
    "integers": (
        lambda: losses.multiclass_hinge_loss(X, LABELS * 1.0),
        TypeError,
        r"labels must be integers, got float",
    ),
    "labels": (
        lambda: losses.softmax_cross_entropy_with_integer_labels(X, LABELS[:1]),
        ValueError,
        r"labels must have the shape \(2,\).*got \(1,\)",
    ),
    "where": (lambda: losses.l2_loss(X, where=jnp.ones(3)), ValueError, r"where .* \(2, 3\), got \(3,\)"),
    "where-rows": (
        lambda: losses.kl_divergence(X, X, where=jnp.ones(3)),
        ValueError,
        r"where .* \(2, 3\) or \(2,\), got \(3,\)",
    ),
    "norm": (lambda: losses.triplet_margin_loss(X, X, X, norm_degree=0.5), ValueError, r"norm_degree must be in \[1"),
    "margin": (lambda: losses.triplet_margin_loss(X, X, X, margin=-1), ValueError, r"margin must be in \[0, inf\]"),
    "temperature": (lambda: losses.ntxent(X, LABELS, 0.0), ValueError, r"temperature must be in \(0, inf\], got 0"),
    "pairs": (lambda: losses.ntxent(X, LABELS[:1]), ValueError, r"ntxent.*\(2, 3\) and \(1,\)"),
    "reduction": (lambda: losses.dice_loss(IMAGE, IMAGE, reduction="max"), ValueError, r"'none', got 'max'"),
    "weights": (lambda: losses.dice_loss(IMAGE, IMAGE, class_weights=[1.0]), ValueError, r"shape \(3,\), got \(1,\)"),
    "smooth": (lambda: losses.binary_dice_loss(X, X, smooth=-1), ValueError, r"smooth must be in \[0, inf\], got -1"),
    "class-axis": (lambda: losses.dice_loss(IMAGE, IMAGE, axis=-1), ValueError, r"axis -1 holds the last axis"),
    "background": (
        lambda: losses.dice_loss(IMAGE[..., :1], IMAGE[..., :1], ignore_background=True),
        ValueError,
        r"leaves no class of 1",
    ),
    "scalar": (lambda: losses.make_fenchel_young_loss(jnp.max)(1.0, 1.0), ValueError, r"must have a last axis"),
    "ctc-logits": (lambda: losses.ctc_loss(X, *SEQUENCE[1:]), ValueError, r"\(batch, frames, classes\), got \(2, 3\)"),
    "ctc-paddings": (
        lambda: losses.ctc_loss(SEQUENCE[0], X, *SEQUENCE[2:]),
        ValueError,
        r"logit_paddings must have the shape \(2, 4\), got \(2, 3\)",
    ),
    "ctc-labels": (
        lambda: losses.ctc_loss(*SEQUENCE[:2], jnp.ones((3, 1), int), jnp.ones((3, 1))),
        ValueError,
        r"labels must be \(2, length\), got \(3, 1\)",
    ),
    "ctc-blank": (lambda: losses.ctc_loss(*SEQUENCE, blank_id=3), ValueError, r"blank_id must be in \[0, 3\), got 3"),
    "vocabulary": (
        lambda: losses.vocabulary_cross_entropy(X, jnp.ones((5, 4)), LABELS),
        ValueError,
        r"\(2, 3\) and \(5, 4\)",
    ),
    "vocabulary-labels": (
        lambda: losses.vocabulary_cross_entropy(X, jnp.ones((5, 3)), LABELS[:1]),
        ValueError,
        r"labels must have the shape \(2,\), got \(1,\)",
    ),
    "vocabulary-ints": (
        lambda: losses.vocabulary_cross_entropy(LABELS[None], jnp.ones((5, 2)), LABELS[:1]),
        TypeError,
        r"hidden must be real floats, got int32\[1,2\]",
    ),
    "chunk": (
        lambda: losses.vocabulary_cross_entropy(X, jnp.ones((5, 3)), LABELS, chunk_size=0),
        ValueError,
        r"chunk_size must be in \[1, inf\], got 0",
    ),
    "z_loss": (
        lambda: losses.vocabulary_cross_entropy(X, jnp.ones((5, 3)), LABELS, z_loss=-1.0),
        ValueError,
        r"z_loss must be in \[0, inf\], got -1",
    ),
}


@pytest.mark.parametrize(("call", "error", "words"), REFUSED.values(), ids=REFUSED)
def test_wrong_arguments_are_refused(call, error, words):
    with pytest.raises(error, match=words):
        call()


@pytest.mark.parametrize(
    "loss", [losses.softmax_cross_entropy, losses.kl_divergence, losses.cosine_distance], ids=lambda f: f.__name__
)
def test_a_mask_of_rows_and_one_of_elements_say_the_same(loss):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(2, 3)), rng.dirichlet(np.ones(3), size=2)
    rows = np.array([True, False])
    by_row = loss(x, y, where=rows)
    np.testing.assert_array_equal(by_row, loss(x, y, where=rows[:, None]))
    np.testing.assert_array_equal(by_row, loss(x, y, where=np.repeat(rows[:, None], 3, axis=1).astype(int)))
    np.testing.assert_array_equal(by_row, [loss(x, y)[0], 0])


def test_numbers_may_be_arrays_of_any_precision_and_traced():
    x = jnp.linspace(-2, 2, 5)
    wanted = losses.huber_loss(x, delta=0.5)
    with jax.numpy_dtype_promotion("strict"):
        np.testing.assert_array_equal(losses.huber_loss(x, delta=jnp.asarray(0.5, jnp.bfloat16)), wanted)
        np.testing.assert_array_equal(jax.jit(lambda d: losses.huber_loss(x, delta=d))(0.5), wanted)


def test_reductions_of_ranking_losses():
    x, y = jnp.array([[0.0, 1.0], [2.0, 0.0], [1.0, 1.0]]), jnp.ones((3, 2))
    each = losses.ranking_softmax_loss(x, y, reduce_fn=None)
    np.testing.assert_allclose(losses.ranking_softmax_loss(x, y), each.mean(), rtol=1e-6)
    np.testing.assert_allclose(losses.ranking_softmax_loss(x, y, reduce_fn=jnp.sum), each.sum(), rtol=1e-6)
    some = losses.ranking_softmax_loss(x, y, where=jnp.array([True, False, True]))
    np.testing.assert_allclose(some, (each[0] + each[2]) / 2, rtol=1e-6)


def test_shapes_of_dice_losses():
    vector, column, image = jnp.zeros(4), jnp.zeros((2, 5, 1)), jnp.zeros((2, 3, 4))
    assert losses.binary_dice_loss(vector, vector).shape == (4,)
    assert losses.binary_dice_loss(column, column).shape == (2,)
    assert losses.binary_dice_loss(image, image).shape == (2,)
    assert losses.dice_loss(image, image).shape == (2,)
    assert losses.dice_loss(image, image, reduction="none", axis=(0, 1)).shape == (4,)
    assert losses.dice_loss(image, image, axis=1, ignore_background=True, reduction="none").shape == (2, 3)


def test_all_pairs_by_broadcasting():
    x, y = jnp.eye(3), jnp.ones((2, 3))
    pairs = losses.cosine_similarity(x[:, None], y[None])
    np.testing.assert_allclose(pairs, np.full((3, 2), 3**-0.5), rtol=1e-6)


def test_keyword_arguments_reach_the_maximum_function():
    loss = losses.make_fenchel_young_loss(lambda s, scale, shift=0.0: scale * s.max() + shift)
    np.testing.assert_array_equal(loss(jnp.array([[1.0, 2.0]]), jnp.zeros((1, 2)), 3.0, shift=1.0), [7.0])
