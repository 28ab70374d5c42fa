"""APOLLO: Adam in a small random subspace says how far each channel goes, the gradient says where to."""

import math
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.linalg import sharding
from gradx.matrices import Layout
from gradx.optimizers.adam import adam_leaf
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import layouts_of
from gradx.transforms.noise import as_key
from gradx.transforms.scale import scale_by_learning_rate, scale_leaf
from gradx.typing import (
    Decay,
    Labels,
    LearningRate,
    Mask,
    NonNegative,
    Params,
    Positive,
    PositiveInt,
    ScalarOrSchedule,
    Updates,
)

Granularity = Literal["channel", "tensor"]


class ScaleByApolloState(NamedTuple):
    """The state of `scale_by_apollo`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of P G, (matrices, rank, longer side) for each leaf of matrices; of g for the others."""
    nu: Updates
    """The running mean of |P G|², or of |g|²; real, at least float32."""
    norms: Updates
    """For each matrix the norm of its last update, (matrices, 1, 1); `None` for other leaves."""


def projection(key: Any, leaf: int, epoch: Any, shape: tuple[int, ...]) -> jax.Array:
    """Return sqrt(rank) · P, (matrices, rank, shorter side): standard normal, in float32 whatever the gradient."""
    own = jax.random.fold_in(jax.random.fold_in(as_key(key), leaf), epoch)
    return jax.random.normal(own, shape, jnp.float32)


def apollo_rule(g, mu, nu, before, p, *, b1, b2, eps, c1, c2, growth, per_channel):
    """Return (s · G, mu, nu, ‖s · G‖) of matrices G (b, m, n), m at most n; s as Adam scales P G, by column or whole.

    s · G is shortened to `growth` times the length of the one before, if that was not 0.
    """
    low = jnp.matmul(p / math.sqrt(p.shape[-2]), g, precision=jax.lax.Precision.HIGHEST)
    scaled, mu, nu = adam_leaf(low, mu, nu, b1=b1, b2=b2, eps=eps, eps_root=0.0, c1=c1, c2=c2)
    axes = -2 if per_channel else (-2, -1)
    u = numerics.safe_divide(length(scaled, axes), length(low, axes)) * g
    size = length(u, (-2, -1))
    has_one = before > 0
    most = jnp.where(has_one, growth * jnp.where(has_one, before, 1), size)
    above = ~(size <= most)  # a NaN is above, and stays one
    factor = jnp.where(above, most / jnp.where(above, size, 1), 1)
    return factor * u, mu, nu, factor * size


def length(x: jax.Array, axes: Any) -> jax.Array:
    """Return the Euclidean norm over some axes, which stay with length 1."""
    return numerics.safe_sqrt(jnp.sum(numerics.abs_sq(x), axis=axes, keepdims=True))


class View(NamedTuple):
    """A leaf as matrices."""

    matrices: jax.Array
    """(b, m, n), m at most n."""
    back: Callable[[jax.Array], jax.Array]
    """The way back to the leaf's shape."""
    rank: int


def view_of(x: jax.Array, layout: Layout, rank: int) -> View:
    """Return a leaf as matrices that have no more rows than columns, and no more than `rank` random directions."""
    matrices = sharding.gather(layout.batch_of(x), axes=3)
    is_tall = matrices.shape[1] > matrices.shape[2]

    def back(y: jax.Array) -> jax.Array:
        return layout.array_of(y.mT if is_tall else y, x)

    wide = matrices.mT if is_tall else matrices
    return View(wide, back, min(rank, wide.shape[1]))


@transformation
def scale_by_apollo(
    rank: PositiveInt = 256,
    update_proj_gap: PositiveInt = 200,
    scale: ScalarOrSchedule = 1.0,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-6,
    *,
    granularity: Granularity = "channel",
    growth: Positive = 1.01,
    key: Any = 0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Scale each channel of a matrix's gradient G as Adam would scale it in a random subspace: u = scale · G diag(s).

    With R = P G, P (rank, shorter side) of normal entries of variance 1 / rank: s_j = ‖Adam(R)_j‖ / ‖R_j‖ over column
    j. P is not kept but drawn again from the key. Leaves that are no matrices get Adam's direction.

    Args:
      rank: rows of P, at most the shorter side.
      update_proj_gap: updates from one P to the next; the moments stay.
      scale: factor of the matrices' updates.
      eps: added to the root.
      granularity: "channel", or "tensor" for one s = ‖Adam(R)‖ / ‖R‖ of the whole matrix.
      growth: ‖u‖ is shortened to so many times the ‖u‖ before; infinity bounds nothing.
      key: of P: a key of `jax.random`, or an integer.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.

    State: 2 · rank numbers per row or column of the longer side. Zhu et al. 2024, arXiv:2412.05270, Algorithm 1.

    >>> import gradx, jax.numpy as jnp
    >>> [x.shape for x in gradx.scale_by_apollo(rank=2).init(jnp.ones((5, 4)))[1:]]
    [(1, 2, 5), (1, 2, 5), (1, 1, 1)]
    """
    if granularity not in Granularity.__args__:
        raise ValueError(f"scale_by_apollo: granularity must be one of {Granularity.__args__}, got {granularity!r}")

    def views_of(params: Params) -> list[View | None]:
        layouts = layouts_of("scale_by_apollo", weight_dimension_numbers, params)
        pairs = zip(jax.tree.leaves(params), layouts, strict=True)
        return [None if layout is None or not jnp.size(x) else view_of(x, layout, rank) for x, layout in pairs]

    def init(params: Params) -> ScaleByApolloState:
        leaves, treedef, views = *jax.tree.flatten(params), views_of(params)
        inside = [p if v is None else v.matrices[:, : v.rank] for v, p in zip(views, leaves, strict=True)]
        mu, nu = tree.zeros_like(inside), tree.real_full_like(inside, 0.0)
        norms = [v and tree.real_full_like(v.matrices[:, :1, :1], 0.0) for v in views]
        return ScaleByApolloState(jnp.zeros((), jnp.int32), *map(treedef.unflatten, (mu, nu, norms)))

    def update(updates: Updates, state: ScaleByApolloState) -> tuple[Updates, ScaleByApolloState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        of_matrix = {"growth": growth, "per_channel": granularity == "channel"}
        leaves, treedef = jax.tree.flatten(updates, is_leaf=lambda x: x is None)
        columns = (leaves, *(treedef.flatten_up_to(x) for x in state[1:]))
        views, epoch, rows = iter(views_of(updates)), state.count // update_proj_gap, []
        for i, (g, *kept) in enumerate(zip(*columns, strict=True)):
            view = None if g is None else next(views)
            if view is not None:
                p = projection(key, i, epoch, (len(view.matrices), view.rank, view.matrices.shape[1]))
                u, *kept = tree.map_leaves(apollo_rule, view.matrices, *kept, p, **hyper, **of_matrix)
                g = tree.map_leaves(scale_leaf, view.back(u), factor=scale)
            elif g is not None:
                g, *kept = *tree.map_leaves(adam_leaf, g, *kept[:2], eps_root=0.0, **hyper), None
            rows.append((g, *kept))
        new = [treedef.unflatten([row[k] for row in rows]) for k in range(4)]
        return new[0], ScaleByApolloState(count, *new[1:])

    return init, update


@transformation
def apollo(
    learning_rate: LearningRate,
    rank: PositiveInt = 256,
    update_proj_gap: PositiveInt = 200,
    scale: ScalarOrSchedule = 1.0,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-6,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
    *,
    growth: Positive = 1.01,
    key: Any = 0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """APOLLO: each channel of a matrix's gradient G, scaled as Adam scales it in a random subspace.

    u = -learning_rate · (scale · G diag(s) + weight_decay · p), and AdamW for leaves that are no matrices. The
    arguments are those of `scale_by_apollo`.

    Args:
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.

    State: 2 · rank numbers per row or column of the longer side. Needs: params. Zhu et al. 2024, arXiv:2412.05270,
    Algorithm 1.

    >>> import gradx
    >>> gradx.apollo(0.01, rank=64)
    apollo(learning_rate=0.01, rank=64)
    """
    hyper: dict[str, Any] = {"growth": growth, "key": key, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_apollo(rank, update_proj_gap, scale, b1, b2, eps, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def apollo_mini(
    learning_rate: LearningRate,
    update_proj_gap: PositiveInt = 200,
    scale: ScalarOrSchedule = 128**0.5,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-6,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
    *,
    growth: Positive = 1.01,
    key: Any = 0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """APOLLO-Mini: each matrix's gradient times one number, that by which Adam scales a random row of it.

    It is `apollo` with rank 1 and granularity "tensor"; the arguments are those of `scale_by_apollo`.

    Args:
      scale: factor of the matrices' updates; the paper's is sqrt(128).
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.

    State: 2 numbers per row or column of the longer side. Needs: params. Zhu et al. 2024, arXiv:2412.05270, section 4.

    >>> import gradx
    >>> gradx.apollo_mini(0.01)
    apollo_mini(learning_rate=0.01)
    """
    hyper: dict[str, Any] = {"growth": growth, "key": key, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_apollo(1, update_proj_gap, scale, b1, b2, eps, granularity="tensor", **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
