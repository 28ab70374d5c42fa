"""Recurrent: a gated recurrent unit that predicts the next byte of English prose."""

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.prose import BYTES, windows
from benchmarks.task import Metric, Task
from benchmarks.tasks.language import bits_per_byte, loss

WIDTH = 128


class Recurrent(nnx.Module):
    """One layer of 128 gated units (Cho et al. 2014, arXiv:1406.1078): 164,480 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.bytes = nnx.Embed(BYTES, WIDTH, rngs=rngs)
        self.cell = nnx.GRUCell(WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, BYTES, rngs=rngs)

    def __call__(self, text: jax.Array) -> jax.Array:
        inputs = self.bytes(text.astype(jnp.int32))
        start = jnp.zeros((text.shape[0], WIDTH))
        step = nnx.scan(lambda cell, hidden, x: cell(hidden, x), in_axes=(None, nnx.Carry, 1), out_axes=(nnx.Carry, 1))
        return self.out(step(self.cell, start, inputs)[1])


TASK = Task(
    title="a gated recurrent network on English prose",
    data=windows,
    model=Recurrent,
    loss=loss,
    metric=Metric("held-out bits per byte", bits_per_byte, target=2.8, higher_is_better=False, style=".3f"),
    # By `benchmarks.rates`: of 1, 3, 10 ... the best on held-out training data. Three times as much diverges
    # for sgd and momentum.
    learning_rates={"sgd": 3.0, "momentum": 1.0, "rmsprop": 1e-2, "adam": 3e-3, "adamw": 3e-2},
    batch_size=32,
    steps=1000,
    evaluate_every=100,
)
