"""Muon: the momentum of each matrix is made orthogonal, so that all its directions move alike."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import transformation
from gradx.matrices import Layout
from gradx.matrices.polar import PRECONDITIONINGS, STANDARD, coefficients_of, orthogonalized
from gradx.optimizers.adam import adamw
from gradx.transforms.matrices import ShapeScaling, descent, each_matrix, layouts_of
from gradx.transforms.momentum import moments_like
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PositiveInt, Updates

Preconditioning = Literal["frobenius", "spectral", "aol", "schatten"]


class MuonDimensionNumbers(NamedTuple):
    """Which axes of an array are the rows and the columns of its matrices; one matrix for each entry of the others."""

    reduction_axis: tuple[int, ...] | int = 0
    """The axes of the inputs."""
    output_axis: tuple[int, ...] | int = 1
    """The axes of the outputs."""


class MuonState(NamedTuple):
    """The state of `scale_by_muon`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""


def muon_leaf(g, mu, *, beta, c, c_next, nesterov):
    """Return (mu / c, mu), mu ← beta · mu + (1 - beta) · g; with Nesterov beta · mu / c_next + (1 - beta) · g / c."""
    mu = beta * mu + (1 - beta) * g
    return (beta / c_next * mu + (1 - beta) / c * g if nesterov else mu / c), mu


def adaptive_leaf(o: jax.Array, m: jax.Array, *, layout: Layout) -> jax.Array:
    """Return ⟨m, o⟩ o, which brings back the scale of m; the inner product is that of the whole leaf, as in Optax."""
    return numerics.overlap(m, o) * o


@transformation
def scale_by_muon(
    ns_coeffs: Any = STANDARD,
    ns_steps: PositiveInt = 5,
    beta: Decay = 0.95,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    weight_dimension_numbers: Labels | None = None,
    ns_dtype: DType | None = None,
) -> Any:
    """Replace the gradient of each matrix by its momentum with all singular values near 1: U S Vᵀ → about U Vᵀ.

    mu ← beta · mu + (1 - beta) · g. Where there is no matrix, u is the debiased mu as it is. Matrices of one shape go
    through Newton-Schulz as one batch.

    Args:
      ns_coeffs: (a, b, c) of s ← a s + b s³ + c s⁵, or one such row a step, the last repeated; or a name: "standard",
        Jordan's, "polar_express", "dion", Optax's, "hybrid", which takes 10 steps and ends within 0.3 % of 1.
      ns_steps: steps of Newton-Schulz.
      beta: decay of the mean, in [0, 1).
      eps: added to the norm by which a matrix is divided first.
      nesterov: use the momentum of the next step.
      adaptive: multiply by the inner product of momentum and result, which brings the scale back.
      preconditioning: the norm: "frobenius", "spectral", "schatten" (of 4), or "aol", which scales row by row.
      weight_dimension_numbers: which leaves are matrices: a pytree (a prefix will do), or a function from the
        parameters to one, of `MuonDimensionNumbers`, of True for the last two axes, of None or False for no matrix.
        None takes the leaves with two axes. All other axes of a leaf are a batch. Layouts and roles of `gradx.roles`
        will do too.
      ns_dtype: in which products are taken; None is float32 at least. bfloat16 is faster where the hardware is made so.

    State: 1 number per parameter and int32[]. Jordan et al. 2024, kellerjordan.github.io/posts/muon, with Adam's
    debiasing, as in Optax. (Optax keeps ns_coeffs in the state.) "polar_express": Amsel et al. 2025, arXiv:2505.16932;
    "hybrid": DeepSeek-V4 2026, eq. 28.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_muon()
    >>> updates, _ = tx.update(jnp.diag(jnp.array([9.0, 1.0])), tx.init(jnp.eye(2)))
    >>> [round(float(x)) for x in jnp.diag(updates)]
    [1, 1]
    """
    owner = "scale_by_muon"
    if preconditioning not in PRECONDITIONINGS:
        raise ValueError(f"{owner}: preconditioning must be one of {PRECONDITIONINGS}, got {preconditioning!r}")
    steps: dict[str, Any] = {"coefficients": coefficients_of(owner, ns_coeffs, ns_steps), "steps": ns_steps}
    steps |= {"preconditioning": preconditioning, "eps": eps, "dtype": ns_dtype}

    def init(params: Params) -> MuonState:
        return MuonState(jnp.zeros((), jnp.int32), moments_like(params, mu_dtype))

    def update(updates: Updates, state: MuonState) -> tuple[Updates, MuonState]:
        count = numerics.safe_increment(state.count)
        c, c_next = (numerics.bias_correction(beta, n) for n in (count, numerics.safe_increment(count)))
        means, mu = tree.map_leaves(muon_leaf, updates, state.mu, beta=beta, c=c, c_next=c_next, nesterov=nesterov)
        layouts = layouts_of(owner, weight_dimension_numbers, means)
        new = orthogonalized(means, layouts, **steps)
        if adaptive:
            new, _ = each_matrix(adaptive_leaf, layouts, new, means)
        return new, MuonState(count, mu)

    return init, update


@transformation
def muon(
    learning_rate: LearningRate,
    ns_coeffs: Any = STANDARD,
    ns_steps: PositiveInt = 5,
    beta: Decay = 0.95,
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative = 0.0,
    weight_decay_mask: Mask | None = None,
    mu_dtype: DType | None = None,
    *,
    nesterov: bool = True,
    adaptive: bool = False,
    preconditioning: Preconditioning = "frobenius",
    adam_b1: Decay = 0.9,
    adam_b2: Decay = 0.999,
    adam_eps_root: NonNegative = 0.0,
    adam_weight_decay: NonNegative = 0.0,
    adam_learning_rate: LearningRate | None = None,
    muon_weight_dimension_numbers: Labels | None = None,
    consistent_rms: NonNegative | None = None,
    shape_scaling: ShapeScaling | None = "jordan",
    cautious_decay: bool = False,
    ns_dtype: DType | None = None,
) -> Any:
    """Muon for matrices and AdamW for the rest: u = -learning_rate · (sqrt(max(1, outputs / inputs)) · O + decay · p).

    O is the momentum made orthogonal. Matrices are the maps inside a network, not its head and not its embeddings.

    Args:
      weight_decay_mask: where matrices decay, as in `add_decayed_weights`.
      nesterov: use the momentum of the next step, in both.
      adam_b1, adam_b2, adam_eps_root, adam_weight_decay, adam_learning_rate: those of `adamw`; None shares the rate.
      muon_weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`; None asks `gradx.roles.infer`.
      consistent_rms, shape_scaling: the factor of a matrix, as in `scale_by_shape`; "moonlight" goes with Adam's rates.
      cautious_decay: let matrices decay only where the step goes the same way, as in `add_cautious_decayed_weights`.

    The rest as in `scale_by_muon`.

    State: 1 number per entry of a matrix, 2 for the rest. Needs: params. Jordan et al. 2024, as above.

    >>> import gradx
    >>> gradx.muon(0.02)
    muon(learning_rate=0.02)
    """
    hyper: dict[str, Any] = {"nesterov": nesterov, "adaptive": adaptive, "preconditioning": preconditioning}
    rate = learning_rate if adam_learning_rate is None else adam_learning_rate
    return descent(
        "muon",
        scale_by_muon(ns_coeffs, ns_steps, beta, eps, mu_dtype, ns_dtype=ns_dtype, **hyper),
        adamw(rate, adam_b1, adam_b2, eps, adam_eps_root, mu_dtype, adam_weight_decay, nesterov=nesterov),
        learning_rate,
        weight_decay,
        weight_decay_mask,
        muon_weight_dimension_numbers,
        cautious_decay,
        consistent_rms=consistent_rms,
        shape_scaling=shape_scaling,
    )
