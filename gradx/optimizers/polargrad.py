"""PolarGrad: the momentum of each matrix made orthogonal, times its nuclear norm, which shrinks with the gradient."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.core import transformation
from gradx.matrices import Layout
from gradx.matrices.polar import coefficients_of, orthogonalized
from gradx.optimizers.adam import adamw
from gradx.transforms.matrices import descent, each_matrix, layouts_of, mean_leaf
from gradx.transforms.momentum import moments_like
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates


class PolarGradState(NamedTuple):
    """The state of `scale_by_polargrad`."""

    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""


def nuclear_leaf(o: jax.Array, m: jax.Array, *, layout: Layout) -> jax.Array:
    """Return ⟨m, o⟩ o for each matrix: the inner product with its polar factor is the nuclear norm of m."""
    return layout.total(jnp.real(jnp.conj(m) * o)) * o


@transformation
def scale_by_polargrad(
    beta: Decay = 0.95,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    ns_coeffs: Any = "hybrid",
    ns_steps: PositiveInt = 10,
    ns_dtype: DType | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the momentum of each matrix, U S Vᵀ, by tr(S) U Vᵀ: steepest descent in the spectral norm.

    mu ← beta · mu + (1 - beta) · g. Unlike Muon's, the step shrinks with the gradient. Other leaves: u = mu.

    Args:
      beta: decay of the mean, in [0, 1).
      ns_coeffs, ns_steps, ns_dtype: the iteration, as in `scale_by_muon`; the default ends within 0.3 % of U Vᵀ.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.

    State: 1 number per parameter. Lau, Long and Su 2025, arXiv:2505.21799, momentum first; there QDWH finds U Vᵀ.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_polargrad(beta=0.0)
    >>> updates, _ = tx.update(jnp.diag(jnp.array([3.0, 1.0])), tx.init(jnp.eye(2)))
    >>> [round(float(x), 1) for x in jnp.diag(updates)]
    [4.0, 4.0]
    """
    owner = "scale_by_polargrad"
    steps = {"coefficients": coefficients_of(owner, ns_coeffs, ns_steps), "steps": ns_steps, "dtype": ns_dtype}

    def init(params: Params) -> PolarGradState:
        return PolarGradState(moments_like(params, mu_dtype))

    def update(updates: Updates, state: PolarGradState) -> tuple[Updates, PolarGradState]:
        means, mu = tree.map_leaves(mean_leaf, updates, state.mu, beta=beta, nesterov=nesterov)
        layouts = layouts_of(owner, weight_dimension_numbers, means)
        new, _ = each_matrix(nuclear_leaf, layouts, orthogonalized(means, layouts, **steps), means)
        return new, PolarGradState(mu)

    return init, update


@transformation
def polargrad(
    learning_rate: LearningRate,
    beta: Decay = 0.95,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    ns_coeffs: Any = "hybrid",
    ns_steps: PositiveInt = 10,
    ns_dtype: DType | None = None,
    adam_learning_rate: LearningRate | None = None,
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.95,
    adam_weight_decay: NonNegative = 0.0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """PolarGrad for matrices and AdamW for the rest: u = -learning_rate · (tr(S) U Vᵀ + weight_decay · p).

    U S Vᵀ is the momentum, so that steps shrink with the gradient: rates are those of plain descent, not Muon's.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      adam_learning_rate, adam_b1, adam_b2, adam_weight_decay: those of `adamw`; None shares the rate.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, but None asks `gradx.roles.infer`.

    The rest as in `scale_by_polargrad`.

    State: 1 number per entry of a matrix, 2 for the rest. Needs: params. Lau, Long and Su 2025, arXiv:2505.21799.

    >>> import gradx
    >>> gradx.polargrad(0.01, adam_learning_rate=1e-3)
    polargrad(learning_rate=0.01, adam_learning_rate=0.001)
    """
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    hyper: dict[str, Any] = {"nesterov": nesterov, "ns_coeffs": ns_coeffs, "ns_steps": ns_steps, "ns_dtype": ns_dtype}
    return descent(
        "polargrad",
        scale_by_polargrad(beta, mu_dtype, **hyper),
        adamw(rate, adam_b1, adam_b2, mu_dtype=mu_dtype, weight_decay=adam_weight_decay),
        learning_rate,
        weight_decay,
        weight_decay_mask,
        weight_dimension_numbers,
        shape_scaling=None,
    )
