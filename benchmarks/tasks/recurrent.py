"""Recurrent: a gated recurrent unit that predicts the next byte of English prose."""

import jax
import jax.numpy as jnp
from flax import nnx

from benchmarks.prose import BYTES, windows
from benchmarks.roster import methods_of_matrices, with_recipe
from benchmarks.supervised import supervised
from benchmarks.task import Metric, Task
from benchmarks.tasks.language import bits_per_byte, loss
from gradx import recipes

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
    metric=Metric("held-out bits per byte", target=2.8, higher_is_better=False, style=".3f"),
    learner=supervised(windows, Recurrent, loss, bits_per_byte, batch_size=32),
    learning_rates={
        "sgd": 3.0,
        "momentum": 1.0,
        "rmsprop": 1e-2,
        "adam": 1e-2,
        "adamw": 3e-2,
        "adam-constant": 3e-3,
        "recipe": 1e-2,
        "muon": 0.03,
    }
    | methods_of_matrices(adam=1e-2),
    steps=500,
    evaluate_every=50,
    seeds=5,
    step="32 windows of 64 bytes",
    textbook="rmsprop",
    source="RMSProp for recurrent networks, as in Graves 2013, arXiv:1308.0850",
    roster=with_recipe(recipes.recurrent),
)
