"""Pictures: what is drawn is what was given. How they look was looked at; here their contents are read back."""

import subprocess
import sys
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import optax
import pytest
from PIL import Image

import gradx
from gradx import tune, viz
from gradx.viz.style import line_styles


def lines(figure):
    """Return the data of every labelled line."""
    return {line.get_label(): np.array(line.get_data()) for line in figure.axes[0].lines}


def legend(figure):
    """Return what the legend says, one string for each entry."""
    return [text.get_text() for text in figure.legends[0].get_texts()]


def boxes(figure):
    """Return the corners of the axes and of the legend in the figure as drawn, both in parts of it."""
    figure.draw_without_rendering()
    of_axes = figure.axes[0].get_window_extent()
    of_legend = figure.legends[0].get_window_extent() if figure.legends else None
    return [box and box.transformed(figure.transFigure.inverted()) for box in (of_axes, of_legend)]


def inked(figure, path):
    """Write a PNG, and return the share of its pixels that are not white."""
    figure.savefig(path)
    with Image.open(path) as image:
        return float(np.mean(np.asarray(image.convert("L")) < 250))


def test_schedules(tmp_path):
    cosine = gradx.cosine_decay_schedule(1.0, 20)
    figure = viz.schedules({"cosine": cosine, "flat": gradx.constant_schedule(0.5)}, 20)
    steps, values = lines(figure)["cosine"]
    np.testing.assert_array_equal(steps, np.arange(21))
    np.testing.assert_allclose(values, [float(cosine(n)) for n in range(21)])
    assert 0.005 < inked(figure, tmp_path / "x.png") < 0.5
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        viz.schedules(cosine, 0)


WARMUP = gradx.warmup_cosine_decay_schedule(0.0, 1e-3, 50, 500)


def test_one_schedule_fills_its_picture_and_stands_in_the_title():
    figure = viz.schedules(WARMUP, 500)
    axes, _ = boxes(figure)
    assert (axes.width > 0.85, axes.height > 0.75) == (True, True)
    assert not figure.legends
    assert figure.axes[0].get_title(loc="left") == "learning rate: warmup_cosine_decay_schedule"


def test_a_list_is_labelled_by_names_and_by_calls_where_they_repeat():
    cosines = [gradx.cosine_decay_schedule(1.0, 20), gradx.cosine_decay_schedule(0.5, 20)]
    assert list(lines(viz.schedules([WARMUP, cosines[0]], 20))) == [WARMUP.name, cosines[0].name]
    assert list(lines(viz.schedules([WARMUP, *cosines], 20))) == [WARMUP.name, *map(str, cosines)]
    falling = [lambda step: 1.0 - step, lambda step: 2.0 - step]
    found = lines(viz.schedules((*falling, WARMUP, WARMUP), 2))
    assert list(found) == ["<lambda> (1)", "<lambda> (2)", f"{WARMUP} (3)", f"{WARMUP} (4)"]
    np.testing.assert_array_equal(found["<lambda> (2)"][1], [2, 1, 0])


@pytest.mark.parametrize("given", [0.1, [WARMUP, 0.1], {"mine": 0.1}])
def test_a_number_is_no_schedule(given):
    with pytest.raises(TypeError, match=r"must be a schedule, got 0\.1; a number that stays is gradx\.constant_sch"):
        viz.schedules(given, 5)


def test_training_curves_show_mean_and_spread():
    seeds = np.array([[4.0, 2.0, 1.0], [2.0, 1.0, 0.5], [0.75, 1.5, 1.5]])
    figure = viz.training_curves({"adam": seeds, "sgd": [5.0, np.nan, 3.0]}, [0, 10, 20], log=True, target=0.7)
    np.testing.assert_array_equal(lines(figure)["adam"], [[0, 10, 20], [2.25, 1.5, 1.0]])
    assert np.isnan(lines(figure)["sgd"][1, 1])
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.5, 4.0)
    assert figure.axes[0].get_yscale() == "log"


def many_names():
    return {f"learning rate {rate:g}, weight decay 0.1": [1.0, rate] for rate in range(1, 13)}


def overflowing():
    losses = np.array([[2.0, 1.0], [2.0, np.nan]])
    return viz.learning_rate_curve(SimpleNamespace(learning_rates=[0.1, 1.0], losses=losses, suggestion=0.1))


@pytest.mark.parametrize(
    "draw",
    [
        lambda: viz.training_curves(many_names()),
        lambda: viz.training_curves({"a": [1.0, 2.0], "b": [2.0, 1.0]}),
        lambda: viz.schedules({str(WARMUP) * 2: WARMUP, "short": WARMUP}, 9),
        lambda: viz.trajectories("ravine", {name: gradx.sgd(0.01) for name in many_names()}, steps=2),
        lambda: viz.animate_trajectories("ravine", gradx.sgd(0.01), steps=2)._fig,
        overflowing,
    ],
)
@pytest.mark.filterwarnings("ignore:Animation was deleted")
def test_the_legend_covers_nothing_and_nothing_of_it_is_cut_off(draw):
    figure = draw()
    axes, names = boxes(figure)
    assert names.y1 <= axes.y0
    assert (names.x0 >= 0, names.y0 >= 0, names.x1 <= 1) == (True, True, True)
    assert (axes.width > 0.8, axes.height * figure.get_figheight() > 3) == (True, True)


@pytest.mark.parametrize("lost", [np.nan, np.inf])
def test_a_curve_that_ends_in_nan_is_marked(lost):
    curves = {"lost": [3.0, 4.0, lost, lost], "gap": [3.0, lost, 2.0, 1.0], "never": [lost] * 4, 0.1: [1, 1, 1, 1]}
    figure = viz.training_curves(curves, [0, 10, 20, 30])
    (mark,) = [line for line in figure.axes[0].lines if line.get_marker() == "X" and line.get_linestyle() != "-"]
    np.testing.assert_array_equal(mark.get_xydata(), [[10.0, 4.0]])
    assert legend(figure) == ["lost (not finite after 10)", "gap", "never (nowhere finite)", "0.1"]


def test_one_lost_seed_ends_the_mean():
    figure = viz.training_curves([[3.0, 2.0, 1.0], [3.0, 4.0, np.nan]])
    assert legend(figure) == ["(not finite after 1)"]


def test_a_bare_curve_needs_no_legend():
    figure = viz.training_curves([3.0, 2.0, 1.0])
    assert not figure.legends
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [3.0, 2.0, 1.0])


@pytest.mark.parametrize("last", [2, 7, 9, 500])
def test_steps_are_labelled_with_whole_numbers(last):
    heat = viz.layer_heat_map(np.ones((last, 1)), ["only"])
    for figure in (viz.schedules(WARMUP, last), heat):
        figure.draw_without_rendering()
        ticks = figure.axes[0].get_xticks()
        np.testing.assert_array_equal(ticks, np.round(ticks))
    rates = viz.training_curves({"a": [1.0, 2.0]}, [0.1, 0.5]).axes[0]
    assert any(tick % 1 for tick in rates.get_xticks())


@pytest.mark.parametrize(("low", "high"), [(0.09, 0.21), (0.1, 0.9), (1e-3, 0.05), (1e-9, 1.0)])
def test_a_logarithmic_axis_has_labels_enough(low, high):
    axis = viz.training_curves({"a": [low, high]}, log=True).axes[0]
    bottom, top = axis.get_ylim()
    assert sum(bottom <= tick <= top for tick in axis.get_yticks()) >= 3


@pytest.mark.parametrize("curves", [{"a": np.zeros((2, 3, 4))}, {"a": [1.0, 2.0], "b": [1.0]}])
def test_curves_of_wrong_length_are_refused(curves):
    with pytest.raises(ValueError, match="wanted \\[points\\] or \\[seeds, points\\] with"):
        viz.training_curves(curves, [0, 1])


def test_no_curve_is_refused():
    with pytest.raises(ValueError, match="no curve to draw"):
        viz.training_curves({})


def test_line_styles_differ():
    styles = [(style["color"], style["dashes"], style["marker"]) for style in line_styles()]
    assert len(set(styles)) == len(styles) == 35


def test_learning_rate_curve_marks_what_failed(tmp_path):
    rates = np.array([1e-3, 1e-2, 1e-1, 1.0])
    losses = np.array([[2.0, 1.9], [2.0, 1.0], [2.0, 9.0], [2.0, np.nan]])
    figure = viz.learning_rate_curve(SimpleNamespace(learning_rates=rates, losses=losses, suggestion=0.01))
    found = lines(figure)
    np.testing.assert_array_equal(found["loss rose or overflowed"][0], [1e-1, 1.0])
    np.testing.assert_array_equal(found["suggestion: 0.01"][0], [0.01, 0.01])
    np.testing.assert_array_equal(figure.axes[0].lines[0].get_ydata(), [1.9, 1.0, 3.0, 3.0])  # cut off at the top
    assert figure.axes[0].get_xscale() == "log"
    assert inked(figure, tmp_path / "x.png") > 0.005


def test_learning_rate_curve_shows_what_lr_find_found():
    curve = tune.lr_find(gradx.sgd(1.0), lambda w, _: jnp.sum(w**2), jnp.ones(3), steps=10)
    assert f"suggestion: {curve.suggestion:.2g}" in lines(viz.learning_rate_curve(curve))
    low = tune.lr_find(gradx.sgd(1.0), lambda w, _: jnp.sum(w**2), jnp.ones(3), steps=10, learning_rates=[0.01, 0.1])
    assert legend(viz.learning_rate_curve(low)) == ["loss before the first step", "suggestion: 0.1"]  # none failed


def test_layer_heat_map(tmp_path):
    values = np.array([[1.0, 1e-3], [2.0, 0.0], [np.nan, 1e-2]])
    figure = viz.layer_heat_map(values, ["first", "last"])
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (2, 3)
    np.testing.assert_array_equal(np.ma.getmaskarray(np.ma.masked_invalid(image)), [[0, 0, 1], [0, 1, 0]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["first", "last"]
    assert inked(figure, tmp_path / "x.png") > 0.1
    assert figure.axes[1].get_ylabel() == "gradient norm"
    titled = viz.layer_heat_map(values, ["first", "last"], title="sigmoid", label="norm")
    assert (titled.axes[0].get_title(loc="left"), titled.axes[1].get_ylabel()) == ("sigmoid", "norm")
    with pytest.raises(ValueError, match=r"values are \(3, 2\), wanted \[steps, 1\]"):
        viz.layer_heat_map(values, ["only"])
    with pytest.raises(ValueError, match="no value is positive and finite"):
        viz.layer_heat_map(np.zeros((2, 1)), ["dead"])


@pytest.mark.parametrize("name", viz.SURFACES)
def test_minima_are_lowest(name):
    surface = viz.SURFACES[name]
    rng = np.random.default_rng(0)
    left, right, bottom, top = surface.window
    points = rng.uniform((left, bottom), (right, top), size=(500, 2)).astype(np.float32)
    lowest = min(float(surface.height(jnp.asarray(p))) for p in points)
    for minimum in surface.minima:
        assert float(surface.height(jnp.asarray(minimum, jnp.float32))) <= lowest + 1e-4
        assert left < minimum[0] < right
        assert bottom < minimum[1] < top


@pytest.mark.parametrize(
    ("name", "point", "height"),
    [
        ("ravine", (2.0, 1.0), 17.0),
        ("rosenbrock", (-1.2, 1.0), 24.2),
        ("beale", (1.0, 1.5), 4 + 12.25 + 25),
        ("himmelblau", (0.0, 0.0), 170.0),
        ("saddle", (1.0, 2.0), 1.0),
    ],
)
def test_heights_are_those_of_the_formulas(name, point, height):
    assert float(viz.SURFACES[name].height(jnp.array(point))) == pytest.approx(height, rel=1e-5)


def test_descend_is_the_update_written_by_hand():
    surface = viz.SURFACES["ravine"]
    points = np.asarray(viz.descend(gradx.sgd(0.05), surface, 3, start=(1.0, 1.0)))
    x = 0.95 ** np.arange(4)
    y = (1 - 0.05 * 30) ** np.arange(4)
    np.testing.assert_allclose(points, np.stack([x, y], 1), rtol=1e-5)  # a few roundings of float32


def test_trajectories(tmp_path):
    optimizers = {"sgd": gradx.sgd(0.05), "too fast": gradx.sgd(10.0)}
    figure = viz.trajectories("ravine", optimizers, steps=50)
    found = lines(figure)
    way = np.asarray(viz.descend(optimizers["sgd"], viz.SURFACES["ravine"], 50))
    label = next(label for label in found if label.startswith("sgd: "))
    np.testing.assert_array_equal(found[label].T, way)
    assert "too fast: diverged" in found
    assert figure.legends[0].get_title().get_text() == "height after 50 steps"
    assert inked(figure, tmp_path / "x.png") > 0.02
    with pytest.raises(ValueError, match="no surface 'bowl'; there are ravine, rosenbrock"):
        viz.trajectories("bowl", optimizers)


@pytest.mark.parametrize(
    ("optimizers", "labels"),
    [
        (gradx.sgd(0.05), ["sgd"]),
        ([gradx.sgd(0.05), gradx.sgd(0.01)], ["sgd(learning_rate=0.05)", "sgd(learning_rate=0.01)"]),
        (optax.sgd(0.05), ["GradientTransformationExtraArgs"]),
        ({}, []),
    ],
)
def test_optimizers_are_labelled_like_schedules(optimizers, labels):
    figure = viz.trajectories("ravine", optimizers, steps=2)
    assert [text.split(": ")[0] for text in (legend(figure) if labels else [])] == labels


@pytest.mark.parametrize("name", viz.SURFACES)
def test_contours_are_whole_and_dashed_below_zero_alone(name):
    contours = viz.trajectories(name, {}, steps=1).axes[0].collections[0]
    for level, path, dashes in zip(contours.levels, contours.get_paths(), contours.get_linestyles(), strict=True):
        assert len(path.to_polygons(closed_only=False)) <= 4  # a line for each of Himmelblau's minima
        assert (dashes[1] is not None) == (level < 0)


def test_film(tmp_path):
    film = viz.animate_trajectories("rosenbrock", {"adam": gradx.adam(0.05)}, steps=6, every=3)
    film.save(tmp_path / "x.gif", writer="pillow")
    with Image.open(tmp_path / "x.gif") as image:
        assert image.n_frames == 3
    line, head = film._func(3)
    way = np.asarray(viz.descend(gradx.adam(0.05), viz.SURFACES["rosenbrock"], 6))
    np.testing.assert_array_equal(np.transpose(line.get_data()), way[:4])
    np.testing.assert_array_equal(np.transpose(head.get_data()), way[3:4])


def test_curves_over_negative_steps_are_seen():
    figure = viz.training_curves({"a": [1.0, 2.0]}, [-3, -1])
    assert figure.axes[0].get_xlim()[0] == -3
    assert viz.training_curves({"a": [1.0, 2.0]}, [3, 4]).axes[0].get_xlim()[0] == 0


def test_without_matplotlib_the_cure_is_said():
    code = "import sys; sys.modules['matplotlib'] = None; import gradx, gradx.viz"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert run.stderr.endswith(
        "ImportError: gradx.viz draws with matplotlib: run pip install '.[viz]' in a clone of gradx\n"
    )
