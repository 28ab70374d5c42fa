"""The dashboard: loss, rate, norms by layer and findings of a run; renewed in its place in a notebook."""

import importlib
import itertools
import sys
from types import SimpleNamespace

import numpy as np
import pytest

import gradx
from gradx import diagnose, viz

module = importlib.import_module("gradx.viz.dashboard")  # the package shows the function of that name
NAMES = ["first/bias", "first/kernel", "last/kernel"]


def history(loss, gradient=1.0, weight=1.0, update=1e-3):
    """Return a run of three leaves with these losses, and norms that are the same at each step."""
    steps = len(loss)
    norms = [np.broadcast_to(np.asarray(x, np.float32), (steps, 3)) for x in (gradient, update, weight)]
    zeros = np.zeros((steps, 3), np.float32)
    bad = np.repeat(~np.isfinite(np.asarray(loss, float))[:, None], 3, 1).astype(np.float32)
    return diagnose.StepStatistics(*norms, norms[1] / norms[2], zeros, bad, np.asarray(loss, np.float32))


GOOD = history(2.0 * 0.95 ** np.arange(60), gradient=[3.0, 4.0, 1.0])
LOST = history([*np.linspace(2.0, 1.0, 40), *np.geomspace(1.0, 1e6, 18), np.nan, np.nan], update=5.0)


def panels(figure):
    return {axes.get_title(loc="left"): axes for axes in figure.axes if axes.get_title(loc="left")}


def sentences(figure):
    return [" ".join(text.get_text().split()) for text in figure.legends[0].get_texts()]


def test_a_healthy_run():
    figure = viz.dashboard(GOOD, NAMES, learning_rate=gradx.linear_schedule(0.1, 0.0, 60), title="mine")
    found = panels(figure)
    assert list(found) == ["loss", "learning rate", "gradient norm", "update / weight"]
    np.testing.assert_array_equal(found["loss"].lines[0].get_ydata(), GOOD.loss)
    np.testing.assert_allclose(found["learning rate"].lines[0].get_ydata(), 0.1 * (1 - np.arange(60) / 60), atol=1e-7)
    norms = found["gradient norm"].images[0].get_array()
    np.testing.assert_allclose(norms, np.repeat([[5.0], [1.0]], 60, 1))  # a module's leaves are gathered
    np.testing.assert_allclose(found["update / weight"].images[0].get_array()[1], 1e-3, rtol=1e-6)
    assert [x.get_text() for x in found["gradient norm"].get_yticklabels()] == ["first", "last"]
    assert sentences(figure) == ["Nothing found in 60 steps."]
    assert figure.get_suptitle() == "mine"


def test_findings_are_numbered_marks():
    findings = diagnose.explain(LOST, NAMES)
    assert [x.kind for x in findings] == ["non-finite", "diverging"]
    figure = viz.dashboard(LOST, NAMES)
    found = panels(figure)
    assert list(found) == ["loss (not finite after 57)", "gradient norm", "update / weight"]
    assert sentences(figure) == [str(x) for x in findings]
    top = found["loss (not finite after 57)"]
    assert [text.get_text() for text in top.texts] == ["1", "2"]
    assert top.get_yscale() == "log"
    for axes in found.values():
        at = {
            line.get_xdata()[0]
            for line in axes.lines
            if line.get_color() == module.ALARM and len(line.get_xdata()) == 2
        }
        assert {x.step for x in findings} <= at
    (marks,) = [x for x in found["gradient norm"].lines if x.get_marker() == "D" and len(x.get_xdata())]
    np.testing.assert_array_equal(marks.get_xydata(), [[58, 0], [58, 1]])


def test_numbers_of_findings_near_each_other_stand_side_by_side():
    """At the end of the run left of their lines, where there is room."""
    (axes,) = viz.dashboard(GOOD, NAMES).axes[:1]
    findings = [SimpleNamespace(step=step) for step in (10, 10, 58)]
    for k, place in enumerate((("left", 5), ("left", 16), ("right", -5)), 1):
        module._mark_step([axes], findings[:k])
        assert (axes.texts[-1].get_text(), axes.texts[-1].get_ha(), axes.texts[-1].xyann[0]) == (str(k), *place)


def test_nothing_covers_anything():
    figure = viz.dashboard(LOST, NAMES, learning_rate=0.1)
    figure.draw_without_rendering()
    box = figure.legends[0].get_window_extent().transformed(figure.transFigure.inverted())
    axes = [x.get_window_extent().transformed(figure.transFigure.inverted()) for x in panels(figure).values()]
    assert box.y0 >= 0
    assert box.y1 <= axes[-1].y0
    assert all(upper.y0 > lower.y1 for upper, lower in itertools.pairwise(axes))
    assert len({round(x.x0, 3) for x in axes}) == len({round(x.x1, 3) for x in axes}) == 1  # one axis of steps


def test_a_list_of_steps_is_a_history():
    one = diagnose.step_statistics({"w": 2.0}, {"w": -0.1}, {"w": 1.0}, 1.0)
    figure = viz.dashboard([one] * 3, learning_rate=[0.1, 0.2, 0.3])
    np.testing.assert_allclose(panels(figure)["learning rate"].lines[0].get_ydata(), [0.1, 0.2, 0.3])
    assert [x.get_text() for x in panels(figure)["gradient norm"].get_yticklabels()] == ["layer 0"]


def test_without_losses_the_gradient_is_the_curve():
    figure = viz.dashboard(GOOD._replace(loss=None), NAMES)
    np.testing.assert_allclose(figure.axes[0].lines[0].get_ydata(), 26**0.5, rtol=1e-6)


def test_what_never_moved_is_hatched():
    still = history([1.0] * 30, gradient=0.0, update=0.0)
    assert panels(viz.dashboard(still, NAMES))["gradient norm"].patches


def test_many_layers_have_room_for_their_names():
    names = [f"a_tower_with_a_long_name/block_{i}/kernel" for i in range(90)]
    ones = np.ones((5, 90), np.float32)
    figure = viz.dashboard(diagnose.StepStatistics(*[ones] * 4, 0 * ones, 0 * ones, np.ones(5, np.float32)), names)
    shown = [x.get_text() for x in panels(figure)["gradient norm"].get_yticklabels()]
    assert len(shown) <= 30
    assert all(len(x) <= 24 for x in shown)
    assert (shown[0][0], shown[0][1:]) == ("…", names[0].removesuffix("/kernel")[-23:])
    rows = panels(figure)["gradient norm"].get_yticks()
    assert [x.rpartition("_")[2] for x in shown] == [str(int(row)) for row in rows]


def test_mistakes_are_answered():
    with pytest.raises(ValueError, match="2 names for 3 layers"):
        viz.dashboard(GOOD, ["a", "b"])
    with pytest.raises(ValueError, match=r"learning_rate must be \[60\], one a step, got \(2,\)"):
        viz.dashboard(GOOD, NAMES, learning_rate=[0.1, 0.2])
    with pytest.raises(ValueError, match="no statistics of any step"):
        viz.dashboard([])


class Notebook:
    """IPython, as far as the dashboard uses it: it notes what is shown where."""

    def __init__(self, kernel=True):
        self.shown, self.execution_count = [], 1
        self.display = SimpleNamespace(Image=lambda data, format, width: (data[:4], format, width), display=self.show)
        self.kernel = object() if kernel else None

    def get_ipython(self):
        return self

    def show(self, image, display_id):
        place = len(self.shown)
        self.shown.append([image])
        return SimpleNamespace(update=self.shown[place].append)


def test_in_a_notebook_one_picture_is_renewed(monkeypatch):
    notebook = Notebook()
    monkeypatch.setitem(sys.modules, "IPython", notebook)
    monkeypatch.setattr(module, "_live", {})
    monkeypatch.setattr(module, "SHARPNESS", 0.3)
    for notebook.execution_count, title in ((1, "a"), (1, "b"), (1, "a"), (2, "a")):
        assert viz.dashboard(GOOD, NAMES, title=title) is None
    assert [len(x) for x in notebook.shown] == [2, 1, 1]
    assert notebook.shown[0][0] == (b"\x89PNG", "png", 788)
    assert {cell for cell, _ in module._live} == {2}


def test_in_a_terminal_the_figure_is_returned(monkeypatch):
    monkeypatch.setitem(sys.modules, "IPython", Notebook(kernel=False))
    assert viz.dashboard(GOOD, NAMES) is not None


@pytest.mark.slow
def test_a_kernel_shows_it():
    import nbclient
    import nbformat

    code = (
        "import gradx, numpy as np\n"
        "one = gradx.diagnose.step_statistics({'w': 2.0}, {'w': -0.1}, {'w': 1.0}, 1.0)\n"
        "for n in (3, 5): gradx.viz.dashboard([one] * n)"
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(code)])
    nbclient.NotebookClient(book, timeout=300).execute()
    (output,) = book.cells[0].outputs
    assert output["output_type"] == "display_data"
    assert "image/png" in output["data"]
