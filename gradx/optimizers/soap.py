"""SOAP: Adam in the eigenbases of the second moments that Shampoo keeps of rows and columns."""

import math
import sys
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import EmptyState, transformation
from gradx.linalg import orthogonalize
from gradx.matrices.bases import (
    corrections,
    divided_leaf,
    eigenbasis,
    follow,
    mean_leaf,
    permuted,
    turn_back_leaf,
    turn_leaf,
)
from gradx.matrices.factors import Sides, adjoint, gram, norms, on_matrices, one_of, plan, said_of, zeros
from gradx.sometimes import sometimes
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import layouts_of
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import no_state, scale_by_learning_rate
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates

WhenLarger = Literal["one_sided", "blocks"]
"""What becomes of a side above the bound; the eigenbasis of a diagonal would be none."""


class ScaleBySoapState(NamedTuple):
    """The state of `scale_by_soap`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|², of matrices in their bases; real, like the parameters, at least float32."""
    left: Updates
    """L, the second moment of the rows: for each matrix (m, m), or (0,) for none."""
    right: Updates
    """R, that of the columns: (n, n) or (0,)."""
    left_basis: Updates
    """Q_L, orthonormal columns near the eigenvectors of L; like L, and 0 before the first update."""
    right_basis: Updates
    """Q_R, those of R."""


def moments_leaf(g, L, R, *, b2):
    """Return (g, L, R): L ← b2 · L + (1 - b2) · g gᴴ, R ← b2 · R + (1 - b2) · gᴴ g."""
    return g, b2 * L + (1 - b2) * gram(g, L), b2 * R + (1 - b2) * gram(adjoint(g), R)


def find_leaf(nu, QL, QR, L, R):
    """Return (nu, Q_L, Q_R), the bases from eigendecompositions."""
    return nu, eigenbasis(L), eigenbasis(R)


def follow_leaf(nu, QL, QR, L, R):
    """Return (nu, Q_L, Q_R), the bases one step of orthogonal iteration further, nu in the order of their columns."""
    (QL, rows), (QR, columns) = follow(L, QL), follow(R, QR)
    return permuted(permuted(nu, rows, 1), columns, 2), QL, QR


@transformation
def scale_by_soap(
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "one_sided",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by Adam's direction in a turned basis: u = Q_L Adam(Q_Lᴴ g Q_R) Q_Rᴴ.

    Q_L and Q_R are near the eigenvectors of L ← b2 · L + (1 - b2) · g gᴴ and R ← b2 · R + (1 - b2) · gᴴ g. The mean of
    g is kept unturned, nu in the basis of its day. The first gradient of a matrix only finds the bases: u = 0, and
    both means start behind it. What is no matrix goes by Adam.

    Args:
      b2: decay of the means of |g|², L and R.
      update_interval: updates from one step of orthogonal iteration, Q ← QR(L Q), to the next.
      when_larger: what becomes of a larger side: "one_sided" leaves it unturned, "blocks" cuts it into equal parts.
      one_sided: leave the larger side of each matrix unturned.

    State: 2 numbers per parameter, and 2 for each entry of L and R. Vyas et al. 2024, arXiv:2409.11321, Algorithms 3
    and 4; columns are sorted first, and nu with them, as in the authors' code. The bases are constants to
    differentiation.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_soap(eps=1e-3)
    >>> grads = jnp.array([[3.0, 1.0], [1.0, 3.0]])
    >>> _, state = tx.update(grads, tx.init(grads))
    >>> updates, _ = tx.update(grads, state)
    >>> [round(float(x)) for x in jnp.linalg.eigvalsh(updates)]  # the signs of 2 and 4
    [1, 1]
    """
    owner = "scale_by_soap"
    one_of(owner, when_larger=(when_larger, WhenLarger.__args__))

    def sides_of(params: Params) -> list[Sides | None]:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        return plan(layouts, params, max_size, when_larger, one_sided)

    def init(params: Params) -> ScaleBySoapState:
        sides, mu, nu = sides_of(params), moments_like(params, mu_dtype), tree.real_full_like(params, 0.0)
        return ScaleBySoapState(jnp.zeros((), jnp.int32), mu, nu, *zeros(sides, params), *zeros(sides, params))

    def update(updates: Updates, state: ScaleBySoapState) -> tuple[Updates, ScaleBySoapState]:
        count, sides = numerics.safe_increment(state.count), sides_of(updates)
        bases = (state.left_basis, state.right_basis)
        is_turned, (c1, c2) = said_of(sides, updates), corrections(count, b1, b2)
        mean, mu = tree.map_leaves(mean_leaf, updates, state.mu, is_turned, b1=b1, at_start=state.count == 0, **c1)
        g, m = on_matrices(turn_leaf, sides, (updates, mean), bases, results=2)
        u, nu = tree.map_leaves(divided_leaf, m, state.nu, g, is_turned, b2=b2, eps=eps, **c2)
        (u,) = on_matrices(turn_back_leaf, sides, (u,), bases, results=1)
        _, *moments = on_matrices(moments_leaf, sides, (updates,), (state.left, state.right), results=3, b2=b2)

        def find(bases: tuple) -> tuple:
            return on_matrices(find_leaf, sides, (nu,), (*bases, *moments), results=3)[1:]

        def go_on(carry: tuple) -> tuple:
            return on_matrices(follow_leaf, sides, carry[:1], (*carry[1:], *moments), results=3)

        bases = sometimes(state.count == 0, find, bases)
        is_due = (state.count > 0) & (state.count % update_interval == 0)
        nu, *bases = sometimes(is_due, go_on, (nu, *bases))
        return u, ScaleBySoapState(count, mu, nu, *moments, *bases)

    return init, update


@transformation
def soap(
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
    when_larger: WhenLarger = "one_sided",
    one_sided: bool = False,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """SOAP: u = -learning_rate · (Q_L Adam(Q_Lᴴ g Q_R) Q_Rᴴ + weight_decay · p), and AdamW for what is no matrix.

    Q_L and Q_R are near the eigenvectors of the second moments of a matrix's rows and columns. The first update only
    finds them, and moves no matrix but by the decay.

    The arguments are those of `scale_by_soap`.

    State: that of `scale_by_soap`. Needs: params. Vyas et al. 2024, arXiv:2409.11321, Algorithm 3.

    >>> import gradx
    >>> gradx.soap(3e-3, update_interval=5)
    soap(learning_rate=0.003, update_interval=5)
    """
    hyper: dict[str, Any] = {"update_interval": update_interval, "max_size": max_size, "when_larger": when_larger}
    hyper |= {"one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_soap(b1, b2, eps, mu_dtype, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )


def polar_leaf(u, *, steps):
    """Return (o · sqrt(m n) / ‖o‖,), o being u with singular values near 1: root mean square 1."""
    o = orthogonalize(u, "polar_express", steps)
    return (numerics.safe_divide(math.sqrt(u.shape[-2] * u.shape[-1]) * o, norms(o).astype(o.dtype)),)


@transformation
def orthogonal_matrices(ns_steps: PositiveInt = 5, weight_dimension_numbers: Labels | None = None) -> Any:
    """Replace each matrix by the nearest one with equal singular values and root mean square 1; leave other leaves.

    Args:
      ns_steps: steps of Newton-Schulz, with the coefficients of Polar Express.

    State: none.

    >>> import gradx, jax.numpy as jnp
    >>> from gradx.optimizers.soap import orthogonal_matrices
    >>> tx = orthogonal_matrices(ns_steps=9)
    >>> updates, _ = tx.update(jnp.diag(jnp.array([3.0, 0.2])), tx.init(jnp.eye(2)))
    >>> [round(float(x), 1) for x in jnp.diag(updates)]
    [1.4, 1.4]
    """

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        layouts = layouts_of("soap_muon", weight_dimension_numbers, updates)
        sides = plan(layouts, updates, sys.maxsize, "one_sided")
        return on_matrices(polar_leaf, sides, (updates,), results=1, steps=ns_steps)[0], state

    return no_state, update


@transformation
def scale_by_soap_muon(
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    ns_steps: PositiveInt = 5,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "one_sided",
    one_sided: bool = True,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the gradient of each matrix by SOAP's direction, made orthogonal and of root mean square 1.

    What turning left correlated, the orthogonal factor of the whole undoes; so bases can be older, and one side do.

    Args:
      ns_steps: steps of Newton-Schulz, with the coefficients of Polar Express.
      one_sided: leave the larger side of each matrix unturned.

    The rest as in `scale_by_soap`.

    State: that of `scale_by_soap`. Vyas et al. 2025, "Improving SOAP using iterative whitening and Muon",
    nikhilvyas.github.io/SOAP_Muon.pdf, without their power of the singular values.

    >>> import gradx
    >>> gradx.scale_by_soap_muon(ns_steps=7)
    scale_by_soap_muon(ns_steps=7)
    """
    hyper: dict[str, Any] = {"update_interval": update_interval, "max_size": max_size, "when_larger": when_larger}
    hyper |= {"one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_soap(b1, b2, eps, mu_dtype, **hyper),
        orthogonal_matrices(ns_steps, weight_dimension_numbers),
    )


@transformation
def soap_muon(
    learning_rate: LearningRate,
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 1e-4,
    mask: Mask | None = None,
    *,
    ns_steps: PositiveInt = 5,
    update_interval: PositiveInt = 10,
    max_size: PositiveInt = 2048,
    when_larger: WhenLarger = "one_sided",
    one_sided: bool = True,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """SOAP-Muon: u = -learning_rate · (O + weight_decay · p), O SOAP's direction made orthogonal, root mean square 1.

    So its learning rates are Adam's; what is no matrix goes by AdamW. The arguments are those of `scale_by_soap_muon`.

    State: that of `scale_by_soap`. Needs: params. Vyas et al. 2025, as in `scale_by_soap_muon`.

    >>> import gradx
    >>> gradx.soap_muon(3e-3)
    soap_muon(learning_rate=0.003)
    """
    hyper: dict[str, Any] = {"ns_steps": ns_steps, "update_interval": update_interval, "max_size": max_size}
    hyper |= {"when_larger": when_larger, "one_sided": one_sided, "weight_dimension_numbers": weight_dimension_numbers}
    return chain(
        scale_by_soap_muon(b1, b2, eps, mu_dtype, **hyper),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
