"""Every task: its data are what they say, its network has the size that it says, and training lowers the loss."""

import re

import jax
import numpy as np
import pytest
from flax import nnx

from benchmarks import tasks
from benchmarks.prose import LENGTH, windows
from benchmarks.roster import ROSTER
from benchmarks.training import Problem


@pytest.fixture(scope="module", params=tasks.names())
def problem(request):
    return Problem(tasks.load(request.param))


def rows(tree):
    """Return every example as bytes."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(tree)]
    return [b"".join(x[i].tobytes() for x in leaves) for i in range(len(leaves[0]))]


def test_training_and_test_set_have_no_example_in_common(problem):
    train, test = rows(problem.train), rows(problem.test)
    shared = len(set(test) & set(train)) / len(test)
    assert shared <= 0.01, f"{shared:.1%} of the test set is in the training set too"


def test_data_are_the_same_at_every_call(problem):
    again = problem.task.data()
    assert rows(again[0])[:50] == rows(problem.train)[:50]
    assert rows(again[1])[:50] == rows(problem.test)[:50]


def test_the_network_has_the_size_that_it_says(problem):
    params = nnx.state(problem.task.model(nnx.Rngs(0)), nnx.Param)
    said = re.search(r"([\d,]+) parameters", problem.task.model.__doc__)
    assert said, f"{problem.task.model.__name__} does not say how many parameters it has"
    assert int(said[1].replace(",", "")) == sum(x.size for x in jax.tree.leaves(params))


def test_every_optimizer_has_a_learning_rate(problem):
    assert set(problem.task.learning_rates) <= set(ROSTER)
    assert len(problem.task.learning_rates) >= 5


def test_training_lowers_the_loss_and_the_metric_moves_the_right_way(problem):
    task, steps = problem.task, 60
    training = problem.start(ROSTER["adam"](task.learning_rates["adam"], steps), 0, steps)
    first, last = training.advance(1), training.advance(steps)
    assert last.test_loss < 0.9 * first.test_loss
    better = last.metric > first.metric if task.metric.higher_is_better else last.metric < first.metric
    assert better


def test_windows_predict_the_next_byte_of_one_text():
    train, test = windows()
    assert train.text.shape[1] == LENGTH
    np.testing.assert_array_equal(train.text[:, 1:], train.following[:, :-1])
    np.testing.assert_array_equal(train.text[1:100, 0], train.following[:99, -1])  # within a block
    assert len(test.text) / (len(train.text) + len(test.text)) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize("name", ["language", "recurrent"])
def test_a_language_model_does_not_see_what_it_predicts(name):
    model = tasks.load(name).model(nnx.Rngs(0))
    text = np.arange(LENGTH, dtype=np.uint8)[None]
    changed = text.copy()
    changed[0, 40:] = 7
    before, after = model(text), model(changed)
    np.testing.assert_allclose(before[0, :40], after[0, :40], atol=1e-5)  # rounding alone
    assert not np.allclose(before[0, 40:], after[0, 40:], atol=1e-3)
