"""Pictures, with matplotlib (`pip install '.[viz]'` in a clone): schedules, curves, trajectories, layers, whole runs.

Every function returns a matplotlib `Figure`, which a notebook shows and `figure.savefig("x.png")` writes; but the
animation returns an `Animation` (`animation.save("x.gif", writer="pillow")`), and the explorer a `Page`
(`page.save("x.html")`). Schedules, what `lr_find` returns and sweeps draw themselves: `.plot()` returns `Axes`. The
colours are Okabe and Ito's, which the colour-blind tell apart; lines differ in dashes and markers too, so that a black
and white print can be read.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ImportError("gradx.viz draws with matplotlib: run pip install '.[viz]' in a clone of gradx") from error

from gradx.glossary import document_all
from gradx.viz.curves import learning_rate_curve, schedules, training_curves
from gradx.viz.dashboard import dashboard
from gradx.viz.explorer import Page, explorer
from gradx.viz.layers import layer_heat_map
from gradx.viz.surfaces import SURFACES, Surface, descend
from gradx.viz.trajectories import animate_trajectories, trajectories

__all__ = [
    "SURFACES",
    "Page",
    "Surface",
    "animate_trajectories",
    "dashboard",
    "descend",
    "explorer",
    "layer_heat_map",
    "learning_rate_curve",
    "schedules",
    "training_curves",
    "trajectories",
]

__dir__ = document_all(globals(), __all__)
