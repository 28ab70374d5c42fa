"""The corners of `sweep`: chunk sizes, kinds of seeds and values, float64, Flax, NaN scores, odd arguments."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

import gradx
from gradx.testing import assert_close
from gradx.tune import SweepResult, stack, sweep

VMAP_ROUNDING = {"rtol": 2e-5, "atol": 1e-6}
"""float32 sums in another order under vmap, carried through 30 steps of training."""
VMAP_ROUNDING_64 = {"rtol": 1e-13, "atol": 1e-15}
"""The same in float64."""
RATES = [float(x) for x in np.geomspace(1e-4, 1e-1, 32)]


def regression(tx, key, steps=30, dtype=jnp.float32):
    """Train a linear model from a random start and return the losses."""
    inputs = jax.random.normal(jax.random.key(42), (40, 6), dtype)
    targets = jnp.sin(inputs.sum(1))

    def loss(params):
        return jnp.mean((jnp.tanh(inputs @ params["w"] + params["b"]) - targets) ** 2)

    def step(carry, _):
        params, state = carry
        value, gradients = jax.value_and_grad(loss)(params)
        updates, state = tx.update(gradients, state, params)
        return (gradx.apply_updates(params, updates), state), value

    params = {"w": jax.random.normal(key, (6,), dtype), "b": jnp.zeros((), dtype)}
    (params, _), losses = jax.lax.scan(step, (params, tx.init(params)), length=steps)
    return {"losses": losses, "params": params}


def separate(tx, values, seeds=1, run=regression):
    """Return what runs one by one give, stacked like a sweep's results."""
    run = jax.jit(run)
    rows = [dict(zip(values, row, strict=True)) for row in zip(*values.values(), strict=True)]
    results = [[run(gradx.replace(tx, **row), jax.random.key(seed)) for seed in range(seeds)] for row in rows]
    members = [jax.tree.map(lambda *x: np.stack(x), *of_seeds) for of_seeds in results]
    return jax.tree.map(lambda *x: np.stack(x), *members)


def of_rate(tx, key):
    """Return a training's result where only bookkeeping is tested: the learning rate and a random number."""
    return tx.arguments["learning_rate"], jax.random.uniform(key)


def test_float64_equals_separate_runs():
    with jax.enable_x64(True):
        values, tx = {"learning_rate": RATES[::8]}, gradx.adamw(0.1)

        def run(tx, key):
            return regression(tx, key, dtype=jnp.float64)

        result = sweep(tx, run, values)
        assert result.results["losses"].dtype == np.float64
        assert_close(result.results, separate(tx, values, run=run), **VMAP_ROUNDING_64)
        assert sweep(tx, regression, values).results["losses"].dtype == np.float32, "hyperparameters widened the params"


@pytest.mark.parametrize("chunk", [None, 1, 3, 7, 50])
def test_train_is_traced_once_and_chunks_equal_the_whole(chunk):
    traces, seen = [], []

    def train(tx, key):
        traces.append(tx)
        return of_rate(tx, key)

    rates = RATES[:7]
    result = sweep(
        gradx.sgd(0.1), train, {"learning_rate": rates}, seeds=3, chunk=chunk, progress=lambda *x: seen.append(x)
    )
    assert len(traces) == 1
    rate, random = result.results
    assert_close(rate, np.repeat(np.float32(rates)[:, None], 3, axis=1))
    assert_close(random, np.tile([float(jax.random.uniform(jax.random.key(i))) for i in range(3)], (7, 1)))
    size = min(chunk or 7, 7)
    assert seen == [(min(done, 7), 7) for done in range(size, 7 + size, size)]


def run_short_of_memory(monkeypatch, room, problem="RESOURCE_EXHAUSTED: Out of memory allocating", **arguments):
    """Sweep over seven members on a device that cannot hold more than `room`; return result and progress."""
    jit, seen = jax.jit, []

    def short_of_memory(function):
        run = jit(function)

        def call(stacked, keys):
            if len(stacked.arguments["learning_rate"]) > room:
                raise jax.errors.JaxRuntimeError(problem)
            return run(stacked, keys)

        return call

    monkeypatch.setattr(jax, "jit", short_of_memory)
    values = {"learning_rate": RATES[:7]}
    result = sweep(gradx.sgd(0.1), of_rate, values, progress=lambda *x: seen.append(x), **arguments)
    return result, seen


def test_chunks_are_halved_while_memory_is_short(monkeypatch):
    result, seen = run_short_of_memory(monkeypatch, room=3)
    assert seen == [(2, 7), (4, 7), (6, 7), (7, 7)]  # by way of 7 and 4
    assert_close(result.results[0][:, 0], np.float32(RATES[:7]))


@pytest.mark.parametrize(
    "short", [{"room": 0}, {"room": 3, "chunk": 4}, {"room": 3, "problem": "INTERNAL: something else"}], ids=str
)
def test_what_smaller_chunks_do_not_mend_is_raised(monkeypatch, short):
    with pytest.raises(jax.errors.JaxRuntimeError, match=r"RESOURCE_EXHAUSTED|INTERNAL"):
        run_short_of_memory(monkeypatch, **short)


@pytest.mark.parametrize("chunk", [None, 2])
def test_one_program_is_compiled(chunk, caplog):
    def call():
        return sweep(gradx.sgd(0.1), of_rate, {"learning_rate": RATES[:5]}, chunk=chunk)

    call()  # stacking and indexing compile once in a process
    with jax.log_compiles(), caplog.at_level("WARNING"):
        call()
    assert sum("Finished XLA compilation" in x.getMessage() for x in caplog.records) == 1


@pytest.mark.parametrize(
    ("seeds", "numbers"), [(2, [0, 1]), ([7, 3], [7, 3]), (np.array([5]), [5])], ids=["number", "list", "array"]
)
def test_seeds(seeds, numbers):
    keys = jnp.stack([jax.random.key(i) for i in numbers])
    by_number, by_key = (
        sweep(gradx.sgd(0.1), of_rate, {"learning_rate": [0.1, 0.2]}, seeds=x).results[1] for x in (seeds, keys)
    )
    assert by_number.shape == (2, len(numbers))
    np.testing.assert_array_equal(by_number, by_key)
    assert_close(by_number[0], np.stack(jax.vmap(jax.random.uniform)(keys)))


def test_schedules_of_one_kind_vary():
    values = {"learning_rate": [gradx.linear_schedule(peak, 0.0, 30) for peak in (0.01, 0.1)]}
    result = sweep(gradx.adam(0.1), regression, values)
    assert_close(result.results, separate(gradx.adam(0.1), values), **VMAP_ROUNDING)


def test_a_flax_model_inside_train():
    inputs = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)

    def train(tx, key):
        model = nnx.Linear(3, 1, rngs=nnx.Rngs(key))
        graph, params = nnx.split(model)

        def step(carry, _):
            params, state = carry
            loss = lambda p: jnp.mean((nnx.merge(graph, p)(inputs)[:, 0] - inputs.sum(1)) ** 2)  # noqa: E731
            value, gradients = jax.value_and_grad(loss)(params)
            updates, state = tx.update(gradients, state, params)
            return (gradx.apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, tx.init(params)), length=20)[1]

    values = {"learning_rate": [0.01, 0.1]}
    result = sweep(gradx.adam(0.1), train, values, seeds=2)
    assert_close(result.results, separate(gradx.adam(0.1), values, seeds=2, run=train), **VMAP_ROUNDING)
    assert result.results[1].mean() < result.results[0].mean()


def test_best_passes_over_nan():
    result = SweepResult({"learning_rate": [1, 2, 3]}, np.array([[np.nan, 0.0], [2.0, 2.0], [1.0, 2.0]]))
    assert result.best() == {"learning_rate": 3}
    assert result.best(lambda x: -x[:, 1]) == {"learning_rate": 2}
    with pytest.raises(ValueError, match="score of every member is NaN"):
        result.best(lambda x: x * np.nan)
    with pytest.raises(ValueError, match=r"here 3 members, got shape \(2,\)"):
        result.best(lambda x: x[0])
    with pytest.raises(ValueError, match="got 2 arrays"):
        result.best(lambda x: (x, x))


def test_stack_is_a_value_to_vmap_over():
    stacked = stack(gradx.adam(0.1), {"b1": np.array([0.8, 0.9]), "learning_rate": jnp.array([1.0, 2.0])})
    assert stacked.name == "adam"
    updates = jax.vmap(lambda tx: tx.update(jnp.ones(3), tx.init(jnp.ones(3)))[0])(stacked)
    assert_close(updates, np.array([[-1.0] * 3, [-2.0] * 3]), rtol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "error", "message"),
    [
        ({"values": {"b1": np.array([0.9, 1.5])}}, ValueError, r"b1 must be in \[0, 1\), got 1.5"),
        ({"values": {"b1": jnp.array([0.9, 1.5])}}, ValueError, r"b1 must be in \[0, 1\), got 1.5"),
        ({"values": {"b1": [jnp.array(0.9), jnp.array(1.5)]}}, ValueError, r"b1 must be in \[0, 1\), got 1.5"),
        ({"values": {"b1": np.float32(0.9)}}, TypeError, "b1 must be a list of values"),
        ({"values": {"b1": jnp.array(0.9)}}, TypeError, "got a single number"),
        ({"values": [0.1]}, TypeError, "values must be a dict"),
        (
            {"values": {"learning_rate": [0.1, gradx.linear_schedule(0.1, 0.0, 5)]}},
            ValueError,
            "for 'learning_rate' make different programs",
        ),
        ({"tx": (lambda p: p, lambda g, s: g)}, TypeError, "sweep: tx must be a transformation of gradx"),
        ({"chunk": 2.0}, ValueError, "chunk must be None or an integer"),
        ({"seeds": [0.5]}, ValueError, "seeds must be"),
        ({"seeds": True}, ValueError, "seeds must be"),
        ({"seeds": jax.random.key(0)}, ValueError, "array of keys must have one axis"),
    ],
)
def test_mistakes_are_refused_before_anything_runs(wrong, error, message):
    def train(tx, key):
        pytest.fail("train ran")

    call = {"tx": gradx.adam(0.1), "values": {"learning_rate": [0.1]}} | wrong
    with pytest.raises(error, match=message):
        sweep(call.pop("tx"), train, call.pop("values"), **call)
