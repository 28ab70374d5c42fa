"""What a parameter is for, told by its name and shape."""

import jax

from gradx import tree
from gradx.roles.inference import decide, leaves_of
from gradx.roles.kernels import Undecided
from gradx.typing import Params, PyTree

DECAYING = ("matrix", "convolution", "head")


def kernels(params: Params) -> PyTree:
    """Mark what weight decay is for: True for matrices, convolutions and heads, False for all else.

    Biases, of heads and of stacked layers too, and scales are few and set levels; of an embedding, the rows of rare
    symbols get a gradient seldom and decay would take them away. `gradx.roles.infer` tells them; a kernel of which it
    only knows no layout, or an array without a name, decays if it has two axes.

    >>> from gradx import recipes
    >>> import jax.numpy as jnp
    >>> recipes.kernels({"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "embedding": jnp.ones((9, 2))})
    {'dense': {'bias': False, 'kernel': True}, 'embedding': False}
    """
    told = zip(leaves_of(params), decide(params), strict=True)
    marks = [len(leaf.shape) > 1 if isinstance(role, Undecided) else role.kind in DECAYING for leaf, role in told]
    return jax.tree.structure(tree.unbox(params)).unflatten(marks)
