"""Pictures: what is drawn is what was given. How they look was looked at; here their contents are read back."""

from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from PIL import Image

import gradx
from gradx import tune, viz
from gradx.viz.style import line_styles


def lines(figure):
    """Return the data of every labelled line."""
    return {line.get_label(): np.array(line.get_data()) for line in figure.axes[0].lines}


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
    assert str(cosine) in lines(viz.schedules(cosine, 5))
    with pytest.raises(ValueError, match="steps must be at least 1, got 0"):
        viz.schedules(cosine, 0)


def test_training_curves_show_mean_and_spread():
    seeds = np.array([[4.0, 2.0, 1.0], [2.0, 1.0, 0.5]])
    figure = viz.training_curves({"adam": seeds, "sgd": [5.0, np.nan, 3.0]}, [0, 10, 20], log=True, target=0.7)
    np.testing.assert_array_equal(lines(figure)["adam"], [[0, 10, 20], [3.0, 1.5, 0.75]])
    assert np.isnan(lines(figure)["sgd"][1, 1])
    (band,) = figure.axes[0].collections
    corners = band.get_paths()[0].vertices
    assert (corners[:, 1].min(), corners[:, 1].max()) == (0.5, 4.0)
    assert figure.axes[0].get_yscale() == "log"


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
    assert figure.axes[0].get_xscale() == "log"
    assert inked(figure, tmp_path / "x.png") > 0.005


def test_learning_rate_curve_shows_what_lr_find_found():
    curve = tune.lr_find(gradx.sgd(1.0), lambda w, _: jnp.sum(w**2), jnp.ones(3), steps=10)
    assert f"suggestion: {curve.suggestion:.2g}" in lines(viz.learning_rate_curve(curve))


def test_layer_heat_map(tmp_path):
    values = np.array([[1.0, 1e-3], [2.0, 0.0], [np.nan, 1e-2]])
    figure = viz.layer_heat_map(values, ["first", "last"])
    image = figure.axes[0].images[0].get_array()
    assert image.shape == (2, 3)
    np.testing.assert_array_equal(np.ma.getmaskarray(np.ma.masked_invalid(image)), [[0, 0, 1], [0, 1, 0]])
    assert [label.get_text() for label in figure.axes[0].get_yticklabels()] == ["first", "last"]
    assert inked(figure, tmp_path / "x.png") > 0.1
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
    assert inked(figure, tmp_path / "x.png") > 0.02
    with pytest.raises(ValueError, match="no surface 'bowl'; there are ravine, rosenbrock"):
        viz.trajectories("bowl", optimizers)


def test_film(tmp_path):
    film = viz.animate_trajectories("rosenbrock", {"adam": gradx.adam(0.05)}, steps=6, every=3)
    film.save(tmp_path / "x.gif", writer="pillow")
    with Image.open(tmp_path / "x.gif") as image:
        assert image.n_frames == 3


def test_curves_over_negative_steps_are_seen():
    figure = viz.training_curves({"a": [1.0, 2.0]}, [-3, -1])
    assert figure.axes[0].get_xlim()[0] == -3
    assert viz.training_curves({"a": [1.0, 2.0]}, [3, 4]).axes[0].get_xlim()[0] == 0
