"""Networks without flax: classes in the manner of Equinox, weights (out, in), and plain dicts."""

from dataclasses import dataclass, fields
from typing import Any

import jax
import jax.numpy as jnp


def shape(*axes: int) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(axes, jnp.float32)


def module(cls: type) -> type:
    """Make a class of arrays a pytree whose keys are its attributes, as Equinox does."""
    cls = dataclass(cls)
    return jax.tree_util.register_dataclass(cls, [x.name for x in fields(cls)], [])


@module
class Linear:
    weight: Any
    bias: Any = None


@module
class LayerNorm:
    weight: Any
    bias: Any


@module
class Embedding:
    weight: Any


@module
class LstmCell:
    weight_ih: Any
    weight_hh: Any
    bias: Any


@module
class Attention:
    query_proj: Linear
    key_proj: Linear
    value_proj: Linear
    output_proj: Linear


@module
class Mlp:
    layers: tuple


@module
class Block:
    attention: Attention
    norm1: LayerNorm
    norm2: LayerNorm
    mlp: Mlp


@module
class Transformer:
    token_embedding: Embedding
    position_embedding: Embedding
    blocks: list
    norm: LayerNorm
    head: Linear


@module
class ConvNet:
    layers: list


@module
class Recurrent:
    cell: LstmCell
    linear: Linear


def norm() -> LayerNorm:
    return LayerNorm(shape(16), shape(16))


def equinox_transformer(layers: tuple = ()) -> Transformer:
    """Return a Transformer; `layers` are axes of layers stacked for a scan."""

    def linear(rows: int, columns: int, bias: bool = True) -> Linear:
        return Linear(shape(*layers, rows, columns), shape(*layers, rows) if bias else None)

    block_norm = LayerNorm(shape(*layers, 16), shape(*layers, 16))
    attention = Attention(linear(16, 16, False), linear(16, 16, False), linear(16, 16, False), linear(16, 16))
    block = Block(attention, block_norm, block_norm, Mlp((linear(64, 16), linear(16, 64))))
    embeddings = Embedding(shape(50, 16)), Embedding(shape(12, 16))
    return Transformer(*embeddings, block if layers else [block, block], norm(), Linear(shape(50, 16), shape(50)))


def equinox_conv() -> ConvNet:
    convolutions = [Linear(shape(8, 1, 3, 3), shape(8, 1, 1)), Linear(shape(16, 8, 3, 3), shape(16, 1, 1))]
    return ConvNet([*convolutions, Linear(shape(32, 256), shape(32)), Linear(shape(10, 32), shape(10))])


def equinox_recurrent() -> Recurrent:
    return Recurrent(LstmCell(shape(64, 8), shape(64, 16), shape(64)), Linear(shape(10, 16), shape(10)))


def gpt2() -> dict:
    """Return GPT-2 as a dict with the names of its checkpoint."""

    def linear(rows: int, columns: int) -> dict:
        return {"w": shape(rows, columns), "b": shape(columns)}

    def scale() -> dict:
        return {"g": shape(16), "b": shape(16)}

    attention = {"c_attn": linear(16, 48), "c_proj": linear(16, 16)}
    block = {
        "ln_1": scale(),
        "attn": attention,
        "ln_2": scale(),
        "mlp": {"c_fc": linear(16, 64), "c_proj": linear(64, 16)},
    }
    return {"wte": shape(50, 16), "wpe": shape(12, 16), "blocks": [block, block], "ln_f": scale()}


def llama() -> dict:
    """Return a Llama as a dict, its layers stacked."""
    attention = {"wq": shape(3, 16, 4, 8), "wk": shape(3, 16, 2, 8), "wv": shape(3, 16, 2, 8), "wo": shape(3, 4, 8, 16)}
    mlp = {"w_gate": shape(3, 16, 40), "w_up": shape(3, 16, 40), "w_down": shape(3, 40, 16)}
    layers = {"attn_norm": shape(3, 16), "attn": attention, "mlp_norm": shape(3, 16), "mlp": mlp}
    return {"embedding": shape(50, 16), "layers": layers, "norm": shape(16), "unembed": shape(16, 50)}


def haiku() -> dict:
    return {
        "mlp/~/linear_0": {"w": shape(20, 32), "b": shape(32)},
        "mlp/~/linear_1": {"w": shape(32, 32), "b": shape(32)},
        "mlp/~/linear_2": {"w": shape(32, 10), "b": shape(10)},
    }


def mlp_dict() -> dict:
    return {
        "w1": shape(20, 32),
        "b1": shape(32),
        "w2": shape(32, 32),
        "b2": shape(32),
        "w3": shape(32, 10),
        "b3": shape(10),
    }


MODELS = {
    "transformer_equinox": equinox_transformer,
    "transformer_scanned_equinox": lambda: equinox_transformer(layers=(3,)),
    "conv_equinox": equinox_conv,
    "recurrent_equinox": equinox_recurrent,
    "gpt2_dict": gpt2,
    "llama_dict": llama,
    "mlp_haiku": haiku,
    "mlp_dict": mlp_dict,
}
