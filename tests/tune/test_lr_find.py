"""The suggested learning rate against the curvature of quadratics; one program; nothing of the caller's touched."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.testing import assert_close
from gradx.tune import lr_find

STEPS = 60
CURVE_TOLERANCE = 1e-4
"""float32 rounding, of losses that vmap multiplies in another order, over 20 steps of descent."""


def quadratic(size, curvature, smallest, seed, center=1.0, dtype=np.float32):
    """Return the loss ½ (w - c)ᵀ H (w - c) whose spectrum is log-uniform in [smallest, 1] · curvature, and a start."""
    rng = np.random.default_rng(seed)
    spectrum = curvature * smallest ** rng.uniform(size=size)
    spectrum[0] = curvature
    basis, _ = np.linalg.qr(rng.normal(size=(size, size)))
    hessian = (basis * spectrum @ basis.T).astype(dtype)
    c = (center * rng.normal(size=size)).astype(dtype)
    return lambda w, batch: 0.5 * (w - c) @ hessian @ (w - c), rng.normal(size=size).astype(dtype)


@pytest.mark.parametrize(
    ("curvature", "size", "smallest", "center"),
    [
        (0.1, 1, 1.0, 0.0),
        (0.1, 40, 1e-4, 1.0),
        (1.0, 5, 1e-2, 1.0),
        (7.0, 3, 0.9, 0.0),
        (30.0, 1, 1.0, 1.0),
        (250.0, 100, 1e-6, 0.0),
        (1e3, 2, 1e-3, 100.0),
        (1e3, 20, 1e-1, 1.0),
    ],
)
def test_descent_gets_a_rate_between_a_tenth_and_all_of_2_over_the_curvature(curvature, size, smallest, center):
    loss, start = quadratic(size, curvature, smallest, seed=size, center=center)
    curve = lr_find(gradx.sgd(1.0), loss, start, steps=STEPS)
    limit = 2 / curvature
    assert 0.1 * limit <= curve.suggestion <= limit
    assert curve.edge >= limit * 0.99


@pytest.mark.parametrize("steps", [10, 300])
def test_the_number_of_steps_hardly_matters(steps):
    loss, start = quadratic(10, 10.0, 1e-3, seed=0)
    assert 0.02 <= lr_find(gradx.sgd(1.0), loss, start, steps=steps).suggestion <= 0.2


@pytest.mark.parametrize("rates", [[1e-3, 1e-2, 1e-1, 1.0, 10.0], np.geomspace(1e-3, 0.15, 20)])
def test_coarse_rates_and_rates_that_all_descend(rates):
    loss, start = quadratic(10, 10.0, 1e-3, seed=0)
    assert 0.02 <= lr_find(gradx.sgd(1.0), loss, start, steps=STEPS, learning_rates=rates).suggestion <= 0.2


@pytest.mark.parametrize(
    "tx",
    [gradx.sgd(1.0, momentum=0.9), gradx.sgd(1.0, momentum=0.9, nesterov=True), gradx.adam(1.0)],
    ids=lambda tx: tx.name,
)
def test_the_suggestion_of_others_trains(tx):
    loss, start = quadratic(10, 10.0, 1e-2, seed=0)
    curve = lr_find(tx, loss, start, steps=STEPS)
    row = curve.losses[list(curve.learning_rates).index(curve.suggestion)]
    assert row[-1] < 0.1 * row[0]
    assert row.max() <= curve.untrained.max()
    if tx.name == "sgd":
        assert curve.suggestion <= 2 * (1 + 0.9) / 10.0, "the heavy ball diverges above 2 (1 + momentum) / L"


def test_the_curve_is_that_of_separate_trainings():
    loss, start = quadratic(6, 4.0, 1e-2, seed=1)
    tx = gradx.sgd(0.1, momentum=0.5)
    rates = [0.01, 0.1, 0.2]
    curve = lr_find(tx, loss, start, steps=20, learning_rates=rates)
    for rate, losses in zip(rates, curve.losses, strict=True):
        member, params = gradx.replace(tx, learning_rate=rate), jnp.asarray(start)
        state = member.init(params)
        for seen in losses:
            value, gradients = jax.value_and_grad(loss)(params, None)
            assert_close(seen, value, rtol=CURVE_TOLERANCE)
            updates, state = member.update(gradients, state, params)
            params = gradx.apply_updates(params, updates)


def test_params_are_untouched_and_loss_is_traced_for_all_rates_at_once():
    traces = []

    def loss(params, batch):
        traces.append(batch)
        return jnp.sum((batch @ params["w"] + params["b"]) ** 2)

    params = {"w": jnp.ones(3), "b": jnp.ones(())}
    before = jax.tree.map(np.array, params)
    batches = jnp.asarray(np.random.default_rng(0).normal(size=(12, 4, 3)), jnp.float32)
    few = lr_find(gradx.adam(1e-3), loss, params, batches, learning_rates=[0.01, 0.1])
    of_two = len(traces)
    many = lr_find(gradx.adam(1e-3), loss, params, batches)
    assert len(traces) == 2 * of_two, "more rates trace more often"
    assert all(not isinstance(x, np.ndarray) for x in traces)
    assert few.losses.shape == (2, 12)
    assert many.losses.shape == (64, 12)
    jax.tree.map(np.testing.assert_array_equal, params, before)


def test_the_whole_is_compiled_once(caplog):
    loss, start = quadratic(3, 1.0, 0.5, seed=3)
    lr_find(gradx.sgd(1.0), loss, start, steps=5)  # what is compiled once in a process: stacking, small constants
    with jax.log_compiles(), caplog.at_level("WARNING"):
        lr_find(gradx.sgd(1.0), loss, start, steps=5)
    finished = [x.getMessage() for x in caplog.records if "Finished XLA compilation" in x.getMessage()]
    assert len(finished) == 1
    assert "program" in finished[0]


def test_key_is_split_over_the_steps():
    def loss(params, batch, key):
        return (params - 1.0) ** 2 + 0.1 * jax.random.normal(key) ** 2

    key = jax.random.key(3)
    curve = lr_find(gradx.sgd(1.0), loss, 0.0, steps=10, key=key)
    expected = [loss(0.0, None, k) for k in jax.random.split(key, 10)]
    assert_close(curve.untrained, np.stack(expected))
    assert 0.1 <= curve.suggestion <= 1.0


def test_noisy_batches_still_find_a_rate_that_trains():
    rng = np.random.default_rng(0)
    inputs = rng.normal(size=(80, 8, 5)).astype(np.float32)
    targets = inputs @ np.arange(5, dtype=np.float32) + 0.3 * rng.normal(size=(80, 8)).astype(np.float32)

    def loss(w, batch):
        return jnp.mean((batch[0] @ w - batch[1]) ** 2)

    curve = lr_find(gradx.sgd(1.0), loss, np.zeros(5, np.float32), (inputs, targets))
    row = curve.losses[list(curve.learning_rates).index(curve.suggestion)]
    assert row[-20:].mean() < 0.02 * curve.untrained.mean()


def test_a_schedule_gives_way_to_the_rates():
    loss, start = quadratic(4, 2.0, 0.1, seed=0)
    constant = lr_find(gradx.sgd(1.0), loss, start, steps=STEPS)
    scheduled = lr_find(gradx.sgd(gradx.warmup_cosine_decay_schedule(0.0, 1.0, 10, 100)), loss, start, steps=STEPS)
    np.testing.assert_array_equal(scheduled.losses, constant.losses)
    assert scheduled.suggestion == constant.suggestion


def test_one_of_two_learning_rates_by_name():
    tx = gradx.partition({"a": gradx.sgd(0.1), "b": gradx.adam(0.1)}, {"x": "a", "y": "b"})
    params = {"x": 1.0, "y": 1.0}

    def loss(p, batch):
        return p["x"] ** 2 + p["y"] ** 2

    with pytest.raises(TypeError, match="more than one part: a/sgd/learning_rate, b/adam/learning_rate"):
        lr_find(tx, loss, params, steps=5)
    curve = lr_find(tx, loss, params, steps=20, name="a/sgd/learning_rate")
    assert 0.1 <= curve.suggestion <= 1.0


def test_float64_stays_float64():
    with jax.enable_x64(True):
        loss, start = quadratic(5, 3.0, 0.1, seed=0, dtype=np.float64)
        curve = lr_find(gradx.adam(1.0), loss, start, steps=20)
        assert curve.losses.dtype == np.float64
        single = lr_find(gradx.adam(1.0), loss, start.astype(np.float32), steps=20)
        assert single.learning_rates.dtype == np.float64


def test_the_curve_prints_as_a_sentence():
    loss, start = quadratic(5, 2.0, 0.1, seed=0)
    text = str(lr_find(gradx.sgd(1.0), loss, start, steps=20))
    assert text.startswith("learning rate 0.")
    assert "64 rates from 1e-06 to 1e+03, 20 steps each; the loss rises from 1." in text
    low = str(lr_find(gradx.sgd(1.0), loss, start, steps=20, learning_rates=[1e-4, 1e-3]))
    assert "the greatest tried: try greater ones" in low
    assert "the loss rose with none" in low


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"tx": gradx.scale(1.0)}, TypeError, "no part has 'learning_rate'; there are scale/step_size"),
        ({"tx": (lambda p: p, lambda g, s: g)}, TypeError, "tx must be a transformation of gradx"),
        ({"learning_rates": [10.0, 100.0]}, ValueError, r"every learning rate from 10 to 100 .* try lower rates"),
        ({"learning_rates": [0.1, 0.01]}, ValueError, "ascending order"),
        ({"learning_rates": [-1.0, 0.01]}, ValueError, "positive numbers"),
        ({"learning_rates": []}, ValueError, "positive numbers"),
        ({"steps": 1}, ValueError, "steps must be an integer of at least 2, got 1"),
        ({"steps": None}, ValueError, "same leading axis"),
        ({"steps": None, "batches": (np.ones(4), np.ones(5))}, ValueError, r"got lengths \[4, 5\]"),
        ({"loss": lambda w, batch: w}, TypeError, r"loss must return a real scalar, got float32\[3\]"),
        ({"loss": lambda w, batch: jnp.sum(w) * jnp.nan}, ValueError, "the loss leaves the finite numbers"),
        ({"loss": lambda w, batch: jnp.sum(w) * 0.0}, ValueError, "the loss does not fall"),
    ],
)
def test_mistakes_are_named(wrong, error, message):
    call = {"tx": gradx.sgd(0.1), "loss": lambda w, batch: jnp.sum(w**2), "steps": 5, "batches": None} | wrong
    with pytest.raises(error, match=message):
        lr_find(call.pop("tx"), call.pop("loss"), jnp.ones(3), **call)
