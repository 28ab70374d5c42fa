"""What the examples use and Optax lacks, made of Optax: the other side of the comparison."""

import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import jmp
import numpy as np
import optax


class SGD(NamedTuple):
    """Optax's SGD with its numbers as leaves, so that a meta-gradient has a place to go."""

    learning_rate: Any
    momentum: Any

    def init(self, params):
        return optax.sgd(self.learning_rate, self.momentum).init(params)

    def update(self, updates, state, params=None):
        return optax.sgd(self.learning_rate, self.momentum).update(updates, state, params)


class ScaledState(NamedTuple):
    scale: jmp.DynamicLossScale
    total_skipped: jax.Array
    inner: Any

    @property
    def loss_scale(self):
        return self.scale.loss_scale


def dynamic_loss_scale(inner, initial_scale, growth_steps):
    """As jmp's documentation does it around an optimizer of Optax."""

    def init(params):
        scale = jmp.DynamicLossScale(jnp.asarray(initial_scale), period=growth_steps)
        return ScaledState(scale, jnp.zeros((), jnp.int32), inner.init(params))

    def update(grads, state, params):
        grads = state.scale.unscale(grads)
        finite = jmp.all_finite(grads)
        updates, inner_state = inner.update(grads, state.inner, params)
        updates = jmp.select_tree(finite, updates, jax.tree.map(jnp.zeros_like, updates))
        inner_state = jmp.select_tree(finite, inner_state, state.inner)
        return updates, ScaledState(state.scale.adjust(finite), state.total_skipped + ~finite, inner_state)

    return optax.GradientTransformation(init, update)


def scale_loss(loss, state):
    return state.scale.scale(loss)


class Swept(NamedTuple):
    values: dict
    results: dict

    def best(self, score):
        scores = score(self.results).mean(axis=1)
        return {name: x[int(np.argmin(scores))] for name, x in self.values.items()}


class tune:
    """One run after the other, each with an optimizer of its own."""

    @staticmethod
    def sweep(make, train, values, seeds):
        members = [dict(zip(values, numbers, strict=True)) for numbers in zip(*values.values(), strict=True)]
        run = jax.jit(lambda numbers, key: train(make(**numbers), key))
        rows = [[run(numbers, jax.random.key(seed)) for seed in range(seeds)] for numbers in members]
        flat = jax.tree.map(lambda *x: np.stack(x), *[result for row in rows for result in row])
        results = jax.tree.map(lambda x: x.reshape(len(members), seeds, *x.shape[1:]), flat)
        assert math.prod(flat["accuracy"].shape) == len(members) * seeds
        return Swept(values, results)


def swept_adamw(learning_rate=None, weight_decay=None, **rest):
    """The optimizer that is varied: Optax's is a function of its numbers, to be called with each member's."""
    return optax.adamw if weight_decay is None else optax.adamw(learning_rate, weight_decay=weight_decay, **rest)
