"""Large, zero, empty, narrow, masked: values and gradients stay finite, or the docstring says why not."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx import losses

LARGE = 1e4
ROWS, CLASSES = 3, 4
COMPILER = {"xla_backend_optimization_level": 0}
"""The programs are run a few times each: compiling without optimisation takes two thirds of the time."""

fenchel_young = losses.make_fenchel_young_loss(jax.nn.logsumexp)


def labels(x):
    return jnp.arange(x.shape[0]) % x.shape[1]


def bits(x):
    return jnp.arange(x.size).reshape(x.shape) % 2


def distributions(x):
    return jnp.full(x.shape, 1 / x.shape[1])


def ctc(x, w):
    """One frame for every row, whose label is class 1 if there is one beside the blank."""
    padding = jnp.full((x.shape[0], 1), x.shape[1] == 1)
    return losses.ctc_loss(x[:, None], jnp.zeros((x.shape[0], 1)), jnp.ones_like(padding, int), padding, where=w)


def ctc_probabilities(x, w):
    one = jnp.ones((x.shape[0], 1), int)
    results = losses.ctc_loss_with_forward_probs(x[:, None], 0 * one, one, one * (x.shape[1] == 1), where=w)
    return results[0]


def vocabulary(x, w):
    matrix = jnp.linspace(-1, 1, 6 * x.shape[1]).reshape(6, x.shape[1]).astype(x.dtype)
    y = jnp.arange(x.shape[0]) % 6
    return losses.vocabulary_cross_entropy(x, matrix, y, chunk_size=4, z_loss=1e-4, label_smoothing=0.1, where=w)


def element_mask(w):
    return w[:, None]


RULES = {
    "squared_error": lambda x, w: losses.squared_error(x, where=element_mask(w)),
    "l2_loss": lambda x, w: losses.l2_loss(x, -x, where=element_mask(w)),
    "huber_loss": lambda x, w: losses.huber_loss(x, where=element_mask(w)),
    "log_cosh": lambda x, w: losses.log_cosh(x, where=element_mask(w)),
    "cosine_similarity": lambda x, w: losses.cosine_similarity(x, jnp.ones_like(x), where=w),
    "cosine_distance": lambda x, w: losses.cosine_distance(x, x[:, ::-1], epsilon=1e-3, where=w),
    "sigmoid_binary_cross_entropy": lambda x, w: losses.sigmoid_binary_cross_entropy(x, bits(x), where=element_mask(w)),
    "sigmoid_focal_loss": lambda x, w: losses.sigmoid_focal_loss(
        x, bits(x), alpha=0.25, gamma=0.5, where=element_mask(w)
    ),
    "hinge_loss": lambda x, w: losses.hinge_loss(x, 2 * bits(x) - 1, where=element_mask(w)),
    "perceptron_loss": lambda x, w: losses.perceptron_loss(x, 2 * bits(x) - 1, where=element_mask(w)),
    "sparsemax_loss": lambda x, w: losses.sparsemax_loss(x, bits(x), where=element_mask(w)),
    "softmax_cross_entropy": lambda x, w: losses.softmax_cross_entropy(x, distributions(x), where=w),
    "safe_softmax_cross_entropy": lambda x, w: losses.safe_softmax_cross_entropy(x, distributions(x), where=w),
    "softmax_cross_entropy_with_integer_labels": lambda x, w: losses.softmax_cross_entropy_with_integer_labels(
        x, labels(x), where=w
    ),
    "poly_loss_cross_entropy": lambda x, w: losses.poly_loss_cross_entropy(x, distributions(x), where=w),
    "multiclass_hinge_loss": lambda x, w: losses.multiclass_hinge_loss(x, labels(x), where=w),
    "multiclass_perceptron_loss": lambda x, w: losses.multiclass_perceptron_loss(x, labels(x), where=w),
    "multiclass_sparsemax_loss": lambda x, w: losses.multiclass_sparsemax_loss(x, labels(x), where=w),
    "smooth_labels": lambda x, w: losses.smooth_labels(x, 0.1, where=w),
    "kl_divergence": lambda x, w: losses.kl_divergence(x, distributions(x), where=w),
    # Its docstring: exp(log_predictions) overflows above 88.
    "generalized_kl_divergence": lambda x, w: losses.generalized_kl_divergence(-jnp.abs(x), bits(x), where=w),
    "kl_divergence_with_log_targets": lambda x, w: losses.kl_divergence_with_log_targets(x, -jnp.abs(x), where=w),
    "ranking_softmax_loss": lambda x, w: losses.ranking_softmax_loss(x, bits(x), reduce_fn=jnp.sum, where=w),
    "make_fenchel_young_loss": lambda x, w: fenchel_young(x, distributions(x), where=w),
    "vocabulary_cross_entropy": vocabulary,
    "ntxent": lambda x, w: losses.ntxent(x, labels(x) // 2, where=w),
    "triplet_margin_loss": lambda x, w: losses.triplet_margin_loss(
        x, jnp.ones_like(x), -x, norm_degree=3, eps=0.0, where=w
    ),
    "dice_loss": lambda x, w: losses.dice_loss(x, bits(x), smooth=0.0, where=w),
    "binary_dice_loss": lambda x, w: losses.binary_dice_loss(x, bits(x), smooth=0.0, where=element_mask(w)),
    "multiclass_generalized_dice_loss": lambda x, w: losses.multiclass_generalized_dice_loss(x, bits(x), where=w),
    "ctc_loss": ctc,
    "ctc_loss_with_forward_probs": ctc_probabilities,
}

every = pytest.mark.parametrize("name", RULES)


@functools.cache
def compiled(name):
    """Value and gradient of the sum, from an array and a mask of its rows."""

    def total(x, where):
        results = RULES[name](x, where)
        return results.sum(), results

    return jax.jit(jax.grad(total, has_aux=True), compiler_options=COMPILER)


def run(name, x, where=None):
    x = jnp.asarray(x)
    gradient, value = compiled(name)(x, jnp.ones(len(x), bool) if where is None else where)
    assert value.dtype == jnp.float32
    assert gradient.dtype == x.dtype
    return np.asarray(value), np.asarray(gradient.astype(jnp.float32))


def assert_finite(*arrays):
    for x in arrays:
        assert np.isfinite(x).all(), x


def large():
    signs = np.array([[1, -1, 1, 1], [-1, -1, -1, 1], [-1, 1, 1, -1]], np.float32)
    return signs * LARGE


def test_no_loss_is_left_out():
    assert set(RULES) == set(losses.__all__)


@every
def test_large_zero_and_equal_inputs(name):
    for x in (large(), np.zeros((ROWS, CLASSES), np.float32), np.full((ROWS, CLASSES), -LARGE, np.float32)):
        assert_finite(*run(name, x))


@every
def test_what_the_mask_leaves_out_reaches_nothing(name):
    """NaN in the rows left out; then in all of them."""
    x = np.random.default_rng(0).normal(size=(ROWS, CLASSES)).astype(np.float32)
    x[1] = np.nan
    value, gradient = run(name, x, jnp.array([True, False, True]))
    assert_finite(value, gradient)
    np.testing.assert_array_equal(gradient[1], 0)
    if value.ndim:
        np.testing.assert_array_equal(value[1], 0)
    for nothing in run(name, np.full_like(x, np.nan), jnp.zeros(ROWS, bool)):
        np.testing.assert_array_equal(nothing, 0)


@every
def test_half_precision_is_computed_in_float32(name):
    x = np.random.default_rng(0).normal(size=(ROWS, CLASSES)).astype(np.float32)
    for dtype in (jnp.bfloat16, jnp.float16):
        narrow = jnp.asarray(x, dtype)
        assert_finite(*run(name, narrow), *run(name, jnp.asarray(large(), dtype)))
        if name != "vocabulary_cross_entropy":  # its matrix is drawn in the dtype of the hidden states
            wanted, _ = run(name, narrow.astype(jnp.float32))
            np.testing.assert_allclose(run(name, narrow)[0], wanted, rtol=1e-5, atol=1e-6)  # float32 sums


@every
def test_empty_batch_and_one_class(name):
    value, gradient = run(name, np.zeros((0, CLASSES), np.float32))
    assert value.size == 0 or value == 0
    assert gradient.shape == (0, CLASSES)
    for x in (np.zeros((ROWS, 1), np.float32), np.array([[LARGE], [-LARGE], [1]], np.float32)):
        assert_finite(*run(name, x))


def test_a_mean_over_lists_that_are_all_left_out():
    nowhere = jnp.zeros(2, bool)
    value, slope = jax.value_and_grad(lambda x: losses.ranking_softmax_loss(x, jnp.ones((2, 3)), where=nowhere))(
        jnp.ones((2, 3))
    )
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_a_positive_pair_without_negatives_costs_nothing():
    x = jnp.array([[1.0, 0.0], [0.0, 1.0]])
    value, slope = jax.jit(jax.value_and_grad(losses.ntxent))(x, jnp.zeros(2))
    assert value == 0
    np.testing.assert_array_equal(slope, 0)


def test_a_mean_over_no_lists_is_the_mean_of_nothing():
    assert np.isnan(losses.ranking_softmax_loss(jnp.zeros((0, 3)), jnp.zeros((0, 3))))


@pytest.mark.parametrize("name", ["multiclass_hinge_loss", "multiclass_perceptron_loss", "multiclass_sparsemax_loss"])
def test_one_class_is_never_wrong(name):
    np.testing.assert_array_equal(run(name, np.array([[3.0], [-7.0]], np.float32))[0], [0, 0])


def test_logits_of_minus_infinity_where_the_label_is_zero():
    x, y = jnp.array([[0.0, -jnp.inf, 0.0]]), jnp.array([[0.5, 0.0, 0.5]])
    value, gradients = jax.value_and_grad(lambda *xy: losses.safe_softmax_cross_entropy(*xy).sum(), argnums=(0, 1))(
        x, y
    )
    np.testing.assert_allclose(value, np.log(2), rtol=1e-6)
    assert_finite(*gradients)
    assert losses.ranking_softmax_loss(x, y) == value


@pytest.mark.parametrize("loss", [losses.safe_softmax_cross_entropy, losses.ranking_softmax_loss])
def test_a_label_of_zero_has_the_derivative_of_any_other(loss):
    x, y = jnp.array([0.5, -0.5, 1.0]), jnp.array([0.0, 1.0, 0.0])
    np.testing.assert_allclose(jax.grad(loss, argnums=1)(x, y), -jax.nn.log_softmax(x), rtol=1e-6)


def test_scores_of_minus_infinity_are_outside_the_sparse_support():
    x = jnp.array([0.2, 0.0, -jnp.inf])
    got = jax.jit(jax.value_and_grad(lambda x: losses.multiclass_sparsemax_loss(x, jnp.array(0))))(x)
    wanted = jax.jit(jax.value_and_grad(lambda x: losses.multiclass_sparsemax_loss(x, jnp.array(0))))(x[:2])
    np.testing.assert_allclose(got[0], wanted[0], rtol=1e-6)
    np.testing.assert_allclose(got[1], [*wanted[1], 0], rtol=1e-6)


def test_large_logits_keep_the_digits_of_their_difference():
    """log Σ exp and the label's logit are each 1e4, whose last digit in float32 is 1e-3."""
    x = jnp.array([[LARGE, LARGE - 1]])
    wanted = np.log1p(np.exp(-1))
    for got in (
        losses.softmax_cross_entropy_with_integer_labels(x, jnp.array([0])),
        losses.softmax_cross_entropy(x, jnp.array([[1, 0]])),
    ):
        np.testing.assert_allclose(got, [wanted], rtol=1e-6)


@pytest.mark.parametrize("loss", [losses.huber_loss, losses.log_cosh, losses.l2_loss])
def test_curvature_at_zero_is_one(loss):
    assert jax.grad(jax.grad(loss))(0.0) == 1


def test_curvature_of_cross_entropy_at_zero():
    assert jax.grad(jax.grad(losses.sigmoid_binary_cross_entropy))(0.0, 1.0) == 0.25


def test_second_derivatives_of_sparsemax():
    """The Jacobian of the projection onto the simplex: on its support of two, I - 1/2."""
    hessian = jax.jit(jax.hessian(lambda x: losses.multiclass_sparsemax_loss(x, jnp.array(0))))(
        jnp.array([0.2, 0.0, -3.0])
    )
    np.testing.assert_allclose(hessian, [[0.5, -0.5, 0], [-0.5, 0.5, 0], [0, 0, 0]], atol=1e-6)
