"""Pictures, with matplotlib (`pip install '.[viz]'` in a clone): schedules, curves, trajectories, layers, the finder.

Every function returns a matplotlib `Figure`, which a notebook shows and `figure.savefig("x.png")` writes; only the
animation returns an `Animation` (`animation.save("x.gif", writer="pillow")`). The colours are Okabe and Ito's, which
the colour-blind tell apart; lines differ in dashes and markers too, so that a black and white print can be read.
"""

try:
    import matplotlib as _matplotlib  # noqa: F401
except ModuleNotFoundError as error:
    if error.name != "matplotlib":
        raise
    raise ImportError("gradx.viz draws with matplotlib: run pip install '.[viz]' in a clone of gradx") from error

from gradx.glossary import document_all
from gradx.viz.curves import learning_rate_curve, schedules, training_curves
from gradx.viz.layers import layer_heat_map
from gradx.viz.surfaces import SURFACES, Surface, descend
from gradx.viz.trajectories import animate_trajectories, trajectories

__all__ = [
    "SURFACES",
    "Surface",
    "animate_trajectories",
    "descend",
    "layer_heat_map",
    "learning_rate_curve",
    "schedules",
    "training_curves",
    "trajectories",
]

__dir__ = document_all(globals(), __all__)
