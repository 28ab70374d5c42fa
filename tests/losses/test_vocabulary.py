"""Cross-entropy over a large vocabulary: its memory, its chunks, its shards."""

import functools
import os
import subprocess
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gradx.losses import softmax_cross_entropy_with_integer_labels, vocabulary_cross_entropy

VOCABULARY, ROWS, WIDTH = 50_000, 2_048, 256
MEMORY_RATIO = 0.1
"""Of the dense form's temporaries. Measured: 33.6 MB against 819 MB, 0.041."""
LARGE_TOLERANCE = 1e-5
"""Relative to the largest entry: float32 sums over 50,000 classes or 2,048 rows in another order."""


def dense(hidden, matrix, labels):
    return softmax_cross_entropy_with_integer_labels(hidden @ matrix.T, labels)


def value_and_gradients(loss):
    return jax.jit(jax.value_and_grad(lambda *xs: loss(*xs).mean(), argnums=(0, 1)))


def test_memory_at_a_vocabulary_of_fifty_thousand():
    """Nothing is run: the compiler says how much it sets aside."""
    arguments = [jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((ROWS, WIDTH), (VOCABULARY, WIDTH))]
    arguments.append(jax.ShapeDtypeStruct((ROWS,), jnp.int32))

    def temporaries(loss):
        return value_and_gradients(loss).lower(*arguments).compile().memory_analysis().temp_size_in_bytes

    ours, theirs = temporaries(vocabulary_cross_entropy), temporaries(dense)
    assert theirs > 4 * ROWS * VOCABULARY
    assert ours < MEMORY_RATIO * theirs


def test_value_and_gradients_at_a_vocabulary_of_fifty_thousand():
    """Fewer rows and a narrower matrix than in production, so that it takes a second."""
    rng = np.random.default_rng(0)
    hidden = rng.normal(size=(128, 32)).astype(np.float32)
    matrix = rng.normal(size=(VOCABULARY, 32)).astype(np.float32) / 4
    labels = rng.integers(0, VOCABULARY, size=128)
    got = value_and_gradients(vocabulary_cross_entropy)(hidden, matrix, labels)
    wanted = value_and_gradients(dense)(hidden, matrix, labels)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(g, w, rtol=0, atol=LARGE_TOLERANCE * np.abs(w).max())


def small(dtype=np.float32, classes=7):
    rng = np.random.default_rng(0)
    hidden, matrix = rng.normal(size=(5, 3)), rng.normal(size=(classes, 3))
    return jnp.asarray(hidden, dtype), jnp.asarray(matrix, dtype), jnp.array([0, 6, 3, 3, 1]) % classes


def test_ignored_rows_count_for_nothing():
    hidden, matrix, labels = small()
    ignored = labels.at[1].set(-100)
    hidden = hidden.at[1].set(jnp.nan)

    def total(hidden, matrix):
        return vocabulary_cross_entropy(hidden, matrix, ignored, chunk_size=3, ignore_index=-100).sum()

    value, (d_hidden, d_matrix) = jax.jit(jax.value_and_grad(total, argnums=(0, 1)))(hidden, matrix)
    rest = np.array([0, 2, 3, 4])
    wanted, (_, d_wanted) = jax.value_and_grad(lambda *x: dense(*x, labels[rest]).sum(), (0, 1))(hidden[rest], matrix)
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    np.testing.assert_array_equal(d_hidden[1], 0)
    np.testing.assert_allclose(d_matrix, d_wanted, atol=1e-6)
    with_mask = vocabulary_cross_entropy(
        hidden, matrix, ignored, ignore_index=-100, where=jnp.array([False, True, True, True, True])
    )
    np.testing.assert_array_equal(np.asarray(with_mask) == 0, [True, True, False, False, False])


def test_a_label_out_of_range_is_not_a_number():
    hidden, matrix, _ = small()
    got = vocabulary_cross_entropy(hidden, matrix, jnp.array([-1, 7, 0, 6, 100]))
    np.testing.assert_array_equal(np.isnan(got), [True, True, False, False, True])


def test_large_logits_and_one_class():
    hidden, matrix, labels = small()
    loss = functools.partial(vocabulary_cross_entropy, chunk_size=2)
    value, gradients = value_and_gradients(loss)(1e4 * hidden, matrix, labels)
    np.testing.assert_allclose(value, dense(1e4 * hidden, matrix, labels).mean(), rtol=1e-6)
    assert all(np.isfinite(g).all() for g in gradients)
    value, gradients = value_and_gradients(loss)(*small(classes=1))
    assert value == 0
    assert all(not np.any(g) for g in gradients)


@pytest.mark.parametrize("dtype", [jnp.bfloat16, jnp.float16])
def test_narrow_inputs_are_computed_in_float32(dtype):
    hidden, matrix, labels = small(dtype)
    value, gradients = value_and_gradients(vocabulary_cross_entropy)(hidden, matrix, labels)
    lifted = (hidden.astype(jnp.float32), matrix.astype(jnp.float32), labels)
    wanted, slopes = value_and_gradients(dense)(*lifted)
    assert value.dtype == jnp.float32
    np.testing.assert_allclose(value, wanted, rtol=1e-6)
    for g, w in zip(gradients, slopes, strict=True):
        assert g.dtype == dtype
        np.testing.assert_array_equal(g, w.astype(dtype))


def test_options_may_be_traced_and_differentiated():
    hidden, matrix, labels = small()

    def total(z_loss, label_smoothing):
        options = {"z_loss": z_loss, "label_smoothing": label_smoothing, "chunk_size": 2}
        return vocabulary_cross_entropy(hidden, matrix, labels, **options).sum()

    slopes = jax.jit(jax.grad(total, argnums=(0, 1)))(0.1, 0.2)
    x = hidden @ matrix.T
    own = x[jnp.arange(5), labels]
    np.testing.assert_allclose(slopes[0], jnp.sum(jax.nn.logsumexp(x, axis=1) ** 2), rtol=1e-5)
    np.testing.assert_allclose(slopes[1], jnp.sum(own - x.mean(1)), rtol=1e-5)


SHARDED = """
import itertools
import jax, jax.numpy as jnp, numpy as np
from jax.sharding import AxisType, PartitionSpec as P
from gradx.losses import multiclass_hinge_loss, vocabulary_cross_entropy
from gradx.losses import softmax_cross_entropy_with_integer_labels as dense

jax.config.update("jax_num_cpu_devices", 4)
rng = np.random.default_rng(0)
hidden = rng.normal(size=(2, 4, 6)).astype(np.float32)
matrix = rng.normal(size=(22, 6)).astype(np.float32)
labels = rng.integers(0, 22, size=(2, 4))

def loss(hidden, matrix, labels, **options):
    return vocabulary_cross_entropy(hidden, matrix, labels, chunk_size=4, z_loss=0.1, **options).mean()

step = jax.value_and_grad(loss, argnums=(0, 1))
wanted = step(hidden, matrix, labels)
mesh = jax.make_mesh((2, 2), ("rows", "classes"), axis_types=(AxisType.Explicit,) * 2)
with jax.set_mesh(mesh):
    for row_axis, spec in itertools.product((None, "rows"), (P("classes", None), P(None, "classes"), P())):
        spec = spec if spec else P(None, None)
        h = jax.device_put(hidden, P(None, row_axis, spec[1]))
        m = jax.device_put(matrix, spec)
        y = jax.device_put(labels, P(None, row_axis))
        program = jax.jit(step)
        without_jit = [step(h, m, y)] if row_axis and spec[0] else []
        for got in (program(h, m, y), *without_jit):
            for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
                np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
            assert jax.typeof(got[1][0]).sharding.spec == P(None, row_axis, spec[1]), got[1][0].sharding
            assert jax.typeof(got[1][1]).sharding.spec == spec, got[1][1].sharding
        if spec[0]:
            text = program.lower(h, m, y).compile().as_text()
            assert "all-reduce" in text and "all-gather" not in text and "all-to-all" not in text
    same = jax.device_put(hidden, P(None, "classes", None))
    try:
        step(same, jax.device_put(matrix, P("classes", None)), labels)
    except ValueError as error:
        assert "classes" in str(error), error
    else:
        raise AssertionError("rows and vocabulary on one axis were let pass")
    both = jax.device_put(matrix[:20], P(("rows", "classes"), None))
    few = labels % 20
    np.testing.assert_allclose(step(hidden, both, few)[0], step(hidden, matrix[:20], few)[0], rtol=1e-5)
    x = jax.device_put(hidden[0], P(None, "classes"))
    for by_class in (dense, multiclass_hinge_loss):
        slope = jax.grad(lambda x: by_class(x, labels[0] % 6).sum())
        np.testing.assert_allclose(slope(x), slope(hidden[0]), rtol=1e-5, atol=1e-6)
    def part(hidden, matrix, labels):
        value, (d_hidden, d_matrix) = step(hidden, matrix, labels)  # the matrix's is added up over the rows
        return jax.lax.pmean(value, "rows"), (d_hidden / 2, d_matrix / 2)

    by_row, whole = P("rows", None), P(None, None)
    manual = jax.shard_map(
        part,
        axis_names={"rows"},
        in_specs=(P("rows", None, None), whole, by_row),
        out_specs=(P(), (P("rows", None, None), whole)),
    )
    h, y = jax.device_put(hidden, P("rows", None, None)), jax.device_put(labels, by_row)
    got = jax.jit(manual)(h, jax.device_put(matrix, whole), y)
    for g, w in zip(jax.tree.leaves(got), jax.tree.leaves(wanted), strict=True):
        np.testing.assert_allclose(g, w, rtol=1e-5, atol=1e-6)
print("agreed")
"""


def test_vocabulary_and_rows_sharded_over_explicit_axes():
    """Values, gradients, the gradients' shardings; and nobody collects the matrix."""
    root = Path(__file__).parents[2]
    environment = os.environ | {"PYTHONPATH": str(root), "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", SHARDED], env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert run.returncode == 0, run.stderr
    assert "agreed" in run.stdout
