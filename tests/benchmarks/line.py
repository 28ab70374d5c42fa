"""A task that takes no time: a line through forty points, by a model with a batch norm."""

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from benchmarks.supervised import supervised
from benchmarks.task import Metric, Task


class Line(nnx.Module):
    """y = a · norm(x) + b, with a running mean that is no parameter."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
        self.dense = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return self.dense(self.norm(x, use_running_average=not train))[:, 0]


def line_data():
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 1.0, (50, 3)).astype(np.float32)
    y = x @ np.float32([1.0, -2.0, 0.5])
    return {"x": x[:40], "y": y[:40]}, {"x": x[40:], "y": y[40:]}


def line_loss(model, batch, key):
    return jnp.mean((model(batch["x"], train=True) - batch["y"]) ** 2)


def line_error(model, test):
    return jnp.sqrt(jnp.mean((model(test["x"], train=False) - test["y"]) ** 2))


LINE = Task(
    title="a line",
    metric=Metric("test error", target=0.5, higher_is_better=False),
    learner=supervised(line_data, Line, line_loss, line_error, batch_size=8),
    learning_rates={"sgd": 0.1, "adam": 0.1, "adamw": 0.1},
    steps=20,
    evaluate_every=5,
    step="8 rows",
    textbook="sgd",
    source="the method of least squares",
)
