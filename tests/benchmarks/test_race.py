"""The race: what it measures is right and the same each time, and what was measured is never lost."""

import json
import math
import os
import platform
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from benchmarks import pictures, race, tasks
from benchmarks.pictures import draw
from benchmarks.results import Race, Run, Tuning, write_whole
from benchmarks.supervised import held_out
from benchmarks.task import Metric
from benchmarks.training import Point, Training
from tests.benchmarks.kept import point, unfinished_race
from tests.benchmarks.line import LINE, line_data

ROOT = Path(__file__).parents[2]
OUTPUTS = {"results.json", "curves.png", "table.md"}
FIRST_RESULT_SECONDS = 90
"""Until a process has imported jax, read the digits, compiled and looked once; some 6 s on an idle machine."""


# What is reported


def test_the_table_shows_means_over_seeds():
    sgd, adam = unfinished_race().rows()
    spread = "0.5 (0.5 to 0.5)"
    assert sgd == ["sgd", "0.1", "97.0% (96.0% to 98.0%)", "0.250 (0.250 to 0.250)", "15", "2", "0.0", "2.0", spread]
    assert adam == ["adam (unfinished)", "0.1", "90.0%", "0.250", "–", "4", "8.1", "0.0", "0.5"]


def test_a_metric_may_be_better_when_lower():
    run = Run("sgd", 0, 0.1, "", 20, 100, 0, 0, [point(10, 0.6), point(20, 0.4)])
    assert run.steps_to_target(LINE.metric) == 20


def test_the_json_has_no_nan(tmp_path):
    unfinished_race().write(tmp_path / "results.json")
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["runs"][0]["curves"]["seconds_per_step"] == [None, 0.002]
    assert written["runs"][0]["curves"]["metric"] == [0.95, 0.96]
    assert written["runs"][0]["steps_to_target"] == 10
    assert written["runs"][3]["milliseconds_per_step"] is None
    assert written["finished"] is False
    assert written["tuning"] == {
        "sgd": {"recipe": "sgd(learning_rate=0.1)", "rates": [0.03, 0.1, 0.3], "metrics": [0.8, 0.9, None]}
    }


def test_a_written_race_reads_as_it_was(tmp_path):
    path = tmp_path / "results.json"
    result = unfinished_race()
    result.write(path)
    again = Race.read(path)
    assert again.rows()[0] == result.rows()[0]
    assert again.seconds == result.seconds
    assert again.tunings[0].best(again.metric) == 0.1
    assert [run.seed for run in again.runs] == [0, 1]  # what was not finished is not shown
    again.runs, again.tunings = [], []
    again.resume(path)
    assert [run.points for run in again.runs][1] == result.runs[1].points


@pytest.mark.parametrize("higher", [True, False])
def test_the_best_rate_is_never_one_that_diverged(higher):
    metric = Metric("", target=0.0, higher_is_better=higher)
    assert Tuning("sgd", "", [1, 2, 3, 4], [math.nan, 0.5, 0.7, math.nan]).best(metric) == (3 if higher else 2)


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
    result = unfinished_race()
    result.runs.append(Run("adamw", 0, 0.1, "", 20, 100, 0, 0, [Point(10, *[math.nan] * 5)]))
    draw(result, tmp_path / "curves.png")
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def test_the_legend_names_the_best_first(tmp_path, monkeypatch):
    figures = []
    monkeypatch.setattr(pictures, "save", lambda figure, path: figures.append(figure))
    result = unfinished_race()
    result.runs.append(Run("adamw", 0, 0.1, "", 20, 100, 0, 0, [Point(10, *[math.nan] * 5)]))
    draw(result, tmp_path / "curves.png")
    result.metric = Metric("test error", target=0.05, higher_is_better=False)
    draw(result, tmp_path / "curves.png")
    legends = [[text.get_text().split()[0] for text in figure.legends[0].get_texts()] for figure in figures]
    assert legends == [["sgd", "adam", "adamw"], ["adam", "sgd", "adamw"]]


def test_a_whole_race(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    out = tmp_path / "out"
    arguments = ["images", "--optimizers", "adam", "sgd", "adam", "--seeds", "2", "--budget", "12"]
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
    assert list(written["tuning"]) == ["adam", "sgd"]
    assert written["tuning"]["sgd"]["rates"] == [0.01, 0.03, 0.1, 0.3, 1.0]
    tuning = next(x for x in Race.read(out / "results.json").tunings if x.optimizer == "sgd")
    assert written["runs"][2]["learning_rate"] == tuning.best(LINE.metric)
    assert f"peak_value={tuning.best(LINE.metric):g}" in written["runs"][2]["recipe"]
    heading = "| optimizer | learning rate | test error | test loss | steps to 0.500 | ms/step | state B/param |"
    assert (out / "table.md").read_text().startswith(heading)
    assert "results.json, curves.png and table.md" in capsys.readouterr().out


@pytest.mark.slow
@pytest.mark.parametrize("at_once", ["1", "2", "3"])
def test_groups_of_members_change_nothing_but_the_time(tmp_path, monkeypatch, at_once):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    arguments = ["images", "--optimizers", "sgd", "--seeds", "3", "--budget", "10"]
    for name, extra in (("all", []), ("some", ["--at-once", at_once])):
        assert race.main([*arguments, *extra, "--out", str(tmp_path / name)]) == 0
    both = [Race.read(tmp_path / name / "results.json") for name in ("all", "some")]
    for mine, theirs in zip(*(result.runs for result in both), strict=True):
        assert (mine.seed, mine.rate) == (theirs.seed, theirs.rate)
        np.testing.assert_allclose(mine.points[-1].metric, theirs.points[-1].metric, rtol=1e-5)


@pytest.mark.slow
def test_an_interrupted_race_goes_on(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    arguments = ["images", "--optimizers", "adam", "sgd", "--seeds", "2", "--budget", "12", "--out", str(tmp_path)]
    advance, seen = Training.advance, []

    def stop_at_the_eleventh(training, steps):
        seen.append(training.step)
        if len(seen) == 11:
            raise KeyboardInterrupt
        return advance(training, steps)

    monkeypatch.setattr(Training, "advance", stop_at_the_eleventh)
    assert race.main(arguments) == race.INTERRUPTED
    first = json.loads((tmp_path / "results.json").read_text())
    assert [run["finished"] for run in first["runs"]] == [True, True, False, False]
    assert race.main(arguments) == 0
    assert len(seen) == 11 + 3  # sgd's seeds alone; what adam did and sgd's learning rates were kept
    second = json.loads((tmp_path / "results.json").read_text())
    assert second["finished"] is True
    assert second["runs"][:2] == first["runs"][:2]
    assert second["tuning"] == first["tuning"]
    assert second["seconds"] > first["seconds"] > 0  # both parts together
    assert race.main(arguments) == 0
    assert len(seen) == 11 + 3 + 12  # what was finished is measured anew
    assert race.main([*arguments, "--add", "--seeds", "3"]) == 0
    assert len(seen) == 11 + 3 + 12 + 6  # one more seed for each of the two, in three stretches
    assert race.main([*arguments, "--budget", "6", "--overwrite"]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["steps"] == 6


def test_all_races_every_task_into_a_folder_of_its_own_and_reports(tmp_path, monkeypatch, capsys):
    def load(name):
        if name == "three":
            raise tasks.Unavailable("the task three cannot run here: no module")
        return LINE

    monkeypatch.setattr(tasks, "load", load)
    monkeypatch.setattr(tasks, "names", lambda: ["one", "two", "three"])
    monkeypatch.setattr(race, "alone", race.main)  # in this process, which knows the tasks above
    assert race.main(["all", "--optimizers", "sgd", "--budget", "short", "--out", str(tmp_path)]) == 0
    steps = {name: json.loads((tmp_path / name / "results.json").read_text())["steps"] for name in ("one", "two")}
    assert steps == dict.fromkeys(("one", "two"), round(LINE.steps / 4))
    assert "the task three cannot run here: no module; left out" in capsys.readouterr().out
    assert "| two: test error | sgd |" in (tmp_path / "README.md").read_text()
    assert (tmp_path / "report.html").exists()


@pytest.mark.slow
def test_all_goes_on_where_it_was_interrupted(tmp_path, monkeypatch):
    started, interrupted = [], {"two"}

    def alone(arguments):
        started.append((arguments[0], "--add" in arguments))
        return race.INTERRUPTED if arguments[0] in interrupted else race.main(arguments)

    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    monkeypatch.setattr(tasks, "names", lambda: ["one", "two", "three"])
    monkeypatch.setattr(race, "alone", alone)
    arguments = ["all", "--optimizers", "sgd", "--budget", "short", "--out", str(tmp_path)]
    assert race.main(arguments) == race.INTERRUPTED
    assert started == [("one", False), ("two", False)]
    first = (tmp_path / "one" / "results.json").read_text()
    interrupted.clear()
    assert race.main(arguments) == 0
    assert started[2:] == [("one", True), ("two", False), ("three", False)]
    kept = json.loads((tmp_path / "one" / "results.json").read_text())
    assert kept["runs"] == json.loads(first)["runs"]  # their times too: nothing of it was measured again
    assert race.main(arguments) == 0
    assert started[5:] == [("one", False), ("two", False), ("three", False)]  # all were done: measure anew


def test_ctrl_c_waits_for_the_race_and_stops(monkeypatch):
    waits = []

    class Interrupted:
        def __init__(self, command):
            pass

        def wait(self):
            waits.append(1)
            if len(waits) == 1:
                raise KeyboardInterrupt
            return 0  # the race may have been at its very end

    monkeypatch.setattr(subprocess, "Popen", Interrupted)
    assert race.alone(["images"]) == race.INTERRUPTED
    assert len(waits) == 2


def test_a_race_alone_runs_in_another_process(tmp_path):
    arguments = ["tabular", "--optimizers", "sgd", "--no-tune", "--seeds", "1", "--budget", "2", "--out", str(tmp_path)]
    assert race.alone(arguments) == 0
    assert Race.read(tmp_path / "results.json").finished
    assert race.alone(["no such task"]) == 2


def test_rates_are_tried_around_the_one_in_use():
    assert race.grid(0.03) == [0.003, 0.01, 0.03, 0.1, 0.3]
    assert race.grid(0.1) == [0.01, 0.03, 0.1, 0.3, 1.0]


def test_rates_are_tuned_without_the_test_set():
    train, _ = line_data()
    data = LINE.learner("sgd", True).data
    seen = np.concatenate([np.asarray(part["x"]) for part in data])
    assert [len(part["x"]) for part in data] == [32, 8]
    assert sorted(map(tuple, seen)) == sorted(map(tuple, train["x"]))
    kept, out = held_out(train)
    np.testing.assert_array_equal(data[0]["x"], kept["x"])
    np.testing.assert_array_equal(data[1]["x"], out["x"])


def test_untuned_races_take_the_rate_of_the_task(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    arguments = ["images", "--no-tune", "--seeds", "1", "--budget", "5", "--out", str(tmp_path)]
    assert race.main(arguments) == 0
    written = json.loads((tmp_path / "results.json").read_text())
    assert written["tuning"] == {}
    assert [run["learning_rate"] for run in written["runs"]] == list(LINE.learning_rates.values())


def test_ctrl_c_keeps_what_was_measured(tmp_path):
    # A shell that runs the tests in the background has them ignore SIGINT, and a child inherits that: restore it.
    command = "import signal, sys; signal.signal(signal.SIGINT, signal.default_int_handler); "
    command += "from benchmarks.race import main; sys.exit(main(sys.argv[1:]))"
    arguments = [
        "images",
        "--optimizers",
        "sgd",
        "adam",
        "--no-tune",
        "--seeds",
        "1",
        "--budget",
        "100000",
        "--out",
        str(tmp_path),
    ]
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
