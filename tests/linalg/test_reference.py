"""Every function against its float64 reference (jitted), in float32 (as it is), Optax, finite differences, vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads

from tests.oracles.linalg import CASES

PEER_TOLERANCE = 1e-4
"""Two float32 programs, each within `tolerance32` of the truth."""
GRADIENT_TOLERANCE = 2e-6
"""Central differences in float64 with step 1e-5 keep about ten digits; what they measure varies by some tens."""
SAME_PROGRAM_TOLERANCE = 2e-5
"""Float32, the same operations compiled another way: some ulps, grown by the condition of the problem."""

parametrize = pytest.mark.parametrize("case", CASES, ids=str)


def arguments(case, dtype, seed=0):
    return tuple(jnp.asarray(x, dtype) for x in case.arguments(np.random.default_rng(seed)))


def assert_close(got, wanted, tolerance):
    got, wanted = jax.tree.leaves(got), jax.tree.leaves(wanted)
    assert len(got) == len(wanted)
    for x, y in zip(got, wanted, strict=True):
        x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
        assert x.shape == y.shape
        assert np.max(np.abs(x - y) / (1 + np.abs(y))) <= tolerance


@parametrize
def test_float64_matches_the_reference(case):
    drawn = case.arguments(np.random.default_rng(0))
    with jax.enable_x64(True):
        got = jax.jit(case.ours)(*map(jnp.asarray, drawn))
        assert all(leaf.dtype == jnp.float64 for leaf in jax.tree.leaves(got))
    assert_close(got, case.reference(*drawn), case.tolerance)


@parametrize
def test_float32_matches_the_reference(case):
    rounded = arguments(case, jnp.float32)
    got = case.ours(*rounded)
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(got))
    assert_close(got, case.reference(*(np.asarray(x, np.float64) for x in rounded)), case.tolerance32)


@pytest.mark.parametrize("case", [case for case in CASES if case.peer], ids=str)
def test_float32_matches_optax(case):
    rounded = arguments(case, jnp.float32)
    assert_close(case.ours(*rounded), case.peer(*rounded), PEER_TOLERANCE)


@pytest.mark.parametrize("case", [case for case in CASES if case.differentiable], ids=str)
def test_gradient_matches_finite_differences(case):
    with jax.enable_x64(True):
        drawn = arguments(case, jnp.float64)
        check_grads(
            jax.jit(case.ours),
            drawn,
            order=1,
            modes=["fwd", "rev"],
            eps=1e-5,
            atol=GRADIENT_TOLERANCE,
            rtol=GRADIENT_TOLERANCE,
        )


@parametrize
def test_vmap_is_a_loop(case):
    rows = [arguments(case, jnp.float32, seed) for seed in range(2)]
    each = [jax.jit(case.ours)(*row) for row in rows]
    batched = jax.jit(jax.vmap(case.ours))(*(jnp.stack(column) for column in zip(*rows, strict=True)))
    assert_close(batched, jax.tree.map(lambda *leaves: jnp.stack(leaves), *each), SAME_PROGRAM_TOLERANCE)
