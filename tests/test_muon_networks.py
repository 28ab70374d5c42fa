"""Muon and what came of it on networks: batches, meshes, roles, shapes, and the iteration that all of them take."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx.testing import assert_close
from tests.test_muon_kin import EVERY, draw, first

every_one = pytest.mark.parametrize("name", EVERY)


# Batches and meshes


@every_one
def test_a_batch_is_its_matrices_one_by_one(name):
    tx = EVERY[name].replace(weight_dimension_numbers=True)
    layers = draw(3, 4, 6)
    state, alone = tx.init(layers), [tx.init(x) for x in layers]
    if name == "dion":  # each matrix has first columns of its own
        alone = [x._replace(basis=state.basis[i : i + 1]) for i, x in enumerate(alone)]
    for step in range(3):
        grads = draw(3, 4, 6, seed=step)
        updates, state = tx.update(grads, state)
        one_by_one = [tx.update(g, x) for g, x in zip(grads, alone, strict=True)]
        alone = [x for _, x in one_by_one]
        assert_close(updates, jnp.stack([u for u, _ in one_by_one]), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", [AxisType.Explicit, AxisType.Auto], ids=str)
@every_one
def test_on_a_mesh_it_is_what_it_is_alone(name, kind):
    """Three matrices on four devices, sharded both ways; float32 products in another order."""
    tx, mesh = EVERY[name], jax.make_mesh((2, 2), ("x", "y"), axis_types=(kind, kind), devices=jax.devices()[:4])
    grads = {"a": draw(8, 4), "b": draw(8, 4, seed=1), "c": draw(4, 8, seed=2)}
    expected, _ = tx.update(grads, tx.init(grads))
    with jax.set_mesh(mesh):
        spread = {key: jax.device_put(x, NamedSharding(mesh, P("x", "y"))) for key, x in grads.items()}
        state = tx.init(spread)
        step = jax.jit(lambda g, s: tx.update(g, s))
        got, after = step(spread, state)
        again, _ = step(spread, after)
    assert_close(jax.tree.map(np.asarray, got), expected, rtol=1e-4, atol=1e-5)
    assert jax.tree.map(jax.typeof, after) == jax.tree.map(jax.typeof, state)
    assert gradx.tree.allclose(again, again)


def test_splits_are_matrices_of_their_own():
    fused = draw(4, 9)
    layout = gradx.roles.Layout((0,), (1,), 3)
    for name in sorted(set(EVERY) - {"dion", "scion, vectors"}):  # random columns, and what is no map
        whole = first(EVERY[name].replace(weight_dimension_numbers=layout), fused)
        parts = jnp.concatenate([first(EVERY[name], x) for x in jnp.split(fused, 3, axis=1)], axis=1)
        assert_close(whole, parts, rtol=1e-4, atol=1e-5)


# Roles and shapes

NETWORK = {
    "embedding": jnp.ones((9, 4)),
    "block": {"up": {"kernel": jnp.ones((4, 6)), "bias": jnp.ones(6)}, "norm": {"scale": jnp.ones(4)}},
    "head": {"kernel": jnp.ones((6, 9))},
}
RECIPES = ["muon", "normuon", "adamuon", "dion", "dion2", "polargrad"]


@pytest.mark.parametrize("name", RECIPES)
def test_embeddings_and_the_head_go_to_adamw(name):
    tx = getattr(gradx, name)(0.02, adam_learning_rate=0.5)
    updates, state = tx.update(NETWORK, tx.init(NETWORK), NETWORK)
    adam = gradx.adamw(0.5, 0.9, 0.999 if name == "muon" else 0.95, weight_decay=0.0, nesterov=name == "muon")
    expected, _ = adam.update(NETWORK, adam.init(NETWORK), NETWORK)
    for path in (("embedding",), ("head", "kernel"), ("block", "up", "bias"), ("block", "norm", "scale")):
        got, wanted = updates, expected
        for key in path:
            got, wanted = got[key], wanted[key]
        assert_close(got, wanted)
    assert float(jnp.abs(updates["block"]["up"]["kernel"]).max()) < 0.1
    assert set(state.inner_states) == {name, "adam"}


def test_what_cannot_be_told_is_asked_for():
    with pytest.raises(ValueError, match=r"muon: infer: .*\n.*mystery .*no name that tells.*\n.*roles\.infer\(params"):
        gradx.muon(0.1).init({"mystery": jnp.ones((3, 3))})


def test_roles_are_overridden_by_pattern():
    def given(params):
        return gradx.roles.infer(params, {"head/*": "matrix", "block/*/kernel": "head"})

    state = gradx.muon(0.1, muon_weight_dimension_numbers=given).init(NETWORK)
    of_matrices = state.inner_states["muon"][0].mu
    assert of_matrices["head"]["kernel"] is not None
    assert of_matrices["block"]["up"]["kernel"] is None


def test_roles_are_those_of_the_whole_network_at_every_step():
    """A bias tells how its kernel lies: the parts of the recipe, which see no biases, are told so."""
    stacked = {"layers": {"kernel": draw(3, 4, 6), "bias": draw(3, 6)}, "head": {"kernel": draw(6, 9)}}
    tx = gradx.muon(0.1, shape_scaling=None)
    updates, _ = tx.update(stacked, tx.init(stacked), stacked)
    alone = [first(gradx.scale_by_muon(), x) for x in stacked["layers"]["kernel"]]
    assert_close(updates["layers"]["kernel"], -0.1 * jnp.stack(alone), rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(
    ("scaling", "factor"),
    [("jordan", np.sqrt(2)), ("moonlight", 0.2 * np.sqrt(8)), ("spectral", np.sqrt(2)), (None, 1.0)],
)
def test_factors_of_the_shape(scaling, factor):
    g = jnp.ones((4, 8))
    np.testing.assert_allclose(first(gradx.scale_by_shape(shape_scaling=scaling), g), factor, rtol=1e-6)
    turned = {"jordan": 1.0, "spectral": 1 / np.sqrt(2)}.get(scaling, factor)
    np.testing.assert_allclose(first(gradx.scale_by_shape(shape_scaling=scaling), g.T), turned, rtol=1e-6)


def test_moonlight_is_a_consistent_root_mean_square():
    ours = gradx.muon(0.1, shape_scaling="moonlight")
    assert_close(
        *(tx.update(NETWORK, tx.init(NETWORK), NETWORK)[0] for tx in (ours, gradx.muon(0.1, consistent_rms=0.2)))
    )


def test_decay_of_muon_can_be_cautious():
    params = {"kernel": jnp.array([[2.0, -2.0], [2.0, -2.0]])}
    grads = {"kernel": jnp.array([[1.0, 1.0], [-1.0, 1.0]])}
    plain, decayed, cautious = (
        tx.update(grads, tx.init(params), params)[0]["kernel"]
        for tx in (
            gradx.muon(1.0),
            gradx.muon(1.0, weight_decay=0.1),
            gradx.muon(1.0, weight_decay=0.1, cautious_decay=True),
        )
    )
    same_way = jnp.sign(-plain) == jnp.sign(params["kernel"])
    np.testing.assert_allclose(cautious, jnp.where(same_way, decayed, plain), rtol=1e-5)
    assert 0 < int(same_way.sum()) < 4


# The iteration


def test_hybrid_steps_end_near_1():
    for shape in ((20, 30), (16, 64)):
        g = draw(*shape)
        values = np.linalg.svd(first(gradx.scale_by_muon("hybrid", 10), g), compute_uv=False)
        np.testing.assert_allclose(values, 1.0, atol=3e-3)


@pytest.mark.parametrize("name", ["hybrid", "dion", "polar_express"])
def test_a_set_of_steps_is_not_cut_short(name):
    with pytest.raises(ValueError, match=f"{name!r} takes .* steps: give ns_steps="):
        gradx.muon(0.1, ns_coeffs=name, ns_steps=3)


def test_products_in_bfloat16():
    g = draw(16, 16)
    wide, narrow = (first(gradx.scale_by_muon(ns_dtype=dtype), g) for dtype in (None, "bfloat16"))
    assert 1e-4 < float(jnp.abs(wide - narrow).max()) < 0.1
    text = str(jax.make_jaxpr(lambda g: first(gradx.scale_by_muon(ns_dtype="bfloat16"), g))(g))
    assert text.count("bf16[1,16,16]") >= 5


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: gradx.muon(0.1, shape_scaling="no"), "shape_scaling must be 'jordan'"),
        (lambda: gradx.scale_by_scion("no"), "norm must be one of 'spectral'"),
        (lambda: gradx.normuon(0.1, ns_coeffs="no"), "scale_by_normuon: ns_coeffs must be"),
        (lambda: gradx.dion(0.1, rank=0), "rank must be"),
        (lambda: gradx.dion2(0.1, one_in=0), "one_in must be"),
        (lambda: gradx.polargrad(0.1, beta=1.0), "beta must be"),
    ],
)
def test_mistakes_are_named(make, words):
    with pytest.raises(ValueError, match=words):
        make()


# In a ball


def test_muon_in_a_hyperball_keeps_the_norms():
    """MuonH: Wen et al. 2026, arXiv:2606.16899."""

    def matrices(params):
        return jax.tree.map(lambda role: role.is_matrix, gradx.roles.infer(params))

    tx, params = gradx.hyperball(gradx.muon(0.02), 0.1, matrices), NETWORK
    before, state = np.linalg.norm(params["block"]["up"]["kernel"]), tx.init(NETWORK)
    for step in range(3):
        grads = gradx.tree.random_like(jax.random.key(step), params)
        updates, state = tx.update(grads, state, params)
        params = gradx.apply_updates(params, updates)
        assert np.linalg.norm(params["block"]["up"]["kernel"]) == pytest.approx(before, rel=1e-5)
    assert not np.allclose(params["head"]["kernel"], NETWORK["head"]["kernel"])
