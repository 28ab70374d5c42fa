"""ZClip and AdaGC: what is quiet stays bit for bit, what leaps is cut; MARS: noise that goes away."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import assert_close


def quiet(seed, steps):
    """Return gradients whose arrays have about one length each."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        x = rng.normal(size=shape)
        return np.float32(x / np.linalg.norm(x) * rng.uniform(0.95, 1.05))

    return [{"w": draw(20, 30), "v": draw(40)} for _ in range(steps)]


def run(tx, grads, state=None):
    state, history = tx.init(grads[0]) if state is None else state, []
    for g in grads:
        updates, state = tx.update(g, state)
        history.append(updates)
    return history, state


def lengths(*sizes):
    return [{"v": jnp.array([3.0, 4.0]) * size / 5} for size in sizes]


def norms(history):
    return [float(gradx.tree.norm(x)) for x in history]


@pytest.mark.parametrize("tx", [gradx.zclip(4.0), gradx.adagc(1.3, 1e3)], ids=str)
def test_quiet_gradients_pass_bit_for_bit(tx):
    grads = quiet(0, 150)
    history, _ = run(tx, grads)
    for got, g in zip(history, grads, strict=True):
        jax.tree.map(np.testing.assert_array_equal, got, g)


@pytest.mark.parametrize("tx", [gradx.zclip(4.0), gradx.adagc(1.3, 1e3)], ids=str)
def test_a_spike_is_cut_to_what_is_usual(tx):
    grads = quiet(1, 120)
    _, state = run(tx, grads)
    usual = float(np.mean(norms(grads)))
    (cut,), _ = run(tx, [gradx.tree.scale(1e4, grads[0])], state)
    assert norms([cut])[0] <= 1.35 * usual
    for name, g in grads[0].items():  # the direction stays
        np.testing.assert_allclose(cut[name] / np.linalg.norm(cut[name]), g / np.linalg.norm(g), rtol=1e-5)


# ZClip


def test_zclip_gathers_the_mean_and_the_variance_of_its_warmup():
    sizes = np.random.default_rng(0).uniform(0.5, 1.5, 30)
    _, state = run(gradx.zclip(warmup_steps=30), lengths(*sizes))
    np.testing.assert_allclose([state.mean, state.variance], [np.mean(sizes), np.var(sizes)], rtol=1e-5)


@pytest.mark.parametrize("size", [5.0, 50.0, 1e6])
def test_zclip_cuts_by_the_reciprocal_of_the_score(size):
    tx = gradx.zclip(2.0, eps=1e-9)
    state = tx.init({"v": jnp.zeros(2)})._replace(
        count=jnp.int32(99), mean=jnp.float32(1.0), variance=jnp.float32(0.25)
    )
    history, after = run(tx, lengths(size), state)
    z = (size - 1.0) / 0.5
    cut = 1.0 + 2.0**2 / z * 0.5
    np.testing.assert_allclose(norms(history), [cut], rtol=1e-5)
    np.testing.assert_allclose(after.mean, 0.97 + 0.03 * cut, rtol=1e-6)
    np.testing.assert_allclose(after.variance, 0.97 * 0.25 + 0.03 * (cut - after.mean) ** 2, rtol=1e-5)


def test_zclip_lets_up_to_the_threshold_pass():
    tx = gradx.zclip(2.0, eps=1e-9)
    state = tx.init({"v": jnp.zeros(2)})._replace(
        count=jnp.int32(99), mean=jnp.float32(1.0), variance=jnp.float32(0.25)
    )
    for size, passes in ((1.99, True), (2.01, False), (0.1, True)):
        (got,), _ = run(tx, lengths(size), state)
        assert np.array_equal(got["v"], lengths(size)[0]["v"]) == passes


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_gradient_leaves_the_statistics(bad):
    for tx in (gradx.zclip(warmup_steps=2), gradx.adagc(warmup_steps=2)):
        _, state = run(tx, lengths(1.0, 1.2, 1.1))
        history, after = run(tx, lengths(bad), state)
        assert not np.isfinite(norms(history)[0])
        kept = (state.mean, state.variance) if hasattr(state, "mean") else state.norms
        found = (after.mean, after.variance) if hasattr(after, "mean") else after.norms
        assert_close(found, kept, rtol=0, atol=0)
        history, _ = run(tx, lengths(1.1), after)
        assert np.isfinite(norms(history)[0])


def test_zclip_and_skip_outliers_agree_on_what_is_usual():
    grads = lengths(*np.random.default_rng(3).uniform(0.9, 1.1, 60))
    _, cut = run(gradx.zclip(decay=0.99, warmup_steps=60), grads)
    tx = gradx.skip_outliers(gradx.identity(), decay=0.999999)
    _, skipped = run(tx, grads)
    np.testing.assert_allclose(cut.mean, skipped.mean, rtol=1e-4)
    np.testing.assert_allclose(cut.variance, skipped.deviation**2, rtol=1e-2)


# AdaGC


def test_adagc_bounds_each_array_by_its_own_past():
    tx = gradx.adagc(1.5, 1e3, decay=0.9, warmup_steps=3)
    base = {"large": jnp.full(4, 50.0), "small": jnp.full(4, 0.01)}
    _, state = run(tx, [base] * 3)
    np.testing.assert_allclose(state.norms["large"], 100.0, rtol=1e-6)
    leap = {"large": base["large"] * 1.4, "small": base["small"] * 100}
    (got,), after = run(tx, [leap], state)
    np.testing.assert_array_equal(got["large"], leap["large"])
    np.testing.assert_allclose(got["small"], base["small"] * 1.5, rtol=1e-6)
    np.testing.assert_allclose(after.norms["small"], 0.02 * (0.9 + 0.1 * 1.5), rtol=1e-6)


def test_adagc_keeps_the_least_norm_of_the_warmup():
    _, state = run(gradx.adagc(warmup_steps=9), lengths(0.5, 0.2, 0.7, 4.0))
    np.testing.assert_allclose(state.norms["v"], 0.2, rtol=1e-6)
    history, _ = run(gradx.adagc(warmup_steps=9), lengths(4.0))
    np.testing.assert_allclose(norms(history), [1.0], rtol=1e-6)


def test_adagc_does_not_hold_at_0_what_began_there():
    """Behind a layer that starts at 0 the first gradients are 0: its own bound would keep them there."""
    zero, one = {"v": jnp.zeros(2)}, lengths(1.0)[0]
    for first in ([zero] * 3, [zero] * 12):
        history, state = run(gradx.adagc(warmup_steps=10), [*first, one])
        np.testing.assert_array_equal(history[-1]["v"], one["v"])
        np.testing.assert_allclose(state.norms["v"], 1.0, rtol=1e-6)
    _, state = run(gradx.adagc(warmup_steps=10), [one, zero])
    np.testing.assert_allclose(state.norms["v"], 1.0, rtol=1e-6)


# MARS


def test_mars_adds_the_change():
    tx = gradx.mars_correction(gamma=0.5, b1=0.8, max_norm=1e9)
    history, _ = run(tx, lengths(1.0, 1.5, 1.2))
    factor = 0.5 * 0.8 / 0.2
    np.testing.assert_allclose(norms(history), [1.0, 1.5 + factor * 0.5, 1.2 - factor * 0.3], rtol=1e-6)


def test_mars_bounds_each_array():
    tx = gradx.mars_correction(max_norm=2.0)
    (got,), _ = run(tx, [{"a": jnp.array([3.0, 4.0]), "b": jnp.array([0.3, 0.4])}])
    np.testing.assert_allclose(got["a"], [1.2, 1.6], rtol=1e-6)
    np.testing.assert_array_equal(got["b"], jnp.array([0.3, 0.4]))


def test_exact_mars_takes_both_gradients_on_the_same_data():
    """Then noise that does not depend on the parameters is gone from the change."""
    tx = gradx.mars_correction(gamma=1.0, b1=0.5, max_norm=1e9, exact=True)
    params, state = jnp.array([1.0, 2.0]), tx.init(jnp.array([1.0, 2.0]))
    rng = np.random.default_rng(0)
    before = params
    for _ in range(3):
        noise = rng.normal(size=2).astype(np.float32)
        got, state = tx.update(params + noise, state, params, grad_fn=lambda p, n=noise: p + n)
        np.testing.assert_allclose(got, params + noise + (params - before), rtol=1e-5)
        before, params = params, params - 0.1 * got


def test_the_mean_of_corrected_gradients_has_less_noise():
    """Stochastic recursive momentum: with gamma = 1 the mean follows a moving gradient without lag, noise averaged."""
    rng, b1 = np.random.default_rng(0), 0.9
    errors = {}
    for gamma in (0.0, 1.0):
        tx = gradx.chain(gradx.mars_correction(gamma, b1, np.inf, exact=True), gradx.ema(b1, debias=False))
        state, found = tx.init(jnp.zeros(200)), []
        for t in range(150):
            params = jnp.full(200, 0.1 * t)
            noise = rng.normal(size=200).astype(np.float32)
            mean, state = tx.update(params + noise, state, params, grad_fn=lambda p, n=noise: p + n)
            found.append(np.mean((mean - params) ** 2))
        errors[gamma] = np.mean(found[100:])
    assert errors[1.0] < 0.2 * errors[0.0]


def test_exact_mars_says_what_it_needs():
    tx = gradx.mars_correction(exact=True)
    with pytest.raises(TypeError, match="needs grad_fn"):
        tx.update(1.0, tx.init(1.0), 1.0)


def test_mars_shares_no_buffer_with_gradient_or_parameters():
    g = jnp.ones(3)
    for exact in (False, True):
        tx = gradx.mars_correction(exact=exact)
        _, state = tx.update(g, tx.init(g), g, grad_fn=lambda p: p)
        assert state.previous.unsafe_buffer_pointer() != g.unsafe_buffer_pointer()
