"""Tabular: a multilayer perceptron on a table of 1,797 rows, 64 whole numbers each, that scikit-learn holds."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from sklearn.datasets import load_digits

from benchmarks.roster import newcomers, with_recipe
from benchmarks.supervised import supervised
from benchmarks.task import Metric, Task
from gradx import losses, recipes

CLASSES = 10
FEATURES = 64
WIDTH = 64
TEST_ROWS = 360
SPLIT_SEED = 0


class Rows(NamedTuple):
    """Rows of the table, and the class of each."""

    features: np.ndarray
    """float32[n, 64]: how much ink is in each cell of a scanned digit, from 0 to 1."""
    label: np.ndarray
    """int32[n], from 0 to 9."""


def table() -> tuple[Rows, Rows]:
    """Return 1,437 rows to train on and 360 to test, drawn at random."""
    features, labels = load_digits(return_X_y=True)
    rows = Rows((features / 16).astype(np.float32), labels.astype(np.int32))
    order = np.random.default_rng(SPLIT_SEED).permutation(len(labels))
    train, test = order[TEST_ROWS:], order[:TEST_ROWS]
    return Rows(*(x[train] for x in rows)), Rows(*(x[test] for x in rows))


class MLP(nnx.Module):
    """Two hidden layers of 64: 8,970 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.hidden1 = nnx.Linear(FEATURES, WIDTH, rngs=rngs)
        self.hidden2 = nnx.Linear(WIDTH, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, CLASSES, rngs=rngs)

    def __call__(self, x: jax.Array) -> jax.Array:
        return self.out(nnx.relu(self.hidden2(nnx.relu(self.hidden1(x)))))


def loss(model: MLP, batch: Rows, key: jax.Array) -> jax.Array:
    """Return the mean cross-entropy."""
    return losses.softmax_cross_entropy_with_integer_labels(model(batch.features), batch.label).mean()


def accuracy(model: MLP, test: Rows) -> jax.Array:
    """Return the share of rows whose largest logit is the right one."""
    return jnp.mean(jnp.argmax(model(test.features), axis=-1) == test.label)


TASK = Task(
    title="a perceptron on a table of 1,797 scanned digits",
    metric=Metric("test accuracy", target=0.95, style=".1%", ceiling=1.0, examples=TEST_ROWS),
    learner=supervised(table, MLP, loss, accuracy, batch_size=64),
    learning_rates={
        "sgd": 0.3,
        "momentum": 0.1,
        "rmsprop": 1e-2,
        "adam": 1e-2,
        "adamw": 3e-2,
        "adam-constant": 1e-2,
        "recipe": 3e-2,
    }
    | newcomers(adam=1e-2),
    steps=600,
    evaluate_every=25,
    step="64 rows",
    tuning_seeds=3,
    seeds=5,
    textbook="adam",
    alternatives=("adamw",),
    source="the defaults for deep learning: Adam, Kingma and Ba 2015; AdamW, Loshchilov and Hutter 2019",
    roster=with_recipe(recipes.general),
)
