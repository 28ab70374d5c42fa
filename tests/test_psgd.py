"""PSGD Kron: it whitens, a step is what the formulas say, and it keeps its head with gradients of 0."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.optimizers import psgd
from gradx.testing import assert_close
from tests.histories import covariance, departs, history, kronecker, last_state, normal

GEOMETRIES = ["triangular", "dense"]
both = pytest.mark.parametrize("geometry", GEOMETRIES)
FALLING = gradx.exponential_decay(0.3, 1000, 0.4)


@both
def test_gradients_of_a_kronecker_covariance_are_whitened(geometry):
    grads, _, _ = kronecker(30, 9000)
    tx = gradx.scale_by_kron(0.0, preconditioner_lr=FALLING, update_probability=1.0, max_rms=None, geometry=geometry)
    updates = history(tx, grads)
    assert departs(covariance(updates[-4000:])) < 0.2
    assert departs(covariance(grads / jnp.sqrt(jnp.mean(grads**2)))) > 2  # so far by a multiple of the identity


@both
def test_one_side_is_whitened(geometry):
    """Where all rows are alike: a fit is divided by the size of its own sample, and rows of many sizes end above 1."""
    _, _, b = kronecker(31, 1)
    grads = normal(31, 5000, 24, 3) @ b.T
    tx = gradx.scale_by_kron(
        0.0, preconditioner_lr=FALLING, update_probability=1.0, max_rms=None, geometry=geometry, one_sided=True
    )
    updates = history(tx, grads)[-3000:]
    assert gradx.tree.get(tx.init(grads[0]), "left").shape == (1, 0)
    assert departs(np.mean(updates.mT @ updates, axis=0) / 24) < 0.15
    assert departs(np.mean(grads.mT @ grads, axis=0) / 24) > 1


ENTRIES = {"v": jnp.array([0.2, 1.0, 5.0]) * normal(32, 6000, 3), "s": 7.0 * normal(33, 6000)}


def test_what_is_no_matrix_is_whitened_entry_by_entry():
    tx = gradx.scale_by_kron(0.0, preconditioner_lr=FALLING, update_probability=1.0, max_rms=None)
    for x in jax.tree.leaves(history(tx, ENTRIES)):
        np.testing.assert_allclose(np.mean(x[-3000:] ** 2, axis=0), 1.0, rtol=0.15)


def test_a_dense_fit_of_one_number_comes_to_rest_above_1():
    """Where E[(a - 1) / (a + 1)] = 0 for a = c z², z standard normal: the size of a sample divides its own step."""
    tx = gradx.scale_by_kron(0.0, preconditioner_lr=FALLING, update_probability=1.0, max_rms=None, geometry="dense")
    z = np.random.default_rng(0).normal(size=100000) ** 2
    c = min(np.linspace(1, 4, 61), key=lambda c: abs(np.mean((c * z - 1) / (c * z + 1))))
    assert 2.4 < c < 2.9
    np.testing.assert_allclose(np.mean(history(tx, ENTRIES)["s"][-3000:] ** 2), c, rtol=0.15)


def criterion(P, moment):
    """Return E[gᵀ P g + vᵀ P⁻¹ v]."""
    return np.trace(P @ moment) + np.trace(np.linalg.inv(P))


@both
def test_fits_lower_the_criterion_to_its_least(geometry):
    grads, a, b = kronecker(34, 4000)
    moment = np.kron(a @ a.T, b @ b.T)
    values, vectors = np.linalg.eigh(moment)
    least = criterion((vectors * values**-0.5) @ vectors.T, moment)
    tx = gradx.scale_by_kron(0.0, preconditioner_lr=FALLING, update_probability=1.0, geometry=geometry)
    found = []
    for steps in (1, 100, 4000):
        state = last_state(tx, grads[:steps])
        left, right = (np.asarray(gradx.tree.get(state, side)[0]) for side in ("left", "right"))
        if geometry == "triangular":
            left, right = left.T @ left, right.T @ right
        found.append(float(criterion(np.kron(left, right), moment) / least))
    assert found[0] > found[1] > found[2] > 0.999
    assert found[2] < 1.02


def test_a_triangular_fit_is_what_the_formulas_say():
    rng = np.random.default_rng(0)
    g, rate, damping = rng.normal(size=(4, 3)), 0.2, 0.1
    ql, qr = (np.triu(rng.normal(size=(n, n)), 1) + np.diag(rng.uniform(0.5, 3.0, n)) for n in (4, 3))
    key = jax.random.key(5)
    with jax.enable_x64(True):
        v = np.asarray(psgd.noise(key, jnp.asarray(g)[None])[0])
        fit = jax.jit(psgd.triangular_leaf)
        _, *found = fit(g[None], ql[None], qr[None], key=key, rate=jnp.float64(rate), damping=damping)
    g = g + damping * np.sqrt(np.mean(g**2)) * v
    a, b = ql @ g @ qr.T, np.linalg.inv(ql).T @ v @ np.linalg.inv(qr)

    def step(q, aa, bb):
        total = aa + bb
        x = total @ total[:, np.argmax(np.sum(total**2, axis=0))]
        size = np.linalg.norm(total @ x) / np.linalg.norm(x)
        return q - rate / size * np.triu(aa - bb) @ q

    ql, qr = step(ql, a @ a.T, b @ b.T), step(qr, a.T @ a, b.T @ b)
    ratio = np.sqrt(np.abs(qr).max() / np.abs(ql).max())
    for got, wanted in zip(found, (ratio * ql, qr / ratio), strict=True):
        np.testing.assert_allclose(got[0], wanted, rtol=1e-12, atol=1e-12)
    assert np.all(np.tril(found[0][0], -1) == 0)
    assert np.all(np.diag(found[0][0]) > 0)


def test_a_dense_factor_stays_symmetric_and_positive():
    grads, _, _ = kronecker(35, 500)
    state = last_state(gradx.scale_by_kron(geometry="dense", preconditioner_lr=1.0), grads)
    for factor in (state.left[0], state.right[0]):
        assert_close(factor, factor.T, rtol=1e-3)
        assert np.linalg.eigvalsh(factor).min() > 0


@both
@pytest.mark.parametrize("scale", [1e-12, 1e-3, 1e6])
def test_the_scale_of_the_gradient_is_no_matter(geometry, scale):
    grads = {"w": normal(36, 6, 4, 3), "b": normal(37, 6, 5)}
    tx = gradx.scale_by_kron(geometry=geometry)
    scaled = history(tx, jax.tree.map(lambda g: jnp.float32(scale) * g, grads))
    assert_close(scaled, history(tx, grads), rtol=1e-3, atol=1e-4)


@both
def test_directions_without_gradient_grow_no_further_than_the_damping(geometry):
    """A row of 0, as of a word that never occurs: each fit would multiply its share of P without an end.

    P g = P (g + damping · v) - damping · P v, where both terms have root mean square 1 at rest.
    """
    grads = normal(38, 3000, 4, 3).at[:, 1].set(0.0)
    shares = []
    for damping in (1e-2, 0.0):
        tx = gradx.scale_by_kron(
            0.0, preconditioner_lr=0.5, update_probability=1.0, max_rms=None, geometry=geometry, damping=damping
        )
        shares.append(last_state(tx, grads).left[0, 1, 1])
        if damping:
            updates = history(tx, grads)
    assert np.all(np.isfinite(updates))
    assert float(jnp.mean(updates[-1000:, 1] ** 2)) < 4
    assert not shares[1] < 1.5 * shares[0]


@both
def test_a_matrix_of_no_gradient_does_not_move_and_can_start_later(geometry):
    grads = jnp.concatenate([jnp.zeros((2000, 3, 4)), normal(39, 5, 3, 4)])
    updates = history(gradx.scale_by_kron(geometry=geometry, update_probability=1.0), grads)
    assert float(jnp.abs(updates[:2000]).max()) == 0
    assert np.all(np.isfinite(updates))
    assert float(jnp.abs(updates[-1]).max()) > 0.1


@both
def test_stacked_layers_are_a_batch(geometry):
    grads = normal(40, 4, 5, 4, 3)
    tx = gradx.scale_by_kron(geometry=geometry, weight_dimension_numbers=True)
    alone = jnp.stack([history(tx, grads[:, i]) for i in range(5)], axis=1)
    assert_close(history(tx, grads), alone, rtol=1e-4, atol=1e-5)


def test_updates_are_shortened_for_each_matrix():
    grads = normal(41, 6, 2, 4, 3) * jnp.array([1.0, 100.0, 1.0, 100.0, 1.0, 100.0])[:, None, None, None]
    tx = gradx.scale_by_kron(0.0, max_rms=0.5, weight_dimension_numbers=True)
    sizes = jnp.sqrt(jnp.mean(history(tx, grads) ** 2, axis=(-2, -1)))
    assert float(sizes.max()) <= 0.5 * (1 + 1e-5)
    free = jnp.sqrt(jnp.mean(history(tx.replace(max_rms=None), grads) ** 2, axis=(-2, -1)))
    assert float(free.max()) > 2


# When it is fitted


def fits(tx, steps):
    """Return at which updates the factors changed."""
    g = normal(42, steps, 3, 2)
    state, seen = tx.init(g[0]), []
    step = jax.jit(tx.update)
    for x in g:
        _, after = step(x, state)
        seen.append(not np.array_equal(*(gradx.tree.get(x, "left") for x in (after, state))))
        state = after
    return seen


def test_fits_come_by_chance_and_the_first_for_certain():
    assert fits(gradx.scale_by_kron(update_probability=0.0), 6) == [True] + [False] * 5
    assert fits(gradx.scale_by_kron(update_probability=1.0), 6) == [True] * 6
    seen = fits(gradx.scale_by_kron(update_probability=0.5), 40)
    assert 10 <= sum(seen) <= 30
    assert seen != fits(gradx.scale_by_kron(update_probability=0.5, seed=1), 40)
    assert seen == fits(gradx.scale_by_kron(update_probability=0.5, seed=jax.random.key(0)), 40)


def test_the_probability_may_be_a_schedule():
    def at_even(step):
        return (step % 2 == 0) * 1.0

    assert fits(gradx.scale_by_kron(update_probability=at_even), 5) == [True, False, True, False, True]


def test_the_default_probability_falls():
    found = [float(psgd.falling(jnp.int32(t))) for t in (0, 500, 1500, 10**6, 2**31 - 1)]
    np.testing.assert_allclose(found, [1.0, 1.0, np.exp(-1), 0.03, 0.03], rtol=1e-5)


def test_the_bound_of_the_spectral_norm_is_close_and_from_below():
    for seed in range(5):
        x = normal(seed, 6, 4)
        a = (x @ x.T)[None]
        exact, found = np.linalg.norm(a[0], 2), float(psgd.size_of(a)[0, 0, 0])
        assert found <= exact * (1 + 1e-5)
        assert found >= max(0.9 * exact, float(jnp.abs(a).max()))
