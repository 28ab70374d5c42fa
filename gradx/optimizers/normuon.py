"""NorMuon: momentum made orthogonal, then each neuron's weights divided by the size that they have had so far."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.matrices import Layout
from gradx.matrices.polar import coefficients_of, orthogonalized
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


class NorMuonState(NamedTuple):
    """The state of `scale_by_normuon`."""

    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """For each matrix and output the running mean of |o|² over the inputs; `None` for other leaves."""


def normuon_leaf(o, nu, *, b2, eps, layout: Layout):
    """Return (u, nu): nu ← b2 · nu + (1 - b2) · mean of |o|² over the inputs; u ∝ o / (sqrt(nu) + eps)."""
    inputs = layout.fans(o.shape)[0]
    nu = b2 * nu + (1 - b2) * jnp.sum(numerics.abs_sq(o), axis=layout.rows, keepdims=True) / inputs
    return with_norm_of_orthogonal(o / (numerics.safe_sqrt(nu) + eps), layout), nu


@transformation
def scale_by_normuon(
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
    """Make the momentum of each matrix orthogonal, then divide each neuron's weights by their size so far.

    mu ← b1 · mu + (1 - b1) · g, o = mu made orthogonal, nu ← b2 · nu + (1 - b2) · mean of o² over a neuron's inputs,
    u = o / (sqrt(nu) + eps), scaled to the Frobenius norm of an orthogonal matrix. Other leaves: u = mu.

    Args:
      b1: decay of the mean of g, in [0, 1).
      b2: decay of the mean of o², in [0, 1).
      ns_coeffs, ns_steps, ns_dtype: the iteration, as in `scale_by_muon`.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`; a neuron is an output.

    State: 1 number per parameter and 1 per output. Li et al. 2025, arXiv:2510.05491, Algorithm 1, whose factor
    0.2 · sqrt(mn) / ‖u‖ is `scale_by_shape(shape_scaling="moonlight")` behind this.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_normuon()
    >>> updates, _ = tx.update(jnp.array([[2.0, 0.0], [0.0, 0.5]]), tx.init(jnp.ones((2, 2))))
    >>> [round(float(x), 3) for x in jnp.diag(updates)]
    [1.0, 1.0]
    """
    owner = "scale_by_normuon"
    steps = {"coefficients": coefficients_of(owner, ns_coeffs, ns_steps), "steps": ns_steps, "dtype": ns_dtype}

    def init(params: Params) -> NorMuonState:
        layouts = layouts_of(owner, weight_dimension_numbers, params)
        zeros, treedef = jax.tree.flatten(tree.real_full_like(params, 0.0))
        # Sums of zeros: they lie, and vary, as the means of o² will.
        nu = [x and jnp.sum(p, axis=x.rows, keepdims=True) for p, x in zip(zeros, layouts, strict=True)]
        return NorMuonState(moments_like(params, mu_dtype), treedef.unflatten(nu))

    def update(updates: Updates, state: NorMuonState) -> tuple[Updates, NorMuonState]:
        means, mu = tree.map_leaves(mean_leaf, updates, state.mu, beta=b1, nesterov=nesterov)
        layouts = layouts_of(owner, weight_dimension_numbers, means)
        o = orthogonalized(means, layouts, **steps)
        new, nu = each_matrix(normuon_leaf, layouts, o, state.nu, b2=b2, eps=eps)
        return new, NorMuonState(mu, nu)

    return init, update


@transformation
def normuon(
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
    """NorMuon for matrices and AdamW for the rest: u = -learning_rate · (0.2 · sqrt(max(m, n)) · o + decay · p).

    o is the momentum made orthogonal and divided by the size that each neuron's has had, as `scale_by_normuon` says.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      shape_scaling: the factor of a matrix, as in `scale_by_shape`; the default goes with Adam's learning rates.
      adam_learning_rate, adam_b1, adam_b2, adam_weight_decay: those of `adamw`; None shares the rate.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, but None asks `gradx.roles.infer`.

    The rest as in `scale_by_normuon`.

    State: 1 number per entry of a matrix and 1 per output, 2 for the rest. Needs: params.
    Li et al. 2025, arXiv:2510.05491, Algorithm 1.

    >>> import gradx
    >>> gradx.normuon(0.01)
    normuon(learning_rate=0.01)
    """
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    hyper: dict[str, Any] = {"nesterov": nesterov, "ns_coeffs": ns_coeffs, "ns_steps": ns_steps, "ns_dtype": ns_dtype}
    return descent(
        "normuon",
        scale_by_normuon(b1, b2, eps, mu_dtype, **hyper),
        adamw(rate, adam_b1, adam_b2, mu_dtype=mu_dtype, weight_decay=adam_weight_decay),
        learning_rate,
        weight_decay,
        weight_decay_mask,
        weight_dimension_numbers,
        shape_scaling=shape_scaling,
    )
