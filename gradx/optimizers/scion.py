"""Scion: each step is the point of a ball that lies farthest down the momentum, in a norm for each kind of layer."""

import math
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import GradientTransformation, transformation
from gradx.matrices import Layout
from gradx.matrices.polar import coefficients_of, orthogonalized
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.matrices import by_role, each_matrix, factor_of, layouts_of, mean_leaf
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, Labels, LearningRate, NonNegative, Params, PositiveInt, Updates

Norm = Literal["spectral", "sign", "vectors"]


class ScionState(NamedTuple):
    """The state of `scale_by_scion`."""

    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""


def spectral_leaf(o: jax.Array, *, layout: Layout, radius: jax.Array) -> jax.Array:
    """Return radius · sqrt(outputs / inputs) · o, o orthogonal."""
    return radius * factor_of("spectral", *layout.fans(o.shape)) * o


def sign_leaf(m: jax.Array, *, layout: Layout, radius: jax.Array) -> jax.Array:
    """Return radius / inputs · sign(m)."""
    return radius / max(layout.fans(m.shape)[0], 1) * jnp.sign(m)


def vectors_leaf(m: jax.Array, *, layout: Layout, radius: jax.Array) -> jax.Array:
    """Return the vectors of the inputs, each with the root mean square `radius`; 0 stays 0."""
    return _with_root_mean_square(m, layout.columns, radius)


def vector_leaf(m: jax.Array, *, radius: jax.Array) -> jax.Array:
    """Return m with the root mean square `radius` along its last axis; 0 stays 0."""
    return _with_root_mean_square(m, (-1,) if m.ndim else (), radius)


def _with_root_mean_square(m: jax.Array, axes: tuple[int, ...], radius: jax.Array) -> jax.Array:
    count = math.prod(m.shape[i] for i in axes)
    size = numerics.safe_sqrt(jnp.sum(numerics.abs_sq(m), axis=axes, keepdims=True) / max(count, 1))
    return radius * numerics.safe_divide(m, size)


LEAVES = {"sign": sign_leaf, "vectors": vectors_leaf}


@transformation
def scale_by_scion(
    norm: Norm = "spectral",
    radius: NonNegative = 1.0,
    beta: Decay = 0.9,
    mu_dtype: DType | None = None,
    *,
    ns_coeffs: Any = "standard",
    ns_steps: PositiveInt = 5,
    ns_dtype: DType | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Replace the momentum of each matrix by what maximizes its inner product with it in a ball of a norm.

    mu ← beta · mu + (1 - beta) · g. Other leaves: u = radius · mu / root mean square of mu, along the last axis.

    Args:
      norm: "spectral", for maps between vectors: sqrt(outputs / inputs) · mu made orthogonal; "sign", for maps to
        logits: sign(mu) / inputs; "vectors", for tables: each vector of the outputs by its root mean square.
      radius: of the ball, the factor of u.
      beta: decay of the mean, in [0, 1); the paper's alpha is 1 - beta.
      ns_coeffs, ns_steps, ns_dtype: the iteration, as in `scale_by_muon`.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`.

    State: 1 number per parameter. Pethick et al. 2025, arXiv:2502.07529, Tables 2 and 3: unconstrained SCG.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.scale_by_scion("sign", radius=6.0)
    >>> tx.update(jnp.array([[0.3], [-4.0]]), tx.init(jnp.ones((2, 1))))[0].tolist()
    [[3.0], [-3.0]]
    """
    owner = "scale_by_scion"
    if norm not in Norm.__args__:
        raise ValueError(f"{owner}: norm must be one of {', '.join(map(repr, Norm.__args__))}, got {norm!r}")
    steps = {"coefficients": coefficients_of(owner, ns_coeffs, ns_steps), "steps": ns_steps, "dtype": ns_dtype}

    def init(params: Params) -> ScionState:
        return ScionState(moments_like(params, mu_dtype))

    def update(updates: Updates, state: ScionState) -> tuple[Updates, ScionState]:
        means, mu = tree.map_leaves(mean_leaf, updates, state.mu, beta=beta, nesterov=False)
        layouts = layouts_of(owner, weight_dimension_numbers, means)
        leaves, treedef = jax.tree.flatten(means)
        rest = [None if layout else x for x, layout in zip(leaves, layouts, strict=True)]
        rest = jax.tree.leaves(tree.map_leaves(vector_leaf, rest, radius=radius), is_leaf=lambda x: x is None)
        balls = orthogonalized(means, layouts, **steps) if norm == "spectral" else means
        new = each_matrix(LEAVES.get(norm, spectral_leaf), layouts, balls, radius=radius)
        new = [x if layout else y for x, y, layout in zip(jax.tree.leaves(new), rest, layouts, strict=True)]
        return treedef.unflatten(new), ScionState(mu)

    return init, update


@transformation
def scion(
    learning_rate: LearningRate,
    radius: NonNegative = 50.0,
    head_radius: NonNegative = 3000.0,
    embedding_radius: NonNegative = 1.0,
    vector_radius: NonNegative = 1.0,
    beta: Decay = 0.9,
    mu_dtype: DType | None = None,
    *,
    constrained: bool = True,
    ns_coeffs: Any = "standard",
    ns_steps: PositiveInt = 5,
    ns_dtype: DType | None = None,
    weight_dimension_numbers: Labels | None = None,
) -> Any:
    """Scion: u = -learning_rate · (lmo + p), lmo the point of a ball farthest up the momentum; no AdamW anywhere.

    The ball is that of the spectral norm for matrices, of the largest entry for the head, of root mean squares for the
    vectors of an embedding and for biases and scales, as `scale_by_scion` says. With the learning rate at most 1 the
    parameters stay in their balls.

    Args:
      radius: of matrices and convolutions; that of the paper's language models, like the next.
      head_radius: of the layer that gives the outputs.
      embedding_radius: of tables.
      vector_radius: of all else: biases, scales.
      constrained: False leaves out p: the balls bound the steps alone.
      weight_dimension_numbers: which leaves are matrices, as in `scale_by_muon`, the rest being vectors then; None asks
        `gradx.roles.infer`, which `lambda params: gradx.roles.infer(params, {"*/out/kernel": "head"})` overrides.

    The rest as in `scale_by_scion`.

    State: 1 number per parameter. Needs: params. Pethick et al. 2025, arXiv:2502.07529, Algorithms 1 and 2. Kernels of
    convolutions are one matrix here, the window among the inputs; the paper divides by the window once more.

    >>> import gradx
    >>> gradx.scion(2**-12)
    scion(learning_rate=0.000244140625)
    """
    hyper: dict[str, Any] = {"ns_coeffs": ns_coeffs, "ns_steps": ns_steps, "ns_dtype": ns_dtype}

    def part(norm: Norm, radius: Any) -> GradientTransformation:
        decay = [add_decayed_weights(1.0)] if constrained else []
        return chain(
            scale_by_scion(norm, radius, beta, mu_dtype, **hyper), *decay, scale_by_learning_rate(learning_rate)
        )

    parts = {
        "scion": part("spectral", radius),
        "embedding": part("vectors", embedding_radius),
        "head": part("sign", head_radius),
        "rest": part("spectral", vector_radius),
    }
    return by_role("scion", parts, weight_dimension_numbers)
