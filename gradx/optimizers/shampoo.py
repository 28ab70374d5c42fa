"""Shampoo: each side of a matrix is divided by a root of its own second moment."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.linalg import matrix_inverse_pth_root, matrix_inverse_pth_root_eigh
from gradx.matrices.factors import (
    Sides,
    WhenLarger,
    adjoint,
    gram,
    largest,
    left,
    norms,
    on_matrices,
    one_of,
    only,
    plan,
    right,
    said_of,
    zeros,
)
from gradx.sometimes import sometimes
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import layouts_of
from gradx.transforms.momentum import ema_leaf, moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates

Graft = Literal["adam", "rmsprop", "sgd"]
Inverse = Literal["eigh", "newton"]
Factors = Literal["mean", "sum"]
LEAST = 1e-16
"""The ridge of a diagonal is relative to its largest entry, or to this where that is smaller, as in `gradx.linalg`."""


class ScaleByShampooState(NamedTuple):
    """The state of `scale_by_shampoo`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|²; real, like the parameters; `None` for matrices where `graft` needs none."""
    left: Updates
    """L, the second moment of the rows: for each matrix (m, m), or (m,) where it is diagonal, or (0,) for none."""
    right: Updates
    """R, that of the columns: (n, n), (n,) or (0,)."""
    left_root: Updates
    """L^(-1/p) as of the last renewal; like L."""
    right_root: Updates
    """R^(-1/p) as of the last renewal; like R."""


def moments_leaf(g, L, R, *, decay, weight):
    """Return (g, L, R): L ← decay · L + weight · g gᴴ, R ← decay · R + weight · gᴴ g."""
    return g, decay * L + weight * gram(g, L), decay * R + weight * gram(adjoint(g), R)


def roots_leaf(g, PL, PR, L, R, *, c, p, ridge, inverse):
    """Return (g, (L / c)^(-1/p), (R / c)^(-1/p)); the old roots are of no use."""
    p = 2 * (bool(L.size) + bool(R.size)) if p is None else p
    return g, inverse_root(L / c, p, ridge, inverse), inverse_root(R / c, p, ridge, inverse)


def inverse_root(a: jax.Array, p: int, ridge: jax.Array, inverse: str) -> jax.Array:
    """Return (A + ridge · lambda_max(A) · I)^(-1/p) of a factor."""
    if a.ndim == 3:
        root = matrix_inverse_pth_root if inverse == "newton" else matrix_inverse_pth_root_eigh
        return jax.vmap(lambda x: root(x, p, ridge_epsilon=ridge)[0])(a)
    return (a + ridge * jnp.maximum(largest(a), LEAST)) ** (-1 / p) if a.size else a


def shampoo_leaf(d, m, PL, PR, *, ready):
    """Return (P_L m P_R,) once the roots are there, and (d,) until then."""
    return (jnp.where(ready, right(left(PL, m), PR), d),)


def graft_leaf(u, d):
    """Return (u · ‖d‖ / ‖u‖,), for each matrix."""
    return (numerics.safe_divide(norms(d), norms(u)) * u,)


def diagonal_leaf(m, nu, g, is_matrix, *, b2, eps, c, graft):
    """Return Adam's m / (sqrt(nu / c) + eps) and nu; for a matrix that grafts "rmsprop" g / (sqrt(nu) + eps)."""
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(g)
    if graft == "rmsprop":
        m, c = jnp.where(is_matrix, g, m), jnp.where(is_matrix, 1, c)
    return m / (numerics.safe_sqrt(nu / c) + eps), nu


@transformation
def scale_by_shampoo(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    ridge: NonNegative = 1e-6,
    mu_dtype: DType | None = None,
    *,
    graft: Graft | None = "adam",
    root: PositiveInt | None = None,
    inverse: Inverse = "eigh",
    factors: Factors = "mean",
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 1024,
    when_larger: WhenLarger = "blocks",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by L^(-1/p) m R^(-1/p), m its debiased mean; of other leaves by Adam's.

    L ← b2 · L + (1 - b2) · g gᴴ;  R ← b2 · R + (1 - b2) · gᴴ g; both debiased.

    Args:
      b2: decay of the means of |g|², L and R.
      eps: Adam's.
      ridge: added to L and R before the root, as a share of the largest eigenvalue.
      graft: whose length an update takes, for each matrix: "adam", "rmsprop", "sgd" (the length of m), or None.
      root: p; None is twice the number of sides that have a factor: 4, as in the paper, or 2.
      inverse: "eigh" or "newton", the coupled iteration.
      factors: "mean", or "sum" for the paper's L ← L + g gᴴ.
      update_interval: updates from one inverse root to the next. Before the first the update is that of `graft`.

    State: 2 numbers per parameter (1 for matrices that graft "sgd" or nothing), 2 for each entry of L and R.
    Gupta, Koren and Singer 2018, arXiv:1802.09568, Algorithm 1; grafting and blocks: Shi et al. 2023, arXiv:2309.06497.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_shampoo(b1=0.0, b2=0.0, graft=None, update_interval=1)
    >>> updates, _ = tx.update(jnp.diag(jnp.array([9.0, 1.0])), tx.init(jnp.eye(2)))
    >>> [round(float(x), 3) for x in jnp.diag(updates)]
    [1.0, 1.0]
    """
    owner = "scale_by_shampoo"
    one_of(owner, graft=(graft, (*Graft.__args__, None)), inverse=(inverse, Inverse.__args__))
    one_of(owner, factors=(factors, Factors.__args__), when_larger=(when_larger, WhenLarger.__args__))
    is_mean = factors == "mean"

    def sides_of(params: Params) -> list[Sides | None]:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        return plan(layouts, params, max_size, when_larger, one_sided)

    def squared(sides: list[Sides | None]) -> list[bool]:
        return [s is None or graft in ("adam", "rmsprop") for s in sides]

    def init(params: Params) -> ScaleByShampooState:
        sides, mu = sides_of(params), moments_like(params, mu_dtype)
        nu = only(tree.real_full_like(params, 0.0), squared(sides))
        return ScaleByShampooState(jnp.zeros((), jnp.int32), mu, nu, *zeros(sides, params), *zeros(sides, params))

    def update(updates: Updates, state: ScaleByShampooState) -> tuple[Updates, ScaleByShampooState]:
        count, sides = numerics.safe_increment(state.count), sides_of(updates)
        c1, c2 = (numerics.bias_correction(b, count) for b in (b1, b2))
        mean, mu = tree.map_leaves(ema_leaf, updates, state.mu, decay=b1, c=c1)
        is_matrix = said_of(sides, updates)
        hyper: dict[str, Any] = {"b2": b2, "eps": eps, "c": c2, "graft": graft}
        divided, nu = tree.map_leaves(diagonal_leaf, only(mean, squared(sides)), state.nu, updates, is_matrix, **hyper)
        d = jax.tree.map(lambda x, m: m if x is None else x, divided, mean, is_leaf=lambda x: x is None)

        decay: Any = b2
        hyper = {"decay": decay, "weight": 1 - decay} if is_mean else {"decay": 1.0, "weight": 1.0}
        _, left, right = on_matrices(moments_leaf, sides, (updates,), (state.left, state.right), results=3, **hyper)

        def renew(roots: tuple) -> tuple:
            hyper = {"c": c2 if is_mean else 1.0, "p": root, "ridge": ridge, "inverse": inverse}
            return on_matrices(roots_leaf, sides, (updates,), (*roots, left, right), results=3, **hyper)[1:]

        roots = sometimes(count % update_interval == 0, renew, (state.left_root, state.right_root))
        (u,) = on_matrices(shampoo_leaf, sides, (d, mean), roots, results=1, ready=count >= update_interval)
        if graft is not None:
            (u,) = on_matrices(graft_leaf, sides, (u, d), results=1, whole=True)
        return u, ScaleByShampooState(count, mu, nu, left, right, *roots)

    return init, update


@transformation
def shampoo(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    ridge: NonNegative = 1e-6,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    graft: Graft | None = "adam",
    root: PositiveInt | None = None,
    inverse: Inverse = "eigh",
    factors: Factors = "mean",
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 1024,
    when_larger: WhenLarger = "blocks",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Shampoo: u = -learning_rate · (L^(-1/p) m R^(-1/p), as long as Adam's direction, + weight_decay · p).

    L and R are the second moments of the rows and of the columns of a matrix; what is no matrix goes by AdamW.

    The arguments are those of `scale_by_shampoo`.

    State: that of `scale_by_shampoo`. Needs: params. Gupta et al. 2018, arXiv:1802.09568; Shi et al. 2023, 2309.06497.

    >>> import gradx
    >>> gradx.shampoo(1e-3, graft="rmsprop")
    shampoo(learning_rate=0.001, graft='rmsprop')
    """
    hyper: dict[str, Any] = {"graft": graft, "root": root, "inverse": inverse, "factors": factors}
    hyper |= {"update_interval": update_interval, "max_size": max_size, "when_larger": when_larger}
    hyper |= {"one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_shampoo(b1, b2, eps, ridge, mu_dtype, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
