"""Very large data: the sources of Python's own library, some 31 MB in 1,800 files, read from disk batch by batch.

Grain draws records of 1,024 bytes in random order and reads ahead; no more than a few batches are in memory at once.
"resident MB" is the size of the whole process at each look. The model predicts a byte from the sixteen before it
(Bengio et al. 2003, A neural probabilistic language model).
"""

import functools
import sysconfig
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
import psutil
from flax import nnx

from benchmarks.roster import with_recipe
from benchmarks.task import Carry, Learner, Look, Metric, Task
from gradx import GradientTransformation, losses, recipes

BYTES = 256
RECORD = 1024
CONTEXT = 16
WIDTH = 256
BATCH = 32
PLACES = 32
"""Bytes of every record that are predicted."""
HELD_OUT = 0.1
"""The part of the files that is the test set; while learning rates are tuned, as many others."""
TEST_RECORDS = 256
SPLIT_SEED = 0
AHEAD = grain.ReadOptions(num_threads=2, prefetch_buffer_size=4)


class Records:
    """Files as one long text, cut into records of 1,024 bytes that are read when they are asked for."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = list(files)
        self.ends = np.cumsum([path.stat().st_size for path in self.files])

    def __len__(self) -> int:
        return int(self.ends[-1]) // RECORD

    def __getitem__(self, index: int) -> np.ndarray:
        place, text = index * RECORD, b""
        file = int(np.searchsorted(self.ends, place, side="right"))
        while len(text) < RECORD:
            with self.files[file].open("rb") as source:
                source.seek(max(0, place - (int(self.ends[file - 1]) if file else 0)))
                text += source.read(RECORD - len(text))
            file += 1
        return np.frombuffer(text, np.uint8)


class NextByte(nnx.Module):
    """A perceptron over sixteen embedded bytes: 135,680 parameters."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.bytes = nnx.Embed(BYTES, CONTEXT, rngs=rngs)
        self.hidden = nnx.Linear(CONTEXT * CONTEXT, WIDTH, rngs=rngs)
        self.out = nnx.Linear(WIDTH, BYTES, rngs=rngs)

    def __call__(self, context: jax.Array) -> jax.Array:
        x = self.bytes(context.astype(jnp.int32))
        return self.out(nnx.relu(self.hidden(x.reshape(*x.shape[:-2], -1))))


GRAPH, _ = nnx.split(NextByte(nnx.Rngs(0)))


def loss(params: Any, records: jax.Array, key: jax.Array) -> jax.Array:
    """Return the mean cross-entropy, in nats, of bytes drawn from the records [n, 1024]."""
    first = jax.random.randint(key, (len(records), PLACES, 1), 0, RECORD - CONTEXT)
    windows = jnp.take_along_axis(records[:, None], first + jnp.arange(CONTEXT + 1), axis=-1)
    logits = nnx.merge(GRAPH, params)(windows[..., :-1])
    return losses.softmax_cross_entropy_with_integer_labels(logits, windows[..., -1].astype(jnp.int32)).mean()


def files() -> list[Path]:
    """Return the sources of Python's library, in an order that is random but always the same."""
    root = Path(sysconfig.get_paths()["stdlib"])
    found = sorted(path for path in root.rglob("*.py") if "site-packages" not in path.parts and path.stat().st_size)
    return [found[i] for i in np.random.default_rng(SPLIT_SEED).permutation(len(found))]


def split(tuning: bool) -> tuple[Records, Records]:
    """Return what to train on and what to judge by."""
    found = files()
    cut = int(HELD_OUT * len(found))
    test, rest = found[:cut], found[cut:]
    return (Records(rest[cut:]), Records(rest[:cut])) if tuning else (Records(rest), Records(test))


@functools.cache
def learner(tuning: bool) -> Learner:
    """Return how the task is learnt."""
    train, test = split(tuning)
    places = np.linspace(0, len(test) - 1, TEST_RECORDS).astype(int)
    judged_by = np.stack([test[int(i)] for i in places])

    def start(tx: GradientTransformation, seed: int) -> Carry:
        _, params = nnx.split(NextByte(nnx.Rngs(seed)))
        return Carry(params, tx.init(params))

    def step(tx: GradientTransformation, carry: Carry, data: Any, records: jax.Array, key: jax.Array) -> tuple:
        value, gradients = jax.value_and_grad(loss)(carry.params, records, key)
        return carry.descend(tx, gradients, value), value

    def look(carry: Carry, data: Any, key: jax.Array) -> Look:
        nats = loss(carry.params, data, jax.random.key(SPLIT_SEED))
        return Look(nats, nats / np.log(2))

    def inputs(seed: int, first: int, last: int) -> np.ndarray:
        shuffled = grain.MapDataset.source(train).seed(seed).shuffle().repeat().batch(BATCH)
        return np.stack(list(shuffled.slice(slice(first, last)).to_iter_dataset(AHEAD)))

    return Learner(jax.device_put(judged_by), start, step, look, inputs, observe=resident)


def resident() -> Mapping[str, float]:
    """Return the size of this process in memory."""
    return {"resident MB": psutil.Process().memory_info().rss / 1e6}


TASK = Task(
    title="Python's own library, streamed from disk",
    metric=Metric("held-out bits per byte", target=2.8, higher_is_better=False, style=".3f"),
    learner=lambda name, tuning: learner(tuning),
    learning_rates={
        "sgd": 1.0,
        "momentum": 0.3,
        "rmsprop": 1e-2,
        "adam": 1e-2,
        "adamw": 3e-2,
        "recipe": 3e-2,
    },
    steps=860,
    evaluate_every=43,
    step="32 records of 1,024 bytes",
    seeds=5,
    textbook="momentum",
    source="gradient descent with momentum for very large data; plain in Bottou 2010, doi:10.1007/978-3-7908-2604-3_16",
    roster=with_recipe(recipes.stream),
)
