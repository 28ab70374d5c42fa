"""One training step of a small deep network in each of flax's loops, and under plain `jit`: 200 leaves."""

from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from flax.training.train_state import TrainState

DEPTH, WIDTH = 100, 16
INPUTS = np.ones((8, WIDTH), np.float32)
Step = Callable[[], Any]


class Layers(nnx.Module):
    """Dense layers, one behind the other, as an nnx module."""

    def __init__(self) -> None:
        rngs = nnx.Rngs(0)
        self.layers = nnx.List([nnx.Linear(WIDTH, WIDTH, rngs=rngs) for _ in range(DEPTH)])

    def __call__(self, x: jax.Array) -> jax.Array:
        for layer in self.layers:
            x = jnp.tanh(layer(x))
        return x


class LinenLayers(nn.Module):
    """The same in linen."""

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        for _ in range(DEPTH):
            x = jnp.tanh(nn.Dense(WIDTH)(x))
        return x


def plain(tx: Any) -> Step:
    """Return a step on a dict of arrays."""
    params = {f"w{i}": jnp.ones((WIDTH, WIDTH)) for i in range(DEPTH)} | {
        f"b{i}": jnp.ones(WIDTH) for i in range(DEPTH)
    }

    def loss_of(params: Any) -> jax.Array:
        x = INPUTS
        for i in range(DEPTH):
            x = jnp.tanh(x @ params[f"w{i}"] + params[f"b{i}"])
        return jnp.mean(x**2)

    return _functional(tx, params, loss_of)


def nnx_optimizer(tx: Any) -> Step:
    """Return a step of `nnx.Optimizer` under `nnx.jit`."""
    net = Layers()
    optimizer = nnx.Optimizer(net, tx, wrt=nnx.Param)

    @nnx.jit
    def step(net: Layers, optimizer: Any) -> Any:
        loss, grads = nnx.value_and_grad(lambda net: jnp.mean(net(INPUTS) ** 2))(net)
        optimizer.update(net, grads)
        return loss

    return lambda: step(net, optimizer)


def nnx_split(tx: Any) -> Step:
    """Return a step on what `nnx.split` gives: the module is put together inside the step."""
    graph, params = nnx.split(Layers(), nnx.Param)
    return _functional(tx, params, lambda params: jnp.mean(nnx.merge(graph, params)(INPUTS) ** 2))


def nnx_leaves(tx: Any) -> Step:
    """Return the same on the bare leaves, so that no call goes through nnx's own containers."""
    graph, params = nnx.split(Layers(), nnx.Param)
    leaves, treedef = jax.tree.flatten(params)

    def loss_of(leaves: Any) -> jax.Array:
        return jnp.mean(nnx.merge(graph, jax.tree.unflatten(treedef, leaves))(INPUTS) ** 2)

    return _functional(tx, leaves, loss_of)


def train_state(tx: Any) -> Step:
    """Return a step of linen's `TrainState`."""
    net = LinenLayers()
    held = [TrainState.create(apply_fn=net.apply, params=net.init(jax.random.key(0), INPUTS), tx=tx)]

    @jax.jit
    def step(state: Any) -> Any:
        grads = jax.grad(lambda params: jnp.mean(state.apply_fn(params, INPUTS) ** 2))(state.params)
        return state.apply_gradients(grads=grads)

    def once() -> Any:
        held[0] = step(held[0])
        return held[0].params

    return once


def _functional(tx: Any, params: Any, loss_of: Callable) -> Step:
    held = {"params": params, "state": tx.init(params)}

    @jax.jit
    def step(params: Any, state: Any) -> tuple[Any, Any]:
        updates, state = tx.update(jax.grad(loss_of)(params), state, params)
        return optax.apply_updates(params, updates), state

    def once() -> Any:
        held["params"], held["state"] = step(held["params"], held["state"])
        return held

    return once


LOOPS: dict[str, Callable[[Any], Step]] = {
    "nnx.Optimizer": nnx_optimizer,
    "nnx.split, jit": nnx_split,
    "nnx.split, jit on leaves": nnx_leaves,
    "TrainState": train_state,
}
"""By the name that the table shows."""
