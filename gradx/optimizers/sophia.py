"""Sophia: momentum over an estimate of the Hessian's diagonal, clipped entry by entry."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.sometimes import sometimes
from gradx.transforms.clip import clip_leaf
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import moments_like
from gradx.transforms.noise import KeyStart
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative, Params, Positive, PositiveInt, State, Updates


class HutchinsonState(NamedTuple):
    """The state of `hutchinson_estimator_diag_hessian`."""

    key: jax.Array
    """The data of the key from which the next estimate splits its own: plain integers, for checkpoints."""


class SophiaState(NamedTuple):
    """The state of `scale_by_sophia`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of the Hessian's diagonal; real, like the parameters, at least float32."""
    hessian_fn_state: State


@transformation
def hutchinson_estimator_diag_hessian(random_seed: Any = None) -> Any:
    """Replace the gradient by an unbiased estimate of the Hessian's diagonal: z · H z, entries of z ±1 by chance.

    Args:
      random_seed: a key of `jax.random` or an integer; None is 0.

    State: a key. Needs: params, and the extra `obj_fn`, from the parameters to the loss of this batch; it is
    differentiated twice. Hutchinson 1990; Liu et al. 2023, arXiv:2305.14342, Algorithm 1.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.hutchinson_estimator_diag_hessian()
    >>> updates, _ = tx.update(0.0, tx.init(1.0), 1.0, obj_fn=lambda x: 3.0 * x**2)
    >>> float(updates)
    6.0
    """
    first = KeyStart(0 if random_seed is None else random_seed)

    def init(params: Params) -> HutchinsonState:
        return HutchinsonState(first.data())

    def update(updates: Updates, state: HutchinsonState, params: Params, *, obj_fn: Any) -> tuple:
        next_key, key = first.split(state.key)
        signs = tree.cast_like(tree.random_like(key, params, jax.random.rademacher, jnp.float32), params)
        product = jax.jvp(jax.grad(obj_fn), (params,), (signs,))[1]
        return tree.map_leaves(product_leaf, product, signs), HutchinsonState(next_key)

    return init, update


def product_leaf(hz: jax.Array, z: jax.Array) -> jax.Array:
    """Return z · H z."""
    return z * hz


def sophia_leaf(g, mu, nu, *, b1, eps, gamma, c):
    """Return (mu / c / max(gamma · nu, eps), mu)."""
    mu = b1 * mu + (1 - b1) * g
    return mu / c / jnp.maximum(gamma * nu, eps), mu


def clipped_sophia_leaf(g, mu, nu, *, clip_threshold, **hyper):
    """Return `sophia_leaf` with the update held within ±clip_threshold."""
    u, mu = sophia_leaf(g, mu, nu, **hyper)
    if jnp.iscomplexobj(u):
        return clip_leaf(u, max_delta=clip_threshold), mu
    # u enters once: from `clip_leaf`, where it enters three times, XLA:CPU makes an array of its own, 8 bytes an entry.
    return jnp.clip(u, -clip_threshold, clip_threshold), mu


def hessian_leaf(nu: jax.Array, h: jax.Array, *, b2: jax.Array) -> jax.Array:
    """Return b2 · nu + (1 - b2) · h."""
    return b2 * nu + (1 - b2) * jnp.real(h)


@transformation
def scale_by_sophia(
    b1: Decay = 0.965,
    b2: Decay = 0.99,
    eps: Positive = 1e-8,
    gamma: NonNegative = 0.01,
    clip_threshold: NonNegative | None = 1.0,
    update_interval: PositiveInt = 10,
    hessian_diagonal_fn: GradientTransformation | None = None,
    mu_dtype: DType | None = None,
) -> Any:
    """Replace the gradient by its momentum over the Hessian's diagonal: u = clip(mu / c / max(gamma · nu, eps)).

    mu ← b1 · mu + (1 - b1) · g, c = 1 - b1^t; nu ← b2 · nu + (1 - b2) · h at each `update_interval`-th update, the
    first among them, h the estimate. The renewed nu serves from the next update on, as in the authors' code.

    Args:
      b2: decay of the running mean of the Hessian's diagonal, in [0, 1).
      eps: the least denominator, above 0; where the curvature is negative too.
      gamma: share of the curvature that divides; smaller clips more.
      clip_threshold: the largest entry of u; None does not clip.
      update_interval: updates from one estimate to the next.
      hessian_diagonal_fn: a transformation whose update is the estimate; None is `hutchinson_estimator_diag_hessian()`.

    State: 2 numbers per parameter, int32[] and the estimator's. Needs: params, and the extra `obj_fn`, or what the
    estimator needs. Liu et al. 2023, arXiv:2305.14342, Algorithm 3. (Optax also prints how much is clipped.)

    >>> import gradx
    >>> tx = gradx.scale_by_sophia()
    >>> updates, _ = tx.update(3.0, tx.init(1.0), 1.0, obj_fn=lambda x: x**2)
    >>> float(updates)
    1.0
    """
    estimator = hutchinson_estimator_diag_hessian() if hessian_diagonal_fn is None else hessian_diagonal_fn

    def init(params: Params) -> SophiaState:
        mu, nu = moments_like(params, mu_dtype), tree.real_full_like(params, 0.0)
        return SophiaState(jnp.zeros((), jnp.int32), mu, nu, run_init(estimator, params))

    def update(grads: Updates, state: SophiaState, params: Params | None = None, **extras: Any) -> tuple:
        def renew(carry: tuple) -> tuple:
            h, inner = run_update(estimator, grads, carry[1], params, extras)
            return tree.map_leaves(hessian_leaf, carry[0], h, b2=b2), inner

        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "eps": eps, "gamma": gamma, "c": numerics.bias_correction(b1, count)}
        leaf = sophia_leaf
        if clip_threshold is not None:
            leaf, hyper["clip_threshold"] = clipped_sophia_leaf, clip_threshold
        updates, mu = tree.map_leaves(leaf, grads, state.mu, state.nu, **hyper)
        is_due = state.count % update_interval == 0
        nu, inner = sometimes(is_due, renew, (state.nu, state.hessian_fn_state))
        return updates, SophiaState(count, mu, nu, inner)

    return Wrapper(init, update, lambda state: [("", estimator, state and state.hessian_fn_state)])


@transformation
def sophia(
    learning_rate: LearningRate,
    b1: Decay = 0.965,
    b2: Decay = 0.99,
    eps: Positive = 1e-8,
    weight_decay: NonNegative = 1e-4,
    weight_decay_mask: Mask | None = None,
    gamma: NonNegative = 0.01,
    clip_threshold: NonNegative | None = 1.0,
    update_interval: PositiveInt = 10,
    hessian_diagonal_fn: GradientTransformation | None = None,
    mu_dtype: DType | None = None,
) -> Any:
    """Sophia: u = -learning_rate · (clip(mu / c / max(gamma · nu, eps)) + weight_decay · p).

    mu is the mean gradient, nu that of estimates of the Hessian's diagonal.

    Args:
      weight_decay_mask: where to decay, as in `add_decayed_weights`.

    The rest as in `scale_by_sophia`.

    State: 2 numbers per parameter. Needs: params, and the extra `obj_fn`, the loss of this batch.
    Liu et al. 2023, arXiv:2305.14342, Algorithm 3.

    >>> import gradx
    >>> gradx.sophia(1e-3, gamma=0.05)
    sophia(learning_rate=0.001, gamma=0.05)
    """
    return chain(
        scale_by_sophia(b1, b2, eps, gamma, clip_threshold, update_interval, hessian_diagonal_fn, mu_dtype),
        add_decayed_weights(weight_decay, weight_decay_mask),
        scale_by_learning_rate(learning_rate),
    )
