"""LoRA: a trained network learns to read its digits upside down with a few numbers beside its weights. In Flax nnx.

Shows an optimizer that sees one kind of parameter, `wrt=nnx.LoRAParam`: Hu et al. 2021, arXiv:2106.09685; and a larger
rate for B than for A, as in LoRA+ (Hayou et al. 2024, arXiv:2402.12354), by labels from the parameters' paths.
"""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

import gradx

BASE = nnx.All(nnx.Param, nnx.Not(nnx.LoRAParam))


class Net(nnx.Module):
    """Two hidden layers, each with an adapter of rank 4 beside it: B is zero at first, and the adapter nothing."""

    def __init__(self, rngs: nnx.Rngs, width: int = 128, rank: int = 4):
        self.hidden1 = nnx.LoRALinear(64, width, lora_rank=rank, rngs=rngs)
        self.hidden2 = nnx.LoRALinear(width, width, lora_rank=rank, rngs=rngs)
        self.head = nnx.Linear(width, 10, rngs=rngs)

    def __call__(self, x):
        return self.head(nnx.gelu(self.hidden2(nnx.gelu(self.hidden1(x)))))


def a_or_b(params):
    """Label the factors of each adapter, B being the one that is zero at first."""
    return jax.tree.map_with_path(lambda path, _: "B" if "lora_b" in jax.tree_util.keystr(path) else "A", params)


def loss_of(model, images, labels):
    return gradx.losses.softmax_cross_entropy_with_integer_labels(model(images), labels).mean()


def train(model, tx, wrt, images, labels, steps, batch_size=64):
    """Train what `wrt` selects, and return the loss of every step."""
    optimizer = nnx.Optimizer(model, tx, wrt=wrt)

    @nnx.jit
    def train_step(model, optimizer, images, labels):
        loss, grads = nnx.value_and_grad(loss_of, argnums=nnx.DiffState(0, wrt))(model, images, labels)
        optimizer.update(model, grads)
        return loss

    rng, losses = np.random.default_rng(1), []
    for _ in range(steps):
        rows = rng.choice(len(labels), batch_size, replace=False)
        losses.append(float(train_step(model, optimizer, images[rows], labels[rows])))
    return losses


def accuracy(model, images, labels):
    return jnp.mean(model(images).argmax(axis=-1) == labels)


def numbers(model, which):
    return sum(x.size for x in jax.tree.leaves(nnx.state(model, which)))


def main(steps: int = 400, rate: float = 3e-3) -> list[float]:
    """Pretrain on upright digits, adapt to digits upside down, and return the loss of every step of both."""
    images, labels = load_digits(return_X_y=True)
    order = np.random.default_rng(0).permutation(len(labels))
    images, labels = (images[order] / 16).astype(np.float32), labels[order].astype(np.int32)
    turned = images.reshape(-1, 8, 8)[:, ::-1].reshape(-1, 64)
    train_rows, test_rows = slice(0, 1400), slice(1400, None)

    model = Net(nnx.Rngs(0))
    before = train(model, gradx.adamw(rate), BASE, images[train_rows], labels[train_rows], steps)
    print(f"pretrained: upright {accuracy(model, images[test_rows], labels[test_rows]):.1%}", end="   ")
    print(f"upside down {accuracy(model, turned[test_rows], labels[test_rows]):.1%}")
    base = nnx.state(model, BASE)

    tx = gradx.partition({"A": gradx.adam(rate), "B": gradx.adam(4 * rate)}, a_or_b)
    after = train(model, tx, nnx.LoRAParam, turned[train_rows], labels[train_rows], steps)
    share = numbers(model, nnx.LoRAParam) / numbers(model, BASE)
    print(f"adapted: upside down {accuracy(model, turned[test_rows], labels[test_rows]):.1%}", end="   ")
    print(f"with {numbers(model, nnx.LoRAParam):,} numbers, {share:.1%} of the network's")
    same = jax.tree.map(jnp.array_equal, base, nnx.state(model, BASE))
    print(f"the network itself is as it was: {all(jax.tree.leaves(same))}")
    return before + after


if __name__ == "__main__":
    main()
