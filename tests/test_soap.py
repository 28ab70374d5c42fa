"""SOAP, SOAP-Muon and KL-Shampoo: what they reduce to, how they turn, when bases are renewed, what they fit."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import assert_close
from tests.histories import covariance, departs, history, kronecker, last_state, normal, rotation

EVERY = [gradx.scale_by_soap, gradx.scale_by_kl_shampoo, gradx.scale_by_kl_soap]
each = pytest.mark.parametrize(
    "make",
    [*EVERY[:2], pytest.param(EVERY[2], marks=pytest.mark.slow)],  # the Adam of the first, the bases of the second
    ids=lambda make: make.__name__,
)


# What it reduces to


@pytest.mark.parametrize("mu_dtype", [None, jnp.bfloat16])
def test_unturned_soap_is_adam(mu_dtype):
    """Both sides too large."""
    grads = normal(0, 6, 3, 4)
    tx = gradx.scale_by_soap(0.8, 0.9, 1e-3, mu_dtype, max_size=2)
    assert_close(history(tx, grads), history(gradx.scale_by_adam(0.8, 0.9, 1e-3, mu_dtype=mu_dtype), grads))


def held_at_identity(tx, grads):
    """Return the updates of `tx` from the second on, its bases held at the identity."""
    _, state = tx.update(grads[0], tx.init(grads[0]))
    state = state._replace(left_basis=jnp.eye(grads.shape[1])[None], right_basis=jnp.eye(grads.shape[2])[None])
    seen = []
    for g in grads[1:]:
        updates, state = tx.update(g, state)
        seen.append(updates)
    return jnp.stack(seen)


@pytest.mark.parametrize("make", [gradx.scale_by_soap, gradx.scale_by_kl_soap], ids=lambda make: make.__name__)
def test_a_basis_held_at_the_identity_is_adam(make):
    """The first gradient finds the bases: Adam starts behind it."""
    grads = normal(1, 6, 3, 4)
    ours = held_at_identity(make(0.8, 0.9, 1e-3, update_interval=99), grads)
    assert_close(ours, history(gradx.scale_by_adam(0.8, 0.9, 1e-3), grads[1:]))


@each
def test_the_second_update_has_no_large_entries(make):
    """It is that of one gradient, as Adam's first: no entry of an older one is divided by one that is near 0."""
    grads = normal(17, 2, 40, 60)
    updates = history(make(), grads)[1]
    if make is gradx.scale_by_kl_shampoo:
        assert float(jnp.abs(updates).max()) < 6  # the entries of standard normal numbers
    else:
        assert_close(jnp.linalg.norm(updates), jnp.sqrt(2400.0), rtol=1e-5)  # ±1 in the bases


@each
def test_what_is_no_matrix_goes_by_adam(make):
    grads = {"bias": normal(2, 6, 3), "scale": normal(3, 6), "heads": normal(4, 6, 2, 3, 2), "w": normal(5, 6, 2, 2)}
    adam, ours = (history(x, grads) for x in (gradx.scale_by_adam(0.8, 0.9, 1e-3), make(0.8, 0.9, 1e-3)))
    for name in ("bias", "scale", "heads"):
        assert_close(ours[name], adam[name])
    assert float(jnp.abs(ours["w"][0]).max()) == 0
    assert float(jnp.abs(ours["w"][1]).max()) > 0.1


def test_one_gradient_again_and_again_is_whitened():
    """In the bases of its own singular vectors it is a diagonal, whose entries Adam makes 1: U Vᵀ."""
    g = np.asarray(normal(6, 4, 4), np.float64)  # in float32 rounding between the singular vectors is above eps
    u, _, v = np.linalg.svd(g)
    with jax.enable_x64(True):
        for make in (gradx.scale_by_soap, gradx.scale_by_kl_soap):
            updates = history(make(eps=1e-8), jnp.broadcast_to(g, (3, 4, 4)))
            assert_close(updates[-1], u @ v, atol=1e-5)


# How it turns


@each
@pytest.mark.parametrize(
    "hyper", [{}, {"one_sided": True}, pytest.param({"update_interval": 1}, marks=pytest.mark.slow)], ids=str
)
def test_turned_gradients_are_turned_updates(make, hyper):
    grads, u, v = normal(7, 6, 4, 4), rotation(0, 4), rotation(1, 4)
    with jax.enable_x64(True):
        grads, u, v = (x.astype(jnp.float64) for x in (grads, u, v))
        u, v = jnp.linalg.qr(u)[0], jnp.linalg.qr(v)[0]
        tx = make(eps=0.0, **({"update_interval": 2} | hyper))
        if "one_sided" in hyper:
            v = jnp.eye(4)  # equal sides: the columns are not turned
        assert_close(history(tx, u @ grads @ v.T), u @ history(tx, grads) @ v.T, rtol=1e-6, atol=1e-6)


@each
def test_a_transposed_gradient_is_a_transposed_update(make):
    grads = normal(6, 5, 4, 3)
    tx = make(eps=0.1, update_interval=2)
    assert_close(history(tx, grads.mT), history(tx, grads).mT, rtol=1e-4, atol=1e-5)


@each
def test_the_order_of_a_basis_is_no_matter(make):
    """Other columns first, nu and eigenvalues with them: the same updates."""
    tx, grads = make(eps=1e-2, update_interval=2), normal(8, 6, 4, 3)
    state = tx.init(grads[0])
    for g in grads[:2]:
        _, state = tx.update(g, state)
    other, order = state, jnp.array([2, 0, 3, 1])
    other = other._replace(left_basis=state.left_basis[:, :, order])
    if state.nu is not None:
        other = other._replace(nu=state.nu[order])
    if hasattr(state, "left_values"):
        other = other._replace(left_values=state.left_values[:, order])
    for g in grads[2:]:
        one, state = tx.update(g, state)
        two, other = tx.update(g, other)
        assert_close(one, two, rtol=1e-3, atol=1e-4)


WAYS = [
    {"max_size": 2, "when_larger": "blocks"},
    pytest.param({"update_interval": 2}, marks=pytest.mark.slow),
    pytest.param({"max_size": 3, "when_larger": "one_sided"}, marks=pytest.mark.slow),
]


@each
@pytest.mark.parametrize("hyper", WAYS, ids=str)
def test_stacked_layers_are_a_batch(make, hyper):
    grads = normal(9, 4, 5, 4, 3)
    tx = make(eps=0.1, weight_dimension_numbers=True, **hyper)
    alone = jnp.stack([history(tx, grads[:, i]) for i in range(5)], axis=1)
    assert_close(history(tx, grads), alone, rtol=1e-4, atol=1e-5)


@each
def test_the_same_matrix_in_two_leaves_is_two_matrices(make):
    grads = {"a": normal(8, 4, 4, 3), "b": normal(9, 4, 4, 3), "c": normal(10, 4, 3, 4)}
    tx = make(eps=0.1, update_interval=2)
    together = history(tx, grads)
    for name, g in grads.items():
        assert_close(together[name], history(tx, g), rtol=1e-4, atol=1e-5)


def test_one_side_of_a_matrix_is_turned():
    for shape, kept in (((6, 2), "right"), ((2, 6), "left")):
        state = gradx.scale_by_soap(one_sided=True).init(jnp.ones(shape))
        other = "left" if kept == "right" else "right"
        assert getattr(state, kept).shape == (1, 2, 2)
        assert getattr(state, other).shape == getattr(state, f"{other}_basis").shape == (1, 0)


@each
def test_bases_are_renewed_at_intervals(make):
    tx, g = make(update_interval=3), normal(14, 8, 2, 3)
    state, seen = tx.init(g[0]), []
    for x in g:
        _, state = tx.update(x, state)
        seen.append(np.asarray(state.left_basis))
    changed = [not np.array_equal(a, b) for a, b in zip([0 * seen[0], *seen[:-1]], seen, strict=True)]
    assert changed == [True, False, False, True, False, False, True, False]
    assert_close(seen[-1][0].T @ seen[-1][0], jnp.eye(2), atol=1e-5)


@each
def test_complex_matrices_keep_their_phases(make):
    """A gradient times a phase is an update times it."""
    grads, phase = normal(11, 4, 3, 3) + 1j * normal(12, 4, 3, 3), np.exp(0.7j)
    tx = make(eps=0.1, update_interval=2)
    assert_close(history(tx, phase * grads), phase * history(tx, grads), rtol=1e-4, atol=1e-5)


# SOAP-Muon


@pytest.mark.parametrize("shape", [pytest.param((3, 5), marks=pytest.mark.slow), (4, 4), (5, 2)])
def test_soap_muon_is_soap_made_orthogonal(shape):
    grads = normal(13, 4, *shape)
    ours = history(gradx.scale_by_soap_muon(ns_steps=9, eps=0.1), grads)
    soap = history(gradx.scale_by_soap(eps=0.1, one_sided=True), grads)
    assert float(jnp.abs(ours[0]).max()) == 0
    for a, b in zip(ours[1:], soap[1:], strict=True):
        u, _, v = np.linalg.svd(b, full_matrices=False)
        assert_close(a, np.sqrt(max(shape)) * u @ v, atol=0.1)
        assert_close(jnp.mean(a**2), 1.0, rtol=1e-5)


def test_soap_muon_leaves_what_is_no_matrix():
    grads = {"w": normal(1, 3, 2, 3), "b": normal(2, 3, 4)}
    assert_close(
        history(gradx.scale_by_soap_muon(0.8), grads)["b"], history(gradx.scale_by_adam(0.8, 0.95), grads)["b"]
    )


# KL-Shampoo


def test_kl_shampoo_comes_to_its_fixed_point():
    """S_a = E[g S_b⁻¹ gᵀ] / n and S_b = E[gᵀ S_a⁻¹ g] / m; for a Kronecker covariance its factors, up to a number."""
    grads, a, b = kronecker(20, 8000)
    state = last_state(gradx.scale_by_kl_shampoo(b2=0.999), grads)
    left, right = state.left[0], state.right[0]
    kron = jnp.kron(left, right)
    exact = jnp.kron(a @ a.T, b @ b.T)
    assert float(jnp.linalg.norm(kron - exact) / jnp.linalg.norm(exact)) < 0.1
    recent = grads[-4000:]
    of_rows = jnp.mean(recent @ jnp.linalg.inv(right) @ recent.mT, axis=0) / 3
    of_columns = jnp.mean(recent.mT @ jnp.linalg.inv(left) @ recent, axis=0) / 4
    for found, wanted in ((left, of_rows), (right, of_columns)):
        assert float(jnp.linalg.norm(found - wanted) / jnp.linalg.norm(wanted)) < 0.1


def test_kl_shampoo_follows_the_eigenvalues_of_its_moments():
    grads, _, _ = kronecker(22, 3000)
    state = last_state(gradx.scale_by_kl_shampoo(b2=0.99), grads)
    for moment, values in ((state.left, state.left_values), (state.right, state.right_values)):
        np.testing.assert_allclose(np.linalg.eigvalsh(moment[0])[::-1], values[0], rtol=0.15)


def test_kl_shampoo_whitens():
    """Once the eigenvalues have forgotten their start, 10^5 times the least of them here: after some 12 / (1 - b2)."""
    grads, _, _ = kronecker(24, 8000)
    updates = history(gradx.scale_by_kl_shampoo(b1=0.0, b2=0.995), grads)
    assert departs(covariance(updates[-4000:])) < 0.2
    assert departs(covariance(grads / jnp.sqrt(jnp.mean(grads**2)))) > 2


def test_shampoo_by_means_alone_is_another_fit():
    """Why KL-Shampoo: two means of roots 1/4 do not whiten what is no single direction."""
    grads, _, _ = kronecker(24, 4000)
    updates = history(gradx.scale_by_shampoo(0.0, 0.999, graft=None), grads)
    assert departs(covariance(updates[-2000:])) > 0.4


@pytest.mark.parametrize("scale", [1e-12, 1e6])
@each
def test_the_scale_of_the_gradient_is_no_matter(make, scale):
    grads = normal(15, 5, 4, 3)
    tx = make(eps=0.0)
    assert_close(history(tx, jnp.float32(scale) * grads), history(tx, grads), rtol=1e-3, atol=1e-3)


def test_a_diagonal_side_is_followed_by_its_eigenvalues():
    grads = jnp.stack([jnp.diag(x) for x in normal(9, 5, 3)])
    full, diagonal = (gradx.scale_by_kl_shampoo(eps=1e-3, max_size=n) for n in (3, 2))
    assert_close(history(diagonal, grads), history(full, grads), rtol=1e-4, atol=1e-4)
    assert diagonal.init(grads[0]).left.shape == (1, 0)


def test_a_matrix_without_gradient_at_first_starts_with_its_first():
    g = normal(16, 4, 3, 4)
    grads = jnp.concatenate([jnp.zeros((3, 3, 4)), g])
    for make in EVERY:
        updates = history(make(eps=1e-3, update_interval=1), grads)
        assert np.all(np.isfinite(updates))
        assert float(jnp.abs(updates[:3]).max()) == 0
        assert float(jnp.abs(updates[-1]).max()) > 0.1
