"""Every accumulation, with and without a remainder, against the whole batch, Optax and finite differences."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.oracles.microbatching import CASES

GRADIENT_TOLERANCE = 1e-7
"""Central differences of quadratic and cubic functions with step 1e-5 in float64."""

parametrize = pytest.mark.parametrize("case", CASES, ids=str)


def arguments(case, dtype):
    return tuple(jnp.asarray(x, dtype) for x in case.arguments(np.random.default_rng(0)))


def assert_close(got, wanted, tolerance):
    for x, y in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert x.shape == y.shape
        assert np.max(np.abs(x - y) / (1 + np.abs(y))) <= tolerance


@parametrize
def test_float64_matches_the_whole_batch(case):
    drawn = case.arguments(np.random.default_rng(0))
    with jax.enable_x64(True):
        got = jax.jit(case.ours)(*map(jnp.asarray, drawn))
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(got))
    assert_close(got, case.reference(*drawn), case.tolerance)


@parametrize
def test_float32_matches_the_whole_batch(case):
    rounded = arguments(case, jnp.float32)
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        got = jax.jit(case.ours)(*rounded)
    assert_close(got, case.reference(*(np.asarray(x, np.float64) for x in rounded)), case.tolerance32)
    if case.peer:
        assert_close(got, jax.jit(case.peer)(*rounded), case.tolerance32)


@pytest.mark.parametrize("case", [case for case in CASES if "11 rows by 4" in case.name], ids=str)
def test_gradient_matches_finite_differences(case):
    with jax.enable_x64(True):
        drawn = arguments(case, jnp.float64)
        tolerance = {"atol": GRADIENT_TOLERANCE, "rtol": GRADIENT_TOLERANCE}
        check_grads(jax.jit(lambda *a: jax.tree.leaves(case.ours(*a))), drawn, 1, modes=["rev"], eps=1e-5, **tolerance)


@pytest.mark.parametrize("case", [case for case in CASES if "s, 11 rows by 4" in case.name], ids=str)
def test_vmap_is_a_loop(case):
    one, other = arguments(case, jnp.float32), tuple(2 * x for x in arguments(case, jnp.float32))
    batched = jax.jit(jax.vmap(case.ours))(*map(lambda *pair: jnp.stack(pair), one, other))
    each = [jax.jit(case.ours)(*row) for row in (one, other)]
    assert_close(batched, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each), case.tolerance32)
