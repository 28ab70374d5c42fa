"""Trainings side by side are what they say, the same each time, and members do not know of one another."""

import dataclasses

import jax
import numpy as np
import pytest
from flax import nnx

import gradx
from benchmarks import tasks
from benchmarks.roster import ROSTER
from benchmarks.supervised import batches, supervised
from benchmarks.task import Task
from benchmarks.tasks.images import convolution, digits
from benchmarks.training import Programs, Training
from tests.benchmarks.line import LINE, Line, line_data, line_error, line_loss


def _train(task: Task, seed: int, steps: int, name: str = "adamw"):
    training = _start(task, [ROSTER[name](task.learning_rates[name], steps)], [seed], steps)
    (point,) = training.advance(steps)
    return training, point


def _start(task: Task, txs, seeds, steps: int) -> Training:
    return Training(Programs(task.learner("any", False)), txs, seeds, steps)


def _bits(tree) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


# What is trained


def test_the_digits_are_split_by_class_and_always_alike():
    (train, test), again = digits(), digits()
    assert train.image.shape == (4000, 28, 28, 1)
    assert test.image.shape == (1000, 28, 28, 1)
    assert train.image.dtype == np.float32
    assert (train.image.min(), train.image.max()) == (0, 1)
    assert np.bincount(train.label).tolist() == [400] * 10
    assert np.bincount(test.label).tolist() == [100] * 10
    np.testing.assert_array_equal(again[0].image, train.image)


def test_each_epoch_sees_every_example_once():
    order = batches(40, 8, seed=3, steps=12)
    assert order.shape == (12, 8)
    assert sorted(order[:5].ravel()) == list(range(40))
    assert sorted(order[5:10].ravel()) == list(range(40))
    assert not np.array_equal(order[:5], order[5:10])


def test_a_part_of_a_training_is_fed_what_the_whole_would_be():
    inputs = LINE.learner("sgd", False).inputs
    np.testing.assert_array_equal(inputs(3, 7, 12), inputs(3, 0, 12)[7:])


def test_the_digits_are_learnt():
    _, point = _train(tasks.load("images"), seed=0, steps=60)
    assert point.metric > 0.85


@pytest.mark.parametrize("shape", [(3, 3), (2, 5), (1, 1)])
def test_a_convolution_is_the_one_of_jax(shape):
    x, kernel = (jax.random.normal(jax.random.key(i), s) for i, s in enumerate([(2, 7, 6, 3), (*shape, 3, 4)]))
    expected = jax.lax.conv_general_dilated(x, kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(convolution(x, kernel), expected, atol=1e-5)  # sums in another order


def test_a_step_is_the_update_written_by_hand():
    training = _start(LINE, [gradx.sgd(0.1, momentum=0.9)], [0], 4)
    model = Line(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gradx.sgd(0.1, momentum=0.9), wrt=nnx.Param)
    train, _ = line_data()
    for indices in training.learner.inputs(0, 0, 4):
        batch = {name: x[indices] for name, x in train.items()}
        optimizer.update(model, nnx.grad(line_loss)(model, batch, None))
    training.advance(4)
    _, params, others = nnx.split(model, nnx.Param, ...)
    for mine, theirs in ((training.carry.params, params), (training.carry.others, others)):
        for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(x[0], y, rtol=1e-5, atol=1e-6)  # float32, compiled and not


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_seed_decides_every_bit(name):
    trained = [_train(tasks.load("tabular"), seed, 3, name) for seed in (5, 5, 6)]
    bits = [_bits((training.carry.params, training.carry.state)) for training, _ in trained]
    assert bits[0] == bits[1]
    assert bits[0] != bits[2]
    first, second = (point._replace(seconds_per_step=0.0) for _, point in trained[:2])
    assert first == second


# How it is trained


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_members_side_by_side_are_what_each_would_be_alone(name):
    members = [(0.03, 0), (0.1, 0), (0.1, 7)]
    txs = [ROSTER[name](rate, 12) for rate, _ in members]
    seeds = [seed for _, seed in members]
    together = list(_start(LINE, txs, seeds, 12).run(5))
    for i, (tx, seed) in enumerate(zip(txs, seeds, strict=True)):
        alone = list(_start(LINE, [tx], [seed], 12).run(5))
        assert [points[i].step for points in together] == [5, 10, 12]
        for mine, theirs in zip((points[i] for points in together), (points[0] for points in alone), strict=True):
            np.testing.assert_allclose(mine[:5], theirs[:5], rtol=1e-5)  # sums in another order


def test_learning_rates_and_seeds_share_a_trace():
    traced = []
    learner = LINE.learner("any", False)
    counted = dataclasses.replace(learner, step=lambda *args: (traced.append(1), learner.step(*args))[1])
    txs = [ROSTER["adamw"](rate, 20) for rate in (0.1, 0.2, 0.3)]
    list(Training(Programs(counted), txs, [0, 1, 2], 20).run(5))
    assert len(traced) == 1


def test_parameters_and_state_are_donated():
    training = _start(LINE, [gradx.adam(0.1)], [0], 2)
    before = jax.tree.leaves((training.carry.params, training.carry.state))
    training.advance(1)
    assert all(x.is_deleted() for x in before)


def test_the_learning_rate_is_that_of_the_step():
    tx = ROSTER["adamw"](0.1, 20)
    points = [point for (point,) in _start(LINE, [tx], [0], 20).run(5)]
    assert [p.step for p in points] == [5, 10, 15, 20]
    expected = [tx.arguments["learning_rate"](step - 1) for step in (5, 10, 15, 20)]
    np.testing.assert_allclose([p.learning_rate for p in points], expected, atol=1e-7)  # 0.1 in float32


def test_sizes_are_those_of_one_member():
    training = _start(LINE, [gradx.adam(0.1)] * 3, [0, 1, 2], 2)
    assert training.parameters == 3 + 1 + 3 + 3  # kernel and bias, scale and bias of the norm
    assert training.state_bytes == 2 * 4 * training.parameters + 4  # two moments and a count
    training.advance(2)
    assert 0 < training.programs.temporary_bytes < 100_000


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, 40\], the training set, got 41"):
        supervised(line_data, Line, line_loss, line_error, batch_size=41)("sgd", False)
