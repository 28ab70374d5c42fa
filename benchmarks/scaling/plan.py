"""What an optimizer's step will need on each device, for a model and a mesh that need not be there."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.sharding import AbstractMesh, AxisType, NamedSharding, PartitionSpec as P

import gradx
from benchmarks.scaling.trace import bytes_on_device, need, sent
from gradx.sharding import state_shardings, zero1
from gradx.sharding.gradients import closed
from gradx.sharding.specs import parts_of

LAYOUTS = ("data parallel", "ZeRO-1", "FSDP")
DATA, MODEL = "data", "model"


class Transformer(NamedTuple):
    """The sizes of a decoder whose layers are stacked, as Llama's are."""

    width: int
    layers: int
    hidden: int
    """Of the gated perceptron."""
    vocabulary: int = 32000
    key_width: int = 0
    """Of keys and values together over all heads; 0 is the width."""

    @property
    def params(self) -> dict[str, Any]:
        """The shapes of the parameters."""
        width, layers, kv = self.width, self.layers, self.key_width or self.width
        attention = {"wq": (width, width), "wk": (width, kv), "wv": (width, kv), "wo": (width, width)}
        perceptron = {"w_gate": (width, self.hidden), "w_up": (width, self.hidden), "w_down": (self.hidden, width)}
        norms = {"attn_norm": (layers, width), "mlp_norm": (layers, width)}
        stacked = {
            name: {x: (layers, *shape) for x, shape in group.items()}
            for name, group in {"attn": attention, "mlp": perceptron}.items()
        }
        outside = {"embedding": (self.vocabulary, width), "unembed": (width, self.vocabulary), "norm": (width,)}
        return outside | {"layers": stacked | norms}

    @property
    def specs(self) -> dict[str, Any]:
        """How the parameters are split over `model`: the first product of two by columns, the second by rows."""
        columns, rows = P(None, None, MODEL), P(None, MODEL, None)
        attention = {"wq": columns, "wk": columns, "wv": columns, "wo": rows}
        perceptron = {"w_gate": columns, "w_up": columns, "w_down": rows}
        norms = {"attn_norm": P(None, None), "mlp_norm": P(None, None)}
        outside = {"embedding": P(MODEL, None), "unembed": P(None, MODEL), "norm": P(None)}
        return outside | {"layers": {"attn": attention, "mlp": perceptron} | norms}


MODELS = {
    "7B": Transformer(4096, 32, 11008),
    "70B": Transformer(8192, 80, 28672, key_width=1024),
}
"""Llama 2 (Touvron et al. 2023, arXiv:2307.09288, and the model cards)."""
OPTIMIZERS: dict[str, Callable[[], Any]] = {
    "adamw": lambda: gradx.adamw(1e-3),
    "muon": lambda: gradx.muon(1e-3),
}


class Planned(NamedTuple):
    """What a device holds, computes and sends in a step of the optimizer, from the gradient to new parameters."""

    params: float
    """Bytes of the parameters."""
    state: float
    """Bytes of the optimizer's state."""
    gradient: float
    """Bytes of the gradient with which the step begins: of the device's own rows, or under FSDP its part of the sum."""
    step: float
    """The most bytes during the step: parameters, state, gradient, temporaries."""
    flops: float
    sent: Mapping[str, float]
    """Bytes sent, by collective."""
    passes: float
    """Bytes sent before, in the forward and the backward pass: under FSDP both gather the parameters, and the second
    scatters the gradient. What activations take is the model's."""
    whole: int
    """Bytes of state that lie on every device of the data axis, for no axis of them is divided by it."""


def abstract(sizes: Mapping[str, int]) -> AbstractMesh:
    """Return a mesh without devices."""
    return AbstractMesh(tuple(sizes.values()), tuple(sizes), axis_types=(AxisType.Explicit,) * len(sizes))


def step_of(tx: Any, model: Transformer, layout: str, mesh: Any, dtype: Any = jnp.float32) -> tuple[Callable, tuple]:
    """Return a step of the optimizer, and the types of its arguments: parameters, state, and gradients.

    The gradients have a first axis over the data axis: each device's, of its own rows, and the step begins by making
    one of them. Under FSDP they come scattered: the backward pass does it, layer by layer.
    """
    shapes = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, dtype), model.params, is_leaf=_is_shape)
    own = jax.tree.map(lambda s: P(*(x if x in mesh.shape else None for x in s)), model.specs, is_leaf=_is_spec)
    parts = parts_of(shapes, own, mesh, DATA)
    devices = mesh.shape[DATA]

    def typed(x: Any, spec: P, first: tuple[int, ...] = ()) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct((*first, *x.shape), x.dtype, sharding=NamedSharding(mesh, spec))

    params = jax.tree.map(typed, shapes, parts if layout == "FSDP" else own)
    grads = jax.tree.map(lambda x, spec: typed(x, P(DATA, *spec), (devices,)), shapes, own)
    if layout == "FSDP":
        grads = params
    state = jax.tree.map(
        lambda x, sharding: typed(x, sharding.spec),
        jax.eval_shape(tx.init, shapes),
        state_shardings(tx, params, mesh, "zero1" if layout == "ZeRO-1" else "like_params"),
    )
    used = zero1(tx) if layout == "ZeRO-1" else tx

    def step(params: Any, state: Any, grads: Any) -> tuple[Any, Any]:
        if layout != "FSDP":
            grads = closed(grads, own, parts if layout == "ZeRO-1" else own, mesh, DATA)
        updates, state = used.update(grads, state, params)
        return gradx.apply_updates(params, updates), state

    return step, (params, state, grads)


def plan(tx: Any, model: Transformer, layout: str, sizes: Mapping[str, int]) -> Planned:
    """Return what a step of the optimizer needs on each device of a mesh of that many."""
    mesh = abstract(sizes)
    step, arguments = step_of(tx, model, layout, mesh)
    needed = need(step, mesh, *arguments)
    params, state, grads = (sum(map(bytes_on_device, jax.tree.leaves(x))) for x in arguments)
    whole = [x for x in jax.tree.leaves(arguments[1]) if x.ndim and DATA not in str(x.sharding.spec)]
    left = 0 if layout == "data parallel" else sum(map(bytes_on_device, whole))
    passes = 0.0
    for x in jax.tree.leaves(arguments[0]) if layout == "FSDP" else ():
        is_split = DATA in str(x.sharding.spec)
        size = bytes_on_device(x) * (sizes[DATA] if is_split else 1)
        passes += 3 * sent("all-gather", size, sizes[DATA]) if is_split else sent("all-reduce", size, sizes[DATA])
    most = params + state + grads + needed.temporaries
    return Planned(params, state, grads, most, needed.flops, needed.sent, passes, left)


def _is_shape(x: Any) -> bool:
    return isinstance(x, tuple)


def _is_spec(x: Any) -> bool:
    return isinstance(x, P)
