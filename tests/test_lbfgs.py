"""L-BFGS: its pairs, its place in loops and batches, and what a step costs beside Optax's."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from benchmarks.functions import rosenbrock
from tests.oracles.line_search import DenseBFGS, uneven
from tests.oracles.optimizers_trajectory import gradient, start


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def test_pairs_that_bend_down_are_left_out():
    ours, reference = gradx.lbfgs(0.05, 3, linesearch=None), DenseBFGS(0.05, 3, True)
    params = {name: x / 2 for name, x in start(np.float64).items()}
    state, left_out = ours.init(params), 0
    for step in range(12):
        grads = uneven(step, gradient(params, step))
        expected = reference(grads, params)
        updates, state = ours.update(grads, state, params)
        for name, x in expected.items():
            np.testing.assert_allclose(updates[name], x, rtol=1e-8, atol=1e-12)
        left_out += reference.slots[-1:] == [None]
        params = {name: params[name] + x for name, x in expected.items()}
    assert left_out >= 3


def test_where_nothing_moved_the_pairs_are_forgotten():
    tx, x = gradx.scale_by_lbfgs(), np.array([1.0, 2.0])
    curvature = np.array([1.0, 10.0])
    state = tx.init(x)
    _, state = tx.update(curvature * x, state, x)
    direction, state = tx.update(curvature * x / 2, state, x / 2)
    assert np.max(np.abs(direction - x / 2)) < np.max(np.abs(curvature * x / 2 - x / 2))
    direction, _ = tx.update(curvature * x / 2, state, x / 2)
    np.testing.assert_allclose(direction, curvature * x / 2 / np.linalg.norm(curvature * x / 2))


def test_gradients_of_nan_pass_and_leave_nothing_behind():
    tx, x = gradx.scale_by_lbfgs(), np.ones(2)
    state = tx.init(x)
    direction, state = tx.update(np.array([np.nan, 1.0]), state, x)
    assert np.isnan(direction[0])
    for size in (0.5, 0.25):
        direction, state = tx.update(np.full(2, size), state, size * x)
    assert np.all(np.isfinite(direction))


def test_lbfgs_under_scan_and_vmap_minimizes():
    tx = gradx.lbfgs()
    value_and_grad = gradx.value_and_grad_from_state(rosenbrock)

    def run(x):
        def step(carry, _):
            x, state = carry
            value, grad = value_and_grad(x, state=state)
            updates, state = tx.update(grad, state, x, value=value, grad=grad, value_fn=rosenbrock)
            return (x + updates, state), value

        return jax.lax.scan(step, (x, tx.init(x)), length=60)

    starts = jnp.array([[-1.2, 1.0], [3.0, 2.0]])
    (found, _), values = jax.vmap(run)(starts)
    np.testing.assert_allclose(found, 1.0, atol=1e-6)
    assert np.all(np.diff(values, axis=1) <= 1e-12)


def cost_of(lib, tx, with_function):
    """Return bytes accessed and temporaries of a compiled, donated step."""

    @functools.partial(jax.jit, donate_argnums=(0, 1))
    def step(params, state, grads):
        extras = {"value": bowl(params), "grad": grads, "value_fn": bowl} if with_function else {}
        updates, state = tx.update(grads, state, params, **extras)
        return lib.apply_updates(params, updates), state

    params = {"a": jnp.ones((100, 100), jnp.float32), "b": jnp.ones((100, 100), jnp.float32)}
    compiled = step.lower(params, tx.init(params), params).compile()
    return compiled.cost_analysis()["bytes accessed"], compiled.memory_analysis().temp_size_in_bytes


def bowl(params):
    return sum(jnp.sum(x**2) for x in params.values())


@pytest.mark.parametrize(
    ("make", "searches"),
    [
        (lambda lib: lib.lbfgs(0.1, linesearch=None), False),
        (lambda lib: lib.lbfgs(), True),
        (lambda lib: lib.chain(lib.sgd(1.0), lib.scale_by_zoom_linesearch(15)), True),
    ],
    ids=["lbfgs without a search", "lbfgs", "zoom"],
)
def test_a_step_costs_no_more_than_with_optax(make, searches):
    optax = pytest.importorskip("optax")
    with jax.enable_x64(False):
        ours, theirs = cost_of(gradx, make(gradx), searches), cost_of(optax, make(optax), searches)
    assert ours[0] <= theirs[0]
    assert ours[1] <= theirs[1]
