"""`optax._src.alias`, by gradx."""

from gradx.compat.like_optax.factories import (
    adagrad as adagrad,
    adam as adam,
    adamw as adamw,
    rmsprop as rmsprop,
    sgd as sgd,
)
from gradx.compat.like_optax.recipes import adadelta as adadelta, nadam as nadam, nadamw as nadamw
