"""`.plot()` of schedules, of what the finder found and of sweeps: what is drawn is what was given."""

import subprocess
import sys

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib import pyplot

import gradx
from gradx.tune import LearningRateCurve, SweepResult

mpl.use("Agg")
COSINE = gradx.cosine_decay_schedule(0.1, 100)


@pytest.fixture(autouse=True)
def _closed():
    yield
    pyplot.close("all")


def line(axes, label):
    return next(np.array(x.get_data()) for x in axes.lines if x.get_label() == label)


def legend(axes):
    found = axes.get_legend() or (axes.figure.legends or [None])[0]
    return [text.get_text() for text in found.get_texts()] if found else []


def inside(axes):
    """Whether the legend lies within the figure, and below the axes where the figure is its own."""
    figure = axes.figure
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent().transformed(figure.transFigure.inverted())
    of_axes = axes.get_window_extent().transformed(figure.transFigure.inverted())
    return box.x0 >= 0 and box.x1 <= 1 and box.y0 >= 0 and box.y1 <= of_axes.y0


def test_a_schedule_draws_itself():
    axes = COSINE.plot(50)
    at, values = line(axes, "cosine_decay_schedule")
    np.testing.assert_array_equal(at, np.arange(51))
    np.testing.assert_allclose(values, [float(COSINE(n)) for n in range(51)], rtol=1e-6)
    assert axes.get_title(loc="left") == "cosine_decay_schedule"
    assert axes.figure.number in pyplot.get_fignums()  # a notebook shows it
    assert not legend(axes)
    assert COSINE.plot(50, log=True).get_yscale() == "log"


def test_schedules_share_axes():
    axes = gradx.linear_schedule(0.1, 0.0, 200).plot()
    assert (COSINE / 2).plot(ax=axes) is axes
    assert COSINE.plot(ax=COSINE.plot(ax=axes)) is axes
    names = [" ".join(x.split()) for x in legend(axes)]
    assert names == ["linear_schedule", str(COSINE / 2), "cosine_decay_schedule", str(COSINE)]  # the name was taken
    assert axes.get_xlim() == (0, 220)
    assert [max(x.get_xdata()) for x in axes.lines] == [220] * 4


def test_many_steps_are_thinned_out():
    assert len(gradx.linear_schedule(0.1, 0.0, 10**6).plot().lines[0].get_xdata()) <= 2001


@pytest.mark.parametrize("steps", [0, -3, 2.5, True, "ten"])
def test_what_is_no_number_of_steps_is_refused(steps):
    with pytest.raises(ValueError, match="steps must be an integer of at least 1, got"):
        COSINE.plot(steps)
    assert not pyplot.get_fignums()


def test_many_schedules_in_one_are_refused():
    with pytest.raises(ValueError, match=r"must be one number, got an array \(2,\) at each step"):
        gradx.linear_schedule(np.ones(2, np.float32), 0.0, 10).plot()
    assert not pyplot.get_fignums()


def test_the_finder_draws_itself():
    losses = np.array([[2.0, 1.9], [2.0, 1.0], [2.0, np.nan]])
    curve = LearningRateCurve(np.array([1e-3, 1e-2, 1.0]), losses, np.array([2.0, 2.0]), 0.01, 1.0)
    axes = curve.plot()
    assert legend(axes) == ["loss rose or overflowed", "loss before the first step", "suggestion: 0.01"]
    assert inside(axes)
    other = pyplot.figure().subplots()
    assert curve.plot(ax=other) is other
    assert legend(other) == legend(axes)
    assert not other.figure.legends


GRID = {"learning_rate": [1e-3, 1e-3, 1e-2, 1e-2, 1.0, 1.0], "b1": [0.8, 0.9] * 3}
SCORES = np.array([[1.0, 3.0], [2.0, 2.0], [0.5, 0.7], [0.4, 0.2], [np.nan, 1.0], [1e9, 1e9]])


def test_a_sweep_draws_itself():
    axes = SweepResult(GRID, SCORES).plot()
    np.testing.assert_allclose(line(axes, "b1 0.8"), [[1e-3, 1e-2, 1.0], [2.0, 0.6, np.nan]])
    np.testing.assert_allclose(line(axes, "b1 0.9"), [[1e-3, 1e-2, 1.0], [2.0, 0.3, np.nan]])
    np.testing.assert_allclose(line(axes, "best"), [[1e-2], [0.3]])
    assert axes.get_title(loc="left") == "score, best 0.3: learning_rate 0.01, b1 0.9"
    lost = line(axes, "not finite, or far off")
    np.testing.assert_array_equal(lost[0], [1.0, 1.0])
    assert 2.0 < lost[1, 0] < 3.0
    assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("learning_rate", "log", "linear")
    bands = [x.get_paths()[0].vertices[:, 1] for x in axes.collections]
    assert (np.nanmin(bands[0]), np.nanmax(bands[0])) == (0.5, 3.0)
    assert inside(axes)


def test_the_axis_of_a_sweep_can_be_chosen():
    axes = SweepResult(GRID, {"loss": SCORES}).plot(lambda results: results["loss"].mean(1), over="b1", log=True)
    assert (axes.get_xlabel(), axes.get_xscale(), axes.get_yscale()) == ("b1", "linear", "log")
    assert legend(axes)[:3] == ["learning_rate 0.001", "learning_rate 0.01", "learning_rate 1"]
    assert not axes.collections  # one number a member has no band


def test_values_that_are_no_numbers_stand_side_by_side():
    rates = [gradx.linear_schedule(x, 0.0, 50) for x in (0.1, 0.01, 0.1)]
    axes = SweepResult({"learning_rate": rates, "nesterov": [True, True, False]}, np.array([3.0, 1.0, 2.0])).plot()
    assert [x.get_text() for x in axes.get_xticklabels()] == ["init_value 0.1", "init_value 0.01"]
    np.testing.assert_array_equal(line(axes, "nesterov True"), [[0, 1], [3.0, 1.0]])
    assert axes.get_title(loc="left") == "score, best 1: learning_rate init_value 0.01, nesterov True"


def test_mistakes_with_sweeps_are_answered():
    result = SweepResult(GRID, SCORES)
    with pytest.raises(ValueError, match="nothing swept is called 'b2'; there are learning_rate, b1"):
        result.plot(over="b2")
    with pytest.raises(ValueError, match="say what counts, plot"):
        SweepResult(GRID, np.ones((6, 2, 9))).plot()
    with pytest.raises(ValueError, match="NaN or infinite"):
        SweepResult(GRID, np.full(6, np.nan)).plot()
    assert not pyplot.get_fignums()


def test_without_matplotlib_the_cure_is_said():
    code = (
        "import sys; sys.modules['matplotlib'] = None; import gradx\n"
        "try: gradx.constant_schedule(0.1).plot()\n"
        "except ImportError as error: print(error)\n"
        "print(gradx.sgd(0.1)._repr_html_()[:3])"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout == "gradx.viz draws with matplotlib: run pip install '.[viz]' in a clone of gradx\n<ul\n"
