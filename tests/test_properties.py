"""What holds for every argument: symmetries, bounds, and the value's own laws."""

import functools
import inspect
import pickle
from dataclasses import dataclass

import jax
import numpy as np
import pytest
from hypothesis import HealthCheck, assume, given, reject, settings, strategies as st

import gradx
from gradx.arguments import Arguments
from gradx.testing import Subject, assert_close
from gradx.typing import Range
from tests import zoo
from tests.zoo import LOSS, ZOO

examples = functools.partial(settings, derandomize=True, deadline=None, database=None)
"""How many to draw; always the same ones."""

ROUNDING = {"rtol": 1e-5, "atol": 1e-7}
"""Float32, over three steps of which each feeds on the one before."""
ABOVE = 1 + 1e-5
"""How far rounding may carry a norm or a schedule beyond its bound."""

SEEDS = st.integers(0, 2**31 - 1)
DECAYS = st.floats(0.0, 0.99)


def normal(seed, *shape):
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def run(tx, gradients, params):
    state, history = tx.init(params), []
    for grads in gradients:
        updates, state = tx.update(grads, state, params, **LOSS)
        history.append(updates)
    return history


# Symmetries


@examples(max_examples=25)
@given(SEEDS, DECAYS, DECAYS, st.floats(-6, 6))
@pytest.mark.parametrize("name", ["scale_by_adam", "nadam", "scale_by_rms", "scale_by_stddev", "scale_by_rss"])
def test_adaptive_directions_do_not_know_the_gradients_scale(name, seed, b1, b2, exponent):
    tx = {
        "scale_by_adam": lambda: gradx.scale_by_adam(b1, b2, eps=0.0),
        "nadam": lambda: gradx.nadam(0.1, b1, b2, eps=0.0),
        "scale_by_rms": lambda: gradx.scale_by_rms(b2, eps=0.0),
        # decay away from 0, where the variance is nothing but rounding
        "scale_by_stddev": lambda: gradx.scale_by_stddev(0.5 + b2 / 2.1, eps=0.0),
        "scale_by_rss": lambda: gradx.scale_by_rss(0.0, eps=0.0),
    }[name]()
    gradients = normal(seed, 3, 5)
    scaled = np.float32(10**exponent) * gradients
    params = np.zeros(5, np.float32)
    assert_close(run(tx, scaled, params), run(tx, gradients, params), rtol=1e-4, atol=1e-5)


BY_NAME = ("add_noise", "noisy_sgd", "hutchinson_estimator_diag_hessian", "partition", "masked")
WITHOUT_EXTRAS = [row.tx for row in ZOO if not row.extras]
LEAFWISE = [tx for tx in WITHOUT_EXTRAS if tx.name not in BY_NAME and "mask=" not in str(tx)]
"""What treats all leaves alike: no noise drawn by position, no mask or label by name."""


@examples(max_examples=3)
@given(SEEDS, st.permutations("abcd"))
@pytest.mark.parametrize("tx", LEAFWISE, ids=str)
def test_leaves_may_change_places(tx, seed, order):
    def named(stacked, names):
        return dict(zip(names, stacked, strict=True))

    params, *gradients = normal(seed, 3, 4, 3)
    history = run(tx, [named(g, "abcd") for g in gradients], named(params, "abcd"))
    permuted = run(tx, [named(g, order) for g in gradients], named(params, order))
    assert_close(permuted, [named([u[name] for name in "abcd"], order) for u in history], **ROUNDING)


ELEMENTWISE = [gradx.sgd(0.1, momentum=0.9), gradx.rmsprop(0.01, centered=True), gradx.adamw(0.1), gradx.adadelta()]


@examples(max_examples=5)
@given(SEEDS, st.permutations(range(6)))
@pytest.mark.parametrize("tx", ELEMENTWISE, ids=str)
def test_entries_may_change_places(tx, seed, order):
    params, *gradients = normal(seed, 3, 6)
    permuted = run(tx, [g[order] for g in gradients], params[order])
    assert_close(permuted, [u[np.array(order)] for u in run(tx, gradients, params)], **ROUNDING)


PARTS = [tx for tx in WITHOUT_EXTRAS if tx.name not in ("add_noise", "noisy_sgd")]


@examples(max_examples=6)
@given(*[st.sampled_from(PARTS)] * 3)
def test_chains_associate(a, b, c):
    flat, left, right = gradx.chain(a, b, c), gradx.chain(gradx.chain(a, b), c), gradx.chain(a, gradx.chain(b, c))
    expected = Subject(flat, extras=LOSS).run(2)[0]
    for nested in (left, right):
        assert_close(Subject(nested, extras=LOSS).run(2)[0], expected)


# Bounds


def tree_of(seed, exponent):
    """Gradients of a size between 1e-15 and 1e15, one entry often 0."""
    size = np.float32(10**exponent)
    return {"w": size * normal(seed, 2, 3), "v": size * normal(seed + 1, 4) * np.array([1, 0, 1, 1], np.float32)}


EXPONENTS = st.floats(-15, 15)


@examples(max_examples=25)
@given(SEEDS, EXPONENTS, EXPONENTS)
def test_clip_by_global_norm_shortens_to_the_bound_and_keeps_the_direction(seed, exponent, bound_exponent):
    grads, bound = tree_of(seed, exponent), 10**bound_exponent
    updates = gradx.clip_by_global_norm(bound).update(grads, gradx.EmptyState())[0]
    norm = exact_norm(grads)
    assert exact_norm(updates) <= bound * ABOVE
    factor = min(1.0, bound / norm)
    assert_close(updates, jax.tree.map(lambda g: g * np.float32(factor), grads), rtol=1e-5, atol=1e-30)
    if norm * ABOVE <= bound:
        assert all(np.array_equal(updates[name], grads[name]) for name in grads)


@examples(max_examples=25)
@given(SEEDS, EXPONENTS, EXPONENTS)
def test_clip_and_clip_by_block_rms_hold_every_array_within_the_bound(seed, exponent, bound_exponent):
    grads, bound = tree_of(seed, exponent), 10**bound_exponent
    clipped = gradx.clip(bound).update(grads, gradx.EmptyState())[0]
    shortened = gradx.clip_by_block_rms(bound).update(grads, gradx.EmptyState())[0]
    for name, g in grads.items():
        np.testing.assert_allclose(clipped[name], np.clip(g, -bound, bound), rtol=1e-6)
        rms = exact_norm(g) / np.sqrt(g.size)
        assert exact_norm(shortened[name]) / np.sqrt(g.size) <= bound * ABOVE
        np.testing.assert_allclose(shortened[name], g * min(1.0, bound / rms), rtol=1e-5)


@examples(max_examples=25)
@given(SEEDS, EXPONENTS, st.floats(-3, 3), st.floats(0.0, 2.0))
def test_adaptive_clipping_holds_every_unit_within_the_bound(seed, exponent, size, clipping):
    grads, params = tree_of(seed, exponent), tree_of(seed + 2, size)
    updates = gradx.adaptive_grad_clip(clipping).update(grads, gradx.EmptyState(), params)[0]
    for name, axis in (("w", 0), ("v", None)):
        bound = clipping * np.maximum(exact_norm(params[name], axis), 1e-3)
        assert np.all(exact_norm(updates[name], axis) <= bound * ABOVE)
        inside = exact_norm(grads[name], axis) * ABOVE <= bound
        assert np.array_equal(np.where(inside, updates[name], 0), np.where(inside, grads[name], 0))


def exact_norm(tree, axis=None):
    leaves = [np.asarray(x, np.float64) for x in jax.tree.leaves(tree)]
    if axis is not None:
        return np.sqrt(np.sum(leaves[0] ** 2, axis=axis))
    return np.sqrt(sum(np.sum(x**2) for x in leaves))


@dataclass(frozen=True)
class Draw:
    """What a schedule is made of."""

    start: float
    peak: float
    end: float
    begin: int
    length: int
    share: float
    """In (0, 1)."""

    @property
    def last(self):
        return self.begin + self.length


VALUES, SPANS = st.floats(-1e3, 1e3, width=32), st.integers(1, 30)
DRAWS = st.builds(Draw, VALUES, VALUES, VALUES, SPANS, SPANS, st.floats(0.03125, 0.96875, width=32))
STEPS = np.arange(64)


def wsd(shape):
    return lambda d: (
        gradx.warmup_stable_decay_schedule(d.peak, d.begin, d.length, 3, d.start, d.end, shape),
        (d.start, d.peak, d.end),
        {0: d.start, d.begin: d.peak, d.last: d.peak, d.last + 3: d.end, 63: d.end},
    )


SCHEDULES = {
    "constant": lambda d: (gradx.constant_schedule(d.start), (d.start,), {0: d.start, 63: d.start}),
    "linear": lambda d: (
        gradx.linear_schedule(d.start, d.end, d.length, d.begin),
        (d.start, d.end),
        {0: d.start, d.begin: d.start, d.last: d.end, 63: d.end},
    ),
    "polynomial": lambda d: (
        gradx.polynomial_schedule(d.start, d.end, 3 * d.share, d.length, d.begin),
        (d.start, d.end),
        {0: d.start, d.begin: d.start, d.last: d.end, 63: d.end},
    ),
    "cosine": lambda d: (
        gradx.cosine_decay_schedule(d.start, d.length, d.share, 3 * d.share),
        (d.start, d.share * d.start),
        {0: d.start, d.length: d.share * d.start, 63: d.share * d.start},
    ),
    "cosine with restarts": lambda d: (
        gradx.cosine_restarts_schedule(d.start, d.begin, 2, 1, d.share),
        (d.start, 0.0),
        {0: d.start, d.begin: d.share * d.start, 2 * d.begin: 0.0},
    ),
    "exponential": lambda d: (
        gradx.exponential_decay(d.start, d.length, d.share, d.begin),
        (d.start, 0.0),
        {0: d.start, d.begin: d.start, d.last: d.share * d.start},
    ),
    "exponential to an end": lambda d: (
        gradx.exponential_decay(1.0, d.length, d.share, d.begin, end_value=0.5),
        (1.0, 0.5),
        {0: 1.0, d.last: max(d.share, 0.5)},
    ),
    "steps": lambda d: (
        gradx.step_decay_schedule(d.start, d.length, d.share),
        (d.start, 0.0),
        {d.length - 1: d.start, d.length: d.share * d.start},
    ),
    "inverse square root": lambda d: (
        gradx.inverse_sqrt_schedule(d.peak, d.begin, d.start),
        (d.start, d.peak, 0.0),
        {0: d.start, d.begin: d.peak, 2 * d.begin: d.peak / np.sqrt(2)},
    ),
    "warmup, constant": lambda d: (
        gradx.warmup_constant_schedule(d.start, d.peak, d.begin),
        (d.start, d.peak),
        {0: d.start, d.begin: d.peak, 63: d.peak},
    ),
    "warmup, cosine": lambda d: (
        gradx.warmup_cosine_decay_schedule(d.start, d.peak, d.begin, d.last, d.end, 3 * d.share),
        (d.start, d.peak, d.end),
        {0: d.start, d.begin: d.peak, d.last: d.end, 63: d.end},
    ),
    "warmup, linear": lambda d: (
        gradx.warmup_linear_decay_schedule(d.start, d.peak, d.begin, d.last, d.end),
        (d.start, d.peak, d.end),
        {0: d.start, d.begin: d.peak, d.last: d.end, 63: d.end},
    ),
    "warmup, stable, linear": wsd("linear"),
    "warmup, stable, cosine": wsd("cosine"),
    "warmup, stable, root": wsd("sqrt"),
    "one-cycle, linear": lambda d: (
        gradx.linear_onecycle_schedule(60, d.peak, 0.25, 0.5 + d.share / 4),
        (d.peak, d.peak / 25e4),
        {0: d.peak / 25, 15: d.peak, 60: d.peak / 25e4, 63: d.peak / 25e4},
    ),
    "one-cycle, cosine": lambda d: (
        gradx.cosine_onecycle_schedule(60, d.peak, 0.25),
        (d.peak, d.peak / 25e4),
        {0: d.peak / 25, 15: d.peak, 60: d.peak / 25e4, 63: d.peak / 25e4},
    ),
}
"""From what is drawn to the schedule, the values that bound it, and those that it takes at certain steps."""


@examples(max_examples=10)
@given(DRAWS)
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedules_stay_between_their_values_and_take_them(name, draw):
    schedule, bounds, taken = SCHEDULES[name](draw)
    values = np.asarray(schedule(STEPS), np.float64)
    slack = 1e-5 * max(map(abs, bounds)) + np.finfo(np.float32).tiny  # XLA flushes what is smaller to 0
    assert values.min() >= min(bounds) - slack
    assert values.max() <= max(bounds) + slack
    for step, value in taken.items():
        np.testing.assert_allclose(values[step], value, rtol=1e-5, atol=slack, err_msg=f"{schedule!r} at {step}")


# The value's own laws


FACTORIES = [x for x in vars(gradx).values() if inspect.isfunction(x) and hasattr(x, "__wrapped__")]
INSIDE = [gradx.dpsgd(0.1, 1.0, 1.0, seed=0), gradx.differentially_private_aggregate(1.0, 1.0, seed=0)]
INSIDE += [gradx.average_examples(), gradx.track_examples()]
"""In the zoo as parts only."""
ORDINARY = {tx.name: tx.arguments for tx in [*INSIDE, *(row.tx for row in ZOO)]}


def argument(parameter, marks):
    """Return a strategy for an argument whose annotation tells its range, and `None` for any other."""
    mark = marks.get(parameter.name)
    if not isinstance(mark, Range):
        return st.booleans() if parameter.annotation is bool else None
    if mark.integer:
        return st.integers(int(mark.low), 50)
    low, high = max(mark.low, -1e3), min(mark.high, 1e3)
    numbers = st.floats(low, high, exclude_min=mark.closed[0] == "(", exclude_max=mark.closed[1] == ")")
    options = [numbers]
    if mark.schedule:
        options.append(st.builds(gradx.linear_schedule, numbers, numbers, st.integers(1, 9)))
    if parameter.default is None:
        options.append(st.none())
    return st.one_of(options)


def values(factory):
    """Return a strategy for the values of a factory: the zoo's arguments where the annotations tell no range."""
    parameters = Arguments.of(factory).signature.parameters
    drawn = {name: s for name, p in parameters.items() if (s := argument(p, Arguments.of(factory).marks)) is not None}
    fixed = ORDINARY.get(factory.__name__, {})
    return st.fixed_dictionaries(drawn).map(lambda arguments: fixed | arguments)


DRAWABLE = [
    factory
    for factory in FACTORIES
    if any(
        argument(p, Arguments.of(factory).marks) is not None
        for p in Arguments.of(factory).signature.parameters.values()
    )
    and all(
        argument(p, Arguments.of(factory).marks) is not None or p.default is not p.empty or factory.__name__ in ORDINARY
        for p in Arguments.of(factory).signature.parameters.values()
    )
]
"""The factories with an argument to draw."""


def make(factory, arguments):
    try:
        return factory(**arguments)
    except ValueError:  # numbers that are right one by one and do not go together, such as two spans
        reject()


many_rejected = examples(max_examples=10, suppress_health_check=[HealthCheck.filter_too_much])


@many_rejected
@given(st.data())
@pytest.mark.parametrize("factory", DRAWABLE, ids=lambda factory: factory.__name__)
def test_value_is_its_arguments(factory, data):
    arguments = data.draw(values(factory))
    value, again = make(factory, arguments), make(factory, arguments)
    assert value is not again
    leaves, treedef = jax.tree.flatten(value)
    printed = eval(repr(value), vars(zoo) | vars(gradx))
    for other in (again, printed, pickle.loads(pickle.dumps(value)), treedef.unflatten(leaves), value.replace()):
        assert other == value
        assert hash(other) == hash(value)
        assert repr(other) == repr(value)


@many_rejected
@given(st.data())
@pytest.mark.parametrize("factory", DRAWABLE, ids=lambda factory: factory.__name__)
def test_another_argument_makes_another_value(factory, data):
    first, second = data.draw(values(factory)), data.draw(values(factory))
    differing = [name for name in first if not same(first[name], second[name])]
    assume(differing)
    name = data.draw(st.sampled_from(differing))
    one, other = make(factory, first), make(factory, first | {name: second[name]})
    assert one != other
    assert repr(one) != repr(other)
    assert one.replace(**{name: second[name]}) == other


def same(x, y):
    return type(x) is type(y) and x == y
