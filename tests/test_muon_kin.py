"""Muon and what came of it: what each does to matrices that are known, and where two of them are one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec as P

import gradx
from gradx.testing import assert_close

EVERY = {
    "muon": gradx.scale_by_muon(),
    "normuon": gradx.scale_by_normuon(),
    "adamuon": gradx.scale_by_adamuon(),
    "dion": gradx.scale_by_dion(rank=3),
    "dion2": gradx.scale_by_dion2(one_in=2),
    "scion": gradx.scale_by_scion(),
    "scion, sign": gradx.scale_by_scion("sign"),
    "scion, vectors": gradx.scale_by_scion("vectors"),
    "polargrad": gradx.scale_by_polargrad(),
}
ORTHOGONAL = ["muon", "polargrad", "scion"]
"""Whose direction of a matrix with equal singular values is that matrix, but for its scale."""
every_one = pytest.mark.parametrize("name", EVERY)


def draw(*shape, seed=0):
    return jax.random.normal(jax.random.key(seed), shape)


def orthogonal(m, n, seed=0):
    """Return orthonormal rows, m at most n."""
    return jnp.linalg.qr(draw(n, m, seed=seed))[0].T


def polar(x):
    u, _, vt = np.linalg.svd(np.asarray(x, np.float64), full_matrices=False)
    return u @ vt


def first(tx, grads):
    return tx.update(grads, tx.init(grads))[0]


def run(tx, grads, steps=3):
    state, updates = tx.init(grads), None
    for _ in range(steps):
        updates, state = tx.update(grads, state)
    return updates, state


# Known matrices


@pytest.mark.parametrize("name", ORTHOGONAL)
def test_an_orthogonal_matrix_is_itself(name):
    g = orthogonal(4, 6)
    u = np.asarray(first(EVERY[name], g), np.float64)
    scale = np.sum(u * g) / np.sum(g * g)
    np.testing.assert_allclose(u, scale * g, atol=2e-6)
    assert scale > 0.03  # PolarGrad's is the size of the momentum, a twentieth of g, times four


def test_normuon_of_a_square_orthogonal_matrix_is_that_matrix():
    g = orthogonal(5, 5)  # whose neurons are of one length
    np.testing.assert_allclose(first(gradx.scale_by_normuon(), 3.0 * g), g, atol=1e-5)


@pytest.mark.parametrize("name", sorted(set(EVERY) - {"polargrad"}))
def test_the_scale_of_the_gradient_cancels(name):
    g = {"w": draw(4, 6)}
    assert_close(first(EVERY[name], gradx.tree.scale(1000.0, g)), first(EVERY[name], g), rtol=1e-4, atol=1e-5)


def test_polargrad_is_as_long_as_the_gradient():
    g = draw(4, 6)
    np.testing.assert_allclose(first(EVERY["polargrad"], 1000.0 * g), 1000.0 * first(EVERY["polargrad"], g), rtol=1e-5)


def test_polargrad_is_the_nuclear_norm_times_the_polar_factor():
    for shape in ((4, 6), (6, 4), (5, 5)):
        g = draw(*shape)
        wanted = np.linalg.norm(np.asarray(g, np.float64), "nuc") * polar(g)
        got = first(gradx.scale_by_polargrad(0.0), g)
        np.testing.assert_allclose(got, wanted, atol=0.01 * np.abs(wanted).max())


@pytest.mark.parametrize("name", ["muon", "scion", "polargrad"])
def test_rotations_go_through(name):
    """The update of Q G R is Q times that of G times R."""
    g, q, r = draw(4, 6), orthogonal(4, 4, 1), orthogonal(6, 6, 2)
    np.testing.assert_allclose(first(EVERY[name], q @ g @ r), q @ first(EVERY[name], g) @ r, atol=2e-5)


def test_steps_of_normuon_and_adamuon_have_the_root_mean_square_of_adams():
    for make in (gradx.normuon, gradx.adamuon):
        for shape in ((4, 6), (8, 3)):
            params = {"kernel": draw(*shape)}
            tx = make(1.0)
            updates, _ = tx.update({"kernel": draw(*shape, seed=1)}, tx.init(params), params)
            rms = float(jnp.sqrt(jnp.mean(updates["kernel"] ** 2)))
            assert rms == pytest.approx(0.2, rel=1e-5)


def test_normuon_makes_neurons_alike_and_adamuon_entries():
    """At the first step, whatever the decay: nothing but this step's size is known."""
    g = draw(6, 4)
    norms = jnp.linalg.norm(first(gradx.scale_by_normuon(), g), axis=0)
    np.testing.assert_allclose(norms, norms[0], rtol=1e-5)
    entries = jnp.abs(first(gradx.scale_by_adamuon(), g))
    np.testing.assert_allclose(entries, entries[0, 0], rtol=1e-4)


def test_eps_of_normuon_is_added_to_the_root():
    g = draw(6, 4)
    o = np.asarray(first(gradx.scale_by_muon(eps=0.0, nesterov=False), g), np.float64)
    wanted = o / (np.sqrt(0.1 * np.mean(o * o, axis=0)) + 0.3)
    wanted *= 2 / np.linalg.norm(wanted)
    np.testing.assert_allclose(first(gradx.scale_by_normuon(b2=0.9, eps=0.3), g), wanted, rtol=1e-4, atol=1e-6)


def test_normuon_of_equal_neurons_is_muon():
    """Columns of o with equal norms are divided by one number, and o's own norm is put back."""
    g = jnp.tile(orthogonal(4, 4), (1, 2)) / 2
    muon = first(gradx.scale_by_muon(nesterov=False), g)
    lengths = jnp.linalg.norm(muon, axis=0)
    np.testing.assert_allclose(lengths, lengths[0], rtol=1e-5)
    scaled = muon * 2.0 / jnp.linalg.norm(muon)
    np.testing.assert_allclose(first(gradx.scale_by_normuon(), g), scaled, atol=1e-5)


@pytest.mark.parametrize("make", [gradx.scale_by_normuon, gradx.scale_by_adamuon, gradx.scale_by_polargrad])
def test_nesterov_is_the_mean_of_the_next_step(make):
    """For the same gradient; PyTorch's too."""
    first_g, g, tx = draw(4, 6), draw(4, 6, seed=1), make(0.5, nesterov=True, weight_dimension_numbers=False)
    _, state = tx.update(first_g, tx.init(g))
    updates, _ = tx.update(g, state)
    mean = 0.25 * first_g + 0.5 * g
    np.testing.assert_allclose(updates, 0.5 * mean + 0.5 * g, rtol=1e-6)


# Dion


def test_dion_of_full_rank_comes_to_the_polar_factor():
    q, r = orthogonal(3, 3, 1), orthogonal(3, 5, 2)
    g = q @ jnp.diag(jnp.array([9.0, 3.0, 1.0])) @ r
    u, _ = run(gradx.scale_by_dion(rank=9, decay=0.0), g, 12)
    np.testing.assert_allclose(u, polar(g), atol=1e-4)
    tall, _ = run(gradx.scale_by_dion(rank=9, decay=0.0), g.T, 12)
    np.testing.assert_allclose(tall, polar(g).T, atol=1e-4)


def test_dion_keeps_what_it_does_not_follow():
    q, r = orthogonal(3, 3, 1), orthogonal(3, 5, 2)
    g = q @ jnp.diag(jnp.array([9.0, 3.0, 1.0])) @ r
    tx = gradx.scale_by_dion(rank=1, decay=0.5)
    state = tx.init(g)
    for _ in range(3):
        u, after = tx.update(g, state)
        left = (g + state.mu) - after.mu
        assert np.linalg.matrix_rank(np.asarray(left), tol=1e-4) == 1
        # What is taken away is half of what is followed, along the same directions as the step.
        np.testing.assert_allclose(left, u * jnp.sum(left * u), atol=1e-4)
        np.testing.assert_allclose(jnp.sum(left * u), 0.5 * jnp.sum((g + state.mu) * u), rtol=1e-4)
        state = after


def test_dion_makes_no_direction_of_rounding():
    g = jnp.outer(draw(4), draw(6, seed=1))
    u, state = run(gradx.scale_by_dion(rank=3), g)
    np.testing.assert_allclose(u, polar_of_rank_1(g), atol=1e-5)
    np.testing.assert_allclose(jnp.linalg.norm(state.basis[0], axis=0)[0], 1.0, rtol=1e-5)


def polar_of_rank_1(g):
    return g / jnp.linalg.norm(g)


def test_dion_waits_for_a_gradient():
    zero, tx = jnp.zeros((4, 6)), gradx.scale_by_dion(rank=2)
    u, state = run(tx, zero)
    assert not u.any()
    np.testing.assert_array_equal(state.basis, tx.init(zero).basis)
    slope = jax.grad(lambda g: jnp.sum(first(tx, g) ** 2))(zero)
    assert np.isfinite(slope).all()


def test_dions_first_columns_go_by_the_seed_and_the_leaf():
    params = {"a": jnp.ones((4, 6)), "b": jnp.ones((4, 6))}
    bases = gradx.scale_by_dion(rank=2).init(params).basis
    assert bases["a"].shape == (1, 4, 2)
    assert not np.allclose(bases["a"], bases["b"])
    assert not np.allclose(bases["a"], gradx.scale_by_dion(rank=2, seed=1).init(params).basis["a"])


def test_dion2_of_all_rows_is_muon():
    for shape in ((4, 6), (6, 4)):
        g = draw(*shape)
        muon = gradx.scale_by_muon("polar_express", beta=0.0, eps=0.0, nesterov=False)
        np.testing.assert_allclose(first(gradx.scale_by_dion2(one_in=1), g), first(muon, g), atol=1e-5)


def test_dion2_takes_the_largest_rows_and_the_others_wait():
    g = jnp.diag(jnp.array([1.0, 5.0, 3.0, 2.0])) @ orthogonal(4, 6)
    tx = gradx.scale_by_dion2(one_in=2, decay=0.5)
    state, used = tx.init(g), []
    for _ in range(24):
        u, after = tx.update(g, state)
        rows = np.flatnonzero(np.abs(u).sum(axis=1) > 1e-6)
        used.append(rows.tolist())
        x = g + state.mu
        np.testing.assert_allclose(after.mu, np.where(np.isin(np.arange(4), rows)[:, None], 0.5 * x, x), rtol=1e-6)
        assert len(rows) == 2
        state = after
    assert used[0] == [1, 2]
    assert {row for rows in used for row in rows} == {0, 1, 2, 3}


@pytest.mark.parametrize("name", ["dion", "dion2", "normuon", "scion, sign"])
def test_a_nan_is_not_hidden(name):
    g = draw(4, 6).at[0, 0].set(np.nan)
    assert np.isnan(first(EVERY[name], g)).any()


# Scion


def test_scion_of_sign_and_of_vectors():
    g = draw(3, 5)
    np.testing.assert_allclose(first(gradx.scale_by_scion("sign", 6.0), g), 2.0 * jnp.sign(g), rtol=1e-6)
    vectors = first(gradx.scale_by_scion("vectors", 2.0), g)
    np.testing.assert_allclose(jnp.sqrt(jnp.mean(vectors**2, axis=1)), 2.0, rtol=1e-6)
    assert not first(gradx.scale_by_scion("vectors"), jnp.zeros((3, 5))).any()


def test_parameters_of_scion_stay_in_their_balls():
    params = {"block": {"up": {"kernel": draw(4, 6), "bias": draw(6)}}, "embedding": draw(9, 4), "head": draw(6, 5)}
    tx = gradx.scion(0.5, radius=3.0, head_radius=2.0)
    state = tx.init(params)
    for step in range(20):
        grads = gradx.tree.random_like(jax.random.key(step), params)
        updates, state = tx.update(grads, state, params)
        params = gradx.apply_updates(params, updates)
    spectral = np.linalg.norm(params["block"]["up"]["kernel"], 2)
    assert spectral <= 3.0 * np.sqrt(6 / 4) * 1.21  # the quintic ends between 0.68 and 1.21
    assert np.abs(params["head"]).max() <= 2.0 / 6 * (1 + 1e-5)
    assert np.sqrt(np.mean(np.square(params["embedding"]), axis=1)).max() <= 1 + 1e-5
    assert np.sqrt(np.mean(np.square(params["block"]["up"]["bias"]))) <= 1 + 1e-5
    free = gradx.scion(0.5, constrained=False)
    still, _ = free.update(gradx.tree.scale(0.0, grads), free.init(params), params)
    assert not any(np.any(x) for x in jax.tree.leaves(still))


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
