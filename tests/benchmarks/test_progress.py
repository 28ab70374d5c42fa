"""What a race shows is whole at every width, and its time left is that of all steps."""

import io
import re

import pytest
from rich.console import Console

from benchmarks import race, tasks
from benchmarks.progress import Progress, final_table
from benchmarks.results import Run
from benchmarks.task import Metric
from tests.benchmarks.kept import point, unfinished_race
from tests.benchmarks.line import LINE


def _shown(*, terminal: bool) -> str:
    console = Console(file=io.StringIO(), force_terminal=terminal, width=120)
    result = unfinished_race()
    planned = [(run.optimizer, run.seed) for run in result.runs]
    with Progress(console, result.title, result.metric, planned) as progress:
        for run in result.runs[:3]:
            progress.show(run)
    return console.file.getvalue()


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_a_narrow_terminal_shows_whole_words_and_numbers(width):
    bits = Metric("held-out bits per byte", target=2.5, higher_is_better=False)
    console = Console(file=io.StringIO(), force_terminal=True, width=width)
    planned = [("adam-constant", seed) for seed in (0, 1)] + [("momentum", 0)]
    with Progress(console, "a small Transformer", bits, planned) as progress:
        progress.show(Run("adam-constant", 0, 0.1, "", 20, 100, 0, 0, [point(10, 2.3456)]))
        progress.plan(100)
        progress.tune("momentum", 5, 50)
        progress.advance(10, tuning=True)
        progress.note("momentum: " + ", ".join(f"{x}: 94.{x}%" for x in range(10, 30)))
    plain = re.sub(r"\x1b\[[0-9;]*m", "", console.file.getvalue())
    shown = re.sub(r"(\x1b\[[0-9;?]*[A-Za-z]|\r)+", "\n", plain)  # where the cursor goes elsewhere
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    row = [line for line in shown.splitlines() if re.match(" adam-constant(, seed)? 0", line)][-1]
    assert "10" in row
    assert "2.346" in row
    assert all(f"94.{x}%" in shown for x in range(10, 30))
    assert "━" in row or width < 80
    assert "tuning" in shown
    assert re.search(r"about \d+:\d\d\s+left", shown)


@pytest.mark.parametrize("width", [40, 60, 80, 100, 120, 140])
def test_the_final_table_fits_and_says_what_it_leaves_out(width):
    result = unfinished_race()
    for run in result.runs:
        run.optimizer = run.optimizer.replace("adam", "adam-constant")
    console = Console(file=io.StringIO(), width=width)
    console.print(*final_table(result, console))
    shown = console.file.getvalue()
    assert "…" not in shown
    assert max(map(len, shown.splitlines())) <= width
    left_out = re.search(r"no room here for ([^:]*): table.md has\s+them", shown)
    missing = re.sub(r"\s+", " ", left_out[1]).split(", ") if left_out else []
    assert set(missing) <= set(result.headings()[3:])
    assert ("noise" in missing) or "noise" in shown
    assert "97.0%" in shown
    assert "(96.0% to 98.0%)" in shown or width < 60
    if width >= 120:
        assert set(missing) <= {"noise"}  # the task's own, beside eight that all have


def test_the_time_left_is_what_the_done_steps_took(monkeypatch):
    now = [0.0]
    monkeypatch.setattr("benchmarks.progress.time.monotonic", lambda: now[0])
    progress = Progress(Console(file=io.StringIO()), "", LINE.metric, [("sgd", 0)])
    progress.plan(100)
    assert progress.left == ""
    now[0] = 30.0
    progress.advance(20, tuning=True)
    assert progress.left == "about 2:00 left"
    progress.plan(-40)  # kept of an earlier start
    assert progress.left == "about 1:00 left"
    progress.advance(40)
    assert progress.left == ""


@pytest.mark.slow
def test_a_race_counts_every_step_that_it_plans(tmp_path, monkeypatch):
    """Also of tunings and trainings that were kept: otherwise the time left is wrong."""
    monkeypatch.setattr(tasks, "load", lambda name: LINE)
    seen = []
    monkeypatch.setattr(Progress, "__exit__", lambda self, *_: seen.append((self.planned_steps, self.done_steps)))
    arguments = ["images", "--optimizers", "sgd", "adam", "--seeds", "2", "--budget", "7", "--out", str(tmp_path)]
    assert race.main(arguments) == 0
    assert race.main([*arguments, "--add", "--seeds", "3"]) == 0
    trials, trainings = 2 * 5 * LINE.tuning_seeds, 2 * 2
    assert seen == [((trials + trainings) * 7,) * 2, (2 * 7, 2 * 7)]


def test_without_a_terminal_each_finished_run_is_one_line():
    lines = _shown(terminal=False).splitlines()
    assert lines[0] == "sgd, seed 0  20 steps: test loss 0.2500, test accuracy 96.0%, 2 ms/step"
    assert len(lines) == 2


def test_a_terminal_shows_loss_accuracy_and_learning_rate():
    last = _shown(terminal=True).splitlines()
    row = next(line for line in last if "adam, seed 0" in line)
    assert all(cell in row for cell in ("10", "0.3000", "90.0%", "1.00e-01"))
    assert any("waiting" in line for line in last)


# The command line
