"""The command lines refuse in one line, before anything is measured, what would fail later or lose results."""

import dataclasses
import importlib
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import race, report, tasks
from benchmarks.results import Race
from benchmarks.training import Training
from tests.benchmarks.line import LINE

ROOT = Path(__file__).parents[2]
IMPORT_SECONDS = 90
"""Until a process ends that was stopped while it imported; a second on an idle machine."""


def test_a_task_that_cannot_run_says_why(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "gymnax", None)
    monkeypatch.delitem(sys.modules, "benchmarks.tasks.control", raising=False)
    with pytest.raises(SystemExit):
        race.main(["control"])
    assert "the task control cannot run here: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["imagse"], "unknown task 'imagse', did you mean 'images'. choose from .*images"),
        (["xyz"], "unknown task 'xyz'; choose from .*images"),
        (
            ["images", "--optimizers", "adma"],
            "unknown optimizer of images 'adma', did you mean 'adam'. choose from sgd, momentum, rmsprop,",
        ),
        (["images", "--budget", "0"], "must be at least 1, got 0"),
        (["images", "--budget", "tiny"], "must be full, short or a number of steps, got 'tiny'"),
        (["images", "--steps", "tiny"], "must be full, short or a number of steps, got 'tiny'"),
        (["images", "--seeds", "0"], "must be at least 1, got 0"),
        (["images", "--seeds", "1.5"], "must be a whole number, 1 or more, got '1.5'"),
        (["images", "--at-once", "two"], "must be a whole number, 1 or more, got 'two'"),
        (["images", "--out", "/proc/x"], "cannot write to /proc/x: "),
        (["images", "--out", __file__], f"cannot write to {__file__}: it is no folder"),
        (["images", "--out", f"{__file__}/x"], f"cannot write to {__file__}/x: Not a directory"),
        (["all", "--out", __file__, "--budget", "1"], f"cannot write to {__file__}/"),
    ],
)
def test_a_bad_argument_is_named_with_the_valid_ones(arguments, message, capsys):
    with pytest.raises(SystemExit) as stopped:
        race.main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert re.search(message, said)
    assert said.count("\n") == 1


SMALL = ["images", "--optimizers", "adam", "sgd", "--seeds", "2", "--budget", "5"]


def _refused(arguments, capsys) -> str:
    with pytest.raises(SystemExit) as stopped:
        race.main(arguments)
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    return said


def test_a_finished_race_gives_way_to_none_that_asks_for_less(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    out = ["--no-tune", "--out", str(tmp_path)]
    assert race.main([*SMALL, *out]) == 0
    path = tmp_path / "results.json"
    before = path.read_bytes()
    for other in (
        ["--optimizers", "sgd"],
        ["--optimizers", "sgd", "adamw"],
        ["--seeds", "1"],
        ["--budget", "6"],
        ["--tune"],
        ["--budget", "6", "--add"],
        ["--tune", "--add"],
    ):
        said = _refused([*SMALL, *out, *other], capsys)
        assert f"{path} has images, adam, sgd, 2 seeds, 5 steps, not tuned; " in said
        assert "--overwrite replaces it" in said
        assert path.read_bytes() == before
    assert race.main([*SMALL, *out, "--optimizers", "sgd", "--overwrite"]) == 0
    assert Race.read(path).optimizers == ["sgd"]


@pytest.mark.slow
def test_another_task_or_version_is_another_race(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    out = ["--no-tune", "--out", str(tmp_path)]
    assert race.main([*SMALL, *out]) == 0
    assert "has images, " in _refused(["tabular", *SMALL[1:], *out], capsys)
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace('"jax": "', '"jax": "0'))
    assert "versions and machine" in _refused([*SMALL, "--add", *out], capsys)
    capsys.readouterr()
    assert race.main([*SMALL, "--seeds", "3", *out]) == 0  # all that it has is asked for: measured anew, and said
    assert f"{path} has a finished race, which is measured anew" in capsys.readouterr().out
    assert len(Race.read(path).runs) == 6


@pytest.mark.slow
def test_an_interrupted_race_gives_way_to_none_that_asks_for_less(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    out = ["--out", str(tmp_path)]
    assert race.main([*SMALL, *out]) == 0
    path = tmp_path / "results.json"
    path.write_text(path.read_text().replace('"finished": true,\n "seconds"', '"finished": false,\n "seconds"'))
    assert not json.loads(path.read_text())["finished"]
    runs = json.loads(path.read_text())["runs"]
    _refused([*SMALL, "--seeds", "1", *out], capsys)
    assert race.main([*SMALL, "--seeds", "3", *out]) == 0
    kept = json.loads(path.read_text())
    assert kept["finished"]
    assert [x for x in kept["runs"] if x["seed"] < 2] == runs  # their times too


@pytest.mark.slow
def test_add_keeps_optimizers_and_seeds_that_are_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    out, path = ["--out", str(tmp_path)], tmp_path / "results.json"
    assert race.main([*SMALL, *out]) == 0
    before = json.loads(path.read_text())
    other = ["images", "--optimizers", "adamw", "--seeds", "1", "--budget", "5", "--add", *out]
    advance = Training.advance

    def stop(training, steps):
        raise KeyboardInterrupt

    monkeypatch.setattr(Training, "advance", stop)
    assert race.main(other) == race.INTERRUPTED
    assert json.loads(path.read_text())["runs"] == before["runs"]  # not even Ctrl-C loses them
    monkeypatch.setattr(Training, "advance", advance)
    assert race.main(other) == 0
    kept = json.loads(path.read_text())
    assert kept["runs"][:4] == before["runs"]
    assert [(run["optimizer"], run["seed"]) for run in kept["runs"][4:]] == [("adamw", 0)]
    assert set(kept["tuning"]) == {"adam", "sgd", "adamw"}


@pytest.mark.parametrize("text", ["{", "[]", "{}", '{"runs": []}', "null", "\udcff"])
def test_a_file_that_is_no_result_is_named_before_anything_is_measured(tmp_path, monkeypatch, capsys, text):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    monkeypatch.setattr(tasks, "names", lambda: ["images"])
    path = tmp_path / "images" / "results.json"
    path.parent.mkdir()
    path.write_bytes(text.encode(errors="surrogateescape"))
    for arguments in ([*SMALL, "--out", str(path.parent)], ["all", *SMALL[1:], "--out", str(tmp_path)]):
        assert f"{path} is no result of a race (" in _refused(arguments, capsys)
    with pytest.raises(SystemExit):
        report.main([str(tmp_path)])
    assert f"{path} is no result of a race (" in capsys.readouterr().err
    if text == "{":
        assert race.main([*SMALL, "--no-tune", "--out", str(path.parent), "--overwrite"]) == 0


@pytest.mark.slow
def test_all_takes_of_each_task_the_optimizers_that_it_has(tmp_path, monkeypatch, capsys):
    other = dataclasses.replace(LINE, learning_rates={"sgd": 0.1})
    monkeypatch.setattr(tasks, "load", lambda name: other if name == "two" else LINE)
    monkeypatch.setattr(tasks, "names", lambda: ["one", "two"])
    monkeypatch.setattr(race, "_task", str)
    started = []
    monkeypatch.setattr(race, "alone", lambda arguments: started.append(arguments) or race.main(arguments))
    out = ["--budget", "5", "--seeds", "1", "--no-tune", "--out", str(tmp_path)]
    assert race.main(["all", "--optimizers", "adam", "sgd", *out]) == 0
    raced = {x.task: x.optimizers for x in report.found(tmp_path)}
    assert raced == {"one": ["adam", "sgd"], "two": ["sgd"]}
    assert all("--no-tune" in arguments for arguments in started)
    assert race.main(["all", "--optimizers", "adam", *out, "--overwrite"]) == 0
    assert "two has no adam; left out" in capsys.readouterr().out
    assert len(started) == 3
    with pytest.raises(SystemExit):
        race.main(["all", "--optimizers", "adma", *out])
    assert "unknown optimizer 'adma', did you mean 'adam'? choose from sgd, adam, adamw" in capsys.readouterr().err


def test_all_refuses_before_the_first_race_starts(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    monkeypatch.setattr(tasks, "names", lambda: ["one", "two"])
    monkeypatch.setattr(race, "_task", str)
    assert race.main(["two", *SMALL[1:], "--no-tune", "--out", str(tmp_path / "two")]) == 0
    monkeypatch.setattr(race, "alone", None)
    assert f"{tmp_path / 'two' / 'results.json'} has two, " in _refused(
        ["all", "--budget", "5", "--seeds", "1", "--no-tune", "--out", str(tmp_path)], capsys
    )


@pytest.mark.parametrize("seeds", [None, "2"])
def test_a_full_race_has_as_many_seeds_as_the_task_says(monkeypatch, tmp_path, seeds):
    monkeypatch.setattr(tasks, "load", lambda name: dataclasses.replace(LINE, seeds=4))
    given = ["--seeds", seeds] if seeds else []
    arguments = ["images", "--optimizers", "sgd", "--no-tune", *given, "--steps", "5", "--out", str(tmp_path)]
    assert race.main(arguments) == 0
    assert len(Race.read(tmp_path / "results.json").runs) == int(seeds or 4)


@pytest.mark.parametrize(
    "name",
    ["claims", "cost", "deviations", "matrix", "minimize", "race", "readme", "report", "scale", "speed", "sweep"],
)
def test_help_shows_help_and_measures_nothing(name, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"benchmarks.{name}").main(["--help"])
    assert stopped.value.code == 0
    assert f"usage: python -m benchmarks.{name} [-h]" in capsys.readouterr().out


OUTPUTS = [("cost", "--out"), ("deviations", "--folder"), ("minimize", "--out"), ("speed", "--out")]
OUTPUTS += [("sweep", "--out"), ("matrix", "--out"), ("claims", "--out"), ("scale", "--out")]


@pytest.mark.parametrize(("name", "option"), OUTPUTS)
def test_no_benchmark_measures_what_it_cannot_write(name, option, capsys):
    with pytest.raises(SystemExit) as stopped:
        importlib.import_module(f"benchmarks.{name}").main([option, __file__])
    assert stopped.value.code == 2
    assert f"cannot write to {__file__}: it is no folder" in capsys.readouterr().err


def test_every_program_of_the_folder_is_tried_above():
    programs = {path.stem for path in (ROOT / "benchmarks").glob("*.py") if "__main__" in path.read_text()}
    known = {
        "claims",
        "cost",
        "deviations",
        "matrix",
        "minimize",
        "race",
        "readme",
        "report",
        "scale",
        "speed",
        "sweep",
    }
    assert programs == known


def test_devices_can_still_be_chosen_after_the_imports():
    program = "import jax, benchmarks.matrix as m; jax.config.update('jax_num_cpu_devices', m.DEVICES)"
    subprocess.run([sys.executable, "-c", program], cwd=ROOT, check=True, timeout=120)


def test_ctrl_c_during_imports_ends_in_one_line(tmp_path):
    (tmp_path / "sitecustomize.py").write_text("import signal; signal.signal(2, signal.default_int_handler)")
    (tmp_path / "jax.py").write_text("import os, time; os.kill(os.getpid(), 2); time.sleep(60)")
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.race", "tabular"],
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=IMPORT_SECONDS,
        check=False,
    )
    assert (done.returncode, done.stdout, done.stderr.strip()) == (race.INTERRUPTED, "", "interrupted")
