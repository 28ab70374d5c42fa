"""The weights to evaluate: those that are trained, unless a state holds better ones."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from gradx.typing import Params, PyTree, State


def eval_params(state: State, params: Params) -> Params:
    """Return the weights to evaluate, save and serve: averages where the optimizer keeps them, else `params`.

    Averages of parameters, `lookahead` and `schedule_free` keep other weights than those that are trained. They are
    found wherever they stand: in chains, partitions, masks, accumulation. Of one inside another the outer counts.

    Args:
      state: of any transformation, or a pytree that holds it.

    >>> import gradx
    >>> tx = gradx.adamw(1e-3)
    >>> gradx.eval_params(tx.init({"w": 1.0}), {"w": 1.0})
    {'w': 1.0}
    """
    for node in jax.tree.leaves(state, is_leaf=_knows_better):
        if _knows_better(node):
            params = node.eval_params(params)
    return params


def map_known(rule: Callable, kept: PyTree, params: Params, *rest: PyTree) -> Params:
    """Return `rule(kept, param, ...)` in the parameter's dtype for each leaf; where `kept` is `None`, the parameter.

    For the method `eval_params(self, params)` of a state: masks and partitions leave `None` in the trees that it keeps.
    Leaves belong together by their order: `nnx.Optimizer` keeps states in boxes of another kind than the model's.
    """

    def of(x: Any, param: Any, *others: Any) -> Any:
        return param if x is None else rule(x, param, *others).astype(jnp.result_type(param))

    leaves, treedef = jax.tree.flatten(params, is_leaf=_is_none)
    columns = [jax.tree.leaves(tree, is_leaf=_is_none) for tree in (kept, *rest)]
    if kept is None or not columns[0]:  # nothing is kept, or of parameters that are one array, left out whole
        return params
    if any(len(column) != len(leaves) for column in columns):
        raise ValueError(f"eval_params: the state keeps {len(columns[0])} arrays, the parameters are {len(leaves)}")
    return treedef.unflatten(map(of, columns[0], leaves, *columns[1:]))


def number(x: Any) -> jax.Array:
    """Return a scalar of a state without the box in which `nnx.Optimizer` keeps it."""
    (leaf,) = jax.tree.leaves(x)
    return leaf


def _is_none(x: Any) -> bool:
    return x is None


def _knows_better(x: Any) -> bool:
    return hasattr(type(x), "eval_params")
