"""The report over the races says what they measured, and is one page without anything beside it."""

import base64
import json
import math
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from PIL import Image

from benchmarks import report
from benchmarks.pictures import draw
from benchmarks.results import Race, Run, Tuning
from benchmarks.task import Metric
from benchmarks.training import Point

RESULTS = Path(__file__).parents[2] / "benchmarks" / "results"
LONGEST = 15 * 60
"""Seconds for a full race of seven optimizers, three seeds each, on two quiet cores; else the task is too large."""
BESIDE_OTHERS = 2
"""What is kept may have been raced beside other work: so many times as long."""


def race(
    task="images", *, higher=True, textbook="sgd", examples=0, ceiling=None, alternatives=(), schedules=(), **ends
):
    """Return a race whose optimizers end with these metrics, one for each seed."""
    metric = Metric(
        "test accuracy", target=0.9, higher_is_better=higher, style=".1%", ceiling=ceiling, examples=examples
    )
    said = {"textbook": textbook, "source": "a book", "alternatives": alternatives, "schedules": dict(schedules)}
    result = Race(task, "digits", metric, steps=20, step="64 images", **said)
    result.tunings = [Tuning(name, "", [0.1, 0.3], [0.5, math.nan]) for name in ends]
    for name, metrics in ends.items():
        for seed, value in enumerate(metrics):
            points = [Point(10, 1.0, 1.0, 0.5, 0.1, 0.001), Point(20, 0.5, 0.5, value, 0.1, 0.001)]
            result.runs.append(Run(name, seed, 0.1, f"{name}(0.1)", 20, 100, 800, 0, points))
    result.finished, result.seconds = True, 90.0
    return result


def test_a_diverged_seed_is_never_the_best():
    assert race(sgd=[math.nan], adam=[0.1]).best() == "adam"


def test_the_report_has_every_race_with_its_rates_and_its_machine(tmp_path):
    for result in (
        race("one", sgd=[0.9, 0.91], adam=[0.95, 0.97], recipe=[0.9]),
        race("two", textbook="lion", sgd=[0.9]),
    ):
        draw(result, tmp_path / result.task / "curves.png")
        result.write(tmp_path / result.task / "results.json")
    with Image.open(tmp_path / "one" / "curves.png") as picture:
        assert picture.mode == "P"  # with a palette, or the page grows beyond measure
    (tmp_path / "one" / "adam.png").write_bytes((tmp_path / "one" / "curves.png").read_bytes())
    assert report.main([str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text()
    expected = "| one: test accuracy | sgd | 90.5% (90.0% to 91.0%) | adam | 96.0% (95.0% to 97.0%) | "
    assert expected + "-5.5% ± 6.4% | not told apart | 1 to 2 | 90.0% |" in text
    assert "| two: test accuracy | lion | not raced | – | – | – | – | 1 | – |" in text
    assert "| adam (at the edge) | **0.1: 50.0%** | 0.3: nan% |" in text
    assert "![Made with adam](one/adam.png)\n\n*Made with adam.*\n" in text
    assert "| adam | 0.1 | **96.0% (95.0% to 97.0%)** |" in text
    assert not re.search(r"\| *\|", text)  # no heading and no cell is empty
    assert re.search(r"jax \d+\.\d+.*; 1\.5 minutes in all on \d+ processors, cpu", text)
    page = (tmp_path / "report.html").read_text()
    assert page.count('src="data:image/svg+xml;base64,') == page.count('srcset="data:image/svg+xml;base64,') == 3
    assert page.count('src="data:image/png;base64,') == 1
    assert page.count("<figure") == page.count("<figcaption>") == page.count("<img") == 4
    assert not re.search(r'(src|href|srcset)="(?!data:|#)', page)
    links, anchors = re.findall(r'href="#(.*?)"', page), re.findall(r'id="(.*?)"', page)
    assert links == anchors == ["all-races", "one-digits", "two-digits"]
    assert "prefers-color-scheme: dark" in page
    assert page.count("<table>") == page.count('<div class="table')
    assert '<td data-label="task">one: test accuracy</td>' in page
    assert '<td data-label="was it the best?" style="text-align:right">not told apart</td>' in page


def test_a_folder_without_races_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit):
        report.main([str(tmp_path)])
    assert "no race in" in capsys.readouterr().err


def test_the_kept_report_is_that_of_the_kept_races():
    races = report.found(RESULTS)
    assert {race.task for race in races} == {path.parent.name for path in RESULTS.glob("*/results.json")}
    assert (RESULTS / "README.md").read_text() == report.markdown(races, RESULTS)
    page = (RESULTS / "report.html").read_text()
    drawn = re.findall(r'="data:image/svg\+xml;base64,([^"]+)"', page)
    assert len(drawn) == 2 * (len(races) + 1)
    for picture in drawn:
        ElementTree.fromstring(base64.b64decode(picture))


@pytest.mark.parametrize("path", sorted(RESULTS.glob("*/results.json")), ids=lambda path: path.parent.name)
def test_the_kept_races_are_full(path):
    result = Race.read(path)
    assert result.finished
    trainings = 8 * 7  # five rates and three seeds
    assert (
        0 < result.seconds <= BESIDE_OTHERS * LONGEST * max(1, (5 * len(result.tunings) + len(result.runs)) / trainings)
    )
    for name in result.optimizers:
        assert len(result.of(name)) >= 3, name
        assert name in {tuning.optimizer for tuning in result.tunings}
    assert json.loads(path.read_text())["versions"]["jax"]
