"""What a clause of the contract is tried on, and how results are compared."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gradx import checks, tree
from gradx.core import apply_updates
from gradx.typing import Params, PyTree, State, Updates

SAME_MATHS = {"rtol": 1e-5, "atol": 1e-6}
"""Two programs of the same formulas in float32 may fuse, and so round, differently."""


def example_params() -> Params:
    """Return a small tree with a matrix, a vector and a scalar.

    >>> from gradx import testing
    >>> sorted(testing.example_params())
    ['layer', 'scale']
    """
    keys = iter(jax.random.split(jax.random.key(0), 3))
    shapes = {"layer": {"kernel": (4, 3), "bias": (3,)}, "scale": ()}
    return jax.tree.map(lambda s: jax.random.normal(next(keys), s), shapes, is_leaf=lambda x: isinstance(x, tuple))


@dataclass(frozen=True)
class Subject:
    """What a clause is tried on."""

    tx: Any
    params: Params = field(default_factory=example_params)
    extras: dict[str, Any] = field(default_factory=dict)
    """The keyword extras that its update needs."""

    def grads(self, step: int = 0) -> Updates:
        """Return gradients like the parameters, others for each step."""
        leaves, treedef = jax.tree.flatten(self.params)
        keys = jax.random.split(jax.random.fold_in(jax.random.key(1), step), max(len(leaves), 1))
        return treedef.unflatten([_normal(key, x) for key, x in zip(keys, leaves, strict=False)])

    def with_params(self, params: Params) -> "Subject":
        """Return the same transformation with other parameters."""
        return Subject(self.tx, params, self.extras)

    def cast(self, dtype: Any) -> "Subject":
        """Return the same with parameters of another dtype."""
        return self.with_params(tree.cast(self.params, dtype))

    def update(self, updates: Updates, state: State, params: Params) -> tuple[Updates, State]:
        """Update with the extras."""
        return self.tx.update(updates, state, params, **self.extras)

    def run(self, steps: int = 3) -> tuple[list[Updates], State]:
        """Return the updates of some steps, and the last state; the parameters move."""
        return self.follow([self.grads(step) for step in range(steps)])

    def follow(self, gradients: Sequence[Updates]) -> tuple[list[Updates], State]:
        """Return the updates for gradients given, and the last state; the parameters move."""
        params, state, history = self.params, self.tx.init(self.params), []
        for grads in gradients:
            updates, state = self.update(grads, state, params)
            params = apply_updates(params, updates)
            history.append(updates)
        return history, state


def assert_close(got: PyTree, expected: PyTree, **tolerance: Any) -> None:
    """Raise AssertionError unless two trees hold the same numbers, within `SAME_MATHS` or the tolerance given."""
    assert jax.tree.structure(got) == jax.tree.structure(expected), "the trees differ in structure"
    for name, x, y in zip(tree.paths(expected), jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        bound: dict[str, Any] = SAME_MATHS | tolerance
        np.testing.assert_allclose(np.asarray(x), np.asarray(y), **bound, err_msg=name)


def assert_finite(got: PyTree, what: str) -> None:
    """Raise AssertionError if an entry of the tree is NaN or infinite."""
    for name, x in zip(tree.paths(got), jax.tree.leaves(got), strict=True):
        assert bool(jnp.all(jnp.isfinite(x))), f"{what} is not finite at '{name}': {x}"


def _normal(key: jax.Array, like: jax.Array) -> jax.Array:
    return jax.random.normal(key, jnp.shape(like), jnp.float32).astype(jnp.result_type(like))


def types_of(x: PyTree, *, weak: bool = True) -> PyTree:
    """Say dtype and shape of every leaf, weak types with a mark."""

    def type_of(leaf: Any) -> str:
        mark = "~" if weak and getattr(leaf, "weak_type", False) else ""
        return f"{mark}{checks.describe(leaf)}"

    return jax.tree.map(type_of, x)


def is_plain(x: jax.Array) -> bool:
    """Whether an array holds numbers: keys have no buffer to point at."""
    return not jnp.issubdtype(x.dtype, jax.dtypes.prng_key)
