"""ZeRO-1: what it communicates, what each device holds, and that it trains as one device does."""

import jax
import jax.numpy as jnp
import pytest
from jax.sharding import PartitionSpec as P

import gradx
from gradx.sharding import data_parallel, zero1
from tests.sharding import devices
from tests.sharding.devices import AUTO, KINDS, assert_close, collectives, mesh_of, put

STEPS = 4


def decays(params):
    return gradx.tree.map_with_path(lambda name, x: name.endswith("kernel"), params)


OPTIMIZERS = {
    "adam": gradx.adam(0.05),
    "clipped": gradx.chain(
        gradx.clip_by_global_norm(0.2),
        gradx.adamw(gradx.warmup_cosine_decay_schedule(0.0, 0.05, 2, 10), weight_decay=0.1, mask=decays),
    ),
    "multi_steps": gradx.MultiSteps(gradx.chain(gradx.clip_by_global_norm(0.2), gradx.adam(0.05)), 2),
    "adafactor": gradx.adafactor(0.05, min_dim_size_to_factor=2),
    "partition": gradx.partition({True: gradx.adam(0.05), False: gradx.sgd(0.05, momentum=0.9)}, decays),
}


def stepper(tx, gradient):
    @jax.jit
    def step(params, state, batch):
        value, grads = gradient(params, batch)
        updates, state = tx.update(grads, state, params)
        return gradx.apply_updates(params, updates), state, value

    return step


def train(step, params, state, place=lambda x: x):
    values = []
    for i in range(STEPS):
        params, state, value = step(params, state, place(devices.batch(i)))
        values.append(value)
    return params, state, values


def on_one_device(tx):
    params = devices.params()
    return train(stepper(tx, jax.value_and_grad(devices.loss)), params, tx.init(params))


def on_all(tx, kind, gradient=None):
    mesh = mesh_of(kind)
    params = put(mesh, devices.params())
    step = stepper(tx, gradient or data_parallel(jax.value_and_grad(devices.loss)))
    return step, params, tx.init(params), lambda batch: put(mesh, batch, P("data"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
@pytest.mark.parametrize("name", OPTIMIZERS)
def test_it_trains_as_one_device_does(name, kind):
    wanted, _, values = on_one_device(OPTIMIZERS[name])
    params, state, got = train(*on_all(zero1(OPTIMIZERS[name]), kind))
    assert_close(params, wanted)
    assert_close(got, values)
    assert all(x.sharding.is_fully_replicated for x in jax.tree.leaves(params))
    assert all(len(x.sharding.device_set) == 8 for x in jax.tree.leaves(state))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_reduce_scatters_and_all_gathers_and_nothing_else(kind):
    step, params, state, place = on_all(zero1(OPTIMIZERS["adam"]), kind)
    found = collectives(step.lower(params, state, place(devices.batch(0))).compile())
    # the bias of 3 has no part for each of 8 devices: its gradient is summed
    assert found == {"reduce-scatter": 3, "all-gather": 3, "all-reduce": 1, "all-reduce of a scalar": 1}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_global_norm_adds_sums_of_scalars_alone(kind):
    step, params, state, place = on_all(zero1(OPTIMIZERS["clipped"]), kind)
    found = collectives(step.lower(params, state, place(devices.batch(0))).compile())
    assert found.pop("all-reduce of a scalar") <= 1 + 3  # the loss, and the squares of each array that is split
    assert found == {"reduce-scatter": 3, "all-gather": 3, "all-reduce": 1}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_a_matrix_is_gathered_for_its_method_and_never_summed(kind):
    tx = gradx.muon(0.05, muon_weight_dimension_numbers=None)
    wanted, *_ = on_one_device(tx)
    step, *start, place = on_all(zero1(tx), kind)
    compiled = step.lower(*start, place(devices.batch(0))).compile()
    assert_close(train(step, *start, place)[0], wanted)
    found = collectives(compiled)
    assert (found.pop("reduce-scatter"), found.pop("all-reduce")) == (3, 1)
    assert found.pop("all-gather") == 3 + 1  # the hidden kernel's momentum; what is left out goes by Adam
    assert set(found) <= {"all-reduce of a scalar"}


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_gradients_that_the_compiler_sums(kind):
    """Without `data_parallel` the numbers are the same; on a CPU XLA sums gradients up whole and slices them."""
    wanted, *_ = on_one_device(OPTIMIZERS["clipped"])
    step, *start, place = on_all(zero1(OPTIMIZERS["clipped"]), kind, jax.value_and_grad(devices.loss))
    params, state, _ = train(step, *start, place)
    assert_close(params, wanted)
    found = collectives(step.lower(params, state, place(devices.batch(0))).compile())
    assert found["all-gather"] == 3
    assert found["all-reduce"] == 4


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_each_device_computes_and_keeps_its_part(kind):
    step, params, state, place = on_all(zero1(gradx.adam(0.1)), kind)
    whole = sum(x.nbytes for x in jax.tree.leaves(params))
    odd = params["out"]["bias"].nbytes
    for _ in range(2):
        assert set(devices.bytes_each(state[0].mu).values()) == {(whole - odd) // 8 + odd}
        params, state, _ = step(params, state, place(devices.batch(0)))


# Beside other axes

TENSOR = {"kernel": P(None, "model"), "bias": P("model")}


def layer_loss(params, x):
    return jnp.mean(jnp.tanh(x @ params["kernel"] + params["bias"]) ** 2)


def on_two_axes(kind, tx, gradient):
    mesh = mesh_of(kind, (2, 4), ("data", "model"))
    whole = {"kernel": jnp.linspace(-1.0, 1.0, 12 * 16).reshape(12, 16), "bias": jnp.ones(16)}
    params = {name: put(mesh, x, TENSOR[name]) for name, x in whole.items()}
    return whole, params, stepper(tx, gradient), jax.jit(tx.init)(params), put(mesh, jnp.ones((32, 12)), P("data"))


@pytest.mark.parametrize("kind", KINDS, ids=str)
def test_beside_tensor_parallelism(kind):
    inner = gradx.chain(gradx.clip_by_global_norm(0.1), gradx.adam(0.1))
    tx, gradient = zero1(inner, specs=TENSOR), data_parallel(jax.value_and_grad(layer_loss), specs=TENSOR)
    whole, params, step, state, x = on_two_axes(kind, tx, gradient)
    compiled = step.lower(params, state, x).compile()
    got, state, _ = compiled(params, state, x)
    alone = stepper(inner, jax.value_and_grad(layer_loss))
    assert_close(got, alone(whole, inner.init(whole), jnp.ones((32, 12)))[0])
    assert {name: x.sharding.shard_shape(x.shape) for name, x in got.items()} == {"kernel": (12, 4), "bias": (4,)}
    assert state[1][0].mu["kernel"].addressable_shards[0].data.shape == (6, 4)
    found = collectives(compiled)
    assert found.pop("all-reduce of a scalar") <= 1 + 4  # the loss, and the squares over both axes
    # the bias is split already
    wanted = {"reduce-scatter": 1, "all-gather": 1, "all-reduce": 1}
    if kind == AUTO:  # over explicit axes beside it JAX 0.10 gathers what goes into a shard_map and comes out
        assert found == wanted
    else:
        assert found["reduce-scatter"] == 1


def test_what_a_trace_does_not_see_is_asked_for():
    _, params, _, _, x = on_two_axes(AUTO, zero1(gradx.adam(0.1), specs=TENSOR), None)
    tx = zero1(gradx.adam(0.1))
    assert tx.init(params)[0].mu["kernel"].addressable_shards[0].data.shape == (6, 4)  # arrays are seen
    with pytest.raises(ValueError, match=r"zero1: a trace does not see .* over the automatic \['model'\]: give specs="):
        jax.jit(tx.init)(params)
    with pytest.raises(ValueError, match=r"data_parallel: a trace does not see"):
        jax.jit(data_parallel(jax.value_and_grad(layer_loss)))(params, x)


def test_what_it_refuses():
    params = put(mesh_of(AUTO), {"w": jnp.ones(8)})
    with pytest.raises(ValueError, match=r"zero1: the mesh has the axes \('data',\), no 'batch'"):
        zero1(gradx.adam(0.1), axis="batch").init(params)

    def local(params):
        return zero1(gradx.adam(0.1)).init(params)[0].mu

    with pytest.raises(ValueError, match=r"zero1: inside a shard_map over 'data' a norm would be that of one shard"):
        jax.shard_map(local, mesh=mesh_of(AUTO), in_specs=P(), out_specs=P())(params)


def test_on_one_device_it_is_what_is_inside():
    params = devices.params()
    tx, plain = zero1(gradx.adam(0.1)), gradx.adam(0.1)
    got, wanted = (t.update(params, t.init(params), params)[0] for t in (tx, plain))
    assert jax.tree.all(jax.tree.map(lambda x, y: bool((x == y).all()), got, wanted))
    assert repr(tx) == "zero1(tx=adam(learning_rate=0.1))"
    assert gradx.hyperparams(tx, tx.init(params)).keys() == {f"zero1/{x}" for x in gradx.hyperparams(plain, None)}


def test_gradients_that_are_left_out_and_parts_of_a_tree():
    mesh = mesh_of(AUTO)
    params = put(mesh, {"a": jnp.ones(8), "b": jnp.ones(8)})
    tx = zero1(gradx.adam(0.1))
    updates, _ = jax.jit(tx.update)({"a": params["a"], "b": None}, tx.init(params), params)
    assert updates["b"] is None
    assert updates["a"].sharding.is_fully_replicated
    tx = gradx.partition({"x": tx, "y": gradx.sgd(0.1)}, {"a": "x", "b": "y"})
    state = jax.jit(tx.init)(params)
    assert state.inner_states["x"][0].mu["a"].addressable_shards[0].data.shape == (1,)
    updates, _ = jax.jit(tx.update)(params, state, params)
    assert jax.tree.map(jnp.shape, updates) == {"a": (8,), "b": (8,)}


def test_low_precision_is_scattered_as_it_is():
    mesh = mesh_of(AUTO)
    params = put(mesh, jax.tree.map(lambda x: x.astype(jnp.bfloat16), devices.params()))
    tx = zero1(gradx.adam(0.1))
    gradient = data_parallel(jax.value_and_grad(devices.loss))
    _, grads = jax.jit(gradient)(params, put(mesh, devices.batch(0), P("data")))
    assert {x.dtype for x in jax.tree.leaves(grads)} == {jnp.dtype(jnp.bfloat16)}
    updates, state = jax.jit(tx.update)(grads, tx.init(params), params)
    assert {x.dtype for x in jax.tree.leaves(updates)} == {jnp.dtype(jnp.bfloat16)}
    assert state[0].mu["hidden"]["kernel"].dtype == jnp.float32
