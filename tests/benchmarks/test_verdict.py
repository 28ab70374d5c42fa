"""One rule says whether the textbook's choice was the best, and says it the same way for it and against it."""

import math

import numpy as np
import pytest
from scipy import stats

from benchmarks import verdict
from tests.benchmarks.test_report import race

BOOK = [0.90, 0.92, 0.94]
SAME = [0.902, 0.919, 0.941]
ABOVE = [0.95, 0.97, 0.99]
BELOW = [0.85, 0.87, 0.89]
MIXED = [0.99, 0.90, 0.96]
"""A better mean than BOOK's, and seeds that disagree."""


def answer(**given):
    return verdict.judge(race(**given)).answer


def mirrored(given):
    """The same race with an error in place of an accuracy."""
    return {name: [1 - x for x in x] if isinstance(x, list) else x for name, x in given.items()} | {"higher": False}


@pytest.mark.parametrize("turn", [dict, mirrored], ids=["higher", "lower"])
@pytest.mark.parametrize(
    ("others", "expected"),
    [
        ([BELOW], "yes"),
        ([ABOVE], "no"),
        ([SAME], "not told apart"),
        ([MIXED], "not told apart"),
        ([BELOW, SAME], "not told apart"),  # better than every other, or no yes
        ([BELOW, MIXED, ABOVE], "no"),  # worse than one is enough
        ([BOOK], "not told apart"),
    ],
)
def test_the_textbook_against_the_others(others, expected, turn):
    given = {"sgd": BOOK} | {f"other{i}": ends for i, ends in enumerate(others)}
    assert answer(**turn(given)) == expected


@pytest.mark.parametrize(("first", "second"), [(BOOK, BELOW), (BOOK, SAME), (BOOK, MIXED), (BELOW, BOOK)])
def test_the_rule_is_the_same_both_ways(first, second):
    """Whoever is the textbook's choice: a yes for one is a no for the other."""
    turned = {"yes": "no", "no": "yes", "not told apart": "not told apart"}
    mine = answer(sgd=first, adam=second)
    assert turned[mine] == answer(sgd=first, adam=second, textbook="adam")


def test_the_interval_is_that_of_paired_differences():
    found = verdict.compare(race(sgd=BOOK, adam=MIXED), "sgd", "adam")
    paired = stats.ttest_rel(BOOK, MIXED).confidence_interval(0.95)
    np.testing.assert_allclose(found.difference - found.interval, paired.low)
    np.testing.assert_allclose(found.difference + found.interval, paired.high)


def test_pairs_are_of_one_seed_whatever_the_order():
    result = race(sgd=BOOK, adam=BELOW)
    result.runs.reverse()
    found = verdict.compare(result, "sgd", "adam")
    np.testing.assert_allclose((found.difference, found.interval), (0.05, 0), atol=1e-12)
    result.runs = [run for run in result.runs if (run.optimizer, run.seed) != ("adam", 2)]  # now the first
    np.testing.assert_allclose(verdict.compare(result, "sgd", "adam").difference, 0.05)


@pytest.mark.parametrize(("examples", "expected"), [(10_000, "yes"), (10, "not told apart"), (0, "yes")])
def test_a_small_test_set_tells_less(examples, expected):
    assert answer(sgd=BOOK, adam=BELOW, examples=examples) == expected
    turned = {"yes": "no"}.get(expected, expected)
    assert answer(sgd=BELOW, adam=BOOK, examples=examples) == turned


def test_the_margin_is_the_standard_error_of_one_test_set():
    """It does not shrink with the seeds: all are judged by the same examples."""
    for seeds in (3, 30):
        found = verdict.compare(race(sgd=[0.92] * seeds, adam=[0.88] * seeds, examples=1000), "sgd", "adam")
        np.testing.assert_allclose(found.margin, math.sqrt(0.9 * 0.1 / 1000))


FULL = [1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("sgd", "adam", "expected"),
    [
        (FULL, FULL, "ceiling reached"),
        (FULL, [1.0, 1.0, 0.9], "not told apart"),  # all but one seed
        (FULL, [0.9, 0.91, 0.9], "yes"),
        ([0.9, 0.91, 0.9], FULL, "no"),
    ],
)
def test_a_ceiling_is_no_victory(sgd, adam, expected):
    assert answer(sgd=sgd, adam=adam, ceiling=1.0) == expected
    assert answer(sgd=FULL, adam=FULL, lion=[0.9, 0.9, 0.9]) == "not told apart"  # without one
    errors = {"sgd": [0.0, 0.0], "adam": [0.0, 0.0], "higher": False, "ceiling": 0.0}
    assert answer(**errors) == "ceiling reached"


def test_all_at_the_ceiling_are_named_and_no_others():
    found = verdict.judge(race(sgd=FULL, adam=FULL, lion=FULL, lamb=BELOW, ceiling=1.0))
    assert [x.other for x in found.deciding] == ["adam", "lion"]


def test_of_two_choices_the_better_counts():
    given = {"sgd": BELOW, "adamw": ABOVE, "adam": BOOK}
    assert answer(**given) == "no"
    found = verdict.judge(race(**given, alternatives=("adamw",)))
    assert (found.choice, found.answer) == ("adamw", "yes")
    assert [x.other for x in found.comparisons] == ["adam"]  # a choice is no rival of the other
    absent = verdict.judge(race(adamw=ABOVE, adam=BOOK, alternatives=("adamw",)))
    assert absent.choice == "adamw"
    assert verdict.judge(race(adam=BOOK)) is None


def test_another_schedule_is_no_rival_and_has_a_verdict_of_its_own():
    result = race(sgd=BOOK, cosine=ABOVE, adam=BELOW, schedules={"cosine": "sgd", "absent": "adam"})
    assert verdict.judge(result).answer == "yes"
    ((base, found),) = verdict.schedules(result)
    assert (base, found.choice, found.answer) == ("sgd", "cosine", "yes")


def test_a_recipe_that_is_the_same_program_is_no_rival():
    copy = race(sgd=BOOK, adam=BELOW, recipe=BOOK)
    assert verdict.judge(copy).answer == "yes"
    assert verdict.rivals(copy, ["sgd"]) == ["adam"]
    assert answer(sgd=BOOK, adam=BELOW, recipe=ABOVE) == "no"
    other = race(sgd=BOOK, adam=BELOW, recipe=BOOK)
    for run in other.of("recipe"):
        run.points[0] = run.points[0]._replace(train_loss=1 + 1e-6)
    assert verdict.rivals(other, ["sgd"]) == ["adam", "recipe"]


@pytest.mark.parametrize(
    ("adam", "expected"),
    [([math.nan] * 3, "yes"), ([math.nan, 0.8, 0.8], "not told apart"), ([0.95, 0.97, math.nan], "not told apart")],
)
def test_a_diverged_seed_is_worse_and_leaves_no_interval(adam, expected):
    assert answer(sgd=BOOK, adam=adam) == expected
    turned = {"yes": "no"}.get(expected, expected)
    assert answer(sgd=adam, adam=BOOK) == turned


def test_one_seed_tells_nothing():
    assert answer(sgd=[0.9], adam=[0.8]) == "one seed"
    assert answer(sgd=BOOK, adam=[0.1]) == "not told apart"
    assert answer(sgd=BOOK) == "not told apart"


def test_the_deciding_rival_is_the_one_least_far_behind_in_what_is_needed():
    """Not the one with the best mean: one lost seed hides what the others of momentum did."""
    found = verdict.judge(race(sgd=BOOK, near=[0.88, 0.90, 0.92], wild=[0.5, 0.93, 0.95]))
    assert [x.other for x in found.deciding] == ["wild"]
    assert found.answer == "not told apart"
