"""Line searches: beside references, Optax and SciPy, and where nothing decreases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from benchmarks.functions import rosenbrock
from tests.oracles.line_search import backtrack, zoom

SLOPE, CURVATURE = 1e-4, 0.9
FUNCTIONS = {
    "quadratic": lambda x: (x - 3.0) ** 2,
    "quartic": lambda x: (x - 0.3) ** 4 - x,
    "hilly": lambda x: -jnp.sin(5 * x) + 0.1 * (x - 2) ** 2 - x,
    "one bend": lambda x: -x / (x**2 + 2),
    "steep": lambda x: jnp.exp(4 * x) - 20 * x,
    "shallow": lambda x: 1e-3 * x**2 - x,
    "late": lambda x: (x + 0.004) ** 5 - 2 * (x + 0.004) ** 4,
    "flat": lambda x: 0.5 * jnp.sqrt((1 - x) ** 2 + 1e-4) + 2 * jnp.sqrt(x**2 + 0.09) - 2 * x,
    "wavy": lambda x: jnp.cos(9 * x) - 0.8 * x + 0.02 * x**3,
}
"""Of one number, and falling at 0."""
FIRST = [1e-3, 0.01, 0.1, 0.3, 0.7, 1.0, 2.0, 10.0]
EXACT = [0.9, 0.1, 0.01]
"""How much of the slope may be left: less asks for more steps."""

each_function = pytest.mark.parametrize("f", FUNCTIONS.values(), ids=FUNCTIONS)
each_search = pytest.mark.parametrize(
    "search",
    [
        gradx.scale_by_zoom_linesearch(20),
        gradx.scale_by_more_thuente_linesearch(),
        gradx.scale_by_backtracking_linesearch(20, store_grad=True),
    ],
    ids=lambda tx: tx.name,
)


@pytest.fixture(autouse=True)
def double():
    with jax.enable_x64(True):
        yield


def line_search(search, f):
    """Return a compiled function from `first` to step and state of a search along x = 0 + step · first."""

    @jax.jit
    def run(first):
        zero = jnp.float64(0)
        updates, state = search.update(first, search.init(zero), zero, value_fn=f)
        return updates, state

    return run


def phi_of(f):
    value_and_grad = jax.jit(jax.value_and_grad(f))
    return lambda step: tuple(float(x) for x in value_and_grad(jnp.float64(step)))


def descend(library, tx, fun, params, steps):
    """Return the parameters after each step, value and gradient computed anew."""

    @jax.jit
    def step(params, state):
        value, grad = jax.value_and_grad(fun)(params)
        updates, state = tx.update(grad, state, params, value=value, grad=grad, value_fn=fun)
        return library.apply_updates(params, updates), state

    state, path = tx.init(params), []
    for _ in range(steps):
        params, state = step(params, state)
        path.append(params)
    return np.array(path)


# Beside references

STARTS = {"chain of valleys": np.array([-1.2, 1.0, 0.5, -0.3]), "far": np.array([5.0, -4.0, 3.0])}


@pytest.mark.parametrize("left", EXACT)
@each_function
def test_zoom_takes_the_steps_of_the_book(f, left):
    phi = phi_of(f)
    run = line_search(gradx.scale_by_zoom_linesearch(20, curv_rtol=left, approx_dec_rtol=None), f)
    for first in FIRST:  # the update is the first step, and the step that is found a factor of it
        step, count = zoom(lambda a, first=first: scaled_phi(phi, a, first), 1.0, SLOPE, left, 20)
        update, state = run(first)
        np.testing.assert_allclose(float(update), step * first, rtol=1e-7)
        again = float(state.info.curvature_error) > 0  # one that fails evaluates the best step once more
        assert int(state.info.num_linesearch_steps) - count in ((0, 1) if again else (0,))


def scaled_phi(phi, a, first):
    value, slope = phi(a * first)
    return value, slope * first


@pytest.mark.parametrize("left", EXACT)
@each_function
def test_more_thuente_takes_the_steps_of_scipy(f, left):
    dcsrch = pytest.importorskip("scipy.optimize._dcsrch").DCSRCH
    phi = phi_of(f)
    run = line_search(gradx.scale_by_more_thuente_linesearch(curv_rtol=left, approx_dec_rtol=0.0), f)
    for first in FIRST:
        steps = []

        def value(a, first=first, steps=steps):
            steps.append(a)
            return scaled_phi(phi, a, first)[0]

        peer = dcsrch(value, lambda a, first=first: scaled_phi(phi, a, first)[1], 1e-3, left, 0.1, 0.0, 1e10)
        found, *_ = peer(1.0, phi0=phi(0.0)[0], derphi0=scaled_phi(phi, 0.0, first)[1], maxiter=20)
        update, state = run(first)
        np.testing.assert_allclose(float(update), (found or steps[-1]) * first, rtol=1e-7)
        # SciPy evaluates the best step again in order to stop, also where it was the last.
        assert len(set(steps)) <= int(state.info.num_linesearch_steps) <= len(steps)


@each_function
def test_backtracking_takes_the_steps_of_the_book(f):
    phi = phi_of(f)
    run = line_search(gradx.scale_by_backtracking_linesearch(20, decrease_factor=0.6), f)
    for first in FIRST:
        step, count = backtrack(lambda a, first=first: scaled_phi(phi, a, first), 1.0, 0.6, SLOPE, 20)
        update, state = run(first)
        np.testing.assert_allclose(float(update), step * first, rtol=1e-12)
        assert int(state.info.num_linesearch_steps) == count


@each_function
@each_search
def test_steps_satisfy_the_conditions(search, f):
    if f is FUNCTIONS["late"] and "backtracking" not in search.name:
        pytest.skip("its slope is so small at 0 that twenty tries do not come as near")
    (value, slope), phi = phi_of(f)(0.0), phi_of(f)
    run = line_search(search, f)
    for first in FIRST:
        step, state = run(first)
        new_value, new_slope = phi(float(step))
        assert new_value <= value + SLOPE * float(step) * slope
        np.testing.assert_allclose([state.value, state.grad], [new_value, new_slope], rtol=1e-12, atol=1e-15)
        assert float(state.info.decrease_error) == 0
        if hasattr(state.info, "curvature_error"):
            assert abs(new_slope) <= CURVATURE * abs(slope)
            assert float(state.info.curvature_error) == 0


@pytest.mark.parametrize("x", STARTS.values(), ids=STARTS)
def test_zoom_follows_optax(x):
    optax = pytest.importorskip("optax")
    zoomed = {"max_linesearch_steps": 20, "initial_guess_strategy": "one"}
    ours = gradx.lbfgs(memory_size=4, linesearch=gradx.scale_by_zoom_linesearch(**zoomed))
    theirs = optax.lbfgs(memory_size=4)
    path = descend(gradx, ours, rosenbrock, x, 12)
    np.testing.assert_allclose(path, descend(optax, theirs, rosenbrock, x, 12), rtol=1e-7)
    ours, theirs = (
        lib.chain(lib.sgd(1.0), lib.scale_by_zoom_linesearch(15, max_learning_rate=0.02)) for lib in (gradx, optax)
    )
    path = descend(gradx, ours, rosenbrock, x, 12)
    np.testing.assert_allclose(path, descend(optax, theirs, rosenbrock, x, 12), rtol=1e-9)


@pytest.mark.parametrize("options", [{}, {"max_learning_rate": 0.01, "rtol": 0.1, "atol": 0.5}])
def test_backtracking_follows_optax(options):
    optax = pytest.importorskip("optax")
    x = STARTS["far"]
    ours, theirs = (
        lib.chain(lib.sgd(1.0), lib.scale_by_backtracking_linesearch(60, **options)) for lib in (gradx, optax)
    )
    np.testing.assert_allclose(
        descend(gradx, ours, rosenbrock, x, 15), descend(optax, theirs, rosenbrock, x, 15), rtol=1e-10
    )


# Where nothing decreases


@each_search
def test_an_update_that_climbs_is_not_taken(search, capsys):
    search = search.replace(verbose=True)
    updates, state = search.update(2.0, search.init(1.0), 1.0, value=1.0, grad=2.0, value_fn=jnp.square)
    jax.effects_barrier()
    assert float(updates) == 0
    assert (float(state.value), float(state.grad), float(state.learning_rate)) == (1.0, 2.0, 0.0)
    assert float(state.info.decrease_error) > 0
    said = capsys.readouterr().out
    assert said.startswith(f"{search.name}: the update does not descend") or "no step is taken" in said


@each_search
def test_a_wrong_gradient_is_said_in_words(search, capsys):
    name = "max_backtracking_steps" if "backtracking" in search.name else "max_linesearch_steps"
    search = search.replace(verbose=True, **{name: 5})
    updates, state = search.update(1.0, search.init(1.0), 1.0, value=1.0, grad=-2.0, value_fn=jnp.square)
    jax.effects_barrier()
    assert float(updates) == 0
    assert float(state.value) == 1.0
    assert "decreases the value 1; no step is taken" in capsys.readouterr().out


@each_search
def test_the_search_after_one_without_a_step_starts_anew(search):
    _, state = search.update(2.0, search.init(1.0), 1.0, value_fn=jnp.square)
    updates, _ = search.update(-1.0, state, 1.0, value_fn=jnp.square)
    assert float(updates) == -1.0


@each_search
def test_a_search_comes_back_from_where_the_function_is_no_number(search):
    def f(x):
        return x - jnp.log(x)

    updates, state = search.update(-8.0, search.init(4.0), 4.0, value_fn=f)
    assert -4 < float(updates) < 0
    assert float(state.value) < float(f(4.0))


def test_a_search_that_fails_returns_the_best_step():
    tx = gradx.scale_by_more_thuente_linesearch(3, curv_rtol=1e-9)
    updates, state = tx.update(1.0, tx.init(0.0), 0.0, value_fn=FUNCTIONS["hilly"])
    assert float(state.info.curvature_error) > 0
    np.testing.assert_allclose(state.value, FUNCTIONS["hilly"](updates), rtol=1e-12)
    assert float(state.value) < float(FUNCTIONS["hilly"](0.0))


def test_at_the_last_digits_slopes_decide():
    """Values that only round would refuse every step."""

    def f(x):
        return 1e6 + (x - 1.0) ** 2

    x = jnp.float32(1.01)
    for search in (gradx.scale_by_more_thuente_linesearch(), gradx.scale_by_zoom_linesearch(20)):
        updates, state = search.update(-0.01, search.init(x), x, value_fn=f)
        np.testing.assert_allclose(float(updates), -0.01, rtol=1e-5)
        assert float(state.info.decrease_error) == 0


# What the function asks for


@each_search
def test_extras_reach_the_function_that_names_them(search):
    def f(x, target, *, weight=1.0):
        return weight * (x - target) ** 2

    extras = {"target": 3.0, "weight": 2.0, "unheard_of": 1.0}
    updates, state = search.update(1.0, search.init(0.0), 0.0, value_fn=f, **extras)
    np.testing.assert_allclose(state.value, f(float(updates), 3.0, weight=2.0))


@each_search
def test_value_and_gradient_may_be_left_out(search):
    known, _ = search.update(1.0, search.init(0.0), 0.0, value=9.0, grad=-6.0, value_fn=FUNCTIONS["quadratic"])
    found, _ = search.update(1.0, search.init(0.0), 0.0, value_fn=FUNCTIONS["quadratic"])
    assert float(known) == float(found)


@each_search
def test_a_function_that_is_no_scalar_is_refused(search):
    x = jnp.ones(2)
    with pytest.raises(TypeError, match=r"value_fn must return a real scalar, got float64\[2\]"):
        search.update(-x, search.init(x), x, value_fn=jnp.square)


def test_an_unknown_first_guess_is_refused():
    with pytest.raises(ValueError, match="must be 'keep' or 'one', got 'two'"):
        gradx.scale_by_zoom_linesearch(5, initial_guess_strategy="two")


@each_search
def test_frozen_and_absent_leaves_stay(search):
    params = {"w": jnp.array([2.0, 1.0]), "frozen": jnp.ones(2), "none": None}

    def f(p):
        return jnp.sum(p["w"] ** 2 * p["frozen"])

    updates = {"w": -params["w"], "frozen": None, "none": None}
    new, state = search.update(updates, search.init(params), params, value_fn=f)
    assert new["frozen"] is None
    np.testing.assert_allclose(state.grad["w"], 2 * (params["w"] + new["w"]), atol=1e-12)
    np.testing.assert_array_equal(state.grad["frozen"], 0)


@each_search
def test_complex_parameters_descend(search):
    target = jnp.array([1.0 + 2.0j, -0.5j])

    def f(z):
        return jnp.sum(jnp.abs(z - target) ** 2 * jnp.array([1.0, 3.0]))

    z, state = jnp.zeros(2, complex), search.init(jnp.zeros(2, complex))
    for _ in range(25):
        grad = jax.grad(f)(z)
        updates, state = search.update(-0.5 * jnp.conj(grad), state, z, value=f(z), grad=grad, value_fn=f)
        z = z + updates
    np.testing.assert_allclose(z, target, atol=0.01)


# The state of a search


def test_value_and_gradient_come_from_the_state():
    calls = []

    def f(x):
        jax.debug.callback(lambda: calls.append(1))
        return jnp.square(x)

    tx = gradx.lbfgs()
    value_and_grad = gradx.value_and_grad_from_state(f)
    state = tx.init(3.0)
    first = value_and_grad(3.0, state=state)
    assert [float(x) for x in first] == [9.0, 6.0]
    updates, state = tx.update(first[1], state, 3.0, value=first[0], grad=first[1], value_fn=f)
    jax.effects_barrier()
    calls.clear()
    value, grad = value_and_grad(3.0 + updates, state=state)
    jax.effects_barrier()
    assert calls == []
    x = 3.0 + float(updates)
    np.testing.assert_allclose([value, grad], [x * x, 2 * x])


def test_a_state_without_a_gradient_is_refused():
    without = gradx.scale_by_backtracking_linesearch(5)
    for tx, why in ((without, "store_grad=True"), (gradx.sgd(0.1), "holds 0 line searches")):
        with pytest.raises(ValueError, match=why):
            gradx.value_and_grad_from_state(jnp.square)(1.0, state=tx.init(1.0))
