"""Estimates of the Hessian's diagonal, and when Sophia asks for one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import assert_close

SIZE = 6
HESSIAN = np.diag(np.arange(1.0, SIZE + 1)) + 0.3


def quadratic(params):
    return 0.5 * params["w"] @ HESSIAN.astype(np.float32) @ params["w"] + jnp.sum(params["b"] ** 4)


PARAMS = {"w": jnp.ones(SIZE), "b": jnp.full((2, 2), 2.0)}


def estimates(tx, n):
    state, found = tx.init(PARAMS), []
    step = jax.jit(lambda s: tx.update(PARAMS, s, PARAMS, obj_fn=quadratic))
    for _ in range(n):
        updates, state = step(state)
        found.append(updates)
    return found


def test_estimates_are_unbiased_and_exact_for_diagonals():
    found = estimates(gradx.hutchinson_estimator_diag_hessian(1), 400)
    for one in found[:3]:
        np.testing.assert_allclose(one["b"], 12 * 2.0**2, rtol=1e-5)
    rows = np.stack([one["w"] for one in found])
    spread = 0.3 * np.sqrt(SIZE - 1)  # each entry off the diagonal comes with a sign
    np.testing.assert_allclose(rows.std(axis=0), spread, rtol=0.2)
    assert np.max(np.abs(rows.mean(axis=0) - np.diag(HESSIAN))) < 5 * spread / np.sqrt(len(rows))


def test_estimates_follow_their_seed():
    make = gradx.hutchinson_estimator_diag_hessian
    first, same = estimates(make(3), 2), estimates(make(jax.random.key(3)), 2)
    assert_close(first, same)
    assert not np.allclose(first[0]["w"], first[1]["w"])
    assert not np.allclose(first[0]["w"], estimates(make(4), 1)[0]["w"])
    assert_close(estimates(make(), 1), estimates(make(0), 1))


def test_sophia_asks_for_an_estimate_at_intervals():
    asked = []

    def note(updates, params):
        jax.debug.callback(lambda: asked.append(1), ordered=True)
        return updates

    tx = gradx.scale_by_sophia(update_interval=3, hessian_diagonal_fn=gradx.stateless(note))
    state, step = tx.init(PARAMS), jax.jit(tx.update)
    seen = []
    for _ in range(7):
        _, state = step(PARAMS, state, PARAMS)
        jax.effects_barrier()
        seen.append(len(asked))
    assert seen == [1, 1, 1, 2, 2, 2, 3]


def test_an_estimate_serves_from_the_next_update_on():
    tx = gradx.scale_by_sophia(b1=0.0, b2=0.0, gamma=1.0, clip_threshold=None, eps=0.5)
    state = tx.init(PARAMS)
    first, state = tx.update(PARAMS, state, PARAMS, obj_fn=quadratic)
    second, state = tx.update(PARAMS, state, PARAMS, obj_fn=quadratic)
    np.testing.assert_allclose(first["b"], 2.0 / 0.5)
    np.testing.assert_allclose(second["b"], 2.0 / 48.0, rtol=1e-5)


def test_negative_curvature_gives_the_sign():
    tx = gradx.scale_by_sophia(hessian_diagonal_fn=gradx.scale(-1.0))
    state = tx.init(1.0)
    for _ in range(3):
        updates, state = tx.update(0.5, state, 1.0)
    assert float(updates) == 1.0


def test_sophia_learns_under_jit():
    tx, params = gradx.sophia(0.1, update_interval=2), PARAMS
    state = tx.init(params)

    @jax.jit
    def step(params, state):
        updates, state = tx.update(jax.grad(quadratic)(params), state, params, obj_fn=quadratic)
        return gradx.apply_updates(params, updates), state

    for _ in range(100):
        params, state = step(params, state)
    assert quadratic(params) < 0.01 * quadratic(PARAMS)


def test_the_loss_is_asked_for_by_name():
    tx = gradx.sophia(0.1)
    with pytest.raises(TypeError, match="obj_fn"):
        tx.update(PARAMS, tx.init(PARAMS), PARAMS)
