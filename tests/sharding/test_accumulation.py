"""Accumulation under data parallelism: one communication per update, and the numbers of one device."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import gradx
from gradx.microbatching import AccumulationType, micro_grad, microbatch
from gradx.sharding import data_parallel, no_sync, zero1
from tests.sharding import devices
from tests.sharding.devices import AUTO, KINDS, assert_close, branches_of, collectives, loops_of, mesh_of, put

STEPS, EVERY = 4, 2
INNER = gradx.chain(gradx.clip_by_global_norm(0.2), gradx.adam(0.05))
OPEN = data_parallel(jax.value_and_grad(devices.loss), out=("mean", "stack"))


def scanned(tx, gradient):
    """Return a function of parameters, state and several batches."""

    def step(carry, batch):
        params, state = carry
        _, grads = gradient(params, batch)
        updates, state = tx.update(grads, state, params)
        return (gradx.apply_updates(params, updates), state), gradx.has_updated(state)

    return jax.jit(lambda params, state, batches: jax.lax.scan(step, (params, state), batches))


def batches():
    return jax.tree.map(lambda *x: jnp.stack(x), *(devices.batch(i) for i in range(STEPS)))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize(
    ("inner", "moved"),
    [(INNER, {"all-reduce": 4}), (zero1(INNER), {"reduce-scatter": 3, "all-gather": 3, "all-reduce": 1})],
    ids=["replicated", "zero1"],
)
def test_mini_steps_do_not_communicate(inner, moved, kind):
    plain, mesh, params = gradx.MultiSteps(INNER, EVERY), mesh_of(kind), devices.params()
    wanted, has_updated = scanned(plain, jax.value_and_grad(devices.loss))(params, plain.init(params), batches())
    tx = no_sync(gradx.MultiSteps(inner, EVERY))
    with jax.set_mesh(mesh):
        params = put(mesh, params)
        state = tx.init(params)
        run = scanned(tx, OPEN)
        spread = put(mesh, batches(), P(None, "data"))
        (got, state), ready = run(params, state, spread)
        branch, outside = branches_of(run.lower(params, state, spread).compile())
    assert_close(got, wanted[0])
    assert ready.tolist() == has_updated.tolist() == [False, True, False, True]
    found = collectives(branch)
    assert found.pop("all-reduce of a scalar", 0) <= 3  # squares, for the norm
    assert found == moved
    assert collectives(outside) == {}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_device_has_an_accumulator_of_its_own(kind):
    mesh = mesh_of(kind)
    tx = no_sync(gradx.MultiSteps(zero1(gradx.adam(0.1)), EVERY))
    with jax.set_mesh(mesh):
        params = put(mesh, devices.params())
        for state in (tx.init(params), jax.jit(tx.init)(params), gradx.sharding.init(tx, params)):
            kernel = state.acc_grads["hidden"]["kernel"]
            assert kernel.shape == (8, 12, 16)
            assert kernel.addressable_shards[0].data.shape == (1, 12, 16)
            assert state.inner_opt_state[0].mu["hidden"]["kernel"].addressable_shards[0].data.shape == (12, 2)


def test_a_bad_gradient_on_one_device_is_skipped_by_all():
    mesh = mesh_of(AUTO)
    tx = no_sync(gradx.MultiSteps(gradx.sgd(1.0), 1, should_skip_update_fn=gradx.skip_not_finite))
    with jax.set_mesh(mesh):
        params = put(mesh, jnp.zeros(3))
        grads = put(mesh, jnp.ones((8, 3)).at[5, 1].set(jnp.nan), P("data"))
        updates, state = tx.update(grads, tx.init(params), params)
        assert (updates == 0).all()
        assert state.skip_state["num_not_finite"] == 1
        updates, state = tx.update(jnp.ones((8, 3)), state, params)
        assert (updates == -1).all()


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_microbatches_communicate_once_behind_their_loop(kind):
    mesh = mesh_of(kind)

    def loss_of_rows(params, x, y):
        return devices.loss(params, (x, y))

    rows = micro_grad(loss_of_rows, batch_argnums=(1, 2), microbatch_size=2, accumulator=AccumulationType.MEAN)
    whole = microbatch(jax.value_and_grad(loss_of_rows), (1, 2), 2, (AccumulationType.MEAN, AccumulationType.MEAN))
    x, y = devices.batch(0)
    value, wanted = jax.value_and_grad(loss_of_rows)(devices.params(), x, y)
    for local, out in ((rows, ("scatter", "concat")), (whole, ("mean", "scatter"))):
        run = jax.jit(data_parallel(local, out=out, batch_argnums=(1, 2)))
        args = put(mesh, devices.params()), put(mesh, x, P("data")), put(mesh, y, P("data"))
        results = run(*args)
        grads = results[out.index("scatter")]
        assert_close(grads, wanted)
        assert grads["hidden"]["kernel"].addressable_shards[0].data.shape == (12, 2)
        values = results[0] if local is whole else results[1].values
        assert values.shape == (() if local is whole else (32,))
        assert_close(jnp.mean(values), value)
        body, outside = loops_of(run.lower(*args).compile())
        assert "dot" in body
        assert collectives(body) == {}
        outside = collectives(outside)
        assert outside.pop("all-reduce of a scalar", 0) <= 1
        assert outside == {"reduce-scatter": 3, "all-reduce": 1}


def test_without_it_each_microbatch_communicates():
    mesh = mesh_of(AUTO)
    run = jax.jit(microbatch(jax.value_and_grad(devices.loss), 1, 16, AccumulationType.MEAN))
    args = put(mesh, devices.params()), put(mesh, devices.batch(0), P("data"))
    body, _ = loops_of(run.lower(*args).compile())
    assert collectives(body)["all-reduce"] == 4


def test_what_it_refuses():
    with pytest.raises(TypeError, match=r"no_sync: tx must be a MultiSteps\(...\), got adam"):
        no_sync(gradx.adam(0.1))
    with pytest.raises(ValueError, match=r"no_sync: no mesh: .* under jax.set_mesh"):
        no_sync(gradx.MultiSteps(gradx.adam(0.1), 2)).init(jnp.ones(2))
    with pytest.raises(ValueError, match=r"out must be made of .* got 'sum'"):
        data_parallel(jax.grad(devices.loss), out="sum")
    mesh = mesh_of(AUTO)
    with pytest.raises(ValueError, match="the parameter at 'w' is split over 'data' itself"):
        data_parallel(jax.grad(devices.loss), out="mean")({"w": put(mesh, jnp.ones(8), P("data"))}, jnp.ones(8))
