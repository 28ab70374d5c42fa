"""How soon others have AdamW's final loss: crossings between looks, and who never crosses."""

import pytest

from benchmarks.pursuit import pursuit, steps_until
from benchmarks.results import Race, Run
from benchmarks.task import Metric
from benchmarks.training import Point


def run(name, *test_losses, seed=0):
    points = [Point(10 * (i + 1), 1.0, loss, loss, 0.1, 0.002) for i, loss in enumerate(test_losses)]
    return Run(name, seed, 0.1, f"{name}(0.1)", 10 * len(test_losses), 100, 800, 0, points)


@pytest.mark.parametrize(
    ("losses", "steps"),
    [((3.0, 1.0), 15.0), ((1.5, 1.0), 10.0), ((2.0, 1.0), 10.0), ((float("nan"), 1.0), 20.0), ((3.0, 2.5), None)],
)
def test_a_crossing_between_two_looks(losses, steps):
    assert steps_until(2.0, [10 * (i + 1) for i in range(len(losses))], losses) == steps


def test_the_table_counts_those_that_reach_it():
    race = Race("one", "digits", Metric("loss", 0.1, higher_is_better=False), steps=40, step="64 images")
    race.runs = [
        run("sgd", 9.0, 8.0, 7.0, 6.0),
        run("adamw", 4.0, 3.0, 2.5, 2.2),
        run("adamw", 4.0, 3.0, 2.2, 1.8, seed=1),
        run("muon", 3.0, 1.0, 0.5, 0.4),
        run("muon", 2.0, 1.0, 0.5, 0.4, seed=1),
    ]
    lines = pursuit(race).splitlines()
    assert lines[0].startswith("| to adamw's loss 2.000 |")
    assert lines[2:] == [
        "| muon | 2 of 2 | 12 | 0.31 (0.25 to 0.38) | 0.025 |",
        "| adamw | 1 of 2 | – | – | – |",
        "| sgd | 0 of 1 | – | – | – |",
    ]


def test_without_adamw_there_is_no_table():
    race = Race("one", "digits", Metric("loss", 0.1), steps=40, step="64 images")
    race.runs = [run("sgd", 9.0, 8.0)]
    assert pursuit(race) == ""


def test_an_accuracy_is_pursued_by_the_loss_and_a_return_not_at_all():
    runs = [run("adamw", 4.0, 2.0), run("sgd", 4.0, 1.0)]
    for examples, expected in ((100, "to adamw's test loss 2.000"), (0, "")):
        race = Race("one", "digits", Metric("score", 0.1, examples=examples), steps=20, step="64 images", runs=runs)
        assert expected in pursuit(race)
        assert bool(pursuit(race)) == bool(examples)
