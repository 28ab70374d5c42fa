"""The roles of whole networks: kept tables that were read line by line, and what the networks themselves say."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx import roles, tree
from gradx.recipes.suggestions import SUGGESTIONS
from gradx.roles.inference import leaves_of
from tests.roles import described, models_linen
from tests.roles.golden import FOLDER, MODELS, table

each_model = pytest.mark.parametrize("name", MODELS)


@each_model
def test_roles_are_those_that_were_read(name):
    """`python -m tests.roles.golden` writes the tables anew; read the difference before you keep it."""
    assert table(MODELS[name]()) == (FOLDER / f"{name}.txt").read_text()


def test_every_table_has_its_network():
    assert {path.stem for path in FOLDER.iterdir()} == set(MODELS)
    assert len(MODELS) >= 20


@each_model
def test_nothing_is_left_open(name):
    assert "?" not in (FOLDER / f"{name}.txt").read_text()


@pytest.mark.parametrize("recipe", SUGGESTIONS)
def test_recipes_do_what_was_read(recipe):
    """`python -m tests.roles.described` writes the tables anew."""
    assert described.text(recipe) == (described.FOLDER / f"{recipe}.txt").read_text()


@each_model
def test_layouts_hold_every_entry_once(name):
    params = MODELS[name]()
    for leaf, role in zip(leaves_of(params), jax.tree.leaves(roles.infer(params)), strict=True):
        if role.layout is not None:
            x = np.arange(np.prod(leaf.shape), dtype=np.float32).reshape(leaf.shape)
            matrices = role.layout.batch_of(jnp.asarray(x))
            assert matrices.shape == (role.layout.count(leaf.shape), *role.layout.fans(leaf.shape))
            assert np.array_equal(role.layout.array_of(matrices, jnp.asarray(x)), x)


# The gradient of one example at one place is, for each linear map, the outer product of what went in and of the
# gradient of what came out, which is that of the bias: of rank one exactly where the layout has the axes right.

TOKEN, PIXEL = jnp.full((1, 1), 3), jnp.linspace(-1.0, 1.0, 3).reshape(1, 1, 1, 3)
NETWORKS = {
    "decoder": (models_linen.ScannedDecoder(), TOKEN),
    "experts": (models_linen.MixtureOfExperts(), TOKEN),
    "lstm": (models_linen.Lstm(), TOKEN),
    "resnet": (models_linen.ResNet(), PIXEL),
    "convnext": (models_linen.ConvNeXt(), jnp.tile(PIXEL, (1, 4, 4, 1))),
}


@pytest.mark.parametrize("name", NETWORKS)
def test_gradients_of_one_example_have_rank_one(name):
    model, inputs = NETWORKS[name]

    @jax.jit
    def gradient_of(key):
        variables = dict(model.init(key, inputs))
        params = variables.pop("params")
        params = tree.add(params, tree.random_like(key, params, jax.random.uniform))  # no bias at zero

        def loss(params):
            outputs = model.apply({"params": params, **variables}, inputs)
            return jnp.sum(outputs * jax.random.normal(key, outputs.shape))

        return jax.grad(loss)(params)

    gradient = gradient_of(jax.random.key(0))
    found = dict(zip(tree.paths(gradient), jax.tree.leaves(roles.infer(gradient)), strict=True))
    arrays = dict(zip(tree.paths(gradient), jax.tree.leaves(gradient), strict=True))
    seen = 0
    for path, role in found.items():
        if role.layout is None:
            continue
        matrices = np.asarray(role.layout.batch_of(arrays[path]), np.float64)
        singular = np.linalg.svd(matrices, compute_uv=False)
        assert np.all(singular[:, 1:] <= 1e-5 * singular[:, :1]), path
        bias = arrays.get(path.removesuffix("kernel") + "bias")
        if bias is not None and path.endswith("kernel"):
            outputs = np.asarray(bias, np.float64).reshape(len(matrices), matrices.shape[2])
            cosine = np.abs(np.einsum("bmn,bn->bm", matrices, outputs))
            lengths = np.linalg.norm(matrices, axis=2) * np.linalg.norm(outputs, axis=1)[:, None]
            np.testing.assert_allclose(cosine, lengths, rtol=1e-4, atol=1e-7, err_msg=path)
            seen += 1
    assert seen or name == "resnet"
