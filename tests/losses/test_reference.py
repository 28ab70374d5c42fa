"""Every loss against its definition, its peer, finite differences, and itself under jit and vmap."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx import losses
from tests.oracles.losses import CASES

PEER_TOLERANCE = 1e-5
"""Float64; Optax keeps some of its constants, and so some of its sums, in float32."""
SLOPE_STEP = 1e-6
SLOPE_TOLERANCE = 1e-7
"""Central differences of functions of size ten: step squared, and rounding over step, 1e-15 / 1e-6 each term."""

COMPILER = {"xla_backend_optimization_level": 0}
"""Each program is compiled to be run once: without optimisation that takes two thirds of the time."""

every = pytest.mark.parametrize("case", CASES, ids=str)


def draw(case, seed=0):
    return tuple(np.asarray(x) for x in case.arguments(np.random.default_rng(seed)))


def cast(arguments, dtype):
    return tuple(x.astype(dtype) if x.dtype == np.float64 else x for x in arguments)


def assert_close(got, wanted, tolerance):
    got, wanted = jax.tree.leaves(got), jax.tree.leaves(wanted)
    assert len(got) == len(wanted)
    for g, w in zip(got, wanted, strict=True):
        assert np.shape(g) == np.shape(w)
        np.testing.assert_allclose(np.asarray(g, np.float64), w, rtol=tolerance, atol=tolerance)


def test_no_loss_lacks_a_case():
    checked = {case.name.split("-")[0] for case in CASES}
    assert checked == set(losses.__all__)


def test_every_loss_has_a_case_with_a_mask():
    masked = {case.name.split("-")[0] for case in CASES if case.name.endswith("where")}
    with_probabilities = {"ctc_loss_with_forward_probs"}  # its mask is that of `ctc_loss`
    assert masked | with_probabilities == {case.name.split("-")[0] for case in CASES}


def weighed(xp, function, results_like):
    """The sum of all results of `function` with fixed random weights: a scalar to differentiate."""
    rng = np.random.default_rng(1)
    weights = [rng.normal(size=np.shape(x)) for x in jax.tree.leaves(results_like)]

    def total(*arguments):
        results = function(*arguments)
        pairs = zip(weights, jax.tree.leaves(results), strict=True)
        return sum(xp.sum(w * x) for w, x in pairs), results

    return total


@every
def test_float64_values_and_gradients_agree_with_the_definition(case):
    """Three draws under jit and vmap; gradients of every float argument against finite differences of the reference."""
    batch = [draw(case, seed) for seed in range(3)]
    wanted = [case.reference(*arguments) for arguments in batch]
    first = batch[0]
    floats = [i for i, x in enumerate(first) if x.dtype == np.float64]
    with jax.enable_x64(True):
        ours = jax.grad(weighed(jnp, case.ours, wanted[0]), argnums=floats, has_aux=True)
        gradients, got = jax.jit(jax.vmap(ours), compiler_options=COMPILER)(*map(np.stack, zip(*batch, strict=True)))
        assert {x.dtype for x in jax.tree.leaves((gradients, got))} == {jnp.dtype(jnp.float64)}
    assert_close(got, jax.tree.map(lambda *xs: np.stack(xs), *wanted), case.tolerance)
    for i, gradient in zip(floats, gradients, strict=True):
        slope = central_differences(lambda *xs: weighed(np, case.reference, wanted[0])(*xs)[0], first, i)
        np.testing.assert_allclose(gradient[0], slope, rtol=SLOPE_TOLERANCE, atol=SLOPE_TOLERANCE)


@every
def test_float32_agrees_with_the_definition(case):
    got = jax.jit(case.ours, compiler_options=COMPILER)(*cast(draw(case), np.float32))
    assert {x.dtype for x in jax.tree.leaves(got)} == {jnp.dtype(jnp.float32)}
    assert_close(got, case.reference(*draw(case)), case.tolerance32)


@pytest.mark.parametrize("case", [case for case in CASES if case.peer], ids=str)
def test_agrees_with_optax(case):
    with jax.enable_x64(True):
        ours, peers = jax.jit(lambda *xs: (case.ours(*xs), case.peer(*xs)), compiler_options=COMPILER)(*draw(case))
    assert_close(ours, peers, PEER_TOLERANCE)


def central_differences(function, arguments, i):
    slope = np.empty(arguments[i].shape)
    for index in np.ndindex(slope.shape):
        ends = []
        for sign in (1, -1):
            moved = arguments[i].copy()
            moved[index] += sign * SLOPE_STEP
            ends.append(function(*arguments[:i], moved, *arguments[i + 1 :]))
        slope[index] = (ends[0] - ends[1]) / (2 * SLOPE_STEP)
    return slope


@every
def test_nothing_is_left_to_implicit_promotion(case):
    """A bfloat16 array beside float32 and integer ones traces under the strict rules, into float32."""
    first, *rest = cast(draw(case), np.float32)
    arguments = (jnp.asarray(first, jnp.bfloat16), *map(jnp.asarray, rest))
    with jax.numpy_dtype_promotion("strict"), jax.numpy_rank_promotion("raise"):
        results = jax.eval_shape(case.ours, *arguments)
    assert {x.dtype for x in jax.tree.leaves(results)} == {jnp.dtype(jnp.float32)}
