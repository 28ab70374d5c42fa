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

from gradx.viz.curves import learning_rate_curve as learning_rate_curve
from gradx.viz.curves import schedules as schedules
from gradx.viz.curves import training_curves as training_curves
from gradx.viz.layers import layer_heat_map as layer_heat_map
from gradx.viz.surfaces import SURFACES as SURFACES
from gradx.viz.surfaces import Surface as Surface
from gradx.viz.surfaces import descend as descend
from gradx.viz.trajectories import animate_trajectories as animate_trajectories
from gradx.viz.trajectories import trajectories as trajectories
