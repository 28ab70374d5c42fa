"""What a parameter is for, told by its name and shape."""

from gradx import tree
from gradx.typing import Params, PyTree

EMBEDDING = "embed"
"""A parameter with this in its name is a table of vectors, one for each symbol: flax calls it `embedding`."""


def kernels(params: Params) -> PyTree:
    """Mark what weight decay is for: True for matrices and convolutions, False for all else.

    Biases and scales of norms have one axis; of an embedding, the rows of rare symbols get a gradient seldom and decay
    would take them away. Layers stacked along a new axis, for a scan, give biases a second one: mark those yourself.

    >>> from gradx import recipes
    >>> import jax.numpy as jnp
    >>> recipes.kernels({"dense": {"kernel": jnp.ones((2, 3)), "bias": jnp.ones(3)}, "embedding": jnp.ones((9, 2))})
    {'dense': {'bias': False, 'kernel': True}, 'embedding': False}
    """
    return tree.map_with_path(lambda name, p: p.ndim > 1 and EMBEDDING not in name.rpartition("/")[2].lower(), params)
