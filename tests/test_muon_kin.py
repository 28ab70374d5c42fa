"""Muon and what came of it: what each does to matrices that are known, and where two of them are one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

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
