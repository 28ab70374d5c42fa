"""Steps by sign, by length, by rows and columns: what trajectories do not show."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import gradx
from gradx.testing import assert_close
from tests.oracles.recorded import from_torch

RNG = np.random.default_rng(0)
KERNEL = RNG.normal(size=(3, 4)).astype(np.float32)
GRADIENTS = RNG.normal(size=(6, 3, 4)).astype(np.float32)


def run(tx, params, gradients, apply=gradx.apply_updates):
    """Return the updates, the state and the parameters after all gradients."""
    state, history = tx.init(params), []
    for g in gradients:
        updates, state = tx.update(g, state, params)
        params = apply(params, updates)
        history.append(updates)
    return history, state, params


# Rprop


def test_rprop_steps_at_once_where_optax_steps_one_update_late():
    ours, _, _ = run(gradx.rprop(0.1), KERNEL, GRADIENTS)
    theirs, _, _ = run(optax.rprop(0.1), KERNEL, GRADIENTS, optax.apply_updates)
    assert_close(ours[0], -0.1 * np.sign(GRADIENTS[0]))
    assert not np.any(theirs[0])


def test_rprop_grows_shrinks_and_waits():
    tx = gradx.scale_by_rprop(1.0, eta_minus=0.5, eta_plus=2.0)
    steps, state, _ = run(tx, 0.0, [1.0, 1.0, -1.0, -1.0, -1.0, 0.0])
    assert [float(u) for u in steps] == [1.0, 2.0, 0.0, -1.0, -2.0, 0.0]
    assert float(state.step_sizes) == 2.0


def test_rprop_feels_the_sign_of_the_smallest_gradient():
    steps, _, _ = run(gradx.scale_by_rprop(1e-4, 0.5, 2.0), 0.0, [1e-37, 1e-37, -1e-37])
    np.testing.assert_allclose(steps, [1e-4, 2e-4, 0.0], rtol=1e-6)  # a product of both is 0 in float32


def test_rprop_takes_the_parts_of_complex_numbers_apart():
    gradients = GRADIENTS + 1j * GRADIENTS[::-1]
    ours, _, _ = run(gradx.rprop(0.1), KERNEL + 0j, gradients)
    real, _, _ = run(gradx.rprop(0.1), KERNEL, GRADIENTS)
    imaginary, _, _ = run(gradx.rprop(0.1), KERNEL, GRADIENTS[::-1])
    assert_close(ours, [a + 1j * b for a, b in zip(real, imaginary, strict=True)])


# Lengths


@pytest.mark.parametrize("params", [np.zeros(3, np.float32), np.ones(3, np.float32)])
@pytest.mark.parametrize("update", [np.zeros(3, np.float32), np.ones(3, np.float32)])
def test_trust_ratio_is_1_where_a_length_is_0(params, update):
    tx, peer = gradx.scale_by_trust_ratio(trust_coefficient=0.5), optax.scale_by_trust_ratio(trust_coefficient=0.5)
    updates, _ = tx.update(update, tx.init(params), params)
    assert_close(updates, peer.update(update, peer.init(params), params)[0])
    assert_close(updates, update if not (params.any() and update.any()) else 0.5 * update)


def test_fromage_keeps_a_small_shrinkage():
    """1 / sqrt(1 + rate²) - 1 is 0 in float32 where the rate is 1e-4, also when it is traced."""
    tx = gradx.fromage(1e-4)
    params = jnp.array([1.0, 0.0])
    updates = jax.jit(lambda tx: tx.update(jnp.array([0.0, 1e-9]), tx.init(params), params)[0])(tx)
    np.testing.assert_allclose(updates[0], -0.5e-8, rtol=1e-4)


def test_norm_of_nothing_leaves_nothing():
    tx = gradx.normalize_by_update_norm(eps=0.0)
    updates, _ = tx.update(jnp.zeros(3), tx.init(jnp.zeros(3)))
    assert not np.any(updates)


# Noise


def test_noisy_sgd_is_descent_on_a_noisy_gradient():
    noisy, _, _ = run(gradx.noisy_sgd(0.1, eta=0.5, gamma=0.7, seed=3), KERNEL, GRADIENTS)
    same, _, _ = run(gradx.chain(gradx.add_noise(0.5, 0.7, seed=3), gradx.sgd(0.1)), KERNEL, GRADIENTS)
    assert_close(noisy, same)
    keyed, _, _ = run(gradx.noisy_sgd(0.1, 0.5, 0.7, jax.random.key(3)), KERNEL, GRADIENTS)
    assert_close(noisy, keyed)


# Optimism


def test_the_first_optimistic_step_is_plain():
    steps, state, _ = run(gradx.scale_by_optimistic_gradient(2.0, 3.0), 0.0, [1.0, 1.0, 2.0])
    assert [float(u) for u in steps] == [2.0, 2.0, 7.0]
    assert not bool(state.is_initial_step)
    assert float(state.previous_gradient) == 2.0


# Rows and columns


@pytest.mark.parametrize("shape", [(5,), (3, 4), (2, 3, 4)])
def test_sm3_follows_optax_on_arrays(shape):
    gradients = np.random.default_rng(1).normal(size=(6, *shape)).astype(np.float32)
    ours, state, _ = run(gradx.sm3(0.1), gradients[0], gradients)
    theirs, peer, _ = run(optax.sm3(0.1), gradients[0], gradients, optax.apply_updates)
    assert_close(ours, theirs)
    assert_close(state[0].mu, peer[0].mu)


def test_factors_lie_along_the_two_largest_axes():
    tx = gradx.scale_by_factored_rms(min_dim_size_to_factor=3)
    state = tx.init({"a": jnp.ones((5, 2, 3)), "b": jnp.ones((2, 9)), "c": jnp.ones((3, 3))})
    assert {k: x.shape for k, x in state.v_row.items()} == {"a": (2, 3), "b": (1,), "c": (3,)}
    assert {k: x.shape for k, x in state.v_col.items()} == {"a": (5, 2), "b": (1,), "c": (3,)}
    assert {k: x.shape for k, x in state.v.items()} == {"a": (1,), "b": (2, 9), "c": (1,)}


def test_factors_keep_optax_axes():
    peer = optax.scale_by_factored_rms(min_dim_size_to_factor=2)
    for shape in ((3, 4), (4, 3), (4, 4), (2, 4, 3)):
        g = np.random.default_rng(1).normal(size=shape).astype(np.float32)
        state, theirs = gradx.scale_by_factored_rms(min_dim_size_to_factor=2).init(g), peer.init(g)
        assert (state.v_row.shape, state.v_col.shape) == (theirs.v_row.shape, theirs.v_col.shape)


@pytest.mark.parametrize("shape", [(3, 1000), (1000, 3)])
def test_means_of_squares_do_not_overflow_where_the_squares_do_not(shape):
    g = jnp.full(shape, 1.5e18)  # a thousand squares are no float32
    tx = gradx.scale_by_factored_rms(min_dim_size_to_factor=2)
    np.testing.assert_allclose(tx.update(g, tx.init(g))[0], 1.0, rtol=1e-5)


@pytest.mark.parametrize("offset", [0, 1, 5])
def test_a_late_start_of_the_decay_is_finite(offset):
    steps, _, _ = run(gradx.adafactor(0.1, decay_offset=offset), KERNEL, GRADIENTS)
    assert np.all(np.isfinite(steps))
    assert_close(steps[0], run(gradx.adafactor(0.1), KERNEL, GRADIENTS)[0][0])


def test_decay_may_be_a_function_of_ones_own():
    def constant(t, rate):
        return rate

    tx = gradx.scale_by_factored_rms(decay_rate=0.5, decay_rate_fn=constant, epsilon=1e-12)
    steps, _, _ = run(tx, 0.0, [2.0, 2.0])
    np.testing.assert_allclose(steps, [2**0.5, (4 / 3) ** 0.5], rtol=1e-6)


# Averages


def test_asgd_averages_as_pytorch_does():
    rate, lambd, alpha, t0, decay = 0.5, 0.3, 0.9, 2, 0.1
    p, ax, eta, mu = KERNEL.astype(np.float64), np.zeros_like(KERNEL), rate, 1.0
    for step, g in enumerate(GRADIENTS, 1):
        g = g + decay * p
        p = p * (1 - lambd * eta) - eta * g
        ax = ax + (p - ax) * mu
        eta, mu = rate / (1 + lambd * rate * step) ** alpha, 1 / max(1, step - t0)
    _, state, params = run(gradx.asgd(rate, lambd, alpha, t0, decay), KERNEL, GRADIENTS)
    np.testing.assert_allclose(params, p, rtol=1e-5)
    np.testing.assert_allclose(gradx.eval_params(state, params), ax, rtol=1e-5)


def test_the_average_of_asgd_is_that_of_torch():
    hyper = {"lambd": 0.3, "alpha": 0.9, "t0": 2, "weight_decay": 0.1}

    def run_torch(torch):
        p = torch.nn.Parameter(torch.tensor(KERNEL))
        optimizer = torch.optim.ASGD([p], lr=0.5, **hyper)
        for g in GRADIENTS:
            p.grad = torch.tensor(g)
            optimizer.step()
        return {"average": optimizer.state[p]["ax"].numpy(), "parameters": p.detach().numpy()}

    theirs = from_torch("average of ASGD", run_torch)
    _, state, params = run(gradx.asgd(0.5, **hyper), KERNEL, GRADIENTS)
    assert_close(params, theirs["parameters"])
    assert_close(gradx.eval_params(state, params), theirs["average"])
    assert not np.allclose(theirs["average"], theirs["parameters"], rtol=1e-2)


def test_asgd_keeps_the_parameters_before_it_averages():
    _, state, params = run(gradx.asgd(0.1), KERNEL, GRADIENTS)
    assert_close(gradx.eval_params(state, params), params)
    low = jnp.asarray(KERNEL, jnp.bfloat16)
    state = gradx.asgd(0.1).init(low)
    assert state.ax.dtype == jnp.float32
    assert gradx.eval_params(state, low).dtype == jnp.bfloat16
