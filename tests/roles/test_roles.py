"""Roles one by one: names, shapes, neighbours; overrides, and what is refused."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen, nnx

import gradx
from gradx.roles import KINDS, Layout, Role, infer, is_matrix, labels
from gradx.roles.inference import decide
from gradx.roles.kernels import Undecided
from tests.roles import models_linen, models_nnx
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


# Overrides


def test_an_override_by_path_pattern_kind_layout_and_role():
    params = MODELS["decoder_fused_nnx"]()
    found = infer(params, {"*/proj/kernel": "head", "*/qkv/kernel": Layout((0,), (1,)), "norm/scale": Role("vector")})
    by_path = dict(zip(gradx.tree.paths(params), jax.tree.leaves(found), strict=True))
    assert by_path["layers/0/attn/proj/kernel"] == Role("head", Layout((0,), (1,)))
    assert by_path["layers/1/attn/qkv/kernel"] == Role("matrix", Layout((0,), (1,)))
    assert by_path["norm/scale"] == Role("vector")
    unchanged = dict(zip(gradx.tree.paths(params), jax.tree.leaves(infer(params)), strict=True))
    assert {path for path in by_path if by_path[path] != unchanged[path]} == {
        "layers/0/attn/proj/kernel",
        "layers/1/attn/proj/kernel",
        "layers/0/attn/qkv/kernel",
        "layers/1/attn/qkv/kernel",
        "norm/scale",
    }


def test_a_layout_keeps_the_kind():
    params = {"embedding": shape(2, 9, 4), "conv": {"kernel": shape(3, 3, 4, 8)}, "mix": shape(2, 3, 4)}
    layouts = {"embedding": Layout((1,), (2,)), "conv/kernel": Layout((2,), (3,)), "mix": Layout((1,), (2,))}
    assert kinds(params, overrides=layouts) == ["convolution", "embedding", "matrix"]


def test_the_last_pattern_that_fits_counts():
    params = {"a": {"kernel": shape(3, 2)}, "b": {"kernel": shape(3, 2)}}
    assert kinds(params, overrides={"*/kernel": "head", "b/*": "embedding"}) == ["head", "embedding"]
    assert kinds(params, overrides={"b/*": "embedding", "*/kernel": "head"}) == ["head", "head"]


def test_a_pattern_with_a_slash_in_front_fits_at_the_root_too():
    assert kinds({"table": shape(3, 2)}, overrides={"*/table": "embedding"}) == ["embedding"]


def test_an_override_closes_what_was_open():
    assert infer({"latents": shape(8, 4)}, {"latents": "embedding"})["latents"].kind == "embedding"
    assert infer({"A_log": shape(8, 4)}, {"*A_log": "vector"})["A_log"] == Role("vector")
    assert infer(shape(3, 2), {"": "matrix"}) == Role("matrix", Layout((0,), (1,)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"*/kernl": "head"}, r"no leaf fits '\*/kernl'; there are b, up/bias, up/kernel"),
        ({"up/kernel": "heads"}, "'up/kernel' must be a Layout, a Role or one of embedding, head, .*; got 'heads'"),
        ({"up/kernel": None}, "must be a Layout, a Role or one of"),
        ({"up/*": "head"}, r"'up/\*' makes 'up/bias' \(2,\) a head, and it is no matrix: write a pattern that leaves"),
        ({"up/kernel": Layout((0,), (2,))}, r"Layout\(rows=\(0,\), columns=\(2,\)\) for 'up/kernel' names no axes of"),
        ({"up/kernel": Layout((-2,), (-1,))}, "names no axes of"),
        ({"up/kernel": Layout((0,), (0, 1))}, "names no axes of"),
        ({"up/kernel": Layout([0], [1])}, r"rows and columns must be tuples of axes, got Layout\(rows=\[0\]"),
        ({"up/kernel": Role("head", Layout(0, 1))}, "rows and columns must be tuples of axes"),
        ({"up/kernel": Layout((0,), (1,), splits=3)}, "splits=3.* does not divide 'up/kernel'"),
    ],
)
def test_wrong_overrides_are_refused_by_name(overrides, message):
    with pytest.raises(ValueError, match=message):
        infer({"up": {"kernel": shape(3, 2), "bias": shape(2)}, "b": shape(2)}, overrides)


def test_other_overrides_are_other_decisions():
    """What was decided is kept for trees of the same names and shapes."""
    params = {"up": {"kernel": shape(3, 2)}, "down": {"kernel": shape(2, 3)}}
    assert kinds(params) == ["matrix", "matrix"]
    assert kinds(params, overrides={"up/kernel": "head"}) == ["matrix", "head"]
    assert kinds(params) == ["matrix", "matrix"]


def test_the_error_lists_all_open_leaves_and_what_to_write():
    params = {"latents": shape(8, 4), "mix": {"w": shape(2, 3, 4)}, "bias": shape(4)}
    with pytest.raises(ValueError) as error:
        infer(params)
    text = str(error.value)
    assert "\n  latents (8, 4): no name that tells" in text
    assert "\n  mix/w (2, 3, 4): which axes are inputs and which outputs?" in text
    assert "bias (4,)" not in text
    cure = text.partition("infer(params, ")[2].partition(");")[0]
    assert cure == '{"latents": "matrix", "mix/w": Layout(rows=(1,), columns=(2,))}'
    assert kinds(params, overrides=eval(cure)) == ["bias", "matrix", "matrix"]


# Role is a value


def test_a_role_is_a_static_leaf():
    role = Role("matrix", Layout((0,), (1,), splits=3))
    assert jax.tree.leaves({"a": role}) == [role]
    assert hash(role) == hash(Role("matrix", Layout((0,), (1,), 3)))
    assert pickle.loads(pickle.dumps(role)) == copy.deepcopy(role) == role
    assert eval(repr(role)) == role
    assert repr(Role("bias")) == "Role('bias')"
    with pytest.raises(AttributeError):
        role.kind = "head"


def test_a_role_has_a_layout_where_its_kind_has():
    for kind in KINDS:
        has_layout = kind in ("embedding", "head", "matrix", "convolution")
        with pytest.raises(ValueError, match=f"a {kind} (needs|has none)"):
            Role(kind, None if has_layout else Layout((0,), (1,)))
    with pytest.raises(ValueError, match="kind must be one of embedding, head, matrix"):
        Role("kernel")


def test_a_tree_of_roles_may_be_an_argument():
    @gradx.transformation
    def of_roles(roles=None):
        return gradx.identity()

    roles = infer({"up": {"kernel": shape(3, 2), "bias": shape(2)}})
    assert of_roles(roles) == of_roles(copy.deepcopy(roles))
    assert hash(of_roles(roles)) == hash(of_roles(copy.deepcopy(roles)))
    assert jax.tree.leaves(of_roles(roles)) == []


# Labels and masks


def test_labels_by_kind():
    params = {
        "conv": {"kernel": shape(3, 3, 4, 8)},
        "mlp": {"up": {"kernel": shape(3, 2), "bias": shape(2)}},
        "wte": shape(9, 3),
    }
    found = labels(params, matrix="muon", embedding="sign", other="adam")
    assert found == {"conv": {"kernel": "muon"}, "mlp": {"up": {"kernel": "muon", "bias": "adam"}}, "wte": "sign"}
    assert labels(params, matrix=1, convolution=2, other=None)["conv"]["kernel"] == 2
    assert labels(infer(params, {"wte": "matrix"}), matrix="muon", other="adam")["wte"] == "muon"
    with pytest.raises(TypeError, match="labels: no kind 'matrices'; there are embedding, head, matrix"):
        labels(params, matrices="muon", other="adam")
    with pytest.raises(ValueError, match=r"labels: no label for Role\('bias'\): give bias=... or other=..."):
        labels(params, matrix="muon", embedding="adam")


def test_labels_train_in_a_partition():
    model = models_nnx.Mlp(nnx.Rngs(0))
    params = nnx.state(model, nnx.Param)
    chosen = labels(params, matrix="muon", other="adam")
    tx = gradx.partition({"muon": gradx.muon(0.1), "adam": gradx.adam(0.1)}, chosen)
    updates, _ = tx.update(jax.tree.map(jnp.ones_like, params), tx.init(params), params)
    singular = jnp.linalg.svd(updates["linear1"]["kernel"][...], compute_uv=False)
    assert float(singular[0]) > 0.05  # a matrix of ones has one direction
    np.testing.assert_allclose(updates["linear3"]["kernel"][...], -0.1, rtol=1e-4)  # the head goes with Adam


def test_a_mask_for_weight_decay():
    params = models_linen.MODELS["mlp_linen"]()
    mask = is_matrix(params)
    assert [path for path, x in zip(gradx.tree.paths(params), jax.tree.leaves(mask), strict=True) if x] == [
        "Dense_0/kernel",
        "Dense_1/kernel",
    ]
    real = jax.tree.map(lambda x: jnp.ones(x.shape), params)
    tx = gradx.add_decayed_weights(0.5, mask=is_matrix)
    updates, _ = tx.update(gradx.tree.zeros_like(real), tx.init(real), real)
    assert float(updates["Dense_0"]["kernel"][0, 0]) == 0.5
    assert float(updates["Dense_2"]["kernel"][0, 0]) == 0.0
