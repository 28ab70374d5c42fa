"""Second derivatives of a loss without its whole Hessian: products with it, its diagonal, the Fisher diagonal."""

from collections.abc import Callable

import jax
import jax.flatten_util
import jax.numpy as jnp

from gradx import glossary, numerics
from gradx.typing import Params, PyTree

Loss = Callable[..., jax.Array]
"""From (params, inputs, targets) to a real scalar."""


def hvp(loss: Loss, v: PyTree, params: Params, inputs: PyTree, targets: PyTree) -> PyTree:
    """Return the Hessian of the loss times v, for the price of a few gradients.

    Args:
      loss: from (params, inputs, targets) to a real scalar.
      v: a tree like the parameters, or all of it as one vector in the order of `jax.flatten_util.ravel_pytree`.
      inputs, targets: what the loss is evaluated at.

    Returns a tree like the parameters, as Optax's does, in their dtypes.

    >>> import jax.numpy as jnp
    >>> from gradx import second_order
    >>> def loss(w, x, y):
    ...     return jnp.sum((x @ w - y) ** 2) / 2
    >>> x, y = jnp.array([[1.0, 2.0], [0.0, 3.0]]), jnp.zeros(2)
    >>> second_order.hvp(loss, jnp.array([1.0, 0.0]), jnp.ones(2), x, y)
    Array([1., 2.], dtype=float32)
    """
    return _hvp(lambda p: loss(p, inputs, targets), params, v)


def _hvp(loss: Callable, params: Params, v: PyTree) -> PyTree:
    treedef = jax.tree.structure(params)
    if jax.tree.structure(v) != treedef:  # one vector for all leaves
        flat, unravel = jax.flatten_util.ravel_pytree(params)
        v = unravel(jnp.asarray(v, flat.dtype))
    v = jax.tree.map(lambda x, p: jnp.asarray(x).astype(jnp.result_type(p)), v, params)
    return jax.jvp(jax.grad(loss), (params,), (v,))[1]


def hessian_diag(loss: Loss, params: Params, inputs: PyTree, targets: PyTree) -> jax.Array:
    """Return the diagonal of the loss's Hessian as one vector, exactly: a product with each unit vector, in turn.

    n parameters cost n products, one at a time: memory for one. For large n estimate it instead.

    Args:
      loss, inputs, targets: as in `hvp`.

    Returns a vector in the order of `jax.flatten_util.ravel_pytree`.

    >>> import jax.numpy as jnp
    >>> from gradx import second_order
    >>> def loss(w, x, y):
    ...     return jnp.sum((x @ w - y) ** 2) / 2
    >>> x, y = jnp.array([[1.0, 2.0], [0.0, 3.0]]), jnp.zeros(2)
    >>> second_order.hessian_diag(loss, jnp.ones(2), x, y)
    Array([ 1., 13.], dtype=float32)
    """
    flat, unravel = jax.flatten_util.ravel_pytree(params)
    derivative = jax.grad(lambda flat: loss(unravel(flat), inputs, targets))
    _, product = jax.linearize(derivative, flat)

    def entry(i: jax.Array) -> jax.Array:
        return product(jnp.zeros_like(flat).at[i].set(1))[i]

    return jax.lax.map(entry, jnp.arange(flat.size))


def fisher_diag(negative_log_likelihood: Loss, params: Params, inputs: PyTree, targets: PyTree) -> jax.Array:
    """Return the squares of the gradient's entries as one vector: the observed Fisher diagonal of one observation.

    For a batch it is the square of the whole gradient; map it over the rows (`jax.vmap`) for their mean of squares.

    Args:
      negative_log_likelihood: from (params, inputs, targets) to a real scalar.
      inputs, targets: as in `hvp`.

    Returns a vector in the order of `jax.flatten_util.ravel_pytree`, real.

    >>> import jax.numpy as jnp
    >>> from gradx import second_order
    >>> def loss(w, x, y):
    ...     return jnp.sum((x @ w - y) ** 2) / 2
    >>> second_order.fisher_diag(loss, jnp.ones(2), jnp.array([1.0, 2.0]), jnp.array(0.0))
    Array([ 9., 36.], dtype=float32)
    """
    grad = jax.grad(negative_log_likelihood)(params, inputs, targets)
    return numerics.abs_sq(jax.flatten_util.ravel_pytree(grad)[0])


__all__ = ["fisher_diag", "hessian_diag", "hvp"]

__dir__ = glossary.document_all(globals(), __all__)
