"""Batches over devices: explicit axes keep their place, automatic ones and shard_map give the same numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from gradx.microbatching import AccumulationType, micro_grad, micro_vmap, microbatch, reshape_batch_axis

TOLERANCE = 1e-5
"""Float32, sums of some dozens in another order."""
P = PartitionSpec
RNG = np.random.default_rng(0)
W, X = RNG.normal(size=(6, 4)).astype(np.float32), RNG.normal(size=(24, 6)).astype(np.float32)


def loss(w, x):
    return jnp.mean(jnp.tanh(x @ w) ** 2)


def mesh_of(kind):
    return jax.make_mesh((4, 2), ("batch", "model"), axis_types=(kind, kind))


def place(mesh, x, *spec):
    return jax.device_put(x, NamedSharding(mesh, P(*spec)))


@pytest.mark.parametrize("size", [4, 8, 16, 20, 24, None])
@pytest.mark.parametrize("kind", list(AccumulationType))
def test_explicit_axes_are_kept(size, kind):
    mesh = mesh_of(AxisType.Explicit)

    def f(w, x):
        rows = jnp.tanh(x @ w)
        return rows if kind is AccumulationType.CONCAT else jnp.mean(rows, axis=0)

    wanted = microbatch(f, 1, size, kind)(W, X)
    with jax.set_mesh(mesh):
        run = jax.jit(lambda w, x: microbatch(f, 1, size, kind)(w, x))
        got = run(place(mesh, W, None, "model"), place(mesh, X, "batch", None))
        spec = ("batch", "model") if kind is AccumulationType.CONCAT else ("model",)
        assert jax.typeof(got).sharding.spec == P(*spec)
    np.testing.assert_allclose(got, wanted, atol=TOLERANCE)


@pytest.mark.parametrize("jit", [True, False])
def test_gradients_of_an_explicitly_sharded_batch(jit):
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        w, x = place(mesh, W, None, None), place(mesh, X, "batch", None)
        whole = microbatch(jax.grad(loss), 1, 16, AccumulationType.MEAN)
        rows = micro_grad(loss, microbatch_size=16, accumulator=AccumulationType.MEAN)
        squares = micro_vmap(lambda x: jnp.sum(x**2), microbatch_size=8)
        for f in (whole, lambda w, x: rows(w, x)[0]):
            got = (jax.jit(f) if jit else f)(w, x)
            assert jax.typeof(got).sharding.spec == P(None, None)
            np.testing.assert_allclose(got, jax.grad(loss)(W, X), atol=TOLERANCE)
        got = (jax.jit(squares) if jit else squares)(x)
        assert jax.typeof(got).sharding.spec == P("batch")
        np.testing.assert_allclose(got, np.sum(X**2, axis=1), rtol=TOLERANCE)


def test_no_row_moves_between_devices():
    """A microbatch has rows of every device: nothing is gathered but the sum of the gradient."""
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        w, x = place(mesh, W, None, None), place(mesh, X, "batch", None)
        run = jax.jit(microbatch(jax.grad(loss), 1, 8, AccumulationType.MEAN))
        text = run.lower(w, x).compile().as_text()
    assert "all-reduce" in text
    assert not any(moved in text for moved in ("all-gather", "all-to-all", "collective-permute"))


def test_reshape_gives_the_sharding_to_the_rows_of_a_microbatch():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        got = reshape_batch_axis({"x": place(mesh, X, "batch", "model")}, 8)["x"]
        assert jax.typeof(got).sharding.spec == P(None, "batch", "model")
    np.testing.assert_array_equal(got, reshape_batch_axis(X, 8))


def test_a_size_that_the_devices_cannot_share_is_refused():
    mesh = mesh_of(AxisType.Explicit)
    with jax.set_mesh(mesh):
        x = place(mesh, X, ("batch", "model"), None)
        with pytest.raises(ValueError, match="microbatch_size 12 must be a multiple of the 8 shards of 1's batch axis"):
            microbatch(loss, 1, 12)(W, x)


def test_automatic_axes_give_the_same_numbers():
    mesh = mesh_of(AxisType.Auto)
    w, x = place(mesh, W, None, "model"), place(mesh, X, "batch", None)
    got = jax.jit(microbatch(jax.grad(loss), 1, 10, AccumulationType.MEAN))(w, x)
    np.testing.assert_allclose(got, jax.grad(loss)(W, X), atol=TOLERANCE)


@pytest.mark.parametrize("size", [2, 4, 5])
def test_inside_shard_map(size):
    mesh = mesh_of(AxisType.Auto)

    def local(w, x):
        w = jax.lax.pcast(w, ("batch",), to="varying")  # so that its gradient is not summed over the devices at once
        gradient = microbatch(jax.grad(loss), 1, size, AccumulationType.MEAN)(w, x)
        squares = micro_vmap(lambda x: jnp.sum(x**2), microbatch_size=size)(x)
        return jax.lax.pmean(gradient, "batch"), squares

    run = jax.jit(jax.shard_map(local, mesh=mesh, in_specs=(P(), P("batch")), out_specs=(P(), P("batch"))))
    gradient, squares = run(W, X)
    np.testing.assert_allclose(gradient, jax.grad(loss)(W, X), atol=TOLERANCE)
    np.testing.assert_allclose(squares, np.sum(X**2, axis=1), rtol=TOLERANCE)
