"""Networks in flax linen, small, and the shapes of their parameters."""

from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn


class Mlp(nn.Module):
    @nn.compact
    def __call__(self, x):
        for _ in range(2):
            x = nn.relu(nn.Dense(32)(x))
        return nn.Dense(10)(x)


class ResNetBlock(nn.Module):
    filters: int
    strides: tuple[int, int] = (1, 1)

    @nn.compact
    def __call__(self, x):
        residual = x
        y = nn.Conv(self.filters, (3, 3), self.strides, use_bias=False)(x)
        y = nn.relu(nn.BatchNorm(use_running_average=True)(y))
        y = nn.Conv(self.filters, (3, 3), use_bias=False)(y)
        y = nn.BatchNorm(use_running_average=True)(y)
        if residual.shape != y.shape:
            residual = nn.Conv(self.filters, (1, 1), self.strides, use_bias=False, name="conv_proj")(residual)
            residual = nn.BatchNorm(use_running_average=True, name="norm_proj")(residual)
        return nn.relu(residual + y)


class ResNet(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.Conv(8, (7, 7), (2, 2), use_bias=False, name="conv_init")(x)
        x = nn.relu(nn.BatchNorm(use_running_average=True, name="bn_init")(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding="SAME")
        x = ResNetBlock(8)(x)
        x = ResNetBlock(16, (2, 2))(x)
        return nn.Dense(10)(jnp.mean(x, axis=(1, 2)))


class ConvNeXtBlock(nn.Module):
    """A filter for each channel, two maps of channels, and a learned scale for each channel of the branch."""

    @nn.compact
    def __call__(self, x):
        c = x.shape[-1]
        y = nn.Conv(c, (7, 7), feature_group_count=c, name="dwconv")(x)
        y = nn.LayerNorm(name="norm")(y)
        y = nn.gelu(nn.Dense(4 * c, name="pwconv1")(y))
        y = nn.Dense(c, name="pwconv2")(y)
        return x + y * self.param("gamma", nn.initializers.constant(1e-6), (c,))


class ConvNeXt(nn.Module):
    @nn.compact
    def __call__(self, x):
        x = nn.LayerNorm(name="stem_norm")(nn.Conv(16, (4, 4), (4, 4), name="stem")(x))
        x = ConvNeXtBlock()(x)
        x = nn.Conv(24, (2, 2), (2, 2), name="downsample")(x)
        x = ConvNeXtBlock()(x)
        return nn.Dense(10, name="head")(jnp.mean(x, axis=(1, 2)))


class DecoderBlock(nn.Module):
    """Attention with a kernel for each head, as flax has it."""

    @nn.compact
    def __call__(self, x, _: Any = None):
        y = nn.LayerNorm()(x)
        x = x + nn.MultiHeadDotProductAttention(num_heads=4)(y, y)
        y = nn.LayerNorm()(x)
        x = x + nn.Dense(16)(nn.gelu(nn.Dense(64)(y)))
        return x, None


class TiedDecoder(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        embed = nn.Embed(50, 16)
        x = embed(tokens) + self.param("pos_embedding", nn.initializers.normal(0.02), (1, 12, 16))
        for _ in range(2):
            x, _ = DecoderBlock()(x)
        return embed.attend(nn.LayerNorm()(x))


class ScannedDecoder(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(50, 16)(tokens)
        blocks = nn.scan(DecoderBlock, variable_axes={"params": 0}, split_rngs={"params": True}, length=3)
        x, _ = blocks(name="blocks")(x, None)
        return nn.Dense(50, use_bias=False, name="logits")(nn.LayerNorm(name="ln_f")(x))


class Lstm(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(30, 8)(tokens)
        x = nn.RNN(nn.OptimizedLSTMCell(16))(x)
        return nn.Dense(30)(x)


class Expert(nn.Module):
    @nn.compact
    def __call__(self, x):
        return nn.Dense(16)(nn.gelu(nn.Dense(32)(x)))


class ExpertsBlock(nn.Module):
    @nn.compact
    def __call__(self, x):
        y = nn.RMSNorm(name="norm")(x)
        gates = nn.softmax(nn.Dense(4, use_bias=False, name="router")(y))
        experts = nn.vmap(Expert, variable_axes={"params": 0}, split_rngs={"params": True}, in_axes=None, axis_size=4)
        return x + jnp.einsum("e...d,...e->...d", experts(name="experts")(y), gates)


class MixtureOfExperts(nn.Module):
    @nn.compact
    def __call__(self, tokens):
        x = nn.Embed(50, 16)(tokens)
        for _ in range(2):
            x = ExpertsBlock()(x)
        return nn.Dense(50, name="lm_head")(x)


class UNetBlock(nn.Module):
    channels: int

    @nn.compact
    def __call__(self, x, time):
        y = nn.Conv(self.channels, (3, 3))(nn.swish(nn.GroupNorm(4)(x)))
        y = y + nn.Dense(self.channels)(nn.swish(time))[:, None, None]
        y = nn.Conv(self.channels, (3, 3))(nn.swish(nn.GroupNorm(4)(y)))
        if x.shape != y.shape:
            x = nn.Conv(self.channels, (1, 1))(x)
        return x + y


class UNet(nn.Module):
    """The network of a diffusion model: it takes an image, its noise level and its class."""

    @nn.compact
    def __call__(self, x, time, label):
        angles = time[:, None] * jnp.exp(-jnp.arange(8.0))
        t = nn.Dense(32, name="time_embed_0")(jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], -1))
        t = nn.Dense(32, name="time_embed_1")(nn.swish(t)) + nn.Embed(10, 32, name="label_embed")(label)
        x = nn.Conv(8, (3, 3), name="conv_in")(x)
        high = UNetBlock(8, name="down_0")(x, t)
        x = nn.Conv(16, (3, 3), (2, 2), name="downsample")(high)
        x = UNetBlock(16, name="down_1")(x, t)
        shape = x.shape
        y = nn.GroupNorm(4, name="mid_norm")(x).reshape(shape[0], -1, shape[-1])
        x = x + nn.MultiHeadDotProductAttention(num_heads=2, name="mid_attention")(y, y).reshape(shape)
        x = nn.ConvTranspose(8, (2, 2), (2, 2), name="upsample")(x)
        x = UNetBlock(8, name="up_0")(jnp.concatenate([x, high], -1), t)
        return nn.Conv(3, (3, 3), name="conv_out")(nn.swish(nn.GroupNorm(4, name="norm_out")(x)))


def shapes(model: nn.Module, *inputs: jax.Array) -> Any:
    return jax.eval_shape(model.init, jax.random.key(0), *inputs)["params"]


IMAGE, TOKENS = jnp.ones((2, 32, 32, 3)), jnp.ones((2, 12), jnp.int32)
MODELS = {
    "mlp_linen": lambda: shapes(Mlp(), jnp.ones((2, 20))),
    "resnet_linen": lambda: shapes(ResNet(), IMAGE),
    "convnext_linen": lambda: shapes(ConvNeXt(), IMAGE),
    "decoder_tied_linen": lambda: shapes(TiedDecoder(), TOKENS),
    "decoder_scanned_linen": lambda: shapes(ScannedDecoder(), TOKENS),
    "lstm_linen": lambda: shapes(Lstm(), TOKENS),
    "experts_linen": lambda: shapes(MixtureOfExperts(), TOKENS),
    "unet_linen": lambda: shapes(UNet(), IMAGE, jnp.ones(2), jnp.ones(2, jnp.int32)),
}
