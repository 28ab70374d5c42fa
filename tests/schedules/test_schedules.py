"""Every schedule: its values, its peers, and that it is a value."""

import collections
import copy
import inspect
import math
import pickle
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx
from gradx.scheduled import ScheduleValue
from tests.oracles.recorded import from_torch
from tests.schedules.cases import CASES, COMPOSED, Case

FLOAT64 = 1e-14
"""Against the formula in Python floats, relative to the largest value: a few roundings."""
FLOAT32 = 2e-6
"""Against the formula and the peers, relative to the largest value: a few roundings, and those of a power."""
FINITE_DIFFERENCE = 1e-7
"""Central differences in float64 with a step of 1e-6, relative to the largest derivative."""
HUGE = (2**24 - 1, 2**24, 2**24 + 1, 2**31 - 1)

every_case = pytest.mark.parametrize("case", CASES, ids=str)


STEPS = np.arange(84, dtype=np.int32)
"""Past the last step of every case; one shape for all, so that each operation is compiled once."""


def wanted(case: Case) -> np.ndarray:
    return np.array([case.formula(int(n)) for n in STEPS])


def furthest(got: Any, want: np.ndarray) -> float:
    return float(np.max(np.abs(np.asarray(got, np.float64) - want)) / np.max(np.abs(want)))


def test_every_schedule_has_a_case():
    public = {
        name for name, x in vars(gradx).items() if inspect.isfunction(x) and x.__module__.startswith("gradx.schedules.")
    }
    assert {"linear_schedule", "join_schedules"} <= public
    assert public == {case.ours.name for case in CASES}


@every_case
def test_values_that_the_docstring_states(case: Case):
    assert 0 in case.stated
    assert max(case.stated) >= case.last or not case.ends
    for step, value in case.stated.items():
        assert float(case.ours(step)) == pytest.approx(value, rel=1e-6, abs=1e-12), f"at step {step}"


@every_case
def test_float64_is_the_formula(case: Case):
    with jax.enable_x64(True):
        values = case.ours(jnp.asarray(STEPS))  # int32, as the states count: once this made the value float32
        assert values.dtype == jnp.float64
        assert furthest(values, wanted(case)) <= FLOAT64


@every_case
def test_float32_is_the_formula(case: Case):
    values = case.ours(STEPS)
    assert values.dtype == jnp.float32
    assert furthest(values, wanted(case)) <= FLOAT32


@pytest.mark.parametrize("case", [case for case in CASES if case.optax], ids=str)
def test_optax_agrees_at_every_step(case: Case):
    optax = pytest.importorskip("optax")
    theirs = case.optax(optax)
    assert furthest(case.ours(STEPS), np.asarray(jax.vmap(theirs)(STEPS), np.float64)) <= FLOAT32


def torch_rates(key: str, make: Any, steps: np.ndarray, base: float = 1.0) -> np.ndarray:
    """Return the learning rate at each step under torch's scheduler."""

    def run(torch):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
        scheduler, values = make(torch.optim.lr_scheduler, optimizer), []
        for n in steps:
            values.append(float(optimizer.param_groups[0]["lr"]))
            optimizer.step()
            if n < steps[-1]:  # OneCycleLR refuses a step past its last
                scheduler.step()
        return {"values": np.array(values)}

    return from_torch(f"schedule {key}", run)["values"]


@pytest.mark.parametrize("case", [case for case in CASES if case.torch], ids=str)
def test_torch_agrees_at_every_step(case: Case):
    steps = np.arange(1 + (case.last if case.torch_last is None else case.torch_last))
    assert furthest(case.ours(steps), torch_rates(str(case), case.torch, steps, case.base)) <= FLOAT32


@pytest.mark.parametrize("name", COMPOSED)
def test_torch_composes_alike(name: str):
    ours, theirs = COMPOSED[name]
    assert furthest(ours(STEPS), torch_rates(name, theirs, STEPS)) <= FLOAT32


UP_AND_DOWN = ("sgdr_schedule", "cyclic_schedule")


@pytest.mark.parametrize("case", [case for case in CASES if case.ours.name not in UP_AND_DOWN], ids=str)
def test_rises_and_falls_where_it_should(case: Case):
    change = np.diff(np.asarray(case.ours(STEPS), np.float64))
    largest = float(np.max(np.abs(np.asarray(case.ours(STEPS)))))
    falling = [n for n in range(case.rises_until, len(change)) if n + 1 not in case.jumps]
    assert np.all(change[: case.rises_until] >= -1e-6 * largest)
    assert np.all(change[falling] <= 1e-6 * largest)


@every_case
def test_is_continuous_but_for_its_jumps(case: Case):
    fine = np.linspace(0, 84, 8401)
    with jax.enable_x64(True):
        values = np.asarray(case.ours(fine))
    span = max(np.ptp(values), 1e-3)
    leaps = {int(np.floor(fine[i + 1] + 1e-9)) for i in np.flatnonzero(np.abs(np.diff(values)) > 0.04 * span)}
    assert leaps <= set(case.jumps)


@every_case
def test_vectorised_jitted_and_mapped_alike(case: Case):
    values = np.asarray(case.ours(STEPS))
    one_by_one = np.array([case.ours(int(n)) for n in STEPS[::7]])
    np.testing.assert_allclose(one_by_one, values[::7], rtol=1e-6, atol=1e-7)
    assert case.ours(3).shape == ()
    square = STEPS[:12].reshape(3, 4)
    np.testing.assert_allclose(case.ours(square), values[:12].reshape(3, 4), rtol=1e-6, atol=1e-7)
    call = jax.jit(lambda schedule, n: schedule(n))
    np.testing.assert_allclose(call(case.ours, STEPS), values, rtol=1e-6, atol=1e-7)
    np.testing.assert_allclose(jax.vmap(case.ours)(STEPS), values, rtol=1e-6, atol=1e-7)


def test_is_a_function_for_jit():
    schedule = gradx.linear_schedule(0.0, 1.0, 10)
    np.testing.assert_allclose(jax.jit(schedule)(jnp.arange(3)), [0.0, 0.1, 0.2], rtol=1e-6)


@every_case
def test_kind_of_integer_does_not_matter(case: Case):
    # flax counts in uint32: a difference below 0 would wrap round.
    plain = case.ours(5)
    for step in (np.int64(5), jnp.int32(5), jnp.uint32(5), np.uint16(5), 5.0, jnp.float32(5)):
        assert float(case.ours(step)) == float(plain), type(step)


@every_case
def test_strict_promotion(case: Case):
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert case.ours(jnp.int32(7)).shape == ()
        assert case.ours(jnp.arange(4)).shape == (4,)


@every_case
def test_gradient_with_respect_to_its_floats(case: Case):
    steps = STEPS + 0.37  # between the turns, where there is but one derivative
    weights = np.cos(steps * 1.7)

    def total(schedule: Any) -> jax.Array:
        return jnp.sum(weights * schedule(steps))

    with jax.enable_x64(True):
        leaves, treedef = jax.tree.flatten(case.ours)
        assert leaves
        gradient = jax.tree.leaves(jax.grad(total)(case.ours))
        slopes = []
        for i, x in enumerate(leaves):
            h = 1e-6
            up, down = ([*leaves[:i], x + d, *leaves[i + 1 :]] for d in (h, -h))
            slopes.append(float(total(treedef.unflatten(up)) - total(treedef.unflatten(down))) / (2 * h))
    gradient, slopes = np.array(gradient), np.array(slopes)
    assert np.max(np.abs(gradient - slopes)) <= FINITE_DIFFERENCE * max(np.max(np.abs(slopes)), 1)


@every_case
def test_huge_steps_are_finite(case: Case):
    values = np.asarray(case.ours(np.array(HUGE, np.int32)))
    assert np.all(np.isfinite(values))
    assert [float(case.ours(n)) for n in HUGE] == pytest.approx(list(map(float, values)), rel=1e-6)
    if case.ends:
        assert np.all(values == np.asarray(case.ours(84)))  # it has arrived and stays
    for n in HUGE:
        assert all(np.isfinite(g) for g in jax.tree.leaves(jax.grad(lambda s, n=n: s(n))(case.ours)))


def test_stairs_are_counted_in_integers():
    # As float32, 2**24 + 2 and + 3 round to even: the stair of 3 steps would come a step too early or too late.
    n = 2**24 + np.arange(30, dtype=np.int32)
    values = np.asarray(gradx.exponential_decay(1.0, 3, math.exp(1e-6), staircase=True)(n))
    rises = np.flatnonzero(np.diff(values) > 0)
    assert len(rises) == 10
    assert np.all((n[rises] + 1) % 3 == 0)


@every_case
def test_prints_compares_hashes_and_pickles(case: Case):
    schedule = case.ours
    assert isinstance(schedule, ScheduleValue)
    again = eval(repr(schedule), vars(gradx))
    for same in (again, pickle.loads(pickle.dumps(schedule)), copy.deepcopy(schedule), schedule.replace()):
        assert same == schedule
        assert hash(same) == hash(schedule)
    leaves, treedef = jax.tree.flatten(schedule)
    for i in range(len(leaves)):
        other = treedef.unflatten([*leaves[:i], leaves[i] + 0.5, *leaves[i + 1 :]])
        assert other != schedule
    assert sum(schedule == case.ours for case in CASES) == 1


def test_an_equal_schedule_traces_nothing_anew():
    traces = []

    @jax.jit
    def value(schedule: Any, step: Any) -> jax.Array:
        traces.append(1)
        return schedule(step)

    for peak in (0.1, 0.2, 0.3):
        assert float(value(gradx.warmup_cosine_decay_schedule(0.0, peak, 2, 10), 2)) == pytest.approx(peak)
    assert len(traces) == 1


def test_a_stack_of_schedules_is_mapped():
    def swept(peak: Any) -> Any:
        return gradx.linear_onecycle_schedule(40, peak, 0.25, 0.5)(jnp.arange(41))

    peaks = jnp.array([0.1, 1.0, 3.0])
    for row, peak in zip(jax.vmap(swept)(peaks), peaks, strict=True):
        np.testing.assert_allclose(
            row, gradx.linear_onecycle_schedule(40, float(peak), 0.25, 0.5)(np.arange(41)), rtol=1e-6
        )


def test_schedules_inside_schedules_need_not_be_values():
    joined = gradx.join_schedules([lambda n: 0.5 * n, gradx.constant_schedule(3.0)], [4])
    assert [float(joined(n)) for n in (0, 2, 3, 4, 9)] == [0.0, 1.0, 1.5, 3.0, 3.0]


@pytest.mark.parametrize("kind", [dict, collections.OrderedDict])
def test_boundaries_may_come_in_any_order(kind):
    scales = kind({20: 0.5, 10: 0.1})
    for schedule in (
        gradx.piecewise_constant_schedule(1.0, scales),
        gradx.piecewise_interpolate_schedule("linear", 1.0, scales),
    ):
        np.testing.assert_allclose([schedule(n) for n in (0, 10, 20)], [1.0, 0.1, 0.05], rtol=1e-6)


def test_a_line_arrives_exactly_however_far_it_goes():
    assert float(gradx.linear_schedule(1e8, 1.0, 10)(10)) == 1.0
    assert float(gradx.warmup_constant_schedule(1e8, 1.0, 10)(10)) == 1.0


C = gradx.constant_schedule(1.0)
IMPOSSIBLE = [
    # Spans without a step: the old behaviour was to return a constant, or to divide by zero.
    (lambda: gradx.linear_schedule(1.0, 0.0, 0), "linear_schedule", "transition_steps", "0"),
    (lambda: gradx.linear_schedule(1.0, 0.0, -5), "linear_schedule", "transition_steps", "-5"),
    (lambda: gradx.linear_schedule(1.0, 0.0, 10, -3), "linear_schedule", "transition_begin", "-3"),
    (lambda: gradx.polynomial_schedule(1.0, 0.0, 2.0, 0), "polynomial_schedule", "transition_steps", "0"),
    (lambda: gradx.polynomial_schedule(1.0, 0.0, 2.0, 5, -1), "polynomial_schedule", "transition_begin", "-1"),
    (lambda: gradx.exponential_decay(1.0, 0, 0.5), "exponential_decay", "transition_steps", "0"),
    (lambda: gradx.exponential_decay(1.0, 10, 0.0), "exponential_decay", "decay_rate", "0"),
    (lambda: gradx.exponential_decay(1.0, 10, 0.5, -2), "exponential_decay", "transition_begin", "-2"),
    (lambda: gradx.step_decay_schedule(1.0, 0), "step_decay_schedule", "step_size", "0"),
    (lambda: gradx.inverse_sqrt_schedule(1.0, 0), "inverse_sqrt_schedule", "warmup_steps", "0"),
    (lambda: gradx.cosine_decay_schedule(1.0, 0), "cosine_decay_schedule", "decay_steps", "0"),
    (lambda: gradx.cosine_decay_schedule(1.0, -7), "cosine_decay_schedule", "decay_steps", "-7"),
    (lambda: gradx.cosine_restarts_schedule(1.0, 0, 2), "cosine_restarts_schedule", "first_period", "0"),
    (lambda: gradx.cosine_restarts_schedule(1.0, 5, 0), "cosine_restarts_schedule", "cycles", "0"),
    (lambda: gradx.sgdr_schedule([]), "sgdr_schedule", "at least one", ""),
    (lambda: gradx.sgdr_schedule([SHORT]), "warmup_cosine_decay_schedule", "decay_steps=5", "warmup_steps=10"),
    (lambda: gradx.warmup_constant_schedule(0.0, 1.0, -1), "warmup_constant_schedule", "warmup_steps", "-1"),
    # Warmups longer than the whole.
    (lambda: gradx.warmup_cosine_decay_schedule(**SHORT), "warmup_cosine_decay", "decay_steps=5", "warmup_steps=10"),
    (lambda: gradx.warmup_cosine_decay_schedule(0.0, 1.0, 7, 7), "warmup_cosine_decay", "decay_steps=7", "=7"),
    (lambda: gradx.warmup_linear_decay_schedule(**SHORT), "warmup_linear_decay", "decay_steps=5", "warmup_steps=10"),
    (lambda: gradx.warmup_exponential_decay_schedule(0.0, 1.0, 5, 0, 0.5), "exponential", "transition_steps", "0"),
    (lambda: gradx.warmup_stable_decay_schedule(1.0, 5, -1, 10), "warmup_stable_decay", "stable_steps", "-1"),
    (lambda: gradx.warmup_stable_decay_schedule(1.0, 5, 5, 0), "warmup_stable_decay", "decay_steps", "0"),
    (lambda: gradx.warmup_stable_decay_schedule(1.0, 5, 5, 5, shape="x"), "warmup_stable_decay", "sqrt", "'x'"),
    (lambda: gradx.linear_onecycle_schedule(0, 1.0), "linear_onecycle_schedule", "transition_steps", "0"),
    (lambda: gradx.linear_onecycle_schedule(10, 1.0, 0.9, 0.5), "linear_onecycle_schedule", "9.0", "5.0"),
    (lambda: gradx.linear_onecycle_schedule(3, 1.0), "linear_onecycle_schedule", "turns", "3"),
    (lambda: gradx.linear_onecycle_schedule(10, 1.0, 1.5), "linear_onecycle_schedule", "pct_start", "1.5"),
    (lambda: gradx.cosine_onecycle_schedule(10, 1.0, 0.0), "cosine_onecycle_schedule", "turns", "0.0"),
    (lambda: gradx.cosine_onecycle_schedule(10, 1.0, div_factor=0.0), "cosine_onecycle_schedule", "div_factor", "0"),
    (lambda: gradx.multi_step_schedule(1.0, [5, 5]), "multi_step_schedule", "milestones", "[5, 5]"),
    (lambda: gradx.multi_step_schedule(1.0, [0, 5]), "multi_step_schedule", "at least 1", "[0, 5]"),
    (lambda: gradx.piecewise_constant_schedule(1.0, {-1: 0.5}), "piecewise_constant_schedule", "at least 0", "-1"),
    (lambda: gradx.piecewise_interpolate_schedule("linear", 1.0, {0: 2.0}), "piecewise_interpolate", "at least 1", "0"),
    (lambda: gradx.piecewise_interpolate_schedule("cubic", 1.0, {5: 2.0}), "interpolate_type", "'linear'", "'cubic'"),
    # Schedules and boundaries whose numbers do not match (they were dropped silently).
    (lambda: gradx.join_schedules([C, C, C], [5]), "join_schedules", "3 schedules need 2 boundaries", "got 1"),
    (lambda: gradx.join_schedules([C], [5]), "join_schedules", "1 schedules need 0 boundaries", "got 1"),
    (lambda: gradx.join_schedules([], []), "join_schedules", "0 schedules", ""),
    (lambda: gradx.join_schedules([C, C, C], [9, 4]), "join_schedules", "must rise", "[9, 4]"),
    (lambda: gradx.join_schedules([C, C], [-1]), "join_schedules", "at least 0", "[-1]"),
]  # fmt: skip
SHORT = {"init_value": 0.0, "peak_value": 1.0, "warmup_steps": 10, "decay_steps": 5}


@pytest.mark.parametrize(("make", "who", "what", "number"), IMPOSSIBLE)
def test_the_impossible_is_refused_with_its_numbers(make, who: str, what: str, number: str):
    with pytest.raises(ValueError) as caught:
        make()
    for part in (who, what, number):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    "make",
    [
        lambda: gradx.linear_schedule(1.0, 0.0, 10.5),
        lambda: gradx.linear_schedule("1", 0.0, 10),
        lambda: gradx.join_schedules([C, C], [4.5]),
        lambda: gradx.piecewise_constant_schedule(1.0, {2.5: 0.1}),
    ],
)
def test_the_wrong_type_is_refused(make):
    with pytest.raises(TypeError):
        make()
