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
