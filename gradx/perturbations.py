"""Derivatives of functions that have none: averages over random perturbations of the input.

>>> import jax, jax.numpy as jnp
>>> from gradx.perturbations import make_perturbed_fun
>>> def winner(scores):  # piecewise constant: its gradient is 0 wherever it exists
...     return jax.nn.one_hot(jnp.argmax(scores), 3)
>>> soft_winner = make_perturbed_fun(winner, num_samples=10_000, sigma=1.0)
>>> scores = jnp.array([0.0, 1.0, 2.0])
>>> bool(jnp.abs(soft_winner(jax.random.key(0), scores) - jax.nn.softmax(scores)).max() < 0.02)
True
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike, DTypeLike

from gradx import checks, glossary, numerics
from gradx.typing import PyTree, Range


class Noise(Protocol):
    """A distribution of independent entries: what `make_perturbed_fun` draws from."""

    def sample(self, key: jax.Array, sample_shape: Sequence[int] = (), dtype: DTypeLike = float) -> jax.Array:
        """Draw an array of the given shape and dtype."""
        ...

    def log_prob(self, inputs: jax.Array) -> jax.Array:
        """Return the log density at each entry, up to a constant, differentiable."""
        ...


@dataclass(frozen=True)
class Gumbel:
    """The standard Gumbel distribution, density exp(−z − exp(−z)).

    With it and sigma = 1 the perturbed argmax is the softmax, and the perturbed maximum the log-sum-exp + 0.5772.
    """

    def sample(self, key: jax.Array, sample_shape: Sequence[int] = (), dtype: DTypeLike = float) -> jax.Array:
        """Draw an array of independent entries."""
        return jax.random.gumbel(key, tuple(sample_shape), dtype)

    def log_prob(self, inputs: jax.Array) -> jax.Array:
        """Return −z − exp(−z), entry by entry."""
        return -inputs - jnp.exp(-inputs)


@dataclass(frozen=True)
class Normal:
    """The standard normal distribution, density exp(−z²/2) up to a constant."""

    def sample(self, key: jax.Array, sample_shape: Sequence[int] = (), dtype: DTypeLike = float) -> jax.Array:
        """Draw an array of independent entries."""
        return jax.random.normal(key, tuple(sample_shape), dtype)

    def log_prob(self, inputs: jax.Array) -> jax.Array:
        """Return −z²/2, entry by entry."""
        return -inputs * inputs / 2


def make_perturbed_fun(
    fun: Callable[[PyTree], PyTree],
    num_samples: int = 1000,
    sigma: ArrayLike = 0.1,
    noise: Noise = Gumbel(),
    use_baseline: bool = True,
) -> Callable[[jax.Array, PyTree], PyTree]:
    """Return (key, x) ↦ an unbiased estimate of f_σ(x) = E f(x + σ z), differentiable although f need not be.

    The mean of f(x + σ z_i) over `num_samples` draws. Its derivatives of every order, in x and in σ, are unbiased
    estimates of those of f_σ from values of f alone: ∇f_σ(x) = −E[(f(x + σ z) − f(x)) ∇ log μ(z)] / σ and so on, by the
    chain rule on the density of x + σ z. Their variance grows as 1/σ for each order.

    Args:
      fun: from a pytree of real floating arrays to a pytree of real arrays; `jax.vmap` must run on it.
      num_samples: draws, at least 1; `fun` sees them all in one batch.
      sigma: scale of the noise, > 0; may be traced.
      noise: distribution of z: `Gumbel()`, `Normal()` or any object with their `sample` and `log_prob`.
      use_baseline: subtract f(x) from the values in derivatives, which lowers their variance; one more call of `fun`.

    Inputs narrower than float32 are perturbed in float32 and rounded for `fun`; outputs are at least float32.

    Raises:
      ValueError: num_samples below 1, a concrete sigma that is not positive.
      TypeError: an input that is not real and floating.

    References: Berthet et al. 2020 (arXiv 2002.08676); Foerster et al. 2018 (arXiv 1802.05098), exp(τ − τ).

    >>> from gradx import perturbations
    >>> import jax, jax.numpy as jnp
    >>> def choose(scores):
    ...     return jax.nn.one_hot(jnp.argmax(scores), 2)
    >>> soft = perturbations.make_perturbed_fun(choose, num_samples=100, sigma=1.0)
    >>> jacobian = jax.jacobian(lambda x: soft(jax.random.key(0), x))(jnp.array([1.0, 0.0]))
    >>> bool(jacobian[0, 0] > 0)  # a higher score is chosen more often
    True
    """
    owner = "make_perturbed_fun"
    num_samples = checks.hyperparameter(owner, "num_samples", num_samples, Range(low=1, integer=True))
    sigma = checks.hyperparameter(owner, "sigma", sigma, Range(low=0.0, closed="()"))

    def perturbed(key: jax.Array, x: PyTree) -> PyTree:
        points, weights = _draw(owner, key, x, num_samples, sigma, noise)

        def average(values: jax.Array, center: jax.Array | None) -> jax.Array:
            values = values.astype(numerics.at_least_float32(values.dtype))
            boxes = jnp.expand_dims(weights.astype(values.dtype), tuple(range(1, values.ndim)))
            if center is None:
                return jnp.mean(values * boxes, axis=0)
            center = jnp.asarray(center).astype(values.dtype)
            # the boxes are 1: what is subtracted and added changes derivatives, and the value only by rounding
            return jnp.mean((values - center[None]) * boxes, axis=0) + center

        values = jax.lax.stop_gradient(jax.vmap(fun)(points))
        if not use_baseline:
            return jax.tree.map(lambda v: average(v, None), values)
        center = jax.lax.stop_gradient(fun(jax.lax.stop_gradient(x)))  # of x too: a rule of `fun`'s own is not asked
        return jax.tree.map(average, values, center)

    return perturbed


def _draw(owner: str, key: jax.Array, x: PyTree, num_samples: int, sigma: Any, noise: Noise) -> tuple:
    """Return `num_samples` perturbed copies of x, and for each a number 1 whose derivatives are those of its density.

    A point x + σ z is held fixed while x and σ vary; then z = (point − x) / σ varies, and the log density of the point
    is log μ(z) − log σ, summed over the entries.
    """
    paths, treedef = jax.tree_util.tree_flatten_with_path(x)
    points: list = []
    log_density = jnp.zeros(num_samples, jnp.float32)
    # a key for each draw and then for each leaf, as Optax splits it: the same key gives the same draws there
    keys = jax.vmap(lambda draw: jax.random.split(draw, max(len(paths), 1)))(jax.random.split(key, num_samples))
    for i, (path, leaf) in enumerate(paths):
        leaf = jnp.asarray(leaf)
        if not jnp.issubdtype(leaf.dtype, jnp.floating):
            place = f" at '{checks.path_name(path)}'" if path else ""
            raise TypeError(f"{owner}: the input must be real and floating, got {checks.describe(leaf)}{place}")
        center = numerics.lift(leaf)
        scale = jnp.asarray(sigma).astype(center.dtype)
        z = jax.vmap(partial(noise.sample, sample_shape=leaf.shape, dtype=center.dtype))(keys[:, i])
        point = jax.lax.stop_gradient(center[None] + scale * z)
        # equal to z up to rounding; written so that the derivative is that of (point - x) / sigma
        z = jax.lax.stop_gradient(z) + _tangent_only((point - center[None]) / scale)
        density = jnp.sum(noise.log_prob(z) - jnp.log(scale), axis=tuple(range(1, z.ndim)))
        dtype = jnp.promote_types(log_density.dtype, density.dtype)
        log_density = log_density.astype(dtype) + density.astype(dtype)
        points.append(point.astype(leaf.dtype))
    return treedef.unflatten(points), jnp.exp(_tangent_only(log_density))


def _tangent_only(x: jax.Array) -> jax.Array:
    """Return exact zeros with the derivatives of `x`."""
    return x - jax.lax.stop_gradient(x)


__all__ = ["Gumbel", "Noise", "Normal", "make_perturbed_fun"]

__dir__ = glossary.document_all(globals(), __all__)
