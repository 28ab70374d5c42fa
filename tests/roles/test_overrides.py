"""What the caller says of roles, and what is made of them: overrides and what is refused, values, labels, masks."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradx
from gradx.roles import KINDS, Layout, Role, infer, is_matrix, labels
from tests.roles import models_linen, models_nnx
from tests.roles.golden import MODELS
from tests.roles.models_plain import shape
from tests.roles.test_roles import kinds

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
