"""`optax._src.alias`, by gradx."""

from gradx.compat.like_optax.factories import (
    adabelief as adabelief,
    adagrad as adagrad,
    adam as adam,
    adamax as adamax,
    adamaxw as adamaxw,
    adamw as adamw,
    adan as adan,
    amsgrad as amsgrad,
    fromage as fromage,
    lamb as lamb,
    lars as lars,
    lion as lion,
    novograd as novograd,
    optimistic_adam_v2 as optimistic_adam_v2,
    optimistic_gradient_descent as optimistic_gradient_descent,
    polyak_sgd as polyak_sgd,
    radam as radam,
    rmsprop as rmsprop,
    rprop as rprop,
    sgd as sgd,
    sign_sgd as sign_sgd,
    signum as signum,
    sm3 as sm3,
    yogi as yogi,
)
from gradx.compat.like_optax.later import adafactor as adafactor, optimistic_adam as optimistic_adam
from gradx.compat.like_optax.lbfgs import lbfgs as lbfgs
from gradx.compat.like_optax.noise import noisy_sgd as noisy_sgd
from gradx.compat.like_optax.recipes import adadelta as adadelta, nadam as nadam, nadamw as nadamw
