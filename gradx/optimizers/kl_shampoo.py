"""KL-Shampoo and KL-SOAP: the second moments of rows and columns that together are nearest to that of the matrix."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.matrices.bases import (
    corrections,
    divided_leaf,
    eigenbasis,
    follow,
    mean_leaf,
    permuted,
    turn_back_leaf,
    turn_leaf,
    turned,
)
from gradx.matrices.factors import (
    Sides,
    WhenLarger,
    adjoint,
    gram,
    left,
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
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates


class ScaleByKLShampooState(NamedTuple):
    """The state of `scale_by_kl_shampoo` and `scale_by_kl_soap`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|², in KL-SOAP of matrices in their bases, in KL-Shampoo `None` for matrices."""
    left: Updates
    """S_a, the second moment of the rows: for each matrix (m, m), or (0,) where it is a diagonal or none."""
    right: Updates
    """S_b, that of the columns: (n, n) or (0,)."""
    left_values: Updates
    """λ_a, the diagonal of S_a in its basis: (m,), or (0,) where the rows have no factor; 0 before any gradient."""
    right_values: Updates
    """λ_b, that of S_b: (n,) or (0,)."""
    left_basis: Updates
    """Q_a, orthonormal columns near the eigenvectors of S_a; like S_a, and 0 before the first update."""
    right_basis: Updates
    """Q_b, those of S_b."""


def moments_leaf(g, SA, SB, va, vb, QA, QB, *, b2):
    """Return (g, S_a, S_b, λ_a, λ_b): S_a ← b2 · S_a + (1 - b2) / n · g S_b⁻¹ gᴴ, S_b ← ... / m · gᴴ S_a⁻¹ g.

    S⁻¹ = Q λ⁻¹ Qᴴ. λ_a and λ_b follow the diagonals of Q_aᴴ S_a Q_a and Q_bᴴ S_b Q_b, and start at a multiple of the
    identity, such that λ_a λ_b is the mean square of the first gradient that is not 0.
    """
    m, n = g.shape[1:]
    is_new = (jnp.max(va, axis=-1, initial=0) == 0) & (jnp.max(vb, axis=-1, initial=0) == 0)
    start = jnp.mean(numerics.abs_sq(g), axis=(-2, -1))[:, None]
    start = numerics.safe_sqrt(start) if va.size and vb.size else start
    even = g * inverse_root(start)[..., None]
    half_b = right(right(g, QB), inverse_root(vb))
    half_a = left(inverse_root(va), left(adjoint(QA), g))
    new_va = b2 * va + (1 - b2) * gram(left(adjoint(QA), half_b), va) / n
    new_vb = b2 * vb + (1 - b2) * gram(adjoint(right(half_a, QB)), vb) / m
    half_b = jnp.where(is_new[:, None, None], even, half_b) if vb.size else half_b
    half_a = jnp.where(is_new[:, None, None], even, half_a) if va.size else half_a
    SA = b2 * SA + (1 - b2) * gram(half_b, SA) / n
    SB = b2 * SB + (1 - b2) * gram(adjoint(half_a), SB) / m
    return g, SA, SB, *(jnp.where(is_new[:, None], start, v) if v.size else v for v in (new_va, new_vb))


def inverse_root(v: jax.Array) -> jax.Array:
    """Return 1 / sqrt(v), and 0 for 0."""
    return numerics.safe_divide(jnp.ones_like(v), numerics.safe_sqrt(v))


def kl_leaf(d, m, va, vb, QA, QB, *, eps):
    """Return (Q_a (Q_aᴴ m Q_b / (sqrt(λ_a λ_b) + eps)) Q_bᴴ,); 0 where λ is 0."""
    one = jnp.ones_like(m, dtype=jnp.finfo(m.dtype).dtype)
    inverse = right(left(inverse_root(va), one), inverse_root(vb))
    return turn_back_leaf(turned(m, QA, QB) * (inverse / (1 + eps * inverse)), QA, QB)


def find_leaf(g, QA, QB, SA, SB):
    """Return (g, Q_a, Q_b), the bases from eigendecompositions."""
    return g, eigenbasis(SA), eigenbasis(SB)


def follow_leaf(nu, QA, QB, va, vb, SA, SB):
    """Return (nu, Q_a, Q_b, λ_a, λ_b), the bases one step of orthogonal iteration further, all else in their order."""
    (QA, rows), (QB, columns) = follow(SA, QA), follow(SB, QB)
    nu = permuted(permuted(nu, rows, 1), columns, 2)
    return nu, QA, QB, permuted(va, rows, 1), permuted(vb, columns, 1)


def kl_pair(
    sides_of: Callable, b1: Any, b2: Any, eps: Any, mu_dtype: Any, update_interval: int, *, squares: bool
) -> tuple:
    """Return the init and update of KL-Shampoo, or, with `squares` of the entries in the bases, of KL-SOAP.

    `sides_of` gives the plan for a tree.
    """

    def init(params: Params) -> ScaleByKLShampooState:
        sides, mu, nu = sides_of(params), moments_like(params, mu_dtype), tree.real_full_like(params, 0.0)
        nu = only(nu, [squares or s is None for s in sides])
        moments, bases = (zeros(sides, params, diagonal="none") for _ in range(2))
        values = zeros(sides, params, full="diagonal")
        return ScaleByKLShampooState(jnp.zeros((), jnp.int32), mu, nu, *moments, *values, *bases)

    def update(updates: Updates, state: ScaleByKLShampooState) -> tuple[Updates, ScaleByKLShampooState]:
        count, sides = numerics.safe_increment(state.count), sides_of(updates)
        bases, values = (state.left_basis, state.right_basis), (state.left_values, state.right_values)
        is_turned, (c1, c2) = said_of(sides, updates), corrections(count, b1, b2)
        mean, mu = tree.map_leaves(mean_leaf, updates, state.mu, is_turned, b1=b1, at_start=state.count == 0, **c1)
        g, m = on_matrices(turn_leaf, sides, (updates, mean), bases, results=2) if squares else (updates, mean)
        divided = only(m, [squares or s is None for s in sides])
        u, nu = tree.map_leaves(divided_leaf, divided, state.nu, g, is_turned, b2=b2, eps=eps, **c2)
        if squares:
            (u,) = on_matrices(turn_back_leaf, sides, (u,), bases, results=1)
        else:
            u = jax.tree.map(lambda x, m: m if x is None else x, u, mean, is_leaf=lambda x: x is None)
            (u,) = on_matrices(kl_leaf, sides, (u, mean), (*values, *bases), results=1, eps=eps)

        factors = (state.left, state.right, *values, *bases)
        _, *factors = on_matrices(moments_leaf, sides, (updates,), factors, results=5, b2=b2)
        moments, values = factors[:2], factors[2:]

        def find(bases: tuple) -> tuple:
            return on_matrices(find_leaf, sides, (updates,), (*bases, *moments), results=3)[1:]

        def go_on(carry: tuple) -> tuple:
            first, *rest = carry if squares else (updates, *carry)
            new = on_matrices(follow_leaf, sides, (first,), (*rest, *moments), results=5)
            return new if squares else new[1:]

        bases = sometimes(state.count == 0, find, bases)
        is_due = (state.count > 0) & (state.count % update_interval == 0)
        *kept, QA, QB, va, vb = sometimes(is_due, go_on, (*((nu,) if squares else ()), *bases, *values))
        A, B = moments
        return u, ScaleByKLShampooState(count, mu, kept[0] if kept else nu, A, B, va, vb, QA, QB)

    return init, update


@transformation
def scale_by_kl_shampoo(
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "diagonal",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by S_a^(-1/2) m S_b^(-1/2), m its debiased mean; of other leaves by Adam's.

    S_a ← b2 · S_a + (1 - b2) / n · g S_b⁻¹ gᴴ;  S_b ← b2 · S_b + (1 - b2) / m · gᴴ S_a⁻¹ g, for a matrix (m, n): the
    factors whose product has the least Kullback-Leibler divergence from the second moment of g. Their eigenvalues
    follow every gradient, in bases that are renewed at intervals. The first gradient of a matrix only finds them:
    u = 0, and m starts behind it.

    Args:
      b2: decay of the means that make S_a, S_b and Adam's |g|².
      eps: added to the root of a product of eigenvalues, and Adam's.
      update_interval: updates from one step of orthogonal iteration, Q ← QR(S Q), to the next.

    State: 2 numbers per parameter, for matrices 1 and 2 for each entry of S_a and S_b. Lin et al. 2025,
    arXiv:2509.03378; the eigenvalues start at the scale of the first gradient, and columns are sorted, as in SOAP. The
    bases are constants to differentiation.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_kl_shampoo(b1=0.0)
    >>> grads = jnp.array([[1.0, 2.0], [3.0, 4.0]])
    >>> _, state = tx.update(grads, tx.init(grads))
    >>> updates, _ = tx.update(grads, state)
    >>> round(float(jnp.mean(updates**2)), 3)  # of size 1 from the start
    1.0
    """
    owner = "scale_by_kl_shampoo"
    one_of(owner, when_larger=(when_larger, WhenLarger.__args__))

    def sides_of(params: Params) -> list[Sides | None]:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        return plan(layouts, params, max_size, when_larger, one_sided)

    return kl_pair(sides_of, b1, b2, eps, mu_dtype, update_interval, squares=False)


@transformation
def scale_by_kl_soap(
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "diagonal",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by Adam's direction in KL-Shampoo's bases: SOAP with its second moments.

    What is no matrix goes by Adam. The first gradient of a matrix only finds the bases: u = 0, and both means start
    behind it.

    Args:
      eps: Adam's.

    The rest as in `scale_by_kl_shampoo`.

    State: 2 numbers per parameter, and 2 for each entry of S_a and S_b. Lin et al. 2025, arXiv:2509.03378.

    >>> import gradx
    >>> gradx.scale_by_kl_soap(update_interval=1)
    scale_by_kl_soap(update_interval=1)
    """
    owner = "scale_by_kl_soap"
    one_of(owner, when_larger=(when_larger, WhenLarger.__args__))

    def sides_of(params: Params) -> list[Sides | None]:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        return plan(layouts, params, max_size, when_larger, one_sided)

    return kl_pair(sides_of, b1, b2, eps, mu_dtype, update_interval, squares=True)


@transformation
def kl_shampoo(
    learning_rate: LearningRate,
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "diagonal",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """KL-Shampoo: u = -learning_rate · (S_a^(-1/2) m S_b^(-1/2) + weight_decay · p), AdamW for what is no matrix.

    S_a ⊗ S_b is nearest to the second moment of the gradient; it needs no grafting. The first update moves no matrix
    but by the decay.

    The arguments are those of `scale_by_kl_shampoo`.

    State: that of `scale_by_kl_shampoo`. Needs: params. Lin et al. 2025, arXiv:2509.03378.

    >>> import gradx
    >>> gradx.kl_shampoo(1e-3)
    kl_shampoo(learning_rate=0.001)
    """
    hyper: dict[str, Any] = {"update_interval": update_interval, "max_size": max_size, "when_larger": when_larger}
    hyper |= {"one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_kl_shampoo(b1, b2, eps, mu_dtype, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


@transformation
def kl_soap(
    learning_rate: LearningRate,
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "diagonal",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """KL-SOAP: u = -learning_rate · (Adam's direction in KL-Shampoo's bases + weight_decay · p).

    What is no matrix goes by AdamW; the first update moves no matrix but by the decay.

    The arguments are those of `scale_by_kl_shampoo`.

    State: that of `scale_by_kl_soap`. Needs: params. Lin et al. 2025, arXiv:2509.03378.

    >>> import gradx
    >>> gradx.kl_soap(1e-3)
    kl_soap(learning_rate=0.001)
    """
    hyper: dict[str, Any] = {"update_interval": update_interval, "max_size": max_size, "when_larger": when_larger}
    hyper |= {"one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_kl_soap(b1, b2, eps, mu_dtype, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
