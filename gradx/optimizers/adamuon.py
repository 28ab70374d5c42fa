"""AdaMuon: the signs of the momentum made orthogonal, then each entry divided by the size that it has had so far."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.matrices import Layout, map_matrices
from gradx.matrices.polar import coefficients_of, orthogonal
from gradx.optimizers.adam import adamw
from gradx.transforms.matrices import (
    ShapeScaling,
    descent,
    each_matrix,
    layouts_of,
    mean_leaf,
    with_norm_of_orthogonal,
)
from gradx.transforms.momentum import moments_like
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates


class AdaMuonState(NamedTuple):
    """The state of `scale_by_adamuon`."""

    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """For matrices the running mean of |o|², like the parameters; `None` for other leaves."""


def adamuon_leaf(o, nu, *, b2, eps, layout: Layout):
    """Return (u, nu): nu ← b2 · nu + (1 - b2) · |o|²; u ∝ o / (sqrt(nu) + eps)."""
    nu = b2 * nu + (1 - b2) * numerics.abs_sq(o)
    return with_norm_of_orthogonal(o / (numerics.safe_sqrt(nu) + eps), layout), nu


def orthogonal_sign(x: jax.Array, **steps: Any) -> jax.Array:
    """Return the signs of the entries, made orthogonal."""
    return orthogonal(jnp.sign(x), **steps)


@transformation
def scale_by_adamuon(
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    ns_coeffs: Any = "standard",
    ns_steps: PositiveInt = 5,
    ns_dtype: DType | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Make the signs of each matrix's momentum orthogonal, then divide each entry by its size so far.

    mu ← b1 · mu + (1 - b1) · g, o = sign(mu) made orthogonal, nu ← b2 · nu + (1 - b2) · o², u = o / (sqrt(nu) + eps),
    scaled to the Frobenius norm of an orthogonal matrix. Other leaves: u = mu.

    Args:
      b1: decay of the mean of g, in [0, 1).
      b2: decay of the mean of o², in [0, 1); the paper has one decay for both.
      ns_coeffs, ns_steps, ns_dtype: the iteration, as in `scale_by_muon`.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.

    State: 2 numbers per entry of a matrix, 1 for the rest. Si et al. 2025, arXiv:2507.11005, Algorithm 1, whose factor
    0.2 · sqrt(mn) / ‖u‖ is `scale_by_shape(shape_scaling="moonlight")` behind this.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_adamuon()
    >>> updates, _ = tx.update(jnp.array([[2.0, 0.0], [0.0, 0.5]]), tx.init(jnp.ones((2, 2))))
    >>> [round(float(x), 3) for x in jnp.diag(updates)]
    [1.0, 1.0]
    """
    owner = "scale_by_adamuon"
    steps = {"coefficients": coefficients_of(owner, ns_coeffs, ns_steps), "steps": ns_steps, "dtype": ns_dtype}

    def init(params: Params) -> AdaMuonState:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        zeros, treedef = jax.tree.flatten(tree.real_full_like(params, 0.0))
        nu = [None if x is None else p for p, x in zip(zeros, layouts, strict=True)]
        return AdaMuonState(moments_like(params, mu_dtype), treedef.unflatten(nu))

    def update(updates: Updates, state: AdaMuonState) -> tuple[Updates, AdaMuonState]:
        means, mu = tree.map_leaves(mean_leaf, updates, state.mu, beta=b1, nesterov=nesterov)
        layouts = layouts_of(owner, weight_dimension_numbers, means)
        o = map_matrices(orthogonal_sign, layouts, [means], wide=True, **steps)
        new, nu = each_matrix(adamuon_leaf, layouts, o, state.nu, b2=b2, eps=eps)
        return new, AdaMuonState(mu, nu)

    return init, update


@transformation
def adamuon(
    learning_rate: LearningRate,
    b1: Decay = 0.95,
    b2: Decay = 0.95,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = False,
    shape_scaling: ShapeScaling | None = "moonlight",
    ns_coeffs: Any = "standard",
    ns_steps: PositiveInt = 5,
    ns_dtype: DType | None = None,
    adam_learning_rate: LearningRate | None = None,
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.95,
    adam_weight_decay: NonNegative = 0.0,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """AdaMuon for matrices and AdamW for the rest: u = -learning_rate · (0.2 · sqrt(max(m, n)) · o + decay · p).

    o is the sign of the momentum made orthogonal, divided by the size that each entry has had: see `scale_by_adamuon`.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      shape_scaling: the factor of a matrix, as in `scale_by_shape`; the default goes with Adam's learning rates.
      adam_learning_rate, adam_b1, adam_b2, adam_weight_decay: those of `adamw`; None shares the rate.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, but None asks `gradx.roles.infer`.

    The rest as in `scale_by_adamuon`.

    State: 2 numbers per parameter. Needs: params.
    Si et al. 2025, arXiv:2507.11005, Algorithm 1.

    >>> import gradx
    >>> gradx.adamuon(0.01)
    adamuon(learning_rate=0.01)
    """
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    hyper: dict[str, Any] = {"nesterov": nesterov, "ns_coeffs": ns_coeffs, "ns_steps": ns_steps, "ns_dtype": ns_dtype}
    return descent(
        "adamuon",
        scale_by_adamuon(b1, b2, eps, mu_dtype, **hyper),
        adamw(rate, adam_b1, adam_b2, mu_dtype=mu_dtype, weight_decay=adam_weight_decay),
        learning_rate,
        weight_decay,
        weight_decay_mask,
        weight_dimension_numbers,
        shape_scaling=shape_scaling,
    )
