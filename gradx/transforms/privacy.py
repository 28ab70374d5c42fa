"""Differential privacy: the gradient of each example is clipped, the sum gets noise."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import numerics, tree
from gradx.core import transformation
from gradx.transforms.clip import clipping_factor
from gradx.transforms.noise import KeyStart
from gradx.typing import NonNegative, Params, PyTree, Updates


class DifferentiallyPrivateAggregateState(NamedTuple):
    """The state of `differentially_private_aggregate`."""

    rng_key: jax.Array
    """The data of the key from which the next update splits its own: plain integers, for checkpoints."""


def per_example_global_norm_clip(grads: PyTree, l2_norm_clip: Any) -> tuple[PyTree, jax.Array]:
    """Shorten the gradient of each example to norm at most l2_norm_clip, and return the sum, and how many were longer.

    Args:
      grads: a gradient for each example, leaves (examples, ...).
      l2_norm_clip: bound on the Euclidean norm over all leaves together, at least 0.

    Returns (a tree without the axis of examples, int32[]). Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.

    >>> import gradx, jax.numpy as jnp
    >>> total, clipped = gradx.per_example_global_norm_clip(jnp.array([[3.0, 4.0], [0.3, 0.4]]), 1.0)
    >>> [round(float(x), 4) for x in total], int(clipped)
    ([0.9, 1.2], 1)
    """
    count_examples("per_example_global_norm_clip", grads)
    if not jax.tree.leaves(grads):
        return grads, jnp.zeros((), jnp.int32)
    grads = jax.tree.map(_inexact, grads)
    factors = clipping_factor(jax.vmap(tree.norm)(grads), l2_norm_clip)
    total = jax.tree.map(lambda g: numerics.cast(weighted_sum(factors, numerics.lift(g)), g.dtype), grads)
    return total, jnp.sum(factors < 1, dtype=jnp.int32)


def _inexact(g: Any) -> jax.Array:
    return jnp.asarray(g) if jnp.issubdtype(jnp.result_type(g), jnp.inexact) else jnp.asarray(g, float)


def per_example_layer_norm_clip(grads: PyTree, global_l2_norm_clip: Any, uniform: bool = True) -> tuple[PyTree, PyTree]:
    """Shorten each array of each example's gradient, so that the whole has norm at most global_l2_norm_clip.

    Args:
      grads: a gradient for each example, leaves (examples, ...).
      global_l2_norm_clip: bound on the Euclidean norm over all leaves together, at least 0.
      uniform: whether all arrays have one bound, global_l2_norm_clip / sqrt(arrays); else its square is shared out by
        the number of entries.

    Returns two trees without the axis of examples: the sums, and how many were longer at each array.
    McMahan et al. 2018, arXiv:1710.06963, section 3.

    >>> import gradx, jax.numpy as jnp
    >>> total, clipped = gradx.per_example_layer_norm_clip({"a": jnp.ones((2, 4)), "b": jnp.zeros((2, 1))}, 2.0)
    >>> round(float(total["a"][0]), 4), int(clipped["a"]), int(clipped["b"])  # of 2, the bound is sqrt(2)
    (1.4142, 2, 0)
    """
    examples = count_examples("per_example_layer_norm_clip", grads)
    leaves, treedef = jax.tree.flatten(grads)
    sizes = [1 if uniform else g.size / max(examples, 1) for g in leaves]
    bounds = [global_l2_norm_clip * (size / max(sum(sizes), 1)) ** 0.5 for size in sizes]
    pairs = [per_example_global_norm_clip(g, bound) for g, bound in zip(leaves, bounds, strict=True)]
    return treedef.unflatten([total for total, _ in pairs]), treedef.unflatten([clipped for _, clipped in pairs])


def count_examples(owner: str, grads: PyTree) -> int:
    """Return the length of the first axis of all leaves, which must be one; 0 for no leaves."""
    shapes = [jnp.shape(g) for g in jax.tree.leaves(grads)]
    lengths = {shape[:1] for shape in shapes}
    if len(lengths) > 1 or () in lengths:
        raise ValueError(f"{owner}: gradients must have one first axis, that of the examples, got shapes {shapes}")
    return shapes[0][0] if shapes else 0


def weighted_sum(factors: jax.Array, g: jax.Array) -> jax.Array:
    """Return the sum of factors[i] · g[i]."""
    return jnp.sum(factors.reshape(-1, *(1,) * (g.ndim - 1)).astype(jnp.finfo(g.dtype).dtype) * g, axis=0)


def private_leaf(total, index, *, key, std, examples):
    """Return (total + std · n) / examples, n standard normal."""
    own = jax.random.fold_in(key, index.astype(jnp.uint32))
    return (total + std * jax.random.normal(own, total.shape, total.dtype)) / examples


@transformation
def differentially_private_aggregate(
    l2_norm_clip: NonNegative, noise_multiplier: NonNegative, key: Any = None, *, seed: int | None = None
) -> Any:
    """Average the gradients of examples, each clipped, with noise: u = (sum of clipped g + n) / examples.

    n is Gaussian of deviation l2_norm_clip · noise_multiplier. The gradients come with a first axis of examples, as
    from `vmap(grad(loss), (None, 0))`; the update has none, so this stands first in a chain.

    Args:
      l2_norm_clip: the largest norm of one example's gradient, over all leaves together.
      noise_multiplier: deviation of the noise in units of it.
      key: a key of `jax.random`, or an integer, of NumPy and traced too; give this or `seed`.
      seed: an integer from which the key is made.

    State: a key. Abadi et al. 2016, arXiv:1607.00133, Algorithm 1.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.differentially_private_aggregate(1.0, 0.0, seed=0)
    >>> updates, _ = tx.update(jnp.array([[3.0, 4.0], [0.0, 0.0]]), tx.init(jnp.zeros(2)))
    >>> [round(float(x), 4) for x in updates]
    [0.3, 0.4]
    """
    if (key is None) == (seed is None):
        raise TypeError("differentially_private_aggregate: give either key or seed")
    first = KeyStart(key if seed is None else seed)
    bound: Any = l2_norm_clip

    def init(params: Params) -> DifferentiallyPrivateAggregateState:
        return DifferentiallyPrivateAggregateState(first.data())

    def update(updates: Updates, state: DifferentiallyPrivateAggregateState) -> tuple:
        next_key, own = first.split(state.rng_key)
        total, _ = per_example_global_norm_clip(updates, bound)
        treedef = jax.tree.structure(total)
        index = treedef.unflatten(list(np.arange(treedef.num_leaves, dtype=np.uint32)))
        examples = max(count_examples("differentially_private_aggregate", updates), 1)
        hyper = {"key": own, "std": bound * noise_multiplier, "examples": float(examples)}
        return tree.map_leaves(private_leaf, total, index, **hyper), DifferentiallyPrivateAggregateState(next_key)

    update.takes_examples = True  # pyright: ignore[reportFunctionMemberAccess]
    return init, update
