"""Tuning in one program: a transformation is a pytree, so many of them are one with stacked leaves, under `jax.vmap`.

>>> import gradx
>>> curve = gradx.tune.lr_find(gradx.sgd(1.0), lambda w, batch: 5.0 * w**2, 1.0, steps=50)  # curvature 10
>>> 0.02 <= curve.suggestion <= 0.2
True
"""

from gradx.glossary import document_all
from gradx.tune.lr_find import LearningRateCurve, lr_find
from gradx.tune.members import grid, stack
from gradx.tune.sweep import SweepResult, sweep

__all__ = ["LearningRateCurve", "SweepResult", "grid", "lr_find", "stack", "sweep"]

__dir__ = document_all(globals(), __all__)
