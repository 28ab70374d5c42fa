"""A factory's work is done once, meets every trace, and is freed with its value."""

import gc
import pickle
import tracemalloc
import weakref

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx

PARAMS = {"w": jnp.ones((4, 4)), "b": jnp.ones(4)}


class Data:
    """Something large that a user's function refers to."""

    def __init__(self):
        self.rows = np.ones((10, 10))


def holding(data):
    """Return by name what a trial makes of its own data, each way in which a value takes a function."""

    def mask(params):
        return jax.tree.map(lambda x: x.ndim > 1 and len(data.rows) > 0, params)

    def label(params):
        return jax.tree.map(lambda x: "a" if x.ndim > 1 and len(data.rows) > 0 else "b", params)

    def rate(step):
        return 1e-3 * len(data.rows)

    def scaled(updates, params):
        return jax.tree.map(lambda x: x / len(data.rows), updates)

    def leaf(update, param):
        return update / len(data.rows)

    @gradx.transformation
    def own(factor=0.5):
        def update(updates, state, params=None):
            return gradx.tree.map_leaves(lambda u: factor * u / len(data.rows), updates), state

        return lambda params: (), update

    return {
        "mask": gradx.adamw(1e-3, mask=mask),
        "labels": gradx.partition({"a": gradx.sgd(0.1), "b": gradx.adam(0.1)}, label),
        "schedule": gradx.sgd(rate),
        "scheduled recipe": gradx.adamw(rate, mask=mask),
        "stateless": gradx.chain(gradx.stateless(scaled), gradx.sgd(0.1)),
        "rule": gradx.stateless_with_tree_map(leaf),
        "pair": gradx.GradientTransformation(lambda params: (), lambda u, s: (scaled(u, None), s)),
        "factory": own(),
        "every k": gradx.MultiSteps(gradx.sgd(0.1), lambda step: len(data.rows)),
        "injected": gradx.inject_hyperparams(gradx.sgd)(rate),
    }


def without_jit(tx):
    tx.update(PARAMS, tx.init(PARAMS), PARAMS)
    hash(tx)
    repr(tx)


def with_jit(tx):
    jax.jit(lambda g, s, p: tx.update(g, s, p))(PARAMS, jax.jit(tx.init)(PARAMS), PARAMS)


@pytest.mark.parametrize("run", [without_jit, with_jit])
@pytest.mark.parametrize("kind", holding(Data()))
def test_what_a_value_refers_to_is_freed_with_it(kind, run, settled_heap):
    data = Data()
    alive = weakref.ref(data)
    run(holding(data)[kind])
    del data
    gc.collect()
    assert alive() is None


def test_trials_without_jit_hold_no_memory(settled_heap):
    def trial(i):
        anchor = np.full((100, 100), float(i))  # 80 kB

        def pull(updates, params):
            return jax.tree.map(lambda u: u + anchor[0, 0], updates)

        tx = gradx.chain(
            gradx.stateless(pull),
            gradx.adamw(1e-3, mask=lambda params: jax.tree.map(lambda x: anchor.ndim > 1, params)),
        )
        without_jit(tx)

    for i in range(3):
        trial(i)
    gc.collect()
    tracemalloc.start()
    before = tracemalloc.get_traced_memory()[0]
    for i in range(20):
        trial(i)
    gc.collect()
    grown = tracemalloc.get_traced_memory()[0] - before
    tracemalloc.stop()
    assert grown < 20 * 10_000  # bytes; the anchors alone would be 1.6 MB


@gradx.schedule
def table(values=(0.1, 0.2, 0.3)):
    array = jnp.asarray(values)
    return lambda step: array[jnp.minimum(step, len(values) - 1)]


@gradx.transformation
def table_of(n=3):
    CALLS.append(n)
    largest = jnp.max(jnp.arange(float(n)))
    return gradx.stateless(lambda updates, params: gradx.tree.scale(1 / largest, updates))


CALLS: list[int] = []

MADE_ONCE = {
    "noise in a chain": lambda: gradx.chain(gradx.add_noise(0.01, 0.55, seed=0), gradx.sgd(0.1)),
    "a table for a rate": lambda: gradx.adam(table()),
    "a table inside a wrapper": lambda: gradx.MultiSteps(gradx.chain(gradx.sgd(table())), 2),
    "a table under a mask": lambda: gradx.masked(table_of(), lambda params: True),
    "joined schedules": lambda: gradx.sgd(gradx.join_schedules([table(), gradx.constant_schedule(0.1)], [2])),
    "computed schedules": lambda: gradx.sgd(table() / 2),
    "injected": lambda: gradx.inject_hyperparams(gradx.sgd)(table()),
}


@pytest.mark.parametrize("make", MADE_ONCE.values(), ids=MADE_ONCE)
def test_a_step_is_traced_again_for_another_shape(make):
    tx = make()
    shapes = (3, 4)
    for init, update in ((jax.jit(tx.init), jax.jit(tx.update)), (tx.init, tx.update)):
        for n in shapes:
            update(jnp.ones(n), init(jnp.ones(n)), jnp.ones(n))


@pytest.mark.parametrize("again", [lambda tx: jax.tree.map(lambda x: x, tx), lambda tx: pickle.loads(pickle.dumps(tx))])
def test_what_is_first_built_in_a_trace_meets_the_next(again):
    tx = again(gradx.chain(table_of(3), gradx.sgd(0.1)))  # its factories have not run
    for n in (3, 4):
        updates, _ = jax.jit(tx.update)(jnp.ones(n), jax.jit(tx.init)(jnp.ones(n)), jnp.ones(n))
    np.testing.assert_allclose(updates, -0.05, rtol=1e-6)


@pytest.mark.parametrize("make", MADE_ONCE.values(), ids=MADE_ONCE)
def test_a_value_made_inside_a_trace_may_be_used_in_it_alone(make, settled_heap):
    def step(w):
        tx = make()
        return tx.update(w, tx.init(w), w)[0]

    with jax.checking_leaks():
        for n in (5, 6):
            jax.jit(step)(jnp.ones(n))


def test_what_a_factory_computes_once_is_computed_once():
    CALLS.clear()
    tx = gradx.chain(table_of(7), gradx.sgd(0.1))
    state = tx.init(jnp.ones(3))
    for n in (3, 4):
        jax.jit(tx.update)(jnp.ones(n), state, jnp.ones(n))
        tx.update(jnp.ones(n), state, jnp.ones(n))
        gradx.hyperparams(tx, state)
    assert CALLS == [7]


def test_making_a_value_of_numbers_adds_nothing_to_a_trace():
    def made_inside(w):
        tx = gradx.chain(table_of(5), gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 0.1, 5, 50)))
        return tx.init(w)

    outside = gradx.chain(table_of(5), gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 0.1, 5, 50)))
    w = jnp.ones(3)
    assert len(jax.make_jaxpr(made_inside)(w).eqns) == len(jax.make_jaxpr(outside.init)(w).eqns)


def test_parts_are_the_very_values_that_were_given():
    first, second = gradx.clip(1.0), gradx.sgd(0.1)
    assert gradx.chain(first, second).arguments["parts"][1] is second
    assert gradx.MultiSteps(second, 2).arguments["opt"] is second
    parts = {"a": first, "b": second}
    assert gradx.partition(parts, {"w": "a"}).arguments["transforms"]["b"] is second


def test_what_is_handed_out_is_the_callers_own():
    tx = gradx.partition({"a": gradx.sgd(0.1)}, {"w": "a"})
    tx.arguments["param_labels"]["w"] = "b"
    tx.arguments["transforms"].clear()
    assert repr(tx) == "partition(transforms={'a': sgd(learning_rate=0.1)}, param_labels={'w': 'a'})"
    labels = {"w": "a"}
    tx = gradx.partition({"a": gradx.sgd(0.1)}, labels)
    labels["w"] = "b"
    assert tx.arguments["param_labels"] == {"w": "a"}


def test_hash_and_equality_see_into_nested_values():
    values = [gradx.chain(gradx.clip(1.0), gradx.MultiSteps(gradx.sgd(0.1), k)) for k in range(1, 40)]
    assert len(set(map(hash, values))) == len(values)
    structures = [jax.tree.structure(tx) for tx in values]
    assert len(set(structures)) == len(values)
