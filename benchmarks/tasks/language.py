"""Language: a small Transformer that predicts the next byte of English prose."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.prose import BYTES, LENGTH, Windows, windows
from benchmarks.roster import methods_of_matrices, newcomers, with_recipe
from benchmarks.supervised import supervised
from benchmarks.task import Metric, Task
from gradx import losses, recipes

WIDTH = 64
HEADS = 4
LAYERS = 2


class Block(nnx.Module):
    """Attention to what came before, then a perceptron; each added to what comes in, after a layer norm."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm1, self.norm2 = nnx.LayerNorm(WIDTH, rngs=rngs), nnx.LayerNorm(WIDTH, rngs=rngs)
        self.projections = nnx.Linear(WIDTH, 3 * WIDTH, use_bias=False, rngs=rngs)
        self.mixed = nnx.Linear(WIDTH, WIDTH, use_bias=False, rngs=rngs)
        self.up = nnx.Linear(WIDTH, 4 * WIDTH, rngs=rngs)
        self.down = nnx.Linear(4 * WIDTH, WIDTH, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        heads = self.projections(self.norm1(x)).reshape(*x.shape[:-1], 3 * HEADS, WIDTH // HEADS)
        query, key, value = jnp.split(heads, 3, axis=-2)
        attended = jax.nn.dot_product_attention(query, key, value, is_causal=True)
        x = x + self.mixed(attended.reshape(x.shape))
        return x + self.down(nnx.gelu(self.up(self.norm2(x))))


class Transformer(nnx.Module):
    """A decoder of two blocks: 136,704 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.bytes = nnx.Embed(BYTES, WIDTH, rngs=rngs)
        self.places = nnx.Embed(LENGTH, WIDTH, rngs=rngs)
        self.blocks = nnx.List([Block(rngs) for _ in range(LAYERS)])
        self.norm = nnx.LayerNorm(WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, BYTES, rngs=rngs)

    def __call__(self, text: jax.Array) -> jax.Array:
        x = self.bytes(text.astype(jnp.int32)) + self.places(jnp.arange(text.shape[1]))[None]
        for block in self.blocks:
            x = block(x)
        return self.out(self.norm(x))


def loss(model: nnx.Module, batch: Windows, key: jax.Array) -> jax.Array:
    """Return the mean cross-entropy of the next byte, in nats."""
    logits = model(batch.text)
    return losses.softmax_cross_entropy_with_integer_labels(logits, batch.following.astype(jnp.int32)).mean()


def bits_per_byte(model: nnx.Module, test: Windows) -> jax.Array:
    """Return the mean cross-entropy of the next byte, in bits; a uniform guess has 8."""
    return loss(model, test, jax.random.key(0)) / np.log(2)


TASK = Task(
    title="a small Transformer on English prose",
    metric=Metric("held-out bits per byte", target=2.6, higher_is_better=False, style=".3f"),
    learner=supervised(windows, Transformer, loss, bits_per_byte, batch_size=16),
    learning_rates={
        "sgd": 0.3,
        "momentum": 0.1,
        "rmsprop": 0.003,
        "adam": 0.003,
        "adamw": 0.01,
        "recipe": 3e-2,
    }
    | newcomers(adam=0.003)
    | methods_of_matrices(adam=0.003),
    steps=800,
    evaluate_every=80,
    seeds=5,
    step="16 windows of 64 bytes",
    at_once=1,  # on two cores five side by side take 31 ms a step for each, one alone 11 ms
    textbook="adamw",
    source="AdamW with warmup and cosine decay, as in Touvron et al. 2023, arXiv:2302.13971",
    roster=with_recipe(recipes.language),
)
