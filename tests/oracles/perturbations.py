"""Perturbed functions whose expectation is known, and SciPy's densities."""

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats

from gradx.perturbations import Gumbel, Normal
from tests.oracles.case import Case


def normal_density(z):
    """Up to its constant, as the distributions give it."""
    return scipy.stats.norm.logpdf(z) + np.log(2 * np.pi) / 2


CASES = [
    Case(
        "log density of Gumbel", Gumbel().log_prob, scipy.stats.gumbel_r.logpdf, lambda rng: (2 * rng.normal(size=9),)
    ),
    Case("log density of Normal", Normal().log_prob, normal_density, lambda rng: (2 * rng.normal(size=9),)),
]


def winner(scores):
    return jax.nn.one_hot(jnp.argmax(scores), scores.shape[0])


def softmax(scores, sigma):
    """E of the winner under Gumbel noise."""
    weights = np.exp(scores / sigma - np.max(scores / sigma))
    return weights / weights.sum()


def softmax_jacobian(scores, sigma):
    p = softmax(scores, sigma)
    return (np.diag(p) - np.outer(p, p)) / sigma


def step_count(x):
    return jnp.sum(x > 0)


def expected_steps(x, sigma):
    """E of the number of positive entries under normal noise."""
    return scipy.stats.norm.cdf(x / sigma).sum()


def expected_steps_gradient(x, sigma):
    """With respect to x, and to sigma."""
    density = scipy.stats.norm.pdf(x / sigma)
    return density / sigma, -(density * x).sum() / sigma**2


def expected_steps_hessian(x, sigma):
    return np.diag(-x / sigma**3 * scipy.stats.norm.pdf(x / sigma))
