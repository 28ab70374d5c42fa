"""Roles one by one: what names, shapes and neighbours say, and what is left open."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gradx
from gradx.roles import Layout, Role, infer
from gradx.roles.inference import decide
from gradx.roles.kernels import Undecided
from tests.roles import models_nnx
from tests.roles.golden import MODELS
from tests.roles.models_plain import shape


def role_of(path, params):
    """Return the role of one leaf, or None where it is open."""
    found = dict(zip(gradx.tree.paths(params), decide(params), strict=True))[path]
    return None if isinstance(found, Undecided) else found


def kinds(params, **more):
    return [role.kind for role in jax.tree.leaves(infer(params, **more))]


# What names and shapes say


def matrix(*layout):
    return Role("matrix", Layout(*layout))


def window(*layout):
    return Role("convolution", Layout(*layout))


def table(*layout):
    return Role("embedding", Layout(*layout))


s = shape


@pytest.mark.parametrize(
    ("params", "path", "expected"),
    [
        # names of tables
        ({"wte": s(9, 4)}, "wte", table((0,), (1,))),
        ({"embed_tokens": {"weight": s(9, 4)}}, "embed_tokens/weight", table((0,), (1,))),
        ({"pos_embed": s(1, 9, 4)}, "pos_embed", table((1,), (2,))),
        ({"relative_position_bias_table": s(9, 4)}, "relative_position_bias_table", table((0,), (1,))),
        ({"patch_embed": {"kernel": s(9, 4)}}, "patch_embed/kernel", matrix((0,), (1,))),
        ({"class_embed": {"weight": s(9, 4), "bias": s(9)}}, "class_embed/weight", matrix((1,), (0,))),
        ({"cls_token": s(1, 1, 4)}, "cls_token", Role("vector")),
        # scales and biases
        ({"LayerNorm_0": {"scale": s(4)}}, "LayerNorm_0/scale", Role("scale")),
        ({"norm": {"weight": s(4, 5, 5), "bias": s(4, 5, 5)}}, "norm/weight", Role("scale")),
        ({"ada_norm": {"weight": s(8, 4), "bias": s(8)}}, "ada_norm/weight", matrix((1,), (0,))),
        ({"logit_scale": s()}, "logit_scale", Role("scale")),
        ({"alpha": s(4)}, "alpha", Role("vector")),
        ({"w": s(3), "b": s()}, "w", Role("vector")),
        # orientation: by convention, and by the bias
        ({"dense": {"kernel": s(3, 2), "bias": s(2)}}, "dense/kernel", matrix((0,), (1,))),
        ({"dense": {"weight": s(3, 2), "bias": s(3)}}, "dense/weight", matrix((1,), (0,))),
        ({"dense": {"weight": s(3, 2)}}, "dense/weight", matrix((1,), (0,))),
        ({"dense": {"weight": s(3, 2), "bias": s(2)}}, "dense/weight", matrix((0,), (1,))),
        ({"w1": s(3, 2), "b1": s(3)}, "w1", matrix((1,), (0,))),
        ([(s(3, 2), s(2))], "0/0", matrix((0,), (1,))),
        # windows
        ({"Conv_0": {"kernel": s(3, 3, 4, 8)}}, "Conv_0/kernel", window((0, 1, 2), (3,))),
        ({"conv": {"kernel": s(5, 4, 8)}}, "conv/kernel", window((0, 1), (2,))),
        ({"stem": {"kernel": s(4, 4, 3, 8)}}, "stem/kernel", window((0, 1, 2), (3,))),
        ({"c": {"kernel": s(5, 4, 8), "bias": s(8)}}, "c/kernel", window((0, 1), (2,))),
        ({"conv": {"weight": s(8, 4, 3, 3), "bias": s(8, 1, 1)}}, "conv/weight", window((1, 2, 3), (0,))),
        ({"conv": {"weight": s(8, 1, 3, 3), "bias": s(8, 1, 1)}}, "conv/weight", window((1, 2, 3), (0,))),
        ({"dwconv": {"kernel": s(7, 7, 1, 8), "bias": s(8)}}, "dwconv/kernel", window((0, 1, 2), ())),
        ({"up": {"kernel": s(2, 2, 8, 4), "bias": s(8)}}, "up/kernel", window((0, 1, 3), (2,))),
        # heads
        ({"DenseGeneral_0": {"kernel": s(8, 2, 4), "bias": s(2, 4)}}, "DenseGeneral_0/kernel", matrix((0,), (1, 2))),
        ({"DenseGeneral_1": {"kernel": s(2, 4, 8), "bias": s(8)}}, "DenseGeneral_1/kernel", matrix((0, 1), (2,))),
        ({"wq": s(8, 4, 3), "wk": s(8, 2, 3), "wo": s(4, 3, 8)}, "wk", matrix((0,), (1, 2))),
        ({"wq": s(8, 4, 3), "wk": s(8, 2, 3), "wo": s(4, 3, 8)}, "wo", matrix((0, 1), (2,))),
        # fused
        ({"qkv": {"kernel": s(8, 24)}}, "qkv/kernel", matrix((0,), (1,), 3)),
        ({"qkv": {"weight": s(24, 8)}}, "qkv/weight", matrix((1,), (0,), 3)),
        ({"qkv": {"kernel": s(8, 48)}, "proj": {"kernel": s(16, 8)}}, "qkv/kernel", matrix((0,), (1,), 3)),
        ({"qkv": {"kernel": s(8, 3, 2, 4)}}, "qkv/kernel", matrix((0,), (2, 3))),
        ({"in_proj_weight": s(24, 8), "in_proj_bias": s(24)}, "in_proj_weight", matrix((1,), (0,), 3)),
        ({"in_proj": {"weight": s(32, 8)}}, "in_proj/weight", matrix((1,), (0,))),
        ({"kv_a_proj": {"kernel": s(8, 6)}}, "kv_a_proj/kernel", matrix((0,), (1,))),
        ({"gate_up_proj": {"kernel": s(8, 20)}}, "gate_up_proj/kernel", matrix((0,), (1,), 2)),
        # gates of recurrent cells
        ({"wx": s(5, 16), "wh": s(4, 16), "b": s(16)}, "wx", matrix((0,), (1,), 4)),
        ({"gru": {"w_i": s(5, 12), "w_h": s(4, 12)}}, "gru/w_h", matrix((0,), (1,), 3)),
        ({"ih": {"kernel": s(3, 3, 5, 16)}, "hh": {"kernel": s(3, 3, 4, 16)}}, "ih/kernel", window((0, 1, 2), (3,), 4)),
        # experts
        ({"moe": {"w1": s(4, 8, 6), "b1": s(4, 6)}}, "moe/w1", matrix((1,), (2,))),
        ({"moe": {"w1": s(4, 8, 6), "b1": s(4, 6)}}, "moe/b1", Role("bias")),
        ({"moe": {"router": s(8, 4), "w1": s(4, 8, 6), "b1": s(4, 6)}}, "moe/w1", matrix((1,), (2,))),
        ({"moe": {"router": s(8, 4), "w1": s(4, 8, 6), "w2": s(4, 6, 8)}}, "moe/w2", matrix((1,), (2,))),
        # adapters
        ({"lora_a": s(8, 2), "lora_b": s(2, 8)}, "lora_b", matrix((0,), (1,))),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_one_role(params, path, expected):
    assert role_of(path, params) == expected


@pytest.mark.parametrize(
    ("params", "path"),
    [
        ({"latents": shape(8, 4)}, "latents"),
        ({"a": shape(8, 2), "b": shape(2, 8)}, "b"),
        (shape(3, 2), ""),
        ({"c1": {"kernel": shape(3, 1, 16)}}, "c1/kernel"),
        ({"mix": {"kernel": shape(2, 3, 4, 8)}}, "mix/kernel"),
        ({"ssm": {"B": shape(8, 4)}, "up": {"kernel": shape(3, 2)}}, "ssm/B"),
        ({"layers": {"up": shape(3, 4, 6), "down": shape(3, 6, 4)}}, "layers/up"),
        ({"DenseGeneral_0": {"kernel": shape(8, 2, 4)}}, "DenseGeneral_0/kernel"),
        ({"qkv": {"kernel": shape(8, 12)}, "proj": {"kernel": shape(8, 8)}}, "qkv/kernel"),
        ({"query_key_value": {"kernel": shape(8, 24)}}, "query_key_value/kernel"),
        ({"q_einsum": {"w": shape(2, 8, 4)}, "attn_vec_einsum": {"w": shape(2, 4, 8)}}, "q_einsum/w"),
        # stacked along another axis than the first
        ({"wi": {"kernel": shape(8, 3, 6)}, "wo": {"kernel": shape(6, 3, 8)}}, "wo/kernel"),
        ({"query": {"kernel": shape(8, 3, 8)}, "out": {"kernel": shape(8, 3, 8)}}, "query/kernel"),
        ({"up": {"kernel": shape(8, 3, 6), "bias": shape(6, 3)}}, "up/kernel"),
    ],
    ids=lambda x: x if isinstance(x, str) else "",
)
def test_what_is_not_told_is_left_open(params, path):
    assert role_of(path, params) is None
    with pytest.raises(ValueError, match="do not say what they are for"):
        infer(params)


# Stacked layers


def stacked(layers):
    """Return a block's shapes with axes of layers in front."""
    block = {"ln": {"scale": (8,)}, "up": {"kernel": (8, 6), "bias": (6,)}, "qkv": {"kernel": (8, 24)}}
    return jax.tree.map(lambda x: shape(*layers, *x), block, is_leaf=lambda x: isinstance(x, tuple))


@pytest.mark.parametrize("layers", [(), (3,), (8,), (3, 2)], ids=str)
def test_stacked_layers_have_the_layout_of_one_behind_their_axes(layers):
    """Also of as many layers as there are inputs."""
    n = len(layers)
    found = infer({"blocks": stacked(layers)})["blocks"]
    assert found["up"]["kernel"] == Role("matrix", Layout((n,), (n + 1,)))
    assert found["qkv"]["kernel"] == Role("matrix", Layout((n,), (n + 1,), 3))
    assert [found["ln"]["scale"], found["up"]["bias"]] == [Role("scale"), Role("bias")]


def test_a_scale_or_a_bias_proves_that_layers_are_stacked():
    kernels = {"up": {"kernel": shape(3, 4, 6)}, "down": {"kernel": shape(3, 6, 4)}}
    assert role_of("up/kernel", kernels) is None
    assert role_of("up/kernel", kernels | {"norm": {"scale": shape(3, 4)}}) == Role("matrix", Layout((1,), (2,)))
    assert role_of("up/kernel", kernels | {"norm": {"scale": shape(4)}}) is None
    biased = {"up": {"kernel": shape(3, 4, 6), "bias": shape(3, 6)}, "down": {"kernel": shape(3, 6, 4)}}
    assert role_of("mlp/down/kernel", {"mlp": biased}) == Role("matrix", Layout((1,), (2,)))


def test_a_scale_for_each_head_is_no_stack():
    params = {"q_norm": {"scale": shape(4, 8)}, "mix": {"kernel": shape(4, 4)}}
    assert role_of("mix/kernel", params) == Role("matrix", Layout((0,), (1,)))


def test_as_many_heads_as_inputs_are_no_layers():
    attention = {name: {"kernel": shape(4, 4, 4), "bias": shape(4, 4)} for name in ("query", "key", "value")}
    attention["out"] = {"kernel": shape(4, 4, 4), "bias": shape(4)}
    found = infer({"attention": attention})["attention"]
    assert found["query"]["kernel"] == Role("matrix", Layout((0,), (1, 2)))
    assert found["out"]["kernel"] == Role("matrix", Layout((0, 1), (2,)))


# The same network written in other ways has the same matrices


def test_fused_and_apart_give_the_same_matrices():
    keys = jax.random.split(jax.random.key(0), 3)
    apart = {name: jax.random.normal(key, (8, 2, 4)) for name, key in zip("qkv", keys, strict=True)}
    fused = jnp.concatenate([x.reshape(8, 8) for x in apart.values()], axis=1)
    layout = infer({"qkv": {"kernel": fused}})["qkv"]["kernel"].layout
    heads = infer({**apart, "o": jnp.ones((2, 4, 8))})
    expected = [heads[name].layout.batch_of(x)[0] for name, x in apart.items()]
    np.testing.assert_array_equal(layout.batch_of(fused), jnp.stack(expected))


def test_torch_and_flax_give_the_same_matrices():
    kernel = jax.random.normal(jax.random.key(0), (3, 3, 4, 8))
    flax = infer({"conv": {"kernel": kernel}})["conv"]["kernel"].layout.batch_of(kernel)
    weight = kernel.transpose(3, 2, 0, 1)
    torch = infer({"conv": {"weight": weight}})["conv"]["weight"].layout.batch_of(weight)
    order = np.arange(36).reshape(3, 3, 4).transpose(2, 0, 1).ravel()  # the inputs stand in another order
    np.testing.assert_array_equal(torch[0], flax[0][order])


# Boxes, and abstract shapes


@pytest.mark.parametrize("name", models_nnx.MODELS)
def test_boxes_and_bare_arrays_have_equal_roles(name):
    boxed = MODELS[name]()
    bare = nnx.to_pure_dict(boxed)
    assert jax.tree.leaves(infer(boxed)) == jax.tree.leaves(infer(bare))
    assert jax.tree.structure(infer(boxed)) == jax.tree.structure(gradx.tree.unbox(boxed))


def test_shapes_and_arrays_have_equal_roles():
    model = nnx.eval_shape(lambda: models_nnx.Mlp(nnx.Rngs(0)))
    real = models_nnx.Mlp(nnx.Rngs(0))
    assert jax.tree.leaves(infer(nnx.state(real, nnx.Param))) == jax.tree.leaves(infer(nnx.state(model, nnx.Param)))


def test_boxes_of_linen_and_a_collection_around():
    class Boxed(linen.Module):
        @linen.compact
        def __call__(self, x):
            init = linen.with_partitioning(linen.initializers.lecun_normal(), (None, "model"))
            return linen.Dense(2, name="l2")(linen.Dense(16, kernel_init=init, name="l1")(x))

    variables = jax.eval_shape(Boxed().init, jax.random.key(0), jnp.ones((1, 3)))
    assert kinds(variables) == kinds(variables["params"]) == ["bias", "matrix", "bias", "head"]


def test_leaves_that_a_mask_leaves_out():
    params = {"up": {"kernel": shape(3, 2), "bias": None}, "embedding": None}
    assert infer(params)["up"] == {"kernel": Role("matrix", Layout((0,), (1,))), "bias": None}
    assert infer(params, {"embedding": "embedding"})["embedding"] is None  # it fits, if only what is left out
    assert infer({}) == {}


# Heads


@pytest.mark.parametrize("name", ["mlp_linen", "mlp_nnx", "mlp_dict", "mlp_haiku", "cnn_nnx", "actor_critic_nnx"])
def test_last_layers_without_a_name_for_it_are_heads(name):
    assert "head" in kinds(MODELS[name]())


@pytest.mark.parametrize(
    "params",
    [
        {"kernel": shape(3, 2), "bias": shape(2)},  # the only layer
        {"Dense_0": {"kernel": shape(3, 2), "bias": shape(2)}},
        {"Dense_0": {"kernel": shape(20, 8)}, "Dense_1": {"kernel": shape(8, 20)}},  # an autoencoder
        {"encoder": {"Dense_0": {"kernel": shape(20, 8)}}, "decoder": {"Dense_1": {"kernel": shape(8, 5)}}},
        {"embedding": shape(9, 4), "blocks": {"Dense_0": {"kernel": shape(4, 7)}}},
    ],
)
def test_where_nothing_says_so_no_layer_is_the_head(params):
    assert "head" not in kinds(params)


def test_a_last_layer_turned_like_the_embedding_is_the_head_though_a_hidden_layer_has_its_width():
    params = {
        "bytes": {"embedding": s(256, 64)},
        "blocks": {"up": {"kernel": s(64, 256)}, "down": {"kernel": s(256, 64)}},
        "out": {"kernel": s(64, 256)},
    }
    assert role_of("out/kernel", params).kind == "head"
    assert role_of("blocks/up/kernel", params).kind == "matrix"


def test_a_head_with_a_name_is_the_only_one():
    params = {
        "lm_head": {"kernel": shape(4, 9)},
        "Dense_0": {"kernel": shape(3, 4)},
        "Dense_1": {"kernel": shape(4, 7)},
    }
    assert kinds(params) == ["matrix", "matrix", "head"]
