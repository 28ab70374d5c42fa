"""Integers of every width are Python's, as hyperparameters and as steps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import gradx

WIDTHS = (np.int8, np.uint8, np.int16, np.uint16, np.int32, np.uint32, np.int64, np.uint64)
WITH_INTEGERS = {
    "sgd": lambda n: gradx.sgd(n(1), momentum=n(0)),
    "linear_schedule": lambda n: gradx.linear_schedule(n(1), n(0), n(10), n(2)),
    "exponential_decay": lambda n: gradx.exponential_decay(n(1), n(10), 0.5, n(2)),
    "cosine_restarts_schedule": lambda n: gradx.cosine_restarts_schedule(n(1), n(100), n(3), n(2)),
    "multi_step_schedule": lambda n: gradx.multi_step_schedule(n(1), [n(1), n(100)]),
    "join_schedules": lambda n: gradx.join_schedules([gradx.linear_schedule(1.0, 0.0, n(3))] * 2, [n(100)]),
    "piecewise_constant_schedule": lambda n: gradx.piecewise_constant_schedule(1.0, {n(3): n(2), n(100): 0.5}),
    "piecewise_interpolate": lambda n: gradx.piecewise_interpolate_schedule("linear", 1.0, {n(3): n(2), n(100): 0.5}),
    "warmup_cosine": lambda n: gradx.warmup_cosine_decay_schedule(0.0, n(1), n(10), n(100)),
    "warmup_stable": lambda n: gradx.warmup_stable_decay_schedule(1.0, n(10), n(50), n(100)),
    "onecycle": lambda n: gradx.linear_onecycle_schedule(n(100), n(1)),
    "sgdr": lambda n: gradx.sgdr_schedule(
        [{"init_value": n(0), "peak_value": n(1), "warmup_steps": n(9), "decay_steps": n(100)}] * 2
    ),
    "arithmetic": lambda n: n(2) * gradx.linear_schedule(1.0, 0.0, 10) + n(1),
    "add_noise": lambda n: gradx.add_noise(n(1), n(1), seed=n(3)),
    "adaptive_grad_clip": lambda n: gradx.adaptive_grad_clip(n(1), axis=n(0)),
    "MultiSteps": lambda n: gradx.MultiSteps(gradx.sgd(n(1)), n(2)),
}


@pytest.mark.parametrize("name", WITH_INTEGERS)
def test_integers_of_every_width_are_pythons(name):
    make = WITH_INTEGERS[name]
    plain = make(int)
    with jax.numpy_dtype_promotion("strict"):
        for width in WIDTHS:
            value = make(width)
            assert value == plain
            assert hash(value) == hash(plain)
            assert repr(value) == repr(plain) or "piecewise" in name  # the keys of a dict stay what they are
            assert jax.tree.structure(value) == jax.tree.structure(plain)
            assert [type(x) for x in jax.tree.leaves(value)] == [type(x) for x in jax.tree.leaves(plain)]
        value = make(np.int8)  # narrower than what it is added to and compared with
        if callable(value) and not isinstance(value, gradx.GradientTransformation):
            np.testing.assert_array_equal(value(np.array([0, 5, 150, 60000])), plain(np.array([0, 5, 150, 60000])))
        else:
            g = jnp.ones((2, 2))
            np.testing.assert_array_equal(value.update(g, value.init(g), g)[0], plain.update(g, plain.init(g), g)[0])


LONG = [
    gradx.linear_schedule(1.0, 0.0, 70000, 300),
    gradx.polynomial_schedule(1.0, 0.1, 2.0, 70000),
    gradx.exponential_decay(1.0, 30000, 0.5, 300),
    gradx.exponential_decay(1.0, 300, 0.5, 200, staircase=True, end_value=0.2),
    gradx.inverse_sqrt_schedule(1.0, 300),
    gradx.multi_step_schedule(1.0, [100, 300, 60001]),
    gradx.piecewise_constant_schedule(1.0, {100: 0.5, 300: 0.5, 60001: 0.5}),
    gradx.piecewise_interpolate_schedule("cosine", 1.0, {300: 0.5, 70000: 0.1}),
    gradx.join_schedules([gradx.constant_schedule(1.0), gradx.linear_schedule(1.0, 0.0, 300, 50)], [60000]),
    gradx.cosine_decay_schedule(1.0, 70000),
    gradx.cosine_restarts_schedule(1.0, 300, 3, 10),
    gradx.warmup_constant_schedule(0.0, 1.0, 300),
    gradx.warmup_cosine_decay_schedule(0.0, 1.0, 300, 70000),
    gradx.warmup_linear_decay_schedule(0.0, 1.0, 300, 70000),
    gradx.warmup_exponential_decay_schedule(0.0, 1.0, 300, 30000, 0.5),
    gradx.warmup_stable_decay_schedule(1.0, 300, 300, 70000, shape="sqrt"),
    gradx.linear_onecycle_schedule(70000, 1.0),
    gradx.cosine_onecycle_schedule(70000, 1.0),
    0.5 * gradx.linear_schedule(1.0, 0.0, 70000) + 1.0,
]
"""Schedules that turn where the narrow integers have no room, and reach to where float16 has no integers."""

STEPS = {8: [0, 99, 120], 16: [0, 299, 32000], 32: [0, 299, 60001], 64: [299, 60001, 2**40]}
"""Steps that fit a signed integer of so many bits."""


@pytest.mark.parametrize("schedule", LONG, ids=lambda schedule: str(schedule)[:40])
def test_steps_of_every_width_mean_the_same(schedule):
    with jax.numpy_dtype_promotion("strict"):
        for bits, steps in STEPS.items():
            wanted = schedule(jnp.array([min(step, 2**31 - 1) for step in steps], jnp.int32))
            for kind in (f"int{bits}", f"uint{bits}"):
                np.testing.assert_array_equal(schedule(np.array(steps, kind)), wanted)
                if bits < 64:
                    np.testing.assert_array_equal(schedule(jnp.array(steps, kind)), wanted)
            if bits < 64:
                np.testing.assert_allclose(schedule(np.array(steps, float)), wanted, rtol=1e-6)
        for kind in (jnp.float16, jnp.bfloat16):
            np.testing.assert_array_equal(schedule(jnp.array([0, 64, 128], kind)), schedule(jnp.array([0, 64, 128])))
        np.testing.assert_allclose(schedule(2**40), wanted[-1], rtol=1e-6)
        with jax.enable_x64(True):
            wanted = schedule(np.array([0, 299, 60001]))
            np.testing.assert_array_equal(schedule(np.array([0, 299, 60001], np.uint16)), wanted)
            assert schedule(jnp.array(2**40)).dtype == wanted.dtype == jnp.float64


@pytest.mark.parametrize("schedule", LONG[:-1], ids=lambda schedule: str(schedule)[:40])
def test_values_of_low_precision_are_computed_with_in_the_default_float(schedule):
    leaves, treedef = jax.tree.flatten(schedule)
    for dtype, x64 in ((jnp.bfloat16, False), (jnp.float16, False), (jnp.float32, True)):
        rounded = [np.asarray(x).astype(dtype) for x in leaves]
        if not all(map(np.isfinite, rounded)):
            continue
        with jax.enable_x64(x64), jax.numpy_dtype_promotion("strict"):
            steps = np.array([0, 299, 60001])
            values = treedef.unflatten([jnp.asarray(x) for x in rounded])(steps)
            assert values.dtype == jnp.result_type(float)
            exact = treedef.unflatten([float(x) for x in rounded])(steps)
            np.testing.assert_allclose(values, exact, rtol=1e-14 if x64 else 2e-6)
