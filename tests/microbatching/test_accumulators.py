"""How results combine: precision, dtypes, early stops, trees of accumulators, rules of one's own."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax import microbatching as peer

from gradx import microbatching
from gradx.microbatching import AccumulationType, Accumulator, micro_grad, micro_vmap, microbatch

MEAN, SUM, RUNNING_MEAN, CONCAT = AccumulationType
X = jnp.arange(12.0).reshape(12, 1)

LARGEST = Accumulator(
    init=lambda shapes: jax.tree.map(lambda s: jnp.full(s.shape, -jnp.inf, s.dtype), shapes),
    update=lambda carry, value, index: jax.tree.map(jnp.maximum, carry, value),
    finalize=lambda carry: carry,
    aggregate=lambda rows: jax.tree.map(lambda x: jnp.max(x, axis=0), rows),
)


def rows_of(n_full, size, rest=0):
    """The rows of each microbatch, by the documented order."""
    full = [list(range(i, n_full * size, n_full)) for i in range(n_full)]
    return full + ([list(range(n_full * size, n_full * size + rest))] if rest else [])


@pytest.mark.parametrize("size", [1, 3, 64, 512, None])
def test_512_bfloat16_ones_sum_to_512(size):
    ones = jnp.ones(512, jnp.bfloat16)
    total = microbatch(lambda x: jnp.sum(x, dtype=jnp.float32).astype(x.dtype), 0, size)(ones)
    assert (float(total), total.dtype) == (512, jnp.float32)
    total = micro_vmap(lambda x: x, microbatch_size=size, accumulator=SUM)(ones)
    assert (float(total), total.dtype) == (512, jnp.float32)
    gradient, aux = micro_grad(lambda w, x: (w * x).sum(), microbatch_size=size)(jnp.bfloat16(1), ones)
    assert (float(gradient), gradient.dtype, aux.values.dtype) == (512, jnp.float32, jnp.bfloat16)


def test_optax_stops_at_256():
    """The fault that the test above guards against, as it is elsewhere."""
    assert float(peer.microbatch(jnp.sum, 0, 1)(jnp.ones(512, jnp.bfloat16))) == 256


@pytest.mark.parametrize("kind", [MEAN, RUNNING_MEAN])
@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16], ids=str)
def test_means_of_low_precision_are_float32(kind, dtype):
    x = jnp.arange(1001, dtype=jnp.float32).astype(dtype)
    mean = microbatch(jnp.sum, 0, 1, kind)(x)
    assert mean.dtype == jnp.float32
    np.testing.assert_allclose(mean, np.asarray(x, np.float64).mean(), rtol=1e-6)


def test_float16_sums_do_not_overflow():
    assert float(microbatch(jnp.sum, 0, 7)(jnp.full(100, 4096, jnp.float16))) == 409_600


@pytest.mark.parametrize("kind", list(AccumulationType))
def test_the_dtype_asked_for(kind):
    got = microbatch(jnp.sum, 0, 4, kind, accumulator_dtype=jnp.bfloat16)(jnp.ones(9))
    assert got.dtype == (jnp.float32 if kind is CONCAT else jnp.bfloat16)
    values = {SUM: 9.0, MEAN: 4.0, RUNNING_MEAN: 4.0}
    if kind is not CONCAT:  # the sums 4, 4, 1 with weights 1, 1, 1/4
        np.testing.assert_allclose(float(got), {**values, MEAN: 33 / 9, RUNNING_MEAN: 33 / 9}[kind], rtol=2**-7)


@pytest.mark.parametrize(
    ("dtype", "total", "mean"),
    [
        (jnp.int8, jnp.int32, jnp.float32),
        (jnp.uint32, jnp.uint32, jnp.float32),
        (jnp.bool_, jnp.int32, jnp.float32),
        (jnp.complex64, jnp.complex64, jnp.complex64),
    ],
    ids=str,
)
def test_dtypes_of_sums_and_means(dtype, total, mean):
    x = jnp.array([1, 0, 1, 1, 1], dtype)
    with jax.numpy_dtype_promotion("strict"):
        for kind, wanted, value in ((SUM, total, 4), (MEAN, mean, 0.8), (RUNNING_MEAN, mean, 0.8), (CONCAT, dtype, x)):
            got = micro_vmap(lambda x: x, microbatch_size=2, accumulator=kind)(x)
            assert got.dtype == wanted
            np.testing.assert_allclose(got, value, rtol=1e-6)


@pytest.mark.parametrize("kind", list(AccumulationType))
@pytest.mark.parametrize(("n_full", "size", "rest"), [(4, 3, 0), (2, 5, 2)])
def test_an_early_stop(kind, n_full, size, rest):
    x, count = X[: n_full * size + rest], n_full + (rest > 0)

    def run(x, real, module=microbatching):
        chosen = {"microbatch_size": size, "accumulator": module.AccumulationType[kind.name]}
        return module.micro_vmap(lambda x: x[0], num_real_microbatches=real, **chosen)(x)

    traced = jax.jit(run)
    for real in range(count + 2):
        rows = list(itertools.chain(*rows_of(n_full, size, rest)[:real]))
        kept = np.zeros(len(x))
        kept[rows] = np.asarray(x)[rows, 0]
        divisor = {SUM: 1, MEAN: len(x), RUNNING_MEAN: max(len(rows), 1)}
        wanted = kept if kind is CONCAT else kept.sum() / divisor[kind]
        np.testing.assert_allclose(traced(x, jnp.int32(real)), wanted, rtol=1e-6)
        if real in (0, n_full - 1, count):
            np.testing.assert_allclose(run(x, real), wanted, rtol=1e-6)
        if real == 2 and not rest:
            np.testing.assert_allclose(run(x, real, peer), wanted, rtol=1e-6)


def test_a_traced_stop_retraces_nothing():
    traces = []

    @jax.jit
    def run(x, real):
        traces.append(real)
        return microbatch(jnp.sum, 0, 5, num_real_microbatches=real)(x)

    assert [float(run(X, jnp.int32(real))) for real in range(4)] == [0.0, 20.0, 45.0, 66.0]
    assert len(traces) == 1


def test_a_tree_of_accumulators():
    def f(x):
        return {"all": x[:, 0], "more": (x.sum(), {"mean": x.mean(0), "count": x.shape[0]})}

    kinds = {"all": CONCAT, "more": (SUM, {"mean": RUNNING_MEAN, "count": SUM})}
    got = microbatch(f, 0, 5, kinds)(X)
    np.testing.assert_allclose(got["all"], X[:, 0])
    assert float(got["more"][0]) == 66
    np.testing.assert_allclose(got["more"][1]["mean"], [5.5], rtol=1e-6)
    assert int(got["more"][1]["count"]) == 12
    prefix = microbatch(f, 0, 5, {"all": CONCAT, "more": SUM})(X)
    assert float(prefix["more"][1]["count"]) == 12


@pytest.mark.parametrize("size", [1, 3, 5, 12, None])
def test_a_rule_of_ones_own(size):
    shuffled = jnp.cos(X)
    assert microbatch(jnp.max, 0, size, LARGEST)(shuffled) == shuffled.max()
    got = micro_vmap(lambda x: {"a": x[0], "b": -x[0]}, microbatch_size=size, accumulator=LARGEST)(shuffled)
    assert (got["a"], got["b"]) == (shuffled.max(), -shuffled.min())


def test_a_rule_of_ones_own_sees_the_order():
    seen = Accumulator(
        init=lambda shape: jnp.full(5, -1),
        update=lambda carry, value, index: carry.at[index].set(value),
        finalize=lambda carry: carry,
        aggregate=lambda rows: rows[0],
    )
    got = microbatch(lambda x: x[0, 0].astype(jnp.int32), 0, 5, seen)(X)
    np.testing.assert_array_equal(got, [0, 1, 10, -1, -1])


def test_scalars_become_a_vector():
    np.testing.assert_array_equal(microbatch(jnp.sum, 0, 5, CONCAT)(X), [20, 25, 21])
    np.testing.assert_array_equal(microbatch(jnp.sum, 0, None, CONCAT)(X), [66])


def test_what_is_no_accumulator_is_refused():
    with pytest.raises(TypeError, match="accumulator must be of AccumulationType or Accumulator, got 'sum'"):
        microbatch(jnp.sum, 0, 3, "sum")(X)
    with pytest.raises(ValueError, match="accumulator is no prefix of what the function returns"):
        microbatch(jnp.sum, 0, 3, {"a": SUM})(X)
    with pytest.raises(
        ValueError, match=r"CONCAT needs one row .* but 5 rows give float32\[3\], and a last .* of 2 is"
    ):
        microbatch(lambda x: jnp.ones(3), 0, 5, CONCAT)(X)


def test_names_are_those_of_optax():
    names = ["Accumulator", "AccumulationType", "microbatch", "micro_vmap", "micro_grad", "reshape_batch_axis"]
    assert all(hasattr(microbatching, name) and hasattr(peer, name) for name in names)
    assert [kind.name for kind in AccumulationType] == [kind.name for kind in peer.AccumulationType]
    assert [kind.value for kind in AccumulationType] == [kind.value for kind in peer.AccumulationType]
