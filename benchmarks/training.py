"""The training that every task and optimizer shares: one jitted step, and a look at the test set now and then."""

import time
from typing import Any, NamedTuple

import jax
import numpy as np
from flax import nnx

import gradx
from benchmarks.task import Task
from gradx import GradientTransformation, Params, State


class Point(NamedTuple):
    """What was seen at one look at the test set."""

    step: int
    """The steps done."""
    train_loss: float
    """The mean over the batches since the point before."""
    test_loss: float
    metric: float
    learning_rate: float
    """Of the last step; NaN for an optimizer without one."""
    seconds_per_step: float
    """Since the point before, without compiling and without this look; NaN where nothing else remains."""


class Problem:
    """A task with its data on the device and its functions compiled once for all optimizers of the same structure."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.train, self.test = jax.device_put(task.data())
        self.examples = len(jax.tree.leaves(self.train)[0])
        if not 0 < task.batch_size <= self.examples:
            raise ValueError(f"batch_size must be in [1, {self.examples}], the training set, got {task.batch_size}")
        # Donated are params, state and others, and they come back in the same order: jit pairs buffers by order.
        self._step = jax.jit(self._train_step, donate_argnums=(0, 1, 2))
        self._evaluate = jax.jit(self._test)

    def start(self, tx: GradientTransformation, seed: int, steps: int) -> "Training":
        """Return a training at its beginning: the seed decides the model, the order of the batches and the noise."""
        return Training(self, tx, seed, steps)

    def batches(self, seed: int, steps: int) -> jax.Array:
        """Return the examples of every batch, int32[steps, batch_size]: each epoch is another permutation."""
        rng = np.random.default_rng(seed)
        size = self.task.batch_size
        per_epoch = self.examples // size
        epochs = [rng.permutation(self.examples)[: per_epoch * size] for _ in range(-(-steps // per_epoch))]
        return jax.device_put(np.concatenate(epochs).reshape(-1, size)[:steps].astype(np.int32))

    def split(self, model: nnx.Module) -> tuple[Params, State]:
        """Return the parameters and what else a model keeps (the means of a batch norm), as pure trees."""
        self.graph, params, others = nnx.split(model, nnx.Param, ...)
        return params, others

    def _train_step(
        self,
        params: Params,
        state: State,
        others: State,
        tx: GradientTransformation,
        train: Any,
        batches: jax.Array,
        key: jax.Array,
        step: int,
    ) -> tuple[Params, State, State, jax.Array, jax.Array]:
        batch = jax.tree.map(lambda x: x[batches[step]], train)

        def loss_of(params: Params) -> tuple[jax.Array, State]:
            model = nnx.merge(self.graph, params, others, copy=True)  # so that others may change in here
            loss = self.task.loss(model, batch, jax.random.fold_in(key, step))
            return loss, nnx.state(model, nnx.Not(nnx.Param))

        (loss, others), gradients = jax.value_and_grad(loss_of, has_aux=True)(params)
        rate = learning_rate(tx, state)
        updates, state = tx.update(gradients, state, params, value=loss, grad=gradients)
        return gradx.apply_updates(params, updates), state, others, loss, rate

    def _test(self, params: Params, others: State, test: Any, key: jax.Array) -> tuple[jax.Array, jax.Array]:
        model = nnx.merge(self.graph, params, others)
        return self.task.loss(model, test, key), self.task.metric.measure(model, test)


class Training:
    """One model being trained by one optimizer."""

    def __init__(self, problem: Problem, tx: GradientTransformation, seed: int, steps: int) -> None:
        self.problem, self.tx, self.step = problem, tx, 0
        self.key = jax.random.key(seed)
        self.batches = problem.batches(seed, steps)
        self.params, self.others = problem.split(problem.task.model(nnx.Rngs(seed)))
        self.state = tx.init(self.params)

    @property
    def parameters(self) -> int:
        """The number of trained parameters."""
        return sum(x.size for x in jax.tree.leaves(self.params))

    @property
    def state_bytes(self) -> int:
        """The size of the optimizer's state."""
        return sum(x.nbytes for x in jax.tree.leaves(self.state))

    def advance(self, steps: int) -> Point:
        """Do so many steps, fewer at the end of the training, and look at the test set."""
        last = min(self.step + steps, len(self.batches))
        train_losses, rate, timed, started = [], np.nan, 0, time.perf_counter()
        while self.step < last:
            loss, rate = self._one_step()
            train_losses.append(loss)
            timed += 1
            if self.step == 1:  # it compiled
                loss.block_until_ready()
                timed, started = 0, time.perf_counter()
        jax.block_until_ready(self.params)
        seconds = (time.perf_counter() - started) / timed if timed else np.nan
        problem = self.problem
        test_loss, metric = problem._evaluate(self.params, self.others, problem.test, self.key)
        train_loss = np.mean(jax.device_get(train_losses))
        return Point(self.step, *map(float, (train_loss, test_loss, metric, rate, seconds)))

    def _one_step(self) -> tuple[jax.Array, jax.Array]:
        self.params, self.state, self.others, loss, rate = self.problem._step(
            self.params,
            self.state,
            self.others,
            self.tx,
            self.problem.train,
            self.batches,
            self.key,
            self.step,
        )
        self.step += 1
        return loss, rate


def learning_rate(tx: GradientTransformation, state: State) -> jax.Array | float:
    """Return the learning rate of the next step, wherever in the optimizer it sits; works inside `jit`."""
    found = [x for name, x in gradx.hyperparams(tx, state).items() if name.endswith("learning_rate")]
    return found[0] if found else np.nan
