"""Networks in flax nnx, small, and the shapes of their parameters."""

from typing import Any

import jax.numpy as jnp
from flax import nnx


class Mlp(nnx.Module):
    def __init__(self, rngs):
        self.linear1 = nnx.Linear(20, 32, rngs=rngs)
        self.norm = nnx.LayerNorm(32, rngs=rngs)
        self.linear2 = nnx.Linear(32, 32, rngs=rngs)
        self.linear3 = nnx.Linear(32, 10, rngs=rngs)


class Cnn(nnx.Module):
    """The network of flax's first tutorial."""

    def __init__(self, rngs):
        self.conv1 = nnx.Conv(1, 32, kernel_size=(3, 3), rngs=rngs)
        self.batch_norm1 = nnx.BatchNorm(32, rngs=rngs)
        self.conv2 = nnx.Conv(32, 64, kernel_size=(3, 3), rngs=rngs)
        self.batch_norm2 = nnx.BatchNorm(64, rngs=rngs)
        self.linear1 = nnx.Linear(3136, 256, rngs=rngs)
        self.linear2 = nnx.Linear(256, 10, rngs=rngs)


class Block(nnx.Module):
    """A layer of a vision Transformer."""

    def __init__(self, rngs):
        self.norm1 = nnx.LayerNorm(16, rngs=rngs)
        self.attn = nnx.MultiHeadAttention(4, 16, decode=False, rngs=rngs)
        self.norm2 = nnx.LayerNorm(16, rngs=rngs)
        self.mlp = nnx.Sequential(nnx.Linear(16, 64, rngs=rngs), nnx.gelu, nnx.Linear(64, 16, rngs=rngs))


class Vit(nnx.Module):
    def __init__(self, rngs):
        self.patch_embeddings = nnx.Conv(3, 16, kernel_size=(4, 4), strides=(4, 4), rngs=rngs)
        self.cls_token = nnx.Param(jnp.zeros((1, 1, 16)))
        self.position_embeddings = nnx.Param(jnp.zeros((1, 65, 16)))
        self.blocks = nnx.List([Block(rngs) for _ in range(2)])
        self.final_norm = nnx.LayerNorm(16, rngs=rngs)
        self.classifier = nnx.Linear(16, 10, rngs=rngs)


class FusedAttention(nnx.Module):
    """Query, key and value in one kernel, one behind the other."""

    def __init__(self, rngs):
        self.qkv = nnx.Linear(16, 48, use_bias=False, rngs=rngs)
        self.proj = nnx.Linear(16, 16, use_bias=False, rngs=rngs)


class GatedMlp(nnx.Module):
    def __init__(self, rngs):
        self.gate_up = nnx.Linear(16, 80, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(40, 16, use_bias=False, rngs=rngs)


class FusedBlock(nnx.Module):
    def __init__(self, rngs):
        self.attn_norm, self.mlp_norm = nnx.RMSNorm(16, rngs=rngs), nnx.RMSNorm(16, rngs=rngs)
        self.attn, self.mlp = FusedAttention(rngs), GatedMlp(rngs)


class FusedDecoder(nnx.Module):
    """A head of its own, and no biases."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(50, 16, rngs=rngs)
        self.layers = nnx.List([FusedBlock(rngs) for _ in range(2)])
        self.norm = nnx.RMSNorm(16, rngs=rngs)
        self.lm_head = nnx.Linear(16, 50, use_bias=False, rngs=rngs)


class HeadsBlock(nnx.Module):
    """A kernel (inputs, heads, outputs) without biases; fewer keys and values than queries."""

    def __init__(self, rngs):
        self.ln1, self.ln2 = nnx.RMSNorm(16, rngs=rngs), nnx.RMSNorm(16, rngs=rngs)
        self.q_proj = nnx.LinearGeneral(16, (4, 8), use_bias=False, rngs=rngs)
        self.k_proj = nnx.LinearGeneral(16, (2, 8), use_bias=False, rngs=rngs)
        self.v_proj = nnx.LinearGeneral(16, (2, 8), use_bias=False, rngs=rngs)
        self.o_proj = nnx.LinearGeneral((4, 8), 16, axis=(-2, -1), use_bias=False, rngs=rngs)
        self.q_norm, self.k_norm = nnx.RMSNorm(8, rngs=rngs), nnx.RMSNorm(8, rngs=rngs)
        self.up = nnx.Linear(16, 40, use_bias=False, rngs=rngs)
        self.gate = nnx.Linear(16, 40, use_bias=False, rngs=rngs)
        self.down = nnx.Linear(40, 16, use_bias=False, rngs=rngs)


class ScannedDecoder(nnx.Module):
    """Layers stacked for a scan."""

    def __init__(self, rngs):
        self.embedder = nnx.Embed(50, 16, rngs=rngs)
        self.blocks = nnx.vmap(HeadsBlock)(rngs.split(3))
        self.final_norm = nnx.RMSNorm(16, rngs=rngs)
        self.lm_head = nnx.Linear(16, 50, use_bias=False, rngs=rngs)


class Gru(nnx.Module):
    """Recurrent cells with their gates side by side, and one with a kernel for each gate."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(30, 8, rngs=rngs)
        self.gru = nnx.GRUCell(8, 16, rngs=rngs)
        self.lstm = nnx.OptimizedLSTMCell(16, 16, rngs=rngs)
        self.slow = nnx.LSTMCell(16, 16, rngs=rngs)
        self.out = nnx.Linear(16, 30, rngs=rngs)


class Moe(nnx.Module):
    """Experts in one array for each layer of theirs."""

    def __init__(self, rngs):
        init = nnx.initializers.lecun_normal()
        self.router = nnx.Linear(16, 4, use_bias=False, rngs=rngs)
        self.w_gate = nnx.Param(init(rngs.params(), (4, 16, 24)))
        self.w_up = nnx.Param(init(rngs.params(), (4, 16, 24)))
        self.w_down = nnx.Param(init(rngs.params(), (4, 24, 16)))


class ExpertsBlock(nnx.Module):
    def __init__(self, rngs):
        self.norm = nnx.RMSNorm(16, rngs=rngs)
        self.moe = Moe(rngs)


class Experts(nnx.Module):
    """Mixtures of experts stacked for a scan: axes of layers and of experts."""

    def __init__(self, rngs):
        self.embed = nnx.Embed(50, 16, rngs=rngs)
        self.layers = nnx.vmap(ExpertsBlock)(rngs.split(3))
        self.unembed = nnx.Linear(16, 50, rngs=rngs)


class Lora(nnx.Module):
    def __init__(self, rngs):
        self.embed = nnx.Embed(50, 16, rngs=rngs)
        self.query = nnx.LoRALinear(16, 16, lora_rank=2, rngs=rngs)
        self.value = nnx.LoRALinear(16, 16, lora_rank=2, rngs=rngs)
        self.norm = nnx.LayerNorm(16, rngs=rngs)
        self.head = nnx.Linear(16, 5, rngs=rngs)


class ActorCritic(nnx.Module):
    """Two heads on one trunk, for policy gradients."""

    def __init__(self, rngs):
        self.trunk = nnx.Sequential(nnx.Linear(4, 64, rngs=rngs), nnx.tanh, nnx.Linear(64, 64, rngs=rngs), nnx.tanh)
        self.policy = nnx.Linear(64, 2, rngs=rngs)
        self.value = nnx.Linear(64, 1, rngs=rngs)


def state(network: type[nnx.Module]) -> Any:
    """Return the parameters, in nnx's boxes, as shapes."""
    return nnx.state(nnx.eval_shape(lambda: network(nnx.Rngs(0))), nnx.Param)


def ensemble() -> Any:
    """Return five networks side by side."""
    members = nnx.eval_shape(lambda: nnx.vmap(Mlp)(nnx.Rngs(0).split(5)))
    return nnx.state(members, nnx.Param)


MODELS = {
    "mlp_nnx": lambda: state(Mlp),
    "cnn_nnx": lambda: state(Cnn),
    "vit_nnx": lambda: state(Vit),
    "decoder_fused_nnx": lambda: state(FusedDecoder),
    "decoder_scanned_nnx": lambda: state(ScannedDecoder),
    "recurrent_nnx": lambda: state(Gru),
    "experts_nnx": lambda: state(Experts),
    "lora_nnx": lambda: state(Lora),
    "actor_critic_nnx": lambda: state(ActorCritic),
    "ensemble_nnx": ensemble,
}
