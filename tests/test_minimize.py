"""`minimize` on classic problems, beside SciPy's L-BFGS-B; with any transformation; and why it stops."""

import functools
import gc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from benchmarks.functions import PROBLEMS, rosenbrock
from benchmarks.minimize import by_scipy

TOLERANCE = 1e-5
MORE_THAN_SCIPY = 1.3
"""How many times SciPy's evaluations `lbfgs()` may take at most."""
NEAR = {"Powell singular, 4": 1e-6, "Powell singular, 100": 1e-6, "Penalty I, 10": 1e-6, "Neural fit, 24": 1e-7}
"""Where the function is flat around its minimum: how near the value must come to it; else 1e-9."""
NEAR32 = 1e-4
"""The same in float32, relative to 1 + |value|."""

each_problem = pytest.mark.parametrize("problem", PROBLEMS, ids=str)


def arrays(start, dtype):
    return jax.tree.map(lambda x: jnp.asarray(x, dtype), start)


@functools.cache
def scipy_result(problem):
    with jax.enable_x64(True):
        return by_scipy(problem, TOLERANCE)


@each_problem
def test_lbfgs_needs_no_more_evaluations_than_scipy(problem):
    with jax.enable_x64(True):
        found = gradx.minimize(problem.fun, arrays(problem.start, jnp.float64), tol=TOLERANCE, max_steps=2000)
        peer = scipy_result(problem)
    assert bool(found.converged), found.message
    assert int(found.evaluations) <= MORE_THAN_SCIPY * peer.evaluations
    minimum = peer.value if problem.minimum is None else problem.minimum
    assert abs(float(found.value) - minimum) <= NEAR.get(problem.name, 1e-9) * (1 + abs(minimum))


QUICK32 = {"Rosenbrock, 2", "Wood", "Brown badly scaled", "Helical valley", "Penalty I, 10", "Biggs EXP6"}


@pytest.mark.parametrize(
    "problem",
    [p if p.name in QUICK32 else pytest.param(p, marks=pytest.mark.slow) for p in PROBLEMS],
    ids=[p.name for p in PROBLEMS],
)
def test_float32_comes_near_the_minimum(problem):
    found = gradx.minimize(problem.fun, arrays(problem.start, jnp.float32), tol=TOLERANCE, max_steps=2000)
    minimum = scipy_result(problem).value if problem.minimum is None else problem.minimum
    assert gradx.StopReason(int(found.reason)) in (gradx.StopReason.CONVERGED, gradx.StopReason.NO_DECREASE)
    assert abs(float(found.value) - minimum) <= NEAR32 * (1 + abs(minimum))


# Any transformation


def bowl(x):
    return jnp.sum(jnp.arange(1.0, 4.0) * (x - 1) ** 2)


LONG_SEARCH = gradx.scale_by_backtracking_linesearch(30, store_grad=True)
SHORT_MEMORY = gradx.scale_by_backtracking_linesearch(30)
TRANSFORMATIONS = {
    "adam": gradx.adam(gradx.cosine_decay_schedule(0.1, 500)),
    "momentum": gradx.sgd(0.05, momentum=0.8),
    "zoom": gradx.chain(gradx.sgd(1.0), gradx.scale_by_zoom_linesearch(20)),
    "backtracking": gradx.chain(gradx.sgd(1.0), LONG_SEARCH),
    "backtracking without a gradient": gradx.chain(gradx.sgd(1.0), SHORT_MEMORY),
    "a search that is not last": gradx.chain(gradx.lbfgs(), gradx.scale(0.9)),
    "named chain": gradx.named_chain(("direction", gradx.sgd(1.0)), ("search", gradx.scale_by_zoom_linesearch(20))),
    "scheduled search": gradx.lbfgs(
        linesearch=gradx.scale_by_more_thuente_linesearch(20, curv_rtol=gradx.linear_schedule(0.9, 0.5, 10))
    ),
    "partition": gradx.partition({"all": gradx.lbfgs()}, lambda params: "all"),
    "lbfgs, zoom": gradx.lbfgs(linesearch=gradx.scale_by_zoom_linesearch(20, initial_guess_strategy="one")),
}


@pytest.mark.parametrize("tx", TRANSFORMATIONS.values(), ids=TRANSFORMATIONS)
def test_any_transformation_minimizes_and_evaluations_are_counted(tx):
    calls = []

    def counted(x):
        jax.debug.callback(lambda: calls.append(1))
        return bowl(x)

    found = gradx.minimize(counted, jnp.zeros(3), tx, tol=1e-3)
    jax.effects_barrier()
    assert bool(found.converged), found.message
    np.testing.assert_allclose(found.params, 1.0, atol=1e-3)
    np.testing.assert_allclose(found.value, bowl(found.params), rtol=1e-3, atol=1e-9)
    assert int(found.evaluations) == len(calls)


def test_the_value_of_a_search_that_is_not_last_is_not_believed():
    found = gradx.minimize(bowl, jnp.zeros(3), gradx.chain(gradx.lbfgs(), gradx.scale(0.5)), max_steps=3)
    np.testing.assert_allclose(found.value, bowl(found.params), rtol=1e-6)


def test_optax_transformations_minimize():
    optax = pytest.importorskip("optax")
    for tx in (optax.adam(0.1), optax.lbfgs()):
        found = gradx.minimize(bowl, jnp.zeros(3), tx, tol=1e-3)
        np.testing.assert_allclose(found.params, 1.0, atol=1e-3)


# Trees, precisions, jit and vmap


def test_vmap_gives_what_each_start_gives_alone():
    starts = jnp.array([[-1.2, 1.0], [3.0, -2.0], [1.0, 1.0]])
    together = jax.jit(jax.vmap(lambda x: gradx.minimize(rosenbrock, x, max_steps=80)))(starts)
    assert len(together.message) == 3
    for i, x in enumerate(starts):
        alone = gradx.minimize(rosenbrock, x, max_steps=80)
        np.testing.assert_allclose(together.params[i], alone.params, rtol=1e-4)
        assert int(together.reason[i]) == int(alone.reason) == gradx.StopReason.CONVERGED
        assert abs(int(together.evaluations[i]) - int(alone.evaluations)) <= 3
    assert int(together.steps[2]) == 0


def test_trees_with_absent_leaves_and_complex_ones():
    target = jnp.array([1.0 + 2.0j, -1.0j])

    def fun(params):
        return jnp.sum(jnp.abs(params["z"] - target) ** 2 * jnp.array([1.0, 9.0])) + (params["x"] - 2) ** 2

    for tx in (gradx.lbfgs(), gradx.sgd(0.05)):
        found = gradx.minimize(fun, {"z": jnp.zeros(2, jnp.complex64), "x": 0.0, "none": None}, tx)
        np.testing.assert_allclose(found.params["z"], target, atol=1e-4)
        np.testing.assert_allclose(found.params["x"], 2.0, atol=1e-4)
        assert found.params["none"] is None


def test_low_precision_is_computed_in_float32():
    found = gradx.minimize(bowl, jnp.zeros(3, jnp.bfloat16))
    assert found.params.dtype == jnp.bfloat16
    assert found.value.dtype == jnp.float32
    assert bool(found.converged)
    np.testing.assert_array_equal(found.params, jnp.ones(3, jnp.bfloat16))


# Why it stops


def reason_of(found):
    return gradx.StopReason(int(found.reason))


def test_history_goes_from_the_start_to_the_end():
    found = gradx.minimize(rosenbrock, jnp.array([-1.2, 1.0]), max_steps=10)
    assert reason_of(found) is gradx.StopReason.MAX_STEPS
    assert found.message == "max_steps reached before the gradient was small enough"
    values, norms = found.history
    assert values.shape == norms.shape == (11,)
    np.testing.assert_allclose(values[0], 24.2, rtol=1e-5)
    assert np.all(np.diff(values) < 0)
    assert (float(values[-1]), float(norms[-1])) == (float(found.value), float(found.grad_norm))
    longer = gradx.minimize(rosenbrock, jnp.array([-1.2, 1.0]), max_steps=80)
    assert np.all(np.isnan(longer.history.values[int(longer.steps) + 1 :]))
    assert np.all(np.isfinite(longer.history.values[: int(longer.steps) + 1]))


def test_it_stops_in_words_when_nothing_decreases():
    @jax.custom_vjp
    def wrong(x):
        return jnp.sum(x**2)

    wrong.defvjp(lambda x: (wrong(x), x), lambda x, g: (-2 * g * x,))
    found = gradx.minimize(wrong, jnp.ones(2))
    assert reason_of(found) is gradx.StopReason.NO_DECREASE
    assert "no step decreases the value" in found.message
    np.testing.assert_array_equal(found.params, 1.0)
    assert int(found.steps) == 2


def test_tolerance_0_ends_where_the_precision_does():
    bends = jnp.array([3.0, 7.0, 11.0, 0.3])
    found = gradx.minimize(lambda x: jnp.sum(jnp.exp(x) - bends * x), jnp.zeros(4), tol=0.0)
    assert reason_of(found) is gradx.StopReason.NO_DECREASE
    np.testing.assert_allclose(found.params, jnp.log(bends), rtol=1e-5)
    assert int(found.evaluations) < 150


@pytest.mark.parametrize("start", [np.nan, 1.0])
def test_where_the_function_is_no_number_it_stops_at_the_last_that_was(start):
    tx = gradx.sgd(100.0)
    found = gradx.minimize(lambda x: jnp.sqrt(x), jnp.float32(start), tx)
    assert reason_of(found) is gradx.StopReason.NOT_FINITE
    assert "no finite number" in found.message
    np.testing.assert_array_equal(found.params, start)


def test_progress_is_printed_when_asked(capsys):
    gradx.minimize(rosenbrock, jnp.array([-1.2, 1.0]), max_steps=25, progress=10)
    lines = capsys.readouterr().out.splitlines()
    assert [int(line.split()[1]) for line in lines] == [10, 20, 25]
    assert lines[-1].endswith(gradx.StopReason.MAX_STEPS.text)
    assert all(" value " in line and " evaluations" in line for line in lines)
    gradx.minimize(bowl, jnp.zeros(3))
    assert capsys.readouterr().out == ""


def test_what_is_no_transformation_is_refused():
    with pytest.raises(TypeError, match=r"tx must be a transformation, got 0\.1"):
        gradx.minimize(bowl, jnp.zeros(3), 0.1)


# One program for what computes the same


@pytest.fixture
def compiled():
    """Return a function that says how many programs were compiled since it was last asked."""
    seen, asked = [], [0]

    def note(event, duration, **kwargs):
        if event.endswith("backend_compile_duration"):
            seen.append(event)

    def since():
        asked[0], before = len(seen), asked[0]
        return asked[0] - before

    jax.monitoring.register_event_duration_secs_listener(note)
    yield since
    jax.monitoring.clear_event_listeners()


MOMENTUM = gradx.sgd(0.3, momentum=0.5)


def fit(data, start=(0.0, 0.0), tx=MOMENTUM, **options):
    """Minimize a function that is made anew for these data."""
    data = np.float32(data)
    found = gradx.minimize(lambda x: jnp.sum((jnp.tanh(x) - data) ** 2), np.float32(start), tx, **options)
    np.testing.assert_allclose(np.tanh(found.params) + 0 * data, data + 0 * found.params, atol=1e-2)


@pytest.mark.parametrize(
    "change",
    [
        {},
        {"data": (0.1, 0.7)},
        {"start": (0.3, -0.2)},
        {"tx": gradx.sgd(0.4, momentum=0.6)},
        {"tx": gradx.sgd(0.3, momentum=0.5)},
        {"tol": 1e-3},
    ],
    ids=str,
)
def test_what_computes_the_same_is_compiled_once(compiled, change):
    fit((0.5, -0.3))
    compiled()
    fit(**{"data": (0.5, -0.3)} | change)
    assert compiled() == 0


@pytest.mark.parametrize("change", [{"max_steps": 900}, {"tx": gradx.adam(0.1)}, {"start": ((0.0, 0.0),)}], ids=str)
def test_what_computes_something_else_is_compiled(compiled, change):
    fit((0.5, -0.3))
    compiled()
    fit(**{"data": (0.5, -0.3)} | change)
    assert compiled() > 0


def test_masks_are_asked_at_each_call(compiled):
    chosen = [False]
    tx = gradx.chain(gradx.masked(gradx.set_to_zero(), lambda params: chosen[0]), MOMENTUM)
    fit((0.5, -0.3), tx=tx)
    compiled()
    fit((0.4, -0.1), tx=tx)
    assert compiled() == 0
    chosen[0] = True
    found = gradx.minimize(bowl, jnp.zeros(3), tx, max_steps=5)
    np.testing.assert_array_equal(found.params, 0.0)


def test_what_a_function_reads_may_change():
    settings = {"power": 2, "centre": np.float32([1.0, 2.0])}

    def fun(x):
        return jnp.sum(jnp.abs(x - settings["centre"]) ** settings["power"])

    for power, centre in ((2, [1.0, 2.0]), (2, [3.0, 4.0]), (4, [3.0, 4.0])):
        settings["power"] = power
        settings["centre"][:] = centre  # in place
        found = gradx.minimize(fun, jnp.zeros(2), tol=1e-6)
        np.testing.assert_allclose(found.params, centre, atol=0.05)
        np.testing.assert_allclose(found.history.values[0], np.sum(np.power(centre, power)), rtol=1e-6)


def test_a_function_that_counts_is_minimized_too():
    found = gradx.minimize(lambda x: jnp.sum(x > 0), jnp.ones(2))
    assert float(found.value) == 2.0
    with pytest.raises(TypeError, match="scalar-output"):
        gradx.minimize(lambda x: x, jnp.ones(2))


@pytest.mark.parametrize("large", [2, 2000])
def test_arrays_inside_a_jitted_function_are_not_mixed_up(large):
    def jitted(centre):
        return jax.jit(lambda x: jnp.sum((x - jnp.mean(centre)) ** 2))

    for value in (1.0, 2.0):
        centre = jnp.full(large, value)
        np.testing.assert_allclose(gradx.minimize(jitted(centre), jnp.zeros(2)).params, value, rtol=1e-4)


def test_functions_of_the_same_values_and_other_derivatives_are_two():
    def with_slope(factor):
        @jax.custom_jvp
        def square(x):
            return jnp.sum(x * x)

        square.defjvp(lambda primals, tangents: (square(*primals), factor * jnp.sum(2 * primals[0] * tangents[0])))
        return square

    once = gradx.minimize(with_slope(1.0), jnp.ones(2), gradx.sgd(0.1), max_steps=1)
    twice = gradx.minimize(with_slope(2.0), jnp.ones(2), gradx.sgd(0.1), max_steps=1)
    np.testing.assert_allclose([once.params[0], twice.params[0]], [0.8, 0.6], rtol=1e-6)


class Data:
    """Something large that a function refers to."""

    def __init__(self):
        self.rows = jnp.ones((10, 2))


@pytest.mark.parametrize("wrap", [lambda fun: fun, jax.jit], ids=["plain", "jitted"])
def test_what_a_function_refers_to_is_freed_with_it(wrap):
    def of(data):
        return wrap(lambda x: jnp.sum(jax.nn.relu(data.rows @ x - 1.0)))

    data = Data()
    alive = [weakref.ref(data), weakref.ref(data.rows)]
    gradx.minimize(of(data), jnp.ones(2), MOMENTUM, max_steps=3)
    del data
    gc.collect()
    assert [x() for x in alive] == [None, None]


def test_a_function_that_closes_over_a_tracer_is_minimized_in_its_trace():
    def best(centre):
        return gradx.minimize(lambda x: jnp.sum((x - centre) ** 2), jnp.zeros(2)).params

    np.testing.assert_allclose(jax.jit(best)(jnp.float32(3.0)), 3.0, rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(best)(jnp.arange(2.0)), [[0.0, 0.0], [1.0, 1.0]], atol=1e-5)
