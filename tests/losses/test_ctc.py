"""CTC against torch, at a size where alignments cannot be listed, and its edges."""

import jax
import jax.numpy as jnp
import numpy as np

from gradx.losses import ctc_loss, ctc_loss_with_forward_probs
from tests.oracles.recorded import from_torch

TOLERANCE = 1e-4
"""Float32 against torch's float32: sums of logarithms over 30 frames, of size a hundred."""


def problem(batch=4, frames=30, classes=6, length=8):
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(batch, frames, classes)).astype(np.float32)
    labels = rng.integers(1, classes, size=(batch, length))
    frame_lengths, label_lengths = np.array([30, 25, 20, 30]), np.array([8, 5, 0, 1])
    frame_padding = np.arange(frames)[None] >= frame_lengths[:, None]
    label_padding = np.arange(length)[None] >= label_lengths[:, None]
    return logits, frame_padding.astype(float), labels, label_padding.astype(float), frame_lengths, label_lengths


def gradient_of(loss):
    return jax.jit(jax.value_and_grad(lambda x: loss(x).sum()))


def test_values_and_gradients_agree_with_torch():
    logits, frame_padding, labels, label_padding, frame_lengths, label_lengths = problem()
    value, gradient = gradient_of(lambda x: ctc_loss(x, frame_padding, labels, label_padding))(logits)

    def run(torch):
        x = torch.tensor(logits, requires_grad=True)
        total = torch.nn.functional.ctc_loss(
            torch.log_softmax(x, dim=-1).transpose(0, 1),
            torch.tensor(labels),
            torch.tensor(frame_lengths),
            torch.tensor(label_lengths),
            reduction="sum",
        )
        total.backward()
        return {"value": total.detach().numpy(), "gradient": x.grad.numpy()}

    theirs = from_torch("ctc", run)
    np.testing.assert_allclose(value, theirs["value"], rtol=TOLERANCE)
    np.testing.assert_allclose(gradient, theirs["gradient"], atol=TOLERANCE)


def test_another_blank():
    logits, frame_padding, labels, label_padding, *_ = problem()
    moved = np.roll(logits, -1, axis=2)  # class c becomes c - 1, the blank the last
    got = ctc_loss(moved, frame_padding, labels - 1, label_padding, blank_id=5)
    np.testing.assert_allclose(got, ctc_loss(logits, frame_padding, labels, label_padding), rtol=1e-6)


def test_padding_may_hold_anything():
    logits, frame_padding, labels, label_padding, *_ = problem()
    wanted = ctc_loss(logits, frame_padding, labels, label_padding)
    logits = np.where(frame_padding[..., None] == 1, np.nan, logits)
    labels = np.where(label_padding == 1, -7, labels)
    got, gradient = gradient_of(lambda x: ctc_loss(x, frame_padding, labels, label_padding))(logits)
    np.testing.assert_allclose(got, wanted.sum(), rtol=1e-6)
    assert np.isfinite(gradient).all()


def test_labels_that_do_not_fit():
    """Two equal labels need three frames; two are given. The loss is about -log_epsilon, the gradient finite."""
    loss = lambda x: ctc_loss(x, jnp.zeros((1, 2)), jnp.array([[1, 1]]), jnp.zeros((1, 2)), log_epsilon=-1e4)  # noqa: E731
    value, gradient = gradient_of(loss)(jnp.zeros((1, 2, 3)))
    assert 0.9e4 < value < 1.1e4
    assert np.isfinite(gradient).all()


def test_no_frames_and_no_labels():
    loss, blank, label = ctc_loss_with_forward_probs(
        jnp.zeros((2, 0, 3)), jnp.zeros((2, 0)), jnp.zeros((2, 0), int), jnp.zeros((2, 0))
    )
    np.testing.assert_array_equal(loss, [0, 0])
    assert blank.shape == (0, 2, 1)
    assert label.shape == (0, 2, 0)
    silence = ctc_loss(jnp.zeros((1, 3, 2)), jnp.zeros((1, 3)), jnp.zeros((1, 0), int), jnp.zeros((1, 0)))
    np.testing.assert_allclose(silence, [3 * np.log(2)], rtol=1e-6)


def test_a_label_out_of_range_is_not_a_number():
    labels = jnp.array([[3], [-1], [2]])
    got = ctc_loss(jnp.zeros((3, 4, 3)), jnp.zeros((3, 4)), labels, jnp.zeros((3, 1)))
    np.testing.assert_array_equal(np.isnan(got), [True, True, False])
