"""Pictures, with matplotlib (`pip install gradx[viz]`): schedules, curves, trajectories, layers, the finder of rates.

Every function returns a matplotlib `Figure`, which a notebook shows and `figure.savefig("x.png")` writes; only the
animation returns an `Animation` (`animation.save("x.gif", writer="pillow")`). The colours are Okabe and Ito's, which
the colour-blind tell apart; lines differ in dashes and markers too, so that a black and white print can be read.
"""

from gradx.viz.curves import learning_rate_curve as learning_rate_curve
from gradx.viz.curves import schedules as schedules
from gradx.viz.curves import training_curves as training_curves
from gradx.viz.layers import layer_heat_map as layer_heat_map
from gradx.viz.surfaces import SURFACES as SURFACES
from gradx.viz.surfaces import Surface as Surface
from gradx.viz.surfaces import descend as descend
from gradx.viz.trajectories import animate_trajectories as animate_trajectories
from gradx.viz.trajectories import trajectories as trajectories
