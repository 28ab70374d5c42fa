"""Optimizers, one family a file: State, leaf rule, `scale_by_x`, and the recipe `x`.

The files' docstrings leave out what means the same everywhere:

* `learning_rate`: step size, at least 0; a number or a schedule, called with the number of updates already applied.
* `b1`, `b2`, `rho`, `decay`, `momentum`: decay of a running mean or sum, in [0, 1).
* `eps`: at least 0; keeps a denominator from 0: with `eps=0` a gradient that was always 0 gives 0/0, NaN.
* `eps_root`: the same under a root.
* `mu_dtype`, `accumulator_dtype`: the dtype in which a first moment is kept, else that of the parameters, at least
  float32.
* `weight_decay`, `mask`: as in `gradx.add_decayed_weights`.
* g is the gradient, p the parameter, u the update that is added to p, t the number of this update, from 1.
"""

from gradx.glossary import document_all
from gradx.optimizers.adadelta import ScaleByAdaDeltaState, adadelta, scale_by_adadelta
from gradx.optimizers.adagrad import ScaleByRssState, adagrad, scale_by_rss
from gradx.optimizers.adam import ScaleByAdamState, adam, adamw, nadam, nadamw, scale_by_adam
from gradx.optimizers.rmsprop import ScaleByRmsState, ScaleByRStdDevState, rmsprop, scale_by_rms, scale_by_stddev
from gradx.optimizers.sgd import sgd

__all__ = [
    "ScaleByAdaDeltaState",
    "ScaleByAdamState",
    "ScaleByRStdDevState",
    "ScaleByRmsState",
    "ScaleByRssState",
    "adadelta",
    "adagrad",
    "adam",
    "adamw",
    "nadam",
    "nadamw",
    "rmsprop",
    "scale_by_adadelta",
    "scale_by_adam",
    "scale_by_rms",
    "scale_by_rss",
    "scale_by_stddev",
    "sgd",
]

__dir__ = document_all(globals(), __all__)
