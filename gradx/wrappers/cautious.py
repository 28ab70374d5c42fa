"""Cautious updates: only what agrees with the gradient of this step."""

from typing import Any

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.combine import merge, resolve_mask, select
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.typing import Mask, Params, State, Updates

LEAST_SHARE = 1e-3
"""What is kept is scaled up as if it were at least this share of the array."""


def cautious_leaf(u: jax.Array, g: jax.Array, *, uphill: bool) -> jax.Array:
    """Return u · n / kept where u goes against g, downhill, and 0 elsewhere, n of the array's entries."""
    agreement = direction_of(u, g) if uphill else -direction_of(u, g)
    keeps = ~(agreement <= 0)  # a NaN is kept
    share = jnp.sum(keeps, dtype=jnp.int32).astype(jnp.finfo(u.dtype).dtype) / max(u.size, 1)
    return jnp.where(keeps, u / jnp.maximum(share, LEAST_SHARE), 0)


def direction_of(x: jax.Array, y: jax.Array) -> jax.Array:
    """Return 1 where both have the same sign, -1 where not, and 0 where one is 0; of complex x and y Re(conj(x) · y)'s.

    Of signs, because the product of small numbers is 0.
    """
    if jnp.iscomplexobj(x):
        return jnp.sign(jnp.real(jnp.conj(x) * y))
    return jnp.sign(x) * jnp.sign(y)


@transformation
def cautious(inner: GradientTransformation, mask: Mask = True, *, uphill: bool = False) -> Any:
    """Set the update to zero where it goes up the gradient of this step, and scale up the rest of its array.

    u ← u · n / kept where u · g < 0, else 0: of the n entries of an array those are kept that momentum and the gradient
    agree on. No entry moves against the gradient; where all agree the update stays as it is.

    Args:
      inner: a whole optimizer, with its learning rate. Its weight decay counts as part of the update: to decay
        everywhere, put `add_decayed_weights` behind a cautious direction.
      mask: where to be cautious: a pytree of bools (a prefix will do), or a function from the parameters to one.
      uphill: whether `inner` returns a direction that points up the gradient still, as `scale_by_adam` does.

    State: that of `inner`. Liang et al. 2024, arXiv:2411.16085, Algorithm 1, with kept at least n / 1000 as in the
    authors' code, in place of kept + 1, which halves the step of a scalar.

    >>> import gradx
    >>> tx = gradx.cautious(gradx.sgd(1.0, momentum=0.9))
    >>> first, state = tx.update({"w": 4.0}, tx.init({"w": 0.0}))
    >>> second, state = tx.update({"w": -1.0}, state)  # the momentum still goes the other way
    >>> float(first["w"]), float(second["w"])
    (-4.0, 0.0)
    """

    def init(params: Params) -> State:
        return run_init(inner, params)

    def update(updates: Updates, state: State, params: Params | None = None, **extras: Any) -> tuple[Updates, State]:
        new, state = run_update(inner, updates, state, params, extras)
        chosen = resolve_mask("cautious", mask, updates if params is None else params)
        kept = tree.map_leaves(cautious_leaf, select(chosen, new), select(chosen, updates), uphill=uphill)
        return merge(chosen, kept, new), state

    return Wrapper(init, update, lambda state: [("", inner, state)])
