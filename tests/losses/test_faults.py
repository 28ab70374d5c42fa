"""What Optax 0.2.8 gets wrong and this must not; each test shows both."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from gradx import losses

TOLERANCE = 1e-5
"""Float32 sums of a few terms of size one."""


def test_triplet_distances_of_other_degrees():
    a, p, n = jnp.zeros((1, 2)), jnp.array([[-1.0, 2.0]]), jnp.array([[0.5, -1.0]])
    for degree, near, far in ((1, 3.0, 1.5), (3, 9 ** (1 / 3), 1.125 ** (1 / 3))):
        options = {"norm_degree": degree, "eps": 0.0}
        wanted = [near - far + 1]
        np.testing.assert_allclose(losses.triplet_margin_loss(a, p, n, **options), wanted, rtol=TOLERANCE)
        assert not np.allclose(optax.losses.triplet_margin_loss(a, p, n, **options), wanted, rtol=0.01)


@pytest.mark.parametrize("degree", [1, 1.5, 2, 3])
@pytest.mark.parametrize("eps", [0.0, 1e-6])
def test_triplet_gradient_at_equal_vectors(degree, eps):
    x = jnp.ones((1, 3))
    loss = lambda *xs: losses.triplet_margin_loss(*xs, norm_degree=degree, eps=eps).sum()  # noqa: E731
    value, gradients = jax.value_and_grad(loss, argnums=(0, 1, 2))(x, x, x)
    assert value == 1
    assert np.isfinite(gradients).all()


def test_dice_of_probabilities_under_jit():
    p = jax.nn.softmax(jax.random.normal(jax.random.key(0), (2, 4, 3)))
    t = jax.nn.one_hot(jnp.array([[0, 1, 2, 1], [2, 2, 0, 1]]), 3)
    got = jax.jit(lambda p, t: losses.dice_loss(p, t, apply_softmax=False))(p, t)
    np.testing.assert_allclose(got, optax.losses.dice_loss(p, t, apply_softmax=False), rtol=TOLERANCE)
    with pytest.raises(jax.errors.TracerBoolConversionError):
        jax.jit(lambda p, t: optax.losses.dice_loss(p, t, apply_softmax=False))(p, t)


def test_binary_dice_of_a_uniform_half():
    p, t = jnp.full((1, 4), 0.5), jnp.array([[1.0, 1.0, 0.0, 0.0]])
    got = losses.binary_dice_loss(p, t, apply_sigmoid=False)
    np.testing.assert_allclose(got, [1 - (2 * 1 + 2) / (2 + 2 + 2)], rtol=TOLERANCE)
    with pytest.raises(ValueError):
        optax.losses.binary_dice_loss(p, t, apply_sigmoid=False)


@pytest.mark.parametrize("loss", ["cosine_similarity", "cosine_distance"])
def test_cosine_gradient_at_zero(loss):
    zero, other = jnp.zeros((1, 3)), jnp.ones((1, 3))

    def both(module):
        f = getattr(module, loss)
        return [jax.grad(lambda x, y: f(x, y).sum(), argnums=(0, 1))(*xy) for xy in ((zero, other), (zero, zero))]

    np.testing.assert_array_equal(both(losses), np.zeros((2, 2, 1, 3)))
    assert np.isnan(np.asarray(both(optax.losses))).any()


def test_kl_with_log_targets_of_minus_infinity():
    with np.errstate(divide="ignore"):
        log_t = jnp.log(np.array([0.5, 0.5, 0.0]))
    log_q = jnp.log(jnp.array([0.25, 0.5, 0.25]))
    f = lambda q, t: losses.kl_divergence_with_log_targets(q, t)  # noqa: E731
    value, gradients = jax.value_and_grad(f, argnums=(0, 1))(log_q, log_t)
    np.testing.assert_allclose(value, 0.5 * np.log(2), rtol=TOLERANCE)
    np.testing.assert_allclose(gradients[0], [-0.5, -0.5, 0.0], rtol=TOLERANCE)
    assert np.isfinite(gradients[1]).all()
    assert f(log_t, log_t) == 0
    assert np.isnan(optax.losses.kl_divergence_with_log_targets(log_q, log_t))


def test_kl_where_both_give_no_probability():
    q, t = jnp.array([0.5, 0.5, 0.0]), jnp.array([0.5, 0.5, 0.0])
    for loss in (losses.kl_divergence, losses.generalized_kl_divergence):
        value, gradients = jax.value_and_grad(loss, argnums=(0, 1))(jnp.log(q), t)
        assert value == 0
        assert np.isfinite(gradients).all()
    assert np.isnan(optax.losses.kl_divergence(jnp.log(q), t))


def test_contrastive_loss_without_a_positive_pair():
    x, labels = jnp.eye(3), jnp.arange(3)
    value, gradient = jax.jit(jax.value_and_grad(losses.ntxent))(x, labels)
    assert value == 0
    np.testing.assert_array_equal(gradient, np.zeros((3, 3)))
    assert np.isnan(optax.losses.ntxent(x, labels))


def test_smooth_labels_of_a_row_left_out():
    where = jnp.array([[True, True], [False, False]])
    np.testing.assert_allclose(losses.smooth_labels(jnp.eye(2), 0.5, where=where), [[0.75, 0.25], [0, 0]])
    assert not np.isfinite(optax.losses.smooth_labels(jnp.eye(2), 0.5, where=where)).all()


def test_generalized_dice_hears_the_classes_that_are_there():
    """With a class absent from the batch, Optax's weight of 1e8 for it leaves nothing for the others."""
    x, t = jnp.zeros((1, 4, 3)), jax.nn.one_hot(jnp.array([[0, 0, 1, 1]]), 3)
    confused = jnp.flip(5 * t[..., :2], axis=-1)  # class 0 for 1 and 1 for 0; the third as before
    wrong = jnp.concatenate([confused, jnp.full((1, 4, 1), -5.0)], axis=-1)
    right = wrong[:, ::-1]

    def gain(loss):
        return float(jax.jit(lambda: loss(wrong, t) - loss(right, t))())

    assert gain(losses.multiclass_generalized_dice_loss) > 0.3
    assert gain(optax.losses.multiclass_generalized_dice_loss) < 1e-4
    assert np.isfinite(jax.jit(jax.grad(losses.multiclass_generalized_dice_loss))(x, t)).all()


def test_a_vector_of_images_does_not_become_a_matrix_of_losses():
    """(batch,) against (batch, 1) broadcasts to (batch, batch) in Optax's Huber loss."""
    assert optax.losses.huber_loss(jnp.ones(3), jnp.ones((3, 1))).shape == (3, 3)
    for loss in (losses.huber_loss, losses.squared_error, losses.hinge_loss, losses.sigmoid_binary_cross_entropy):
        with pytest.raises(ValueError, match=r"\(3, 1\)"):
            loss(jnp.ones(3), jnp.ones((3, 1)))


def test_a_label_that_does_not_exist_is_not_the_last_class():
    """Optax counts -1 from the end, a wrong value without a word."""
    x = jnp.zeros((3, 4)).at[:, 3].set(9.0)
    labels = jnp.array([-1, 4, 0])
    losses_by_label = (
        losses.softmax_cross_entropy_with_integer_labels,
        losses.multiclass_hinge_loss,
        losses.multiclass_perceptron_loss,
        losses.multiclass_sparsemax_loss,
    )
    for loss in losses_by_label:
        np.testing.assert_array_equal(np.isnan(loss(x, labels)), [True, True, False])
    assert optax.losses.softmax_cross_entropy_with_integer_labels(x, labels)[0] < 0.01
