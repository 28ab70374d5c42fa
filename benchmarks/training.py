"""Trainings side by side: several optimizers of one structure and several seeds, as one compiled program."""

import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from benchmarks.task import Carry, Learner
from gradx import GradientTransformation, Params, State


class Point(NamedTuple):
    """What was seen of one training at one look."""

    step: int
    """The steps done."""
    train_loss: float
    """The mean over the steps since the point before."""
    test_loss: float
    metric: float
    learning_rate: float
    """Of the last step; NaN for an optimizer without one."""
    seconds_per_step: float
    """Since the point before, without compiling and without this look; those of all members, by their number."""
    others: Mapping[str, float] = {}


class Programs:
    """What trainings of one learner and one kind of optimizer share: each program is compiled once."""

    def __init__(self, learner: Learner) -> None:
        self.learner = learner
        # Donated are params, state and others, and they come back in the same order: jit pairs buffers by order.
        self._advance = jax.jit(jax.vmap(self._train, (0, 0, None, 0, 0, None)), donate_argnums=1)
        self._look = jax.jit(self._look_at_all)
        self._compiled: dict[tuple[int, int], Any] = {}

    def advance(self, members: int, steps: int, arguments: tuple) -> Any:
        """Return the compiled program that does so many steps with so many members."""
        if (members, steps) not in self._compiled:
            self._compiled[members, steps] = self._advance.lower(*arguments).compile()
        return self._compiled[members, steps]

    def look(self, carry: Carry, keys: jax.Array) -> Any:
        """Look at every member."""
        return jax.device_get(self._look(carry, self.learner.data, keys))

    @property
    def temporary_bytes(self) -> int:
        """What a program needs beside what it is given and returns, for each member; known once one was compiled."""
        analyses = {members: compiled.memory_analysis() for (members, _), compiled in self._compiled.items()}
        return max((x.temp_size_in_bytes // n for n, x in analyses.items() if x is not None), default=0)

    def _train(
        self, tx: GradientTransformation, carry: Carry, data: Any, inputs: Any, key: jax.Array, steps: jax.Array
    ) -> tuple[Carry, jax.Array, jax.Array]:
        def step(carry: Carry, now: tuple) -> tuple[Carry, tuple]:
            inputs, number = now
            rate = learning_rate(tx, carry.state)
            carry, loss = self.learner.step(tx, carry, data, inputs, jax.random.fold_in(key, number))
            return carry, (loss, rate)

        carry, (losses, rates) = jax.lax.scan(step, carry, (inputs, steps))
        return carry, losses, rates

    def _look_at_all(self, carry: Carry, data: Any, keys: jax.Array) -> Any:
        return jax.lax.map(lambda member: self.learner.look(member[0], data, member[1]), (carry, keys))


class Training:
    """Members that train together, each an optimizer and a seed; the seed decides the model, the batches, the noise."""

    def __init__(
        self, programs: Programs, txs: Sequence[GradientTransformation], seeds: Sequence[int], steps: int
    ) -> None:
        self.programs, self.learner = programs, programs.learner
        self.seeds, self.steps, self.step = seeds, steps, 0
        self.tx = _stack(txs)
        self.carry = _stack([self.learner.start(tx, seed) for tx, seed in zip(txs, seeds, strict=True)])
        self.keys = _stack([jax.random.key(seed) for seed in seeds])

    @property
    def parameters(self) -> int:
        """The number of trained parameters of one member."""
        return sum(x.size for x in jax.tree.leaves(self.carry.params)) // len(self.seeds)

    @property
    def state_bytes(self) -> int:
        """The size of one member's optimizer state."""
        return sum(x.nbytes for x in jax.tree.leaves(self.carry.state)) // len(self.seeds)

    def advance(self, steps: int) -> list[Point]:
        """Do so many steps, fewer at the end of the training, and look at every member."""
        last = min(self.step + steps, self.steps)
        inputs = _stack([self.learner.inputs(seed, self.step, last) for seed in self.seeds])
        arguments = (self.tx, self.carry, self.learner.data, inputs, self.keys, np.arange(self.step, last))
        program = self.programs.advance(len(self.seeds), last - self.step, arguments)
        started = time.perf_counter()
        self.carry, losses, rates = jax.block_until_ready(program(*arguments))
        seconds = (time.perf_counter() - started) / (last - self.step) / len(self.seeds)
        self.step = last
        looks = self.programs.look(self.carry, self.keys)
        seen = self.learner.observe()
        train_losses, rates = np.mean(losses, axis=1), np.asarray(rates)[:, -1]
        return [
            Point(
                last,
                *map(float, (train_losses[i], looks.test_loss[i], looks.metric[i], rates[i], seconds)),
                {name: float(x[i]) for name, x in looks.others.items()} | dict(seen),
            )
            for i in range(len(self.seeds))
        ]

    def run(self, evaluate_every: int) -> Iterator[list[Point]]:
        """Train to the end; yield what is seen of the members at each look."""
        while self.step < self.steps:
            yield self.advance(evaluate_every)

    def params(self, member: int) -> Params:
        """Return the parameters of one member."""
        return jax.tree.map(lambda x: x[member], self.carry.params)


def learning_rate(tx: GradientTransformation, state: State) -> jax.Array | float:
    """Return the learning rate of the next step, wherever in the optimizer it sits; works inside `jit`."""
    found = [x for name, x in gradx.hyperparams(tx, state).items() if name.endswith("learning_rate")]
    return found[0] if found else np.nan


def _stack(trees: Sequence[Any]) -> Any:
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *trees)
