"""ZeRO-1: what it communicates, what each device holds, and that it trains as one device does."""

import jax
import pytest
from jax.sharding import PartitionSpec as P

import gradx
from gradx.sharding import data_parallel, zero1
from tests.sharding import devices
from tests.sharding.devices import KINDS, assert_close, collectives, mesh_of, put

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
