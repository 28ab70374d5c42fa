"""Every task: its data are what they say, its networks have the sizes that they say, and training makes it better."""

import importlib
import inspect
import math
import re
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from benchmarks import tasks
from benchmarks.prose import LENGTH, windows
from benchmarks.results import Race
from benchmarks.training import Programs, Training

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
SHORT = 5 * 60
"""Seconds of a race with three seeds."""
SUPERVISED = ("images", "language", "recurrent", "tabular")
QUICK = {"control": 8, "convex": 2}
"""Steps to see that something is learnt, where a step is much; for others 60."""
LONG = ("control", "gan", "language")
"""Tasks whose training takes many seconds; each kind of learner is among the others."""


def load(name):
    try:
        return tasks.load(name)
    except tasks.Unavailable as problem:
        pytest.skip(str(problem))


def rows(tree):
    """Return every example as bytes."""
    leaves = [np.asarray(x) for x in jax.tree.leaves(tree)]
    return [b"".join(x[i].tobytes() for x in leaves) for i in range(len(leaves[0]))]


@pytest.fixture(params=tasks.names())
def task(request):
    return load(request.param)


def start(task, steps, tuning=True):
    """Return a training with the first optimizer of the textbook's kind, at the task's own rate."""
    learner, name = task.learner(task.textbook, tuning), task.textbook
    tx = task.roster[name](task.learning_rates[name], steps * learner.updates_per_step)
    return Training(Programs(learner), [tx], [0], steps)


@pytest.mark.parametrize("name", SUPERVISED)
def test_training_and_test_set_have_no_example_in_common(name):
    train, test = map(rows, tasks.load(name).learner("adam", False).data)
    shared = len(set(test) & set(train)) / len(test)
    assert shared <= 0.01, f"{shared:.1%} of the test set is in the training set too"


@pytest.mark.parametrize("name", tasks.names())
def test_the_networks_have_the_sizes_that_they_say(name):
    load(name)
    module = importlib.import_module(f"benchmarks.tasks.{name}")
    said = {
        x: re.search(r"([\d,]+) parameters", x.__doc__ or "")
        for x in vars(module).values()
        if inspect.isclass(x) and issubclass(x, nnx.Module) and x.__module__ == module.__name__
    }
    said = {network: found for network, found in said.items() if found}
    assert said
    for network, found in said.items():
        params = nnx.state(network(nnx.Rngs(0)), nnx.Param)
        assert int(found[1].replace(",", "")) == sum(x.size for x in jax.tree.leaves(params)), network


def test_every_optimizer_has_a_learning_rate_and_the_textbook_is_raced(task):
    assert set(task.learning_rates) <= set(task.roster)
    assert len(task.learning_rates) >= 4
    assert {task.textbook, *task.alternatives} <= set(task.learning_rates)
    assert task.source


def test_an_accuracy_says_how_large_its_test_set_is(task):
    learner = task.learner(task.textbook, False)
    if "accuracy" not in task.metric.name:
        assert task.metric.examples == 0
        return
    _, test = learner.data
    assert task.metric.examples == len(jax.tree.leaves(test)[0])
    assert task.metric.ceiling == 1


def test_what_is_judged_is_what_the_kept_race_says(task, request):
    """The report reads them from the file: who changes a task has to race again, or to mend the file."""
    name = request.node.callspec.params["task"]
    kept = Race.read(RESULTS / name / "results.json")
    asides = {aside: base for aside, base in task.schedules.items() if aside in task.learning_rates}
    assert (kept.textbook, tuple(kept.alternatives), kept.source) == (task.textbook, task.alternatives, task.source)
    assert (kept.metric, kept.schedules) == (task.metric, asides)


def test_a_short_race_has_five_seeds(task, request):
    kept = Race.read(RESULTS / request.node.callspec.params["task"] / "results.json")
    with_three = 3 * kept.seconds / len({run.seed for run in kept.runs})
    assert task.seeds >= (5 if with_three < SHORT else 3)


@pytest.mark.parametrize("name", [pytest.param(x, marks=pytest.mark.slow) if x in LONG else x for x in tasks.names()])
def test_training_makes_the_metric_better(name):
    task = load(name)
    steps = QUICK.get(name, 60)
    training = start(task, steps)
    (first,), (last,) = training.advance(1), training.advance(steps)
    assert math.isfinite(last.test_loss)
    assert task.metric.better(last.metric, first.metric)


def test_windows_predict_the_next_byte_of_one_text():
    train, test = windows()
    assert train.text.shape[1] == LENGTH
    np.testing.assert_array_equal(train.text[:, 1:], train.following[:, :-1])
    np.testing.assert_array_equal(train.text[1:100, 0], train.following[:99, -1])  # within a block
    assert len(test.text) / (len(train.text) + len(test.text)) == pytest.approx(0.1, abs=0.01)


@pytest.mark.parametrize(("name", "network"), [("language", "Transformer"), ("recurrent", "Recurrent")])
def test_a_language_model_does_not_see_what_it_predicts(name, network):
    model = getattr(importlib.import_module(f"benchmarks.tasks.{name}"), network)(nnx.Rngs(0))
    text = np.arange(LENGTH, dtype=np.uint8)[None]
    changed = text.copy()
    changed[0, 40:] = 7
    before, after = model(text), model(changed)
    np.testing.assert_allclose(before[0, :40], after[0, :40], atol=1e-5)  # rounding alone
    assert not np.allclose(before[0, 40:], after[0, 40:], atol=1e-3)


# convex


def test_the_minimum_is_one():
    from benchmarks.tasks import convex

    train, _, least = convex.data(True)
    _, params = nnx.split(convex.Logistic(nnx.Rngs(1)))
    value, gradients = jax.value_and_grad(convex.objective)(params, train)
    # Strongly convex with modulus RIDGE: f - f* is at most |gradient|² / (2 RIDGE).
    assert 0 < value - least <= sum(jnp.sum(g**2) for g in jax.tree.leaves(gradients)) / (2 * convex.RIDGE)


def test_the_smaller_the_batch_the_noisier_its_curve():
    task = tasks.load("convex")
    seen = {}
    for name in ("batch", "mini-batch", "stochastic"):
        learner = task.learner(name, True)
        (point,) = Training(Programs(learner), [task.roster[name](0.01, 1)], [0], 1).advance(1)
        seen[name] = point.others["noise"]
        assert learner.inputs(0, 0, 2).shape == (2, learner.updates_per_step, 3200 // learner.updates_per_step)
    assert seen["batch"] == 0 < seen["mini-batch"] < seen["stochastic"]


# gan


def test_the_frechet_distance_is_that_of_normal_distributions():
    from benchmarks.tasks import gan

    rng = np.random.default_rng(0)
    a, b = (rng.normal(size=(4, 4)) for _ in range(2))
    c, d = a @ a.T, b @ b.T
    m, n = rng.normal(size=(2, 4))
    values = np.linalg.eigvals(c @ d)
    expected = np.sum((m - n) ** 2) + np.trace(c + d) - 2 * np.sum(np.sqrt(np.abs(values)))
    found = gan.frechet_distance(*map(jnp.asarray, (m, c, n, d)))
    np.testing.assert_allclose(found, expected, rtol=1e-4)  # float32, roots of small eigenvalues
    np.testing.assert_allclose(gan.frechet_distance(m, c, m, c), 0, atol=1e-4)


def test_each_adversary_gets_the_gradient_of_its_own_loss():
    from benchmarks.tasks import gan

    _, params = nnx.split(gan.Adversaries(nnx.Rngs(0)))
    images, key = jax.random.uniform(jax.random.key(1), (8, gan.PIXELS)), jax.random.key(2)

    def generator_loss(params):
        model = nnx.merge(gan.GRAPH, params)
        return jax.nn.softplus(-model.discriminator(model.generator(jax.random.normal(key, (8, gan.NOISE))))).mean()

    def discriminator_loss(params):
        return gan.adversarial_loss(params, images, key)[1]

    both = jax.grad(lambda p: gan.adversarial_loss(p, images, key)[0])(params)
    mine = jax.grad(generator_loss)(params)
    for x, y in zip(*(jax.tree.leaves(g["generator"]) for g in (both, mine)), strict=True):
        np.testing.assert_allclose(x, y, atol=1e-6)
    (slope,) = jax.tree.leaves(jax.grad(discriminator_loss)(params)["discriminator"]["out"]["bias"])
    (bias,) = jax.tree.leaves(both["discriminator"]["out"]["bias"])
    np.testing.assert_allclose(bias, slope, atol=1e-6)  # the penalty does not see this bias


def test_the_judge_knows_digits_from_noise_and_how_many():
    from benchmarks.tasks import gan

    train, test = gan.held_out(gan.digits()[0])
    judge = gan.trained_judge(train, test)
    near, classes = judge(jnp.asarray(train.image[:800]))
    far, _ = judge(jax.random.uniform(jax.random.key(0), (800, gan.PIXELS)))
    assert near < 20 < 500 < far
    assert classes > 9.9
    assert judge(jnp.asarray(train.image[train.label == 3]))[1] < 2


def test_samples_are_drawn(tmp_path):
    from benchmarks.tasks import gan

    _, params = nnx.split(gan.Adversaries(nnx.Rngs(0)))
    gan.samples(params, tmp_path / "samples.png")
    assert (tmp_path / "samples.png").read_bytes().startswith(b"\x89PNG")


# stream


def test_records_are_the_files_one_after_the_other(tmp_path):
    from benchmarks.tasks.stream import RECORD, Records

    rng = np.random.default_rng(0)
    texts = [rng.bytes(n) for n in (3000, 10, 1, 2500, 1024, 7)]
    paths = [tmp_path / str(i) for i in range(len(texts))]
    for path, text in zip(paths, texts, strict=True):
        path.write_bytes(text)
    records = Records(paths)
    assert len(records) == sum(map(len, texts)) // RECORD
    together = b"".join(records[i].tobytes() for i in range(len(records)))
    assert together == b"".join(texts)[: len(together)]


def test_a_stream_is_shuffled_by_its_seed_and_never_repeats_within_a_pass():
    task = tasks.load("stream")
    inputs = task.learner("sgd", True).inputs
    first, again, other = inputs(0, 0, 6), inputs(0, 3, 6), inputs(1, 0, 6)
    assert first.shape == (6, 32, 1024)
    np.testing.assert_array_equal(first[3:], again)
    assert not np.array_equal(first, other)
    assert len(set(rows(first.reshape(-1, 1024)))) > 0.95 * 6 * 32  # some records are blank or licences


def test_files_to_train_on_tune_with_and_test_by_are_others():
    from benchmarks.tasks.stream import split

    train, test = split(False)
    fit, tune = split(True)
    assert not set(train.files) & set(test.files)
    assert set(fit.files) | set(tune.files) == set(train.files)
    assert not set(fit.files) & set(tune.files)
    assert len(train) + len(test) > 5_000  # a Python without its tests has some 12 MB


# control


def test_advantages_are_sums_of_surprises():
    load("control")
    from benchmarks.tasks import control

    rng = np.random.default_rng(0)
    value, reward = rng.normal(size=(2, 6, 3)).astype(np.float32)
    last = rng.normal(size=3).astype(np.float32)
    ended = rng.random((6, 3)) < 0.3
    moves = control.Moves(None, None, None, value, reward, ended)
    found = control.advantages(moves, last)
    for cart in range(3):
        for t in range(6):
            total, weight = 0.0, 1.0
            for k in range(t, 6):
                following = 0.0 if ended[k, cart] else (last[cart] if k == 5 else value[k + 1, cart])
                total += weight * (reward[k, cart] + control.DISCOUNT * following - value[k, cart])
                if ended[k, cart]:
                    break
                weight *= control.DISCOUNT * control.TRACE
            np.testing.assert_allclose(found[t, cart], total, rtol=1e-4, atol=1e-5)


def test_a_policy_that_always_pushes_one_way_soon_falls():
    load("control")
    from benchmarks.tasks import control

    _, params = nnx.split(control.ActorCritic(nnx.Rngs(0)))
    params = jax.tree.map(jnp.zeros_like, params)
    seen = control.look(control.Carry(params, ()), None, jax.random.key(0))
    assert 8 <= seen.metric <= 11  # known of CartPole: ten moves or so
    np.testing.assert_allclose(seen.test_loss, 1 - seen.metric / 500, rtol=1e-6)
