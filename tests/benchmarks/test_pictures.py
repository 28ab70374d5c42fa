"""The pictures of races: one look for each optimizer, ends that can be read, ink for a dark page."""

import math
import re
from xml.etree import ElementTree

import pytest

from benchmarks import pictures, tasks
from benchmarks.pictures import curves, overview, style, svg
from benchmarks.roster import ROSTER
from tests.benchmarks.test_report import race


def _colours(axes):
    return [line.get_color() for line in axes.lines if line.get_color() != pictures.TARGET["color"]]


def test_an_optimizer_looks_the_same_in_every_race():
    first = curves(race(sgd=[0.9], momentum=[0.8], adam=[0.7]))
    other = curves(race(recipe=[0.9], adam=[0.8]))
    assert _colours(first.axes[0])[2] == _colours(other.axes[0])[1] == style("adam")["color"]
    panels = overview([race(sgd=[0.9], adam=[0.7]), race(adam=[0.8])]).axes
    assert _colours(panels[0])[2:] == _colours(panels[1]) == [style("adam")["color"]] * 2


@pytest.mark.parametrize("name", tasks.names())
def test_no_two_of_a_race_look_alike(name):
    try:
        roster = tasks.load(name).learning_rates
    except tasks.Unavailable as problem:
        pytest.skip(str(problem))
    assert len({tuple(style(x).items()) for x in roster}) == len(roster)


def test_every_name_has_its_place():
    placed = [name for names in pictures.NAMES for name in names]
    assert len(placed) == len(set(placed))
    assert set(ROSTER) <= set(placed)
    assert style("mine") == style("mine")  # one that a task of one's own brings
    assert style("mine") not in [style(name) for name in placed]


def test_the_end_shows_the_best_in_their_own_limits():
    result = race(sgd=[0.1], momentum=[0.2], rmsprop=[0.92], adam=[0.93], adamw=[0.94], recipe=[0.95, 0.96])
    whole, end, _ = curves(result).axes
    assert set(_colours(end)) == {style(x)["color"] for x in ("rmsprop", "adam", "adamw", "recipe")}
    assert len(_colours(whole)) == 6
    assert 0.9 < end.get_ylim()[0] < end.get_ylim()[1] < 0.97
    assert end.get_xlim()[0] == pytest.approx(2 / 3 * result.steps)
    assert whole.get_ylim()[0] < 0.2  # the target and nearly all


def test_the_overview_says_what_it_shows():
    result = race(ceiling=1.0, sgd=[0.9, 0.91, 0.2], adam=[0.9, math.nan])
    figure = overview([result])
    axes = figure.axes[0]
    assert axes.get_ylabel() == "test accuracy (more is better)"
    bars = [line.get_ydata()[0] for line in axes.lines if line.get_linewidth() == 2]
    assert bars == [0.9]  # a median, where a seed is; none between a number and what diverged
    assert [line.get_marker() for line in axes.lines].count("x") == 1
    references = [line for line in axes.lines if line.get_color() == pictures.TARGET["color"]]
    assert [line.get_ydata()[0] for line in references] == [0.9, 1.0]
    others = [line.get_zorder() for line in axes.lines if line not in references]
    assert max(line.get_zorder() for line in references) < min(others)
    named = [text.get_text() for text in figure.legends[0].get_texts()]
    assert {"target", "median of the seeds", "the best value that there is"} <= set(named)


def test_less_may_be_better():
    assert overview([race(higher=False, sgd=[0.1])]).axes[0].get_ylabel() == "test accuracy (less is better)"


@pytest.mark.parametrize("narrow", [False, True])
def test_an_svg_is_well_formed_the_same_each_time_and_follows_a_dark_page(narrow):
    result = race(sgd=[0.9, 0.92], adam=[0.012, 0.013])
    text = svg(curves(result, narrow=narrow))
    assert text == svg(curves(result, narrow=narrow))
    ElementTree.fromstring(text)
    outside = text.replace(pictures.SVG_STYLE, "")
    assert not re.search("|".join(pictures.INKS), outside)
    assert "prefers-color-scheme: dark" in text
    assert "var(--ink)" in outside
    labels = re.findall(r"<text[^>]*>([^<]*)</text>", text)
    assert any("1.2%" in label for label in labels)  # the mean of adam, not rounded with the coordinates
    assert not re.search(r'<rect[^>]*fill="#fff', text)


def test_a_telephone_sees_the_panels_below_each_other():
    result = race(sgd=[0.9], adam=[0.8])
    assert len({axes.get_position().x0 for axes in curves(result).axes}) == 3
    assert len({axes.get_gridspec().ncols for axes in curves(result, narrow=True).axes}) == 1
    assert curves(result, narrow=True).get_figwidth() < 4.5
    assert overview([result] * 3, narrow=True).axes[0].get_gridspec().ncols == 1
