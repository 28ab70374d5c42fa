"""SM3: Adagrad with one sum for each row and each column in place of one for each entry."""

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import checks, numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, Fraction, LearningRate, NonNegative, Params, Updates


class ScaleBySM3State(NamedTuple):
    """The state of `scale_by_sm3`."""

    mu: Updates
    """For each parameter a list: one vector for each axis, the largest sum of |g|² there; a scalar's own sum.

    Beside a State of flax's nnx, which makes States of all that lies in it, such a State, with numbers for keys.
    """
    nu: Updates
    """The running mean of the scaled gradients; like the parameters, at least float32."""


def sm3_leaf(g, mu, nu, *, b1, b2, eps):
    """Return (nu, mu, nu): nu the mean of g / sqrt(s + eps), s the least of the entry's sums mu, |g|² added."""
    sums, treedef = jax.tree.flatten(mu)
    least = sums[0] if g.ndim < 2 else _least([along(x, axis, g.ndim) for axis, x in enumerate(sums)])
    s = b2 * least + jnp.where(b2 == 1, 1, 1 - b2) * numerics.abs_sq(g)
    nu = b1 * nu + (1 - b1) * numerics.safe_divide(g, numerics.safe_sqrt(s + eps))
    return nu, treedef.unflatten(largest_by_axis(s)), nu


def node_maker(params: Params) -> Callable[[list[jax.Array]], Any]:
    """Return what makes a node of the vectors of one parameter, of a kind that stays what it is beside `params`."""
    kind = type(params)
    return (lambda vectors: kind(dict(enumerate(vectors)))) if checks.is_state_of_nnx(kind) else list


def along(x: jax.Array, axis: int, ndim: int) -> jax.Array:
    """Return the vector `x` along `axis` of an array of `ndim` axes."""
    return jnp.expand_dims(x, [i for i in range(ndim) if i != axis])


def largest_by_axis(s: jax.Array) -> list[jax.Array]:
    """Return for each axis the largest entry of each of its slices; of a vector or scalar itself."""
    if s.ndim < 2:
        return [s]
    others = [tuple(i for i in range(s.ndim) if i != axis) for axis in range(s.ndim)]
    return [jnp.max(s, axis=axes, initial=0.0) for axes in others]


def _least(arrays: Sequence[jax.Array]) -> jax.Array:
    first, *rest = arrays
    for x in rest:
        first = jnp.minimum(*jnp.broadcast_arrays(first, x))
    return first


@transformation
def scale_by_sm3(b1: Decay = 0.9, b2: Fraction = 1.0, eps: NonNegative = 1e-8) -> Any:
    """Divide by the root of sums that rows and columns share: s = min over axes of mu + |g|², u = mean of g / sqrt(s).

    Each slice's sum mu is the largest s in it, so that s is at least the sum of |g|² of its entry.

    Args:
      b1: decay of the running mean of the scaled gradients, in [0, 1).
      b2: 1 for sums; below it running means, (1 - b2) · |g|² added.
      eps: added to s under the root.

    State: 1 number per parameter, and 1 for each row and column. Anil et al. 2019, arXiv:1901.11150, Algorithm SM3-II,
    with momentum as in section 5.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_sm3()
    >>> [x.shape for x in tx.init(jnp.ones((2, 3))).mu]
    [(2,), (3,)]
    """

    def init(params: Params) -> ScaleBySM3State:
        node = node_maker(params)
        sums = jax.tree.map(lambda p: node(largest_by_axis(tree.real_full_like(p, 0.0))), params)
        return ScaleBySM3State(sums, tree.zeros_like(params))

    def update(updates: Updates, state: ScaleBySM3State) -> tuple[Updates, ScaleBySM3State]:
        updates, mu, nu = tree.map_leaves(sm3_leaf, updates, state.mu, state.nu, b1=b1, b2=b2, eps=eps)
        return updates, ScaleBySM3State(mu, nu)

    return init, update


@transformation
def sm3(learning_rate: LearningRate, momentum: Decay = 0.9) -> Any:
    """SM3: Adagrad whose sums are shared by rows and columns, with momentum.

    Args:
      momentum: decay of the running mean of the scaled gradients, in [0, 1).

    State: 1 number per parameter, and 1 for each row and column. Anil et al. 2019, arXiv:1901.11150, Algorithm SM3-II.

    >>> import gradx
    >>> gradx.sm3(0.1)
    sm3(learning_rate=0.1)
    """
    return chain(scale_by_sm3(momentum), scale_by_learning_rate(learning_rate))
