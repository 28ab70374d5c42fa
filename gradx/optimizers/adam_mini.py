"""Adam-mini: one second moment for each block of parameters that are coupled, a head, an output neuron, a token."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import checks, numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.roles import Role
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import moments_like
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import Decay, DType, Labels, LearningRate, Mask, NonNegative, Params, PyTree, Updates

HEADS, VALUES = {"query", "key", "q_proj", "k_proj", "wq", "wk"}, {"value", "v_proj", "wv"}
"""Names of what makes queries and keys, and of what makes values, in flax and in other libraries."""


class ScaleByAdamMiniState(NamedTuple):
    """The state of `scale_by_adam_mini`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    mu: Updates
    """The running mean of g; like the parameters, in `mu_dtype` or at least float32."""
    nu: Updates
    """The running mean of |g|² over each block: axes of length 1 where blocks go on; real, at least float32."""


def adam_mini_leaf(g, mu, nu, *, b1, b2, eps, c1, c2):
    """Return (mu / c1 / (sqrt(nu / c2) + eps), mu, nu); |g|² is averaged where nu has one entry for several."""
    mu = b1 * mu + (1 - b1) * g
    shared = [i for i, n in enumerate(nu.shape) if n == 1 and g.shape[i] != 1]
    nu = b2 * nu + (1 - b2) * mean_over(numerics.abs_sq(g), shared)
    return (mu / c1) / (numerics.safe_sqrt(nu / c2) + eps), mu, nu


def mean_over(x: jax.Array, axes: list[int]) -> jax.Array:
    """Return the mean over some axes, which stay with length 1; of no entries 0."""
    if not axes:
        return x
    size = 1
    for i in axes:
        size *= x.shape[i]
    return jnp.sum(x, axis=tuple(axes), keepdims=True) / max(size, 1)


def adam_mini_blocks(params: Params) -> PyTree:
    """Return for each parameter the axes along which its blocks are counted, by its name and shape.

    Embeddings have a block for each row, a token; kernels of queries and keys (inputs, heads, width) one for each head;
    all other kernels (..., outputs) one for each output, those of values for each of (heads, width). Vectors are one
    block. Where heads have no axis of their own, an output is a block. Layers that are stacked along a new axis need
    labels of your own.

    The paper's partition for Transformers: Zhang et al. 2024, arXiv:2406.16793, Algorithm 3.

    >>> import gradx, jax.numpy as jnp
    >>> params = {"query": {"kernel": jnp.ones((8, 2, 4))}, "mlp": {"kernel": jnp.ones((8, 9)), "bias": jnp.ones(9)}}
    >>> gradx.adam_mini_blocks(params)
    {'mlp': {'bias': (), 'kernel': (1,)}, 'query': {'kernel': (1,)}}
    """

    def axes_of(name: str, p: Any) -> tuple[int, ...]:
        parts, ndim = name.lower().split("/"), jnp.ndim(p)
        if HEADS & set(parts) and ndim >= 2 and (ndim > 2 or parts[-1] == "bias"):
            return (ndim - 2,)
        if ndim < 2 or parts[-1] == "bias":
            return ()
        if "embed" in parts[-1]:
            return (0,)
        return (ndim - 2, ndim - 1) if VALUES & set(parts) and ndim > 2 else (ndim - 1,)

    return tree.map_with_path(axes_of, params)


@transformation
def scale_by_adam_mini(
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    blocks: Labels = adam_mini_blocks,
) -> Any:
    """Replace the gradient by Adam's direction with one second moment for each block: half of Adam's state.

    mu ← b1 · mu + (1 - b1) · g;  nu ← b2 · nu + (1 - b2) · mean over the block of |g|²;
    u = (mu / c1) / (sqrt(nu / c2) + eps), c1 = 1 - b1^t, c2 = 1 - b2^t, t = 1 at the first update.

    Args:
      b1, b2: decay of the means of g and |g|², in [0, 1).
      eps: added to the root.
      blocks: for each leaf the axes along which blocks are counted, an integer or a tuple: () is one block, ... one for
        each entry, which is Adam. A pytree (a prefix will do), or a function from the parameters to one, of roles too:
        `gradx.roles.infer` takes rows of embeddings and outputs of linear maps, heads or not.

    State: 1 number per parameter, 1 for each block, and int32[]. Zhang et al. 2024, arXiv:2406.16793, Algorithms 1 and
    3, the latter as `adam_mini_blocks`. (The authors' code has Adam for embeddings and the last layer.)

    >>> import gradx, jax.numpy as jnp
    >>> state = gradx.scale_by_adam_mini().init({"kernel": jnp.ones((4, 3)), "bias": jnp.ones(3)})
    >>> state.nu["kernel"].shape, state.nu["bias"].shape
    ((1, 3), (1,))
    """

    def init(params: Params) -> ScaleByAdamMiniState:
        leaves, treedef = jax.tree.flatten(params)
        axes = shared_axes(blocks, params)
        nu = [mean_over(tree.real_full_like(p, 0.0), shared) for p, shared in zip(leaves, axes, strict=True)]
        return ScaleByAdamMiniState(jnp.zeros((), jnp.int32), moments_like(params, mu_dtype), treedef.unflatten(nu))

    def update(updates: Updates, state: ScaleByAdamMiniState) -> tuple[Updates, ScaleByAdamMiniState]:
        count = numerics.safe_increment(state.count)
        hyper = {"b1": b1, "b2": b2, "eps": eps}
        hyper |= {"c1": numerics.bias_correction(b1, count), "c2": numerics.bias_correction(b2, count)}
        updates, mu, nu = tree.map_leaves(adam_mini_leaf, updates, state.mu, state.nu, **hyper)
        return updates, ScaleByAdamMiniState(count, mu, nu)

    return init, update


def shared_axes(blocks: Labels, params: Params) -> list[list[int]]:
    """Return for each leaf the axes over which a block goes."""
    bare = tree.unbox(params)
    rule: Any = blocks
    given = rule(bare) if checks.is_function(rule) else rule
    labels = tree.broadcast(given, bare, "scale_by_adam_mini: the blocks", is_label)
    named = zip(tree.paths(bare), jax.tree.leaves(labels, is_leaf=is_label), jax.tree.leaves(bare), strict=True)
    return [shared_of(name, label, jnp.ndim(x)) for name, label, x in named]


def is_label(x: Any) -> bool:
    """Whether `x` says along which axes blocks are counted."""
    return x is ... or isinstance(x, Role | int) or (type(x) is tuple and all(isinstance(i, int) for i in x))


def shared_of(name: str, label: Any, ndim: int) -> list[int]:
    """Return the axes over which a block goes, from those along which blocks are counted."""
    if label is ...:
        return []
    if isinstance(label, Role):
        within = label.layout and (label.layout.columns if label.kind == "embedding" else label.layout.rows)
        return list(range(ndim) if within is None else within)
    counted = (label,) if isinstance(label, int) else label
    if not is_label(label) or isinstance(label, bool) or any(not -ndim <= i < ndim for i in counted):
        raise ValueError(f"scale_by_adam_mini: blocks of '{name}' must be axes of its {ndim}, or ..., got {label!r}")
    return [i for i in range(ndim) if i not in {k % ndim for k in counted}]


@transformation
def adam_mini(
    learning_rate: LearningRate,
    b1: Decay = 0.9,
    b2: Decay = 0.999,
    eps: NonNegative = 1e-8,
    mu_dtype: DType | None = None,
    weight_decay: NonNegative = 0.0,
    mask: Mask | None = None,
    blocks: Labels = adam_mini_blocks,
) -> Any:
    """Adam-mini: AdamW with one second moment for each block: a head, an output neuron, a token, a vector.

    u = -learning_rate · ((mu / c1) / (sqrt(nu / c2) + eps) + weight_decay · p). Learning rates are those of AdamW. The
    arguments are those of `scale_by_adam_mini`.

    Args:
      weight_decay: at least 0.
      mask: where to decay, as in `add_decayed_weights`.

    State: about 1 number per parameter. Needs: params. Zhang et al. 2024, arXiv:2406.16793, Algorithm 1.

    >>> import gradx
    >>> gradx.adam_mini(1e-3, b2=0.95)
    adam_mini(learning_rate=0.001, b2=0.95)
    """
    return chain(
        scale_by_adam_mini(b1, b2, eps, mu_dtype, blocks),
        add_decayed_weights(weight_decay, mask),
        scale_by_learning_rate(learning_rate),
    )
