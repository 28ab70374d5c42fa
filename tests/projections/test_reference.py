"""Every projection against its float64 reference, Optax and finite differences, and what all projections have alike."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.oracles.projections import CASES, CONVEX

PEER_TOLERANCE = 1e-5
"""Two float32 programs, each within `tolerance32` of the truth."""
GRADIENT_TOLERANCE = 1e-7
"""Central differences with step 1e-6 in float64: the pieces are linear or nearly, about nine digits are left."""
SAME_PROGRAM_TOLERANCE = 1e-6
"""Float32, the same operations compiled another way: some ulps of numbers of order one."""
ROUNDING = {jnp.bfloat16: 2**-8, jnp.float16: 2**-11}
"""Half an ulp, for the result alone: what is between is computed in float32. Nothing else is allowed for."""

parametrize = pytest.mark.parametrize("case", CASES, ids=str)


compiled = functools.cache(jax.jit)
"""One jitted function a case for all tests, so that none compiles what another has compiled."""


def arguments(case, dtype, seed=0):
    return tuple(jnp.asarray(x, dtype) for x in case.arguments(np.random.default_rng(seed)))


def assert_close(got, wanted, tolerance):
    got, wanted = np.asarray(got, np.float64), np.asarray(wanted, np.float64)
    assert got.shape == wanted.shape
    assert np.max(np.abs(got - wanted) / (1 + np.abs(wanted))) <= tolerance


@parametrize
@pytest.mark.parametrize("seed", range(2))
def test_float64_matches_the_reference(case, seed):
    drawn = case.arguments(np.random.default_rng(seed))
    with jax.enable_x64(True):
        got = compiled(case.ours)(*map(jnp.asarray, drawn))
        assert got.dtype == jnp.float64
    assert_close(got, case.reference(*drawn), case.tolerance)


@parametrize
def test_float32_matches_the_reference(case):
    rounded = arguments(case, jnp.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        assert jax.eval_shape(case.ours, *rounded).dtype == jnp.float32
    got = compiled(case.ours)(*rounded)
    assert_close(got, case.reference(*(np.asarray(x, np.float64) for x in rounded)), case.tolerance32)


@pytest.mark.parametrize("case", [case for case in CASES if case.peer], ids=str)
def test_float32_matches_optax(case):
    rounded = arguments(case, jnp.float32)
    assert_close(compiled(case.ours)(*rounded), compiled(case.peer)(*rounded), PEER_TOLERANCE)


@parametrize
def test_gradient_matches_finite_differences(case):
    with jax.enable_x64(True):
        drawn = arguments(case, jnp.float64)
        tolerance = {"atol": GRADIENT_TOLERANCE, "rtol": GRADIENT_TOLERANCE}
        check_grads(compiled(case.ours), drawn, order=1, modes=["rev"], eps=1e-6, **tolerance)


@parametrize
def test_vmap_is_a_loop(case):
    rows = [arguments(case, jnp.float32, seed) for seed in range(2)]
    batched = jax.jit(jax.vmap(case.ours))(*(jnp.stack(column) for column in zip(*rows, strict=True)))
    assert_close(batched, jnp.stack([compiled(case.ours)(*row) for row in rows]), SAME_PROGRAM_TOLERANCE)


@parametrize
def test_a_projected_point_stays(case):
    x, *rest = arguments(case, jnp.float32)
    project = compiled(case.ours)
    once = project(x, *rest)
    assert_close(project(once, *rest), once, SAME_PROGRAM_TOLERANCE)


@pytest.mark.parametrize("case", CONVEX, ids=str)
def test_no_two_points_move_apart(case):
    x, *rest = arguments(case, jnp.float32)
    y, *_ = arguments(case, jnp.float32, seed=1)
    project = compiled(case.ours)
    before, after = jnp.linalg.norm(x - y), jnp.linalg.norm(project(x, *rest) - project(y, *rest))
    assert after <= before * (1 + SAME_PROGRAM_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if "transport" not in case.name], ids=str)
def test_low_precision_rounds_the_result_alone(case):
    """The transport cases divide by the sums in the low precision themselves: see test_transport."""
    for dtype, tolerance in ROUNDING.items():
        rounded = arguments(case, dtype)
        assert jax.eval_shape(jax.grad(lambda *a: jnp.sum(case.ours(*a))), *rounded).dtype == dtype
        got = compiled(case.ours)(*rounded)
        assert got.dtype == dtype
        assert_close(got, compiled(case.ours)(*(x.astype(jnp.float32) for x in rounded)), tolerance)


@parametrize
def test_extreme_points_give_finite_values_and_gradients(case):
    x, *rest = arguments(case, jnp.float32)
    weights = jnp.cos(jnp.arange(x.size, dtype=jnp.float32)).reshape(x.shape)
    run = jax.jit(jax.value_and_grad(lambda *a: jnp.sum(weights * case.ours(*a)), argnums=range(1 + len(rest))))
    for factor in (0.0, 1e4, 1e-30, 1e30):
        assert all(jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(run(factor * x, *rest))), factor


@parametrize
def test_integers_give_float32(case):
    x, *rest = arguments(case, jnp.float32)
    assert jax.eval_shape(case.ours, jnp.round(3 * x).astype(jnp.int32), *rest).dtype == jnp.float32
