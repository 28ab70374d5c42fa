"""A generative adversarial network on the digits (Goodfellow et al. 2014, arXiv:1406.2661).

Both networks move at once, from the same point: one optimizer, one state. Quality is the Fréchet distance (Heusel et
al. 2017, arXiv:1706.08500) between generated and real digits, seen through the last hidden layer of a convolutional
network that was trained to tell digits apart: |m - n|² + tr(C + D - 2 (C D)^½) for means m, n and covariances C, D.
The training digits have a distance of 6 from those held out, uniform noise has 1,442. "classes" is how many digits are
drawn: the exponential of the entropy of that network's answers; 10 is all, equally.
"""

import functools
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from matplotlib.figure import Figure

import gradx
from benchmarks.pictures import save
from benchmarks.roster import warmup_cosine, with_recipe
from benchmarks.supervised import batches, held_out
from benchmarks.task import Carry, Learner, Look, Metric, Task
from benchmarks.tasks.images import CNN, Digits, digits, loss as classifier_loss
from gradx import GradientTransformation, Params, recipes

NOISE = 64
WIDTH = 256
PIXELS = 784
BATCH = 64
GENERATED = 1000
JUDGE_STEPS = 400
SLOPE = 1.0
"""Weight of the penalty on the discriminator's slope."""
ROWS, COLUMNS = 5, 12
"""Of the picture of samples."""


class Generator(nnx.Module):
    """From noise to a digit: 283,920 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden1 = nnx.Linear(NOISE, WIDTH, rngs=rngs)
        self.hidden2 = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, PIXELS, rngs=rngs)

    def __call__(self, noise: jax.Array) -> jax.Array:
        hidden = nnx.leaky_relu(self.hidden1(noise), 0.2)
        return nnx.sigmoid(self.out(nnx.leaky_relu(self.hidden2(hidden), 0.2)))


class Discriminator(nnx.Module):
    """From a digit to the logit of its being real: 267,009 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden1 = nnx.Linear(PIXELS, WIDTH, rngs=rngs)
        self.hidden2 = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, 1, rngs=rngs)

    def __call__(self, images: jax.Array) -> jax.Array:
        hidden = nnx.leaky_relu(self.hidden1(images), 0.2)
        return self.out(nnx.leaky_relu(self.hidden2(hidden), 0.2))[:, 0]


class Adversaries(nnx.Module):
    """Both: 550,929 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.generator = Generator(rngs)
        self.discriminator = Discriminator(rngs)


GRAPH, _ = nnx.split(Adversaries(nnx.Rngs(0)))


def adversarial_loss(params: Params, images: jax.Array, key: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return a sum whose gradient is each network's own, and the discriminator's loss.

    The discriminator's loss is the mean cross-entropy of telling real from generated, and a penalty on its slope at
    the real digits, without which it wins and teaches nothing (Mescheder et al. 2018, arXiv:1801.04406); the
    generator's is the one that does not saturate, the cross-entropy of its digits being called real.
    """
    frozen = nnx.merge(GRAPH, jax.lax.stop_gradient(params))
    moving = nnx.merge(GRAPH, params)
    generated = moving.generator(jax.random.normal(key, (len(images), NOISE)))
    real = moving.discriminator(images)
    fake = moving.discriminator(jax.lax.stop_gradient(generated))
    discriminator = jnp.mean(jax.nn.softplus(-real)) + jnp.mean(jax.nn.softplus(fake))
    generator = jnp.mean(jax.nn.softplus(-frozen.discriminator(generated)))
    slope = jax.grad(lambda x: moving.discriminator(x).sum())(images)
    penalty = SLOPE / 2 * jnp.mean(jnp.sum(slope**2, axis=-1))
    return discriminator + penalty + generator, discriminator


class Judge(nnx.Module):
    """The network that judges, and what the real test digits look like to it."""

    def __init__(self, cnn: CNN, test: Digits) -> None:
        self.cnn = cnn
        features, _ = cnn.features_and_logits(jnp.asarray(test.image))
        self.mean, self.covariance = nnx.Variable(features.mean(0)), nnx.Variable(jnp.cov(features.T))

    def __call__(self, images: jax.Array) -> tuple[jax.Array, jax.Array]:
        """Return the Fréchet distance of images [n, 784], and the number of classes among them."""
        features, logits = self.cnn.features_and_logits(images.reshape(-1, 28, 28, 1))
        shares = jnp.mean(nnx.softmax(logits), axis=0)
        classes = jnp.exp(-jnp.sum(shares * jnp.log(shares + 1e-12)))
        distance = frechet_distance(self.mean[...], self.covariance[...], features.mean(0), jnp.cov(features.T))
        return distance, classes


def frechet_distance(mean1: jax.Array, covariance1: jax.Array, mean2: jax.Array, covariance2: jax.Array) -> jax.Array:
    """Return the squared Fréchet distance between two normal distributions [n], [n, n]."""
    root = square_root(covariance1)
    # The eigenvalues of C D are those of the symmetric C^½ D C^½.
    overlap = jnp.trace(square_root(root @ covariance2 @ root))
    return jnp.sum((mean1 - mean2) ** 2) + jnp.trace(covariance1) + jnp.trace(covariance2) - 2 * overlap


def square_root(matrix: jax.Array) -> jax.Array:
    """Return the root of a symmetric matrix without negative eigenvalues, apart from rounding."""
    values, vectors = jnp.linalg.eigh((matrix + matrix.T) / 2)
    return (vectors * jnp.sqrt(jnp.maximum(values, 0.0))) @ vectors.T


def trained_judge(train: Digits, test: Digits) -> Judge:
    """Train the network that judges on the training digits, always in the same way."""
    graph, params = nnx.split(CNN(nnx.Rngs(0)))
    tx = gradx.adam(3e-3)
    train = jax.device_put(train)

    def loss(params: Params, batch: Digits) -> jax.Array:
        return classifier_loss(nnx.merge(graph, params), batch, jax.random.key(0))

    def step(carry: Carry, chosen: jax.Array) -> tuple:
        batch = jax.tree.map(lambda x: x[chosen], train)
        value, gradients = jax.value_and_grad(loss)(carry.params, batch)
        return carry.descend(tx, gradients, value), None

    order = batches(len(train.label), BATCH, 0, JUDGE_STEPS)
    carry, _ = jax.jit(lambda: jax.lax.scan(step, Carry(params, tx.init(params)), order))()
    return Judge(nnx.merge(graph, carry.params), test)


@functools.cache
def learner(tuning: bool) -> Learner:
    """Return how the task is learnt."""
    train, test = held_out(digits()[0]) if tuning else digits()
    judge_graph, judge = nnx.split(trained_judge(train, test))
    data = {"train": train.image.reshape(-1, PIXELS), "test": test.image.reshape(-1, PIXELS), "judge": judge}

    def start(tx: GradientTransformation, seed: int) -> Carry:
        _, params = nnx.split(Adversaries(nnx.Rngs(seed)))
        return Carry(params, tx.init(params))

    def step(tx: GradientTransformation, carry: Carry, data: Any, chosen: jax.Array, key: jax.Array) -> tuple:
        images = data["train"][chosen]
        gradients, value = jax.grad(adversarial_loss, has_aux=True)(carry.params, images, key)
        return carry.descend(tx, gradients, value), value

    def look(carry: Carry, data: Any, key: jax.Array) -> Look:
        noise = jax.random.normal(key, (GENERATED, NOISE))
        distance, classes = nnx.merge(judge_graph, data["judge"])(nnx.merge(GRAPH, carry.params).generator(noise))
        return Look(adversarial_loss(carry.params, data["test"], key)[1], distance, {"classes": classes})

    def inputs(seed: int, first: int, last: int) -> np.ndarray:
        return batches(len(train.label), BATCH, seed, last)[first:]

    return Learner(jax.device_put(data), start, step, look, inputs)


def samples(params: Params, path: Path) -> None:
    """Draw digits that a generator makes."""
    noise = jax.random.normal(jax.random.key(0), (ROWS * COLUMNS, NOISE))
    images = np.asarray(nnx.merge(GRAPH, params).generator(noise)).reshape(ROWS, COLUMNS, 28, 28)
    figure = Figure(figsize=(COLUMNS / 2, ROWS / 2), dpi=130)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.axis("off")
    axes.imshow(images.transpose(0, 2, 1, 3).reshape(ROWS * 28, COLUMNS * 28), cmap="gray_r", vmin=0, vmax=1)
    save(figure, path)


TASK = Task(
    title="a generative adversarial network on 5,000 MNIST digits",
    metric=Metric("Fréchet distance", target=100.0, higher_is_better=False, style=".1f"),
    learner=lambda name, tuning: learner(tuning),
    learning_rates={
        "sgd": 0.3,
        "momentum": 0.03,
        "rmsprop": 3e-3,
        "adam": 1e-3,
        "adam-0.5": 3e-3,
        "adamw": 3e-3,
        "recipe": 3e-3,
    },
    steps=3000,
    evaluate_every=150,
    step="64 images",
    textbook="adam-0.5",
    source="Adam with b1 = 0.5, as in Radford, Metz and Chintala 2016, arXiv:1511.06434",
    roster=with_recipe(recipes.gan) | {"adam-0.5": lambda rate, steps: gradx.adam(warmup_cosine(rate, steps), b1=0.5)},
    picture=samples,
)
