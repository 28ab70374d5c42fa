"""`optax.perturbations`, by gradx."""

from gradx.perturbations import Gumbel as Gumbel, Normal as Normal, make_perturbed_fun as make_perturbed_fun
