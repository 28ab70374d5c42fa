"""Which arguments are split and how: axes, names, trees, keys, empty batches, memory, and what is refused."""

import inspect

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax import microbatching as peer

from gradx import microbatching
from gradx.microbatching import AccumulationType, micro_grad, micro_vmap, microbatch, reshape_batch_axis

MEAN, SUM, RUNNING_MEAN, CONCAT = AccumulationType
X = jnp.arange(12.0).reshape(12, 1)


def test_rows_are_taken_in_the_documented_order():
    np.testing.assert_array_equal(reshape_batch_axis(X, 3)[..., 0], [[0, 4, 8], [1, 5, 9], [2, 6, 10], [3, 7, 11]])
    np.testing.assert_array_equal(reshape_batch_axis(X, 3), peer.reshape_batch_axis(X, 3))
    tree = {"a": jnp.ones((2, 12, 5)), "b": jnp.ones((4, 12))}
    for axis in (1, -1):
        tree = {"b": tree["b"]} if axis == -1 else tree
        got, wanted = reshape_batch_axis(tree, 4, axis), peer.reshape_batch_axis(tree, 4, 1)
        assert jax.tree.map(jnp.shape, got) == jax.tree.map(jnp.shape, wanted)


def test_axes_names_and_what_is_not_split():
    def f(shared, x, text, *, y, scale=1.0):
        assert (text, x.shape[1], y["a"].shape[0]) == ("as it is", x.shape[1], x.shape[1])
        return scale * shared * jnp.sum(x.T[:, :2] * y["a"]), y["b"]

    y = {"a": jnp.arange(22.0).reshape(11, 2), "b": jnp.arange(11), "none": None}
    x = jnp.arange(33.0).reshape(3, 11)
    for in_axes in ((1, 0), (-1, 0)):
        run = microbatch(f, 1, 4, (SUM, CONCAT), argnames="y", in_axes=in_axes)
        total, rows = run(2.0, x, "as it is", y=y, scale=3.0)
        np.testing.assert_allclose(total, f(2.0, x, "as it is", y=y, scale=3.0)[0], rtol=1e-6)
        np.testing.assert_array_equal(rows, np.arange(11))


def test_negative_argnums_and_python_lists():
    assert float(microbatch(lambda a, x: a * jnp.sum(x), -1, 2)(2.0, [jnp.arange(5.0), np.arange(5)][0])) == 20
    assert float(microbatch(lambda xs: jnp.sum(xs[0] - xs[1]), 0, 2)([np.arange(5.0), np.ones(5)])) == 5


def test_vmap_over_axes_keywords_and_shared_arguments():
    rng = np.random.default_rng(0)
    a, b, c = rng.normal(size=(11, 3)), rng.normal(size=(2, 11)), rng.normal(size=(11, 2))

    def f(a, b, s, *, c=None):
        return s * a.sum() + b @ (b if c is None else c)

    for size in (4, None):
        mapped = micro_vmap(f, (0, 1, None), microbatch_size=size)
        np.testing.assert_allclose(mapped(a, b, 2.0), jax.vmap(f, (0, 1, None))(a, b, 2.0), rtol=1e-5)
        wanted = jax.vmap(lambda a, b, s, c: f(a, b, s, c=c), (0, 1, None, 0))(a, b, 2.0, c)
        np.testing.assert_allclose(mapped(a, b, 2.0, c=c), wanted, rtol=1e-5)


def test_vmap_fn_is_called():
    seen = []

    def vmap_fn(f, in_axes, out_axes):
        seen.append((in_axes, out_axes))
        return jax.vmap(f, in_axes, out_axes, axis_name="rows")

    got = micro_vmap(lambda x: x[0] - jax.lax.pmean(x[0], "rows"), microbatch_size=3, vmap_fn=vmap_fn)(X)
    assert set(seen) == {((0,), 0)}
    np.testing.assert_allclose(got, np.repeat([-4, 0, 4], 4))  # rows i, i + 4, i + 8 about their mean


def test_keys_are_rows():
    keys = jax.random.split(jax.random.key(0), 5)
    got = micro_vmap(lambda key: jax.random.normal(key, ()), microbatch_size=2)(keys)
    np.testing.assert_allclose(got, jax.vmap(lambda key: jax.random.normal(key, ()))(keys), rtol=1e-6)


@pytest.mark.parametrize("keep", [True, False])
def test_gradients_of_rows_clipped_one_by_one(keep):
    rng = np.random.default_rng(0)
    params = {"w": rng.normal(size=3).astype(np.float32), "b": np.float32(0.5)}
    x, y = rng.normal(size=(7, 3)).astype(np.float32), rng.normal(size=7).astype(np.float32)

    def loss(params, x, y, *, power):
        residual = x @ params["w"] + params["b"] - y
        assert np.ndim(residual) == keep
        return jnp.mean(jnp.abs(residual) ** power), {"residual": residual}

    def clip(g):
        norm = jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(g)))
        return jax.tree.map(lambda leaf: leaf / jnp.maximum(norm, 1), g)

    kinds = {"w": SUM, "b": CONCAT}
    run = micro_grad(
        loss, True, batch_argnums=(1, 2), keep_batch_dim=keep, microbatch_size=3, accumulator=kinds, transform_fn=clip,
        metrics_fn=lambda g: {"b": g["b"]},
    )  # fmt: skip
    gradient, aux = run(params, x, y, power=2)
    residual = x @ params["w"] + params["b"] - y
    rows = np.concatenate([2 * residual[:, None] * x, 2 * residual[:, None]], axis=1)
    clipped = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1)
    np.testing.assert_allclose(gradient["w"], clipped[:, :3].sum(0), rtol=1e-5)
    np.testing.assert_allclose(gradient["b"], clipped[:, 3], rtol=1e-5)
    np.testing.assert_allclose(aux.values, residual**2, rtol=1e-5)
    np.testing.assert_allclose(aux.metrics["b"], rows[:, 3], rtol=1e-5)
    np.testing.assert_allclose(aux.aux["residual"].ravel(), residual, rtol=1e-5)
    assert aux.aux["residual"].shape == ((7, 1) if keep else (7,))


def test_gradients_in_several_arguments():
    (by_w, by_x), _ = micro_grad(lambda w, x: jnp.sum(w * x**2), argnums=(0, 1), microbatch_size=5)(jnp.float32(2), X)
    assert float(by_w) == float(jnp.sum(X**2))
    np.testing.assert_allclose(by_x, [[4 * 66.0]])


@pytest.mark.parametrize("size", [None, 3])
@pytest.mark.parametrize(("kind", "value"), [(SUM, 0), (MEAN, 0), (RUNNING_MEAN, 0), (CONCAT, [])])
def test_an_empty_batch(size, kind, value):
    empty = jnp.zeros((0, 2))
    np.testing.assert_array_equal(micro_vmap(jnp.sum, microbatch_size=size, accumulator=kind)(empty), value)
    gradient, aux = micro_grad(lambda w, x: w * x.sum(), microbatch_size=size, accumulator=kind)(jnp.ones(()), empty)
    np.testing.assert_array_equal(gradient, value)
    assert aux.values.shape == (0,)


def test_nan_and_infinity_in_one_row_stay_in_its_result():
    x = jnp.array([1.0, jnp.nan, 2.0, jnp.inf, 3.0])
    np.testing.assert_array_equal(micro_vmap(lambda x: 2 * x, microbatch_size=2)(x), 2 * x)
    got = micro_vmap(lambda x: x, microbatch_size=1, accumulator=SUM, num_real_microbatches=1)(x)
    assert float(got) == 1  # what is not run does not count, not even as 0 * NaN


def test_peak_memory_falls_with_the_size():
    def peak(size):
        def f(w, x):
            return microbatch(jax.grad(lambda w, x: jnp.sum(jnp.tanh(x @ w) ** 2)), 1, size)(w, x)

        shapes = jax.ShapeDtypeStruct((64, 512), jnp.float32), jax.ShapeDtypeStruct((4096, 64), jnp.float32)
        return jax.jit(f).lower(*shapes).compile().memory_analysis().temp_size_in_bytes

    whole, eighths = peak(None), peak(512)
    assert eighths < 0.4 * whole  # the activations shrink eightfold; the batch is held once more, rearranged


def test_names_and_defaults_are_those_of_optax_and_one_more():
    for name in ("microbatch", "micro_vmap", "micro_grad", "reshape_batch_axis"):
        ours = inspect.signature(getattr(microbatching, name)).parameters
        theirs = inspect.signature(getattr(peer, name)).parameters
        assert [key for key in ours if key != "accumulator_dtype"] == list(theirs)
        for key, parameter in theirs.items():
            assert ours[key].kind == parameter.kind
            if isinstance(parameter.default, int | str | tuple | None):
                assert ours[key].default == parameter.default


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: microbatch(jnp.sum, 0, 0)(X), "microbatch_size must be at least 1, got 0"),
        (lambda: microbatch(jnp.sum, 1, 2)(X), "batch argument 1 is not there; the call has 1 positional"),
        (lambda: microbatch(jnp.sum, (), 2, argnames="b")(a=X), r"batch argument 'b' is not there; .* keyword \['a'\]"),
        (lambda: microbatch(jnp.sum, (), 2), r"in_axes \(\) must name an axis for each of \(\), at least one"),
        (
            lambda: microbatch(jnp.sum, (0, 1), 2, in_axes=(0,)),
            r"in_axes \(0,\) must name an axis for each of \(0, 1\)",
        ),
        (lambda: microbatch(jnp.sum, 0, 2, in_axes=2)(X), r"0 is float32\[12,1\], which has no axis 2"),
        (lambda: microbatch(jnp.sum, 0, 2)({"a": X, "b": X[:9]}), "0/b has 9 rows on axis 0, but those before it 12"),
        (lambda: microbatch(jnp.sum, 0, 2)({}), r"no array among the batch arguments \(0,\)"),
        (
            lambda: microbatch(jnp.sum, 0, 2, num_real_microbatches=-1),
            "num_real_microbatches must be at least 0, got -1",
        ),
        (lambda: micro_vmap(jnp.sum, out_axes=1), "out_axes must be 0, got 1"),
        (lambda: micro_vmap(jnp.sum, (0, 0))(X), r"in_axes \(0, 0\) must name an axis for each of 1 arguments"),
        (lambda: micro_vmap(jnp.sum, None)(X), "at least one"),
        (lambda: micro_grad(jnp.dot)(X), "batch argument 1 is not there"),
        (lambda: reshape_batch_axis(X, 5), "microbatch_size 5 must divide the 12 rows"),
        (lambda: reshape_batch_axis(X, 24), "microbatch_size 24 must divide the 12 rows"),
    ],
)
def test_what_does_not_fit_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
