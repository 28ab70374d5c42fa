"""The race: what it measures is right and the same each time, and what was measured is never lost."""

import dataclasses
import io
import json
import math
import os
import platform
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx
from rich.console import Console

import gradx
from benchmarks import race, rates, tasks
from benchmarks.pictures import draw
from benchmarks.progress import Progress
from benchmarks.report import Race, Run, write_whole
from benchmarks.roster import ROSTER
from benchmarks.task import Metric, Task
from benchmarks.training import Point, Problem, Training

ROOT = Path(__file__).parents[2]
OUTPUTS = {"results.json", "curves.png", "table.md"}
FIRST_RESULT_SECONDS = 90
"""Until a process has imported jax, read the digits, compiled and looked once; some 6 s on an idle machine."""


class Line(nnx.Module):
    """y = a · norm(x) + b, with a running mean that is no parameter."""

    def __init__(self, rngs: nnx.Rngs) -> None:
        self.norm = nnx.BatchNorm(3, momentum=0.5, rngs=rngs)
        self.dense = nnx.Linear(3, 1, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool) -> jax.Array:
        return self.dense(self.norm(x, use_running_average=not train))[:, 0]


def _line_data():
    rng = np.random.default_rng(0)
    x = rng.normal(2.0, 1.0, (50, 3)).astype(np.float32)
    y = x @ np.float32([1.0, -2.0, 0.5])
    return {"x": x[:40], "y": y[:40]}, {"x": x[40:], "y": y[40:]}


def _line_loss(model, batch, key):
    return jnp.mean((model(batch["x"], train=True) - batch["y"]) ** 2)


def _line_error(model, test):
    return jnp.sqrt(jnp.mean((model(test["x"], train=False) - test["y"]) ** 2))


LINE = Task(
    title="a line",
    data=_line_data,
    model=Line,
    loss=_line_loss,
    metric=Metric("test error", _line_error, target=0.5, higher_is_better=False),
    learning_rates={"sgd": 0.1, "adam": 0.1, "adamw": 0.1},
    batch_size=8,
    steps=20,
    evaluate_every=5,
)


@pytest.fixture(scope="module")
def digits() -> Problem:
    return Problem(tasks.load("images"))


def _train(problem: Problem, seed: int, steps: int, name: str = "adamw"):
    training = problem.start(ROSTER[name](problem.task.learning_rates[name], steps), seed, steps)
    return training, training.advance(steps)


def _bits(tree) -> list[bytes]:
    return [np.asarray(x).tobytes() for x in jax.tree.leaves(tree)]


# What is trained


def test_the_digits_are_split_by_class_and_always_alike(digits):
    train, test = digits.task.data()
    assert train.image.shape == (4000, 28, 28, 1)
    assert test.image.shape == (1000, 28, 28, 1)
    assert train.image.dtype == np.float32
    assert (train.image.min(), train.image.max()) == (0, 1)
    assert np.bincount(train.label).tolist() == [400] * 10
    assert np.bincount(test.label).tolist() == [100] * 10
    np.testing.assert_array_equal(digits.train.image, train.image)  # read another time


def test_each_epoch_sees_every_example_once():
    batches = np.asarray(Problem(LINE).batches(seed=3, steps=12))
    assert batches.shape == (12, 8)
    assert sorted(batches[:5].ravel()) == list(range(40))
    assert sorted(batches[5:10].ravel()) == list(range(40))
    assert not np.array_equal(batches[:5], batches[5:10])


def test_the_digits_are_learnt(digits):
    _, point = _train(digits, seed=0, steps=60)
    assert point.metric > 0.85


def test_a_step_is_the_update_written_by_hand():
    problem = Problem(LINE)
    training = problem.start(gradx.sgd(0.1, momentum=0.9), seed=0, steps=4)
    model = Line(nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, gradx.sgd(0.1, momentum=0.9), wrt=nnx.Param)
    train, _ = _line_data()
    for indices in np.asarray(training.batches):
        batch = {name: x[indices] for name, x in train.items()}
        optimizer.update(model, nnx.grad(_line_loss)(model, batch, None))
    training.advance(4)
    _, params, others = nnx.split(model, nnx.Param, ...)
    for mine, theirs in ((training.params, params), (training.others, others)):
        for x, y in zip(jax.tree.leaves(mine), jax.tree.leaves(theirs), strict=True):
            np.testing.assert_allclose(x, y, rtol=1e-5, atol=1e-6)  # float32, compiled and not


@pytest.mark.parametrize("name", ["sgd", "adamw"])
def test_a_seed_decides_every_bit(digits, name):
    # Each training compiles its own program; the data alone are kept, for reading them takes seconds.
    task = dataclasses.replace(digits.task, data=lambda: (digits.train, digits.test))
    trained = [_train(Problem(task), seed, 3, name) for seed in (5, 5, 6)]
    bits = [_bits((training.params, training.state)) for training, _ in trained]
    assert bits[0] == bits[1]
    assert bits[0] != bits[2]
    first, second = (point._replace(seconds_per_step=0.0) for _, point in trained[:2])
    assert first == second


# How it is trained


def test_learning_rates_and_seeds_share_a_trace():
    problem = Problem(LINE)
    for seed, rate in enumerate((0.1, 0.2, 0.3)):
        problem.start(ROSTER["adamw"](rate, 4), seed, 4).advance(4)
    assert problem._step._cache_size() == 1
    problem.start(ROSTER["sgd"](0.1, 4), 0, 4).advance(4)
    assert problem._step._cache_size() == 2


def test_parameters_and_state_are_donated():
    training = Problem(LINE).start(gradx.adam(0.1), 0, 2)
    before = jax.tree.leaves((training.params, training.state))
    training.advance(1)
    assert all(x.is_deleted() for x in before)


def test_the_learning_rate_is_that_of_the_step():
    training = Problem(LINE).start(ROSTER["adamw"](0.1, 20), 0, 20)
    schedule = training.tx.arguments["learning_rate"]
    points = [training.advance(5) for _ in range(4)]
    assert [p.step for p in points] == [5, 10, 15, 20]
    expected = [schedule(step - 1) for step in (5, 10, 15, 20)]
    np.testing.assert_allclose([p.learning_rate for p in points], expected, atol=1e-7)  # 0.1 in float32


def test_compiling_is_not_timed():
    training = Problem(LINE).start(gradx.sgd(0.1), 0, 3)
    assert math.isnan(training.advance(1).seconds_per_step)
    assert training.advance(2).seconds_per_step > 0


def test_a_batch_larger_than_the_data_is_refused():
    with pytest.raises(ValueError, match=r"batch_size must be in \[1, 40\], the training set, got 41"):
        Problem(dataclasses.replace(LINE, batch_size=41))


# What is reported


def _point(step: int, metric: float, seconds: float = 0.002) -> Point:
    return Point(step, 0.3, 0.25, metric, 0.1, seconds)


def _race() -> Race:
    accuracy = Metric("test accuracy", lambda model, test: jnp.zeros(()), target=0.95, style=".1%")
    result = Race("images", "digits", accuracy, steps=20, batch_size=64)
    result.runs = [
        Run("sgd", 0, "sgd(learning_rate=0.1)", 20, 100, 0, [_point(10, 0.95, math.nan), _point(20, 0.96)]),
        Run("sgd", 1, "sgd(learning_rate=0.1)", 20, 100, 0, [_point(10, 0.9), _point(20, 0.98)]),
        Run("adam", 0, "adam(learning_rate=0.1)", 20, 100, 808, [_point(10, 0.9, 0.004)]),
        Run("adam", 1, "adam(learning_rate=0.1)", 20, 100, 808),
    ]
    return result


def test_the_table_shows_means_over_seeds():
    sgd, adam = _race().rows()
    assert sgd == ["sgd", "97.0% (96.0% to 98.0%)", "0.250 (0.250 to 0.250)", "15", "2.0", "0.0"]
    assert adam == ["adam (unfinished)", "90.0%", "0.250", "–", "4.0", "8.1"]


def test_a_metric_may_be_better_when_lower():
    run = Run("sgd", 0, "", 20, 100, 0, [_point(10, 0.6), _point(20, 0.4)])
    assert run.steps_to_target(LINE.metric) == 20


def test_the_json_has_no_nan(tmp_path):
    _race().write(tmp_path / "results.json")
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["runs"][0]["curves"]["seconds_per_step"] == [None, 0.002]
    assert written["runs"][0]["curves"]["metric"] == [0.95, 0.96]
    assert written["runs"][0]["steps_to_target"] == 10
    assert written["runs"][3]["milliseconds_per_step"] is None
    assert written["finished"] is False


def test_a_failed_write_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "results.json"
    write_whole(path, "old")

    def fail(self, target):
        raise OSError("the disk is full")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the disk is full"):
        write_whole(path, "new")
    assert path.read_text() == "old"


def test_the_picture_shows_unfinished_and_diverged_runs(tmp_path):
    result = _race()
    result.runs.append(Run("adamw", 0, "", 20, 100, 0, [Point(10, *[math.nan] * 5)]))
    draw(result, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def _shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    result = _race()
    planned = [(run.optimizer, run.seed) for run in result.runs]
    with Progress(console, result.title, result.metric, planned) as progress:
        for run in result.runs[:3]:
            progress.show(run)
    return console.file.getvalue()


def test_without_a_terminal_each_finished_run_is_one_line():
    lines = _shown(terminal=False).splitlines()
    assert lines[0] == "sgd, seed 0  20 steps: test loss 0.2500, test accuracy 96.0%, 2.0 ms/step"
    assert len(lines) == 2


def test_a_terminal_shows_loss_accuracy_and_learning_rate():
    last = _shown(terminal=True).splitlines()
    row = next(line for line in last if "adam, seed 0" in line)
    assert all(cell in row for cell in ("10", "0.3000", "90.0%", "1.00e-01"))
    assert any("waiting" in line for line in last)


# The command line


def test_every_task_races_optimizers_that_exist():
    assert "images" in tasks.names()
    for name in tasks.names():
        assert set(tasks.load(name).learning_rates) <= set(ROSTER)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imagse"], "choose from .*images"),
        (
            ["images", "--optimizers", "adma"],
            "unknown optimizer 'adma'; images has sgd, momentum, rmsprop,",
        ),
        (["images", "--steps", "0"], "must be at least 1, got 0"),
        (["images", "--seeds", "-1"], "must be at least 0, got -1"),
    ],
)
def test_a_bad_argument_is_named_with_the_valid_ones(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        race.main(arguments)
    assert stopped.value.code == 2
    assert re.search(message, capsys.readouterr().err)


def test_a_whole_race(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    out = tmp_path / "out"
    arguments = ["images", "--optimizers", "adam", "sgd", "adam", "--seeds", "0", "1", "--steps", "12"]
    assert race.main([*arguments, "--out", str(out)]) == 0
    assert {path.name for path in out.iterdir()} == OUTPUTS
    text = (out / "results.json").read_text()
    written = json.loads(text)
    assert written["finished"] is True
    assert written["versions"].keys() == {"gradx", "jax", "jaxlib", "flax", "numpy", "python"}
    assert platform.node() not in text
    assert str(ROOT) not in text
    runs = [(run["optimizer"], run["seed"], run["curves"]["step"]) for run in written["runs"]]
    assert runs == [(name, seed, [5, 10, 12]) for name in ("adam", "sgd") for seed in (0, 1)]
    assert written["runs"][0]["recipe"] == "adam(learning_rate=0.1)"
    heading = "| optimizer | test error | test loss | steps to 0.500 | ms/step | state B/param |"
    assert (out / "table.md").read_text().startswith(heading)
    assert "results.json, curves.png and table.md" in capsys.readouterr().out


def test_an_interrupted_race_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    arguments = ["images", "--optimizers", "adam", "sgd", "--steps", "12", "--out", str(tmp_path)]
    advance, seen = Training.advance, []

    def stop_at_the_fifth(training, steps):
        seen.append(training.step)
        if len(seen) == 5:
            raise KeyboardInterrupt
        return advance(training, steps)

    monkeypatch.setattr(Training, "advance", stop_at_the_fifth)
    assert race.main(arguments) == race.INTERRUPTED
    first = json.loads((tmp_path / "results.json").read_text())
    assert [run["finished"] for run in first["runs"]] == [True, False]
    assert race.main(arguments) == 0
    assert len(seen) == 5 + 3  # sgd's three stretches alone; adam's were kept
    second = json.loads((tmp_path / "results.json").read_text())
    assert second["finished"] is True
    assert second["runs"][0] == first["runs"][0]
    assert race.main(arguments) == 0
    assert len(seen) == 5 + 3 + 6  # what was finished is measured anew
    assert race.main([*arguments, "--steps", "6"]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["steps"] == 6


def test_all_races_every_task_into_a_folder_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    monkeypatch.setattr(tasks, "names", lambda: ["one", "two"])
    assert race.main(["all", "--optimizers", "sgd", "--budget", "short", "--out", str(tmp_path)]) == 0
    steps = {name: json.loads((tmp_path / name / "results.json").read_text())["steps"] for name in ("one", "two")}
    assert steps == dict.fromkeys(("one", "two"), round(LINE.steps / 4))


def test_rates_are_tried_around_the_one_in_use():
    assert rates.grid(0.03) == [0.003, 0.01, 0.03, 0.1, 0.3]
    assert rates.grid(0.1) == [0.01, 0.03, 0.1, 0.3, 1.0]


def test_rates_are_shown_with_what_they_reach(monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    assert rates.main(["images", "--optimizers", "sgd", "--seeds", "0", "1"]) == 0
    lines = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert [line[:2] for line in lines] == [["sgd", rate] for rate in ("0.01", "0.03", "0.1", "0.3", "1")]
    assert float(lines[2][2]) < float(lines[0][2])  # 20 steps of 0.01 go nowhere


def test_rates_are_tried_without_the_test_set():
    train, _ = _line_data()
    kept, held_out = rates.without_test(LINE).data()
    assert (len(kept["x"]), len(held_out["x"])) == (32, 8)
    rows = np.concatenate([kept["x"], held_out["x"]])
    assert sorted(map(tuple, rows)) == sorted(map(tuple, train["x"]))


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    # A shell that runs the tests in the background has them ignore SIGINT, and a child inherits that: restore it.
    command = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command += "from benchmarks.race import main; sys.exit(main(sys.argv[1:]))"
    arguments = ["images", "--optimizers", "sgd", "adam", "--steps", "100000", "--out", str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, "-c", command, *arguments],
        cwd=tmp_path,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    deadline = time.monotonic() + FIRST_RESULT_SECONDS
    while not (tmp_path / "results.json").exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    shown, _ = process.communicate(timeout=FIRST_RESULT_SECONDS)
    assert process.returncode == race.INTERRUPTED, shown
    assert "Traceback" not in shown
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["finished"] is False
    assert written["runs"][0]["curves"]["step"][0] == 25
    assert "sgd (unfinished)" in (tmp_path / "table.md").read_text()
    assert {path.name for path in tmp_path.iterdir()} == OUTPUTS
