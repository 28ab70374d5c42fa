"""`sweep`: one program for all members, equal to as many runs."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx import tune

EQUAL = 1e-5
"""Relative to the largest loss: under vmap the float32 sums run in another order."""

rng = np.random.default_rng(0)
X = jnp.asarray(rng.normal(size=(64, 8)), jnp.float32)
Y = jnp.sin(X.sum(1, keepdims=True))
STEPS = 40


def train(tx, key):
    """Return the losses of a small network."""
    first, second = jax.random.split(key)
    params = {"w1": jax.random.normal(first, (8, 16)) / 3, "w2": jax.random.normal(second, (16, 1)) / 4}

    def loss(params):
        return jnp.mean((jnp.tanh(X @ params["w1"]) @ params["w2"] - Y) ** 2)

    def step(carry, _):
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = tx.update(gradients, state, params)
        return (gradx.apply_updates(params, updates), state), value

    return jax.lax.scan(step, (params, tx.init(params)), length=STEPS)[1]


def furthest(a, b):
    return float(np.max(np.abs(np.asarray(a) - np.asarray(b))) / np.max(np.abs(b)))


def test_32_learning_rates_equal_32_runs():
    rates = np.geomspace(1e-4, 1e-1, 32)
    result = tune.sweep(gradx.adamw(1e-3), train, {"learning_rate": rates})
    alone = np.stack([jax.jit(train)(gradx.adamw(float(rate)), jax.random.key(0)) for rate in rates])
    assert result.results.shape == (32, 1, STEPS)
    assert furthest(result.results[:, 0], alone) <= EQUAL
    assert np.ptp(alone[:, -1]) > 0.1  # the members do differ


def test_one_trace_for_all_members_seeds_and_chunks():
    traces = []

    def traced(tx, key):
        traces.append(tx)
        return train(tx, key)[-1]

    done = []
    values = {"learning_rate": [1e-3, 1e-2, 3e-2, 1e-1, 3e-1]}
    parts = tune.sweep(gradx.sgd(0.1), traced, values, seeds=3, chunk=2, progress=lambda *x: done.append(x))
    assert len(traces) == 1
    assert done == [(2, 5), (4, 5), (5, 5)]
    whole = tune.sweep(gradx.sgd(0.1), train, values, seeds=[0, 1, 2])
    assert parts.results.shape == (5, 3)
    assert furthest(parts.results, whole.results[..., -1]) <= EQUAL
    assert not np.allclose(whole.results[0, 0], whole.results[0, 1])  # seeds differ
    alone = train(gradx.sgd(3e-2), jax.random.key(2))
    assert furthest(whole.results[2, 2], alone) <= EQUAL


def test_any_hyperparameter_of_any_part():
    tx = gradx.chain(gradx.clip_by_global_norm(1.0), gradx.adamw(gradx.linear_schedule(0.1, 0.0, STEPS)))
    values = tune.grid(**{"adamw/weight_decay": [0.0, 0.1, 1.0], "max_norm": [0.1, 1.0]})
    result = tune.sweep(tx, train, values)
    assert result.values["adamw/weight_decay"] == [0.0, 0.0, 0.1, 0.1, 1.0, 1.0]
    for i, (decay, norm) in enumerate(zip(*result.values.values(), strict=True)):
        alone = train(gradx.replace(tx, **{"adamw/weight_decay": decay, "max_norm": norm}), jax.random.key(0))
        assert furthest(result.results[i, 0], alone) <= EQUAL


def test_best():
    result = tune.sweep(gradx.sgd(0.1), train, {"learning_rate": [1e-4, 1e-1, 1e4]}, seeds=2)
    assert result.best(lambda losses: losses[..., -1]) == {"learning_rate": 1e-1}
    with pytest.raises(ValueError, match="score must return one array"):
        result.best()


def test_results_may_be_any_tree():
    result = tune.sweep(gradx.sgd(0.1), lambda tx, key: {"end": train(tx, key)[-1]}, {"learning_rate": [0.1, 0.2]})
    assert result.results["end"].shape == (2, 1)
    assert "2 members over learning_rate" in repr(result)


@pytest.mark.parametrize(
    ("error", "message", "values"),
    [
        (ValueError, r"learning_rate must be in \[0, inf\], got -1.0", {"learning_rate": [0.1, -1.0]}),
        (ValueError, r"b1 must be in \[0, 1\), got 1.5", {"b1": [0.9, 1.5]}),
        (TypeError, "no part has 'rate'", {"rate": [0.1]}),
        (ValueError, "must be equally long, got 'b1': 2, 'b2': 1", {"b1": [0.8, 0.9], "b2": [0.9]}),
        (ValueError, "the lists of values are empty", {"b1": []}),
        (ValueError, "make different programs", {"nesterov": [True, False]}),
        (TypeError, "must be a list of values", {"b1": 0.9}),
        (TypeError, "values must be a dict", {}),
    ],
    ids=str,
)
def test_wrong_values_are_refused_before_anything_runs(error, message, values):
    def never(tx, key):
        raise AssertionError("it ran")

    with pytest.raises(error, match=message):
        tune.sweep(gradx.adam(0.1), never, values)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"seeds": 0}, "seeds must be"), ({"seeds": 1.5}, "seeds must be"), ({"chunk": 0}, "chunk must be None or")],
)
def test_wrong_sizes_are_refused(arguments, message):
    with pytest.raises(ValueError, match=message):
        tune.sweep(gradx.sgd(0.1), train, {"learning_rate": [0.1]}, **arguments)
