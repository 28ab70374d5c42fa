"""How the results of microbatches combine: the types with a name, rules of one's own, and both spread over a tree.

>>> import jax.numpy as jnp
>>> from gradx.microbatching import Accumulator, microbatch
>>> largest = Accumulator(
...     init=lambda shape: jnp.full(shape.shape, -jnp.inf, shape.dtype),
...     update=lambda carry, value, index: jnp.maximum(carry, value),
...     finalize=lambda carry: carry,
...     aggregate=lambda rows: jnp.max(rows, axis=0),
... )
>>> microbatch(jnp.max, argnums=0, microbatch_size=2, accumulator=largest)(jnp.array([3.0, 9.0, 4.0]))
Array(9., dtype=float32)
"""

import enum
import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gradx import checks, numerics
from gradx.microbatching.batches import Plan
from gradx.typing import PyTree


class AccumulationType(enum.Enum):
    """How the results of the microbatches become one.

    A mean gives each microbatch the weight of its rows. `MEAN` divides by the rows of the whole batch, `RUNNING_MEAN`
    by the rows that were run: they differ under `num_real_microbatches` alone. `CONCAT` puts the rows of the results in
    the order of the batch, with zeros where no microbatch was run; scalars become a vector.

    >>> from gradx import microbatching
    >>> import jax.numpy as jnp
    >>> mean = microbatching.microbatch(jnp.mean, 0, 2, microbatching.AccumulationType.MEAN)
    >>> float(mean(jnp.arange(4.0)))
    1.5
    """

    MEAN = 1
    SUM = 2
    RUNNING_MEAN = 3
    CONCAT = 4


@dataclass(frozen=True)
class Accumulator:
    """A rule of one's own for combining the results x_0, x_1, ... of the microbatches.

    The result is `finalize(carry)` after `carry = update(carry, x_i, i)` for each i, from `carry = init(shape of x_0)`.
    A smaller last microbatch comes last, as any other.
    """

    init: Callable[[PyTree], PyTree]
    """From the shapes and dtypes of x_0 to the first carry."""
    update: Callable[[PyTree, PyTree, Any], PyTree]
    """From carry, x_i and i to the next carry, of the same shapes and dtypes."""
    finalize: Callable[[PyTree], PyTree]
    """From the last carry to the result."""
    aggregate: Callable[[PyTree], PyTree]
    """From the results of single rows, stacked, to that of their microbatch: `micro_vmap` and `micro_grad` call it."""


def over(kinds: PyTree, f: Callable, tree: PyTree, *rest: PyTree) -> PyTree:
    """Apply f(kind, part, ...) for each accumulator of the prefix `kinds` and the part of the trees below it."""
    for kind in jax.tree.leaves(kinds):
        if not isinstance(kind, AccumulationType | Accumulator):
            raise TypeError(f"microbatch: accumulator must be of AccumulationType or Accumulator, got {kind!r}")
    try:
        parts = jax.tree.structure(kinds).flatten_up_to(tree)
    except ValueError as error:
        raise ValueError(f"microbatch: accumulator is no prefix of what the function returns: {error}") from error
    others = [jax.tree.structure(kinds).flatten_up_to(other) for other in rest]
    results = [f(*row) for row in zip(jax.tree.leaves(kinds), parts, *others, strict=True)]
    return jax.tree.unflatten(jax.tree.structure(kinds), results)


def rule(kind: AccumulationType | Accumulator, plan: Plan, dtype: DTypeLike | None) -> Accumulator:
    """Return the accumulator that `kind` stands for, on trees."""
    if isinstance(kind, Accumulator):
        return kind
    make = _concat if kind is AccumulationType.CONCAT else functools.partial(_total, kind=kind, dtype=dtype)
    leaf = make(plan)
    return Accumulator(
        init=lambda shapes: jax.tree.map(leaf.init, shapes),
        update=lambda carry, value, index: jax.tree.map(lambda v, c: leaf.update(c, v, index), value, carry),
        finalize=lambda carry: jax.tree.map(leaf.finalize, carry, is_leaf=lambda x: isinstance(x, _Rows)),
        aggregate=lambda rows: aggregate(kind, rows, dtype),
    )


def _total(plan: Plan, *, kind: AccumulationType, dtype: DTypeLike | None) -> Accumulator:
    """Return the rule for one array of SUM, MEAN and RUNNING_MEAN."""
    whole = plan.full + plan.weight_of_last * (plan.rest > 0)

    def init(shape: Any) -> jax.Array:
        return _zeros(shape, shape.shape, _total_dtype(kind, shape.dtype, dtype), _spec(shape))

    def update(total: jax.Array, value: jax.Array, index: Any) -> jax.Array:
        value = jnp.asarray(value).astype(total.dtype)
        if kind is AccumulationType.SUM:
            return total + value
        real = numerics.at_least_float32(jnp.finfo(total.dtype).dtype)  # where an index is exact
        weight = jnp.where(index < plan.full, 1.0, plan.weight_of_last).astype(real)
        if kind is AccumulationType.MEAN:
            return total + value * weight.astype(total.dtype)
        share = weight / (jnp.asarray(index).astype(real) + weight)
        return total + (value - total) * share.astype(total.dtype)

    def finalize(total: jax.Array) -> jax.Array:
        return total / whole if kind is AccumulationType.MEAN else total

    return Accumulator(init, update, finalize, lambda rows: aggregate(kind, rows, dtype))


class _Rows(NamedTuple):
    columns: jax.Array  # (rows of a result, microbatches, ...)
    last: jax.Array  # (rest, ...) of the smaller last microbatch; without rows where there is none, and for scalars


def _concat(plan: Plan) -> Accumulator:
    """Return the rule for one array of CONCAT."""

    def init(shape: Any) -> _Rows:
        if not shape.shape:
            return _Rows(_zeros(shape, (1, plan.count), shape.dtype), _zeros(shape, (0,), shape.dtype))
        k, spec = shape.shape[0], _spec(shape)
        if plan.rest and k != plan.size:
            message = f"{plan.size} rows give {checks.describe(shape)}, and a last microbatch of {plan.rest} is left"
            raise ValueError(f"microbatch: CONCAT needs one row of the result for each row, but {message}")
        columns = _zeros(shape, (k, plan.full, *shape.shape[1:]), shape.dtype, (*spec[:1], None, *spec[1:]))
        return _Rows(columns, _zeros(shape, (plan.rest, *shape.shape[1:]), shape.dtype, spec if plan.rest else ()))

    def update(rows: _Rows, value: jax.Array, index: Any) -> _Rows:
        value = jnp.asarray(value)
        value = value if value.ndim else value[None]
        if value.shape[0] == rows.columns.shape[0]:
            return rows._replace(columns=jax.lax.dynamic_update_index_in_dim(rows.columns, value, index, 1))
        return rows._replace(last=value)

    def finalize(rows: _Rows) -> jax.Array:
        k, n, *rest = rows.columns.shape
        joined = jnp.reshape(rows.columns, (k * n, *rest))
        return jnp.concatenate([joined, rows.last]) if rows.last.shape[0] else joined

    return Accumulator(init, update, finalize, lambda rows: rows)


def aggregate(kind: AccumulationType | Accumulator, rows: PyTree, dtype: DTypeLike | None) -> PyTree:
    """Return the result of a microbatch from those of its rows, stacked along axis 0."""
    if isinstance(kind, Accumulator):
        return kind.aggregate(rows)
    if kind is AccumulationType.CONCAT:
        return rows

    def total(x: jax.Array) -> jax.Array:
        summed = jnp.sum(x, axis=0, dtype=_total_dtype(kind, x.dtype, dtype))
        return summed if kind is AccumulationType.SUM else summed / max(x.shape[0], 1)

    return jax.tree.map(total, rows)


def _total_dtype(kind: AccumulationType, dtype: jnp.dtype, asked: DTypeLike | None) -> jnp.dtype:
    """Return the dtype of a sum or mean: integers and bools widen as in `jnp.sum`, floats are float32 at least."""
    if kind is AccumulationType.SUM and not jnp.issubdtype(dtype, jnp.inexact):
        return jax.eval_shape(jnp.sum, jax.ShapeDtypeStruct((), dtype)).dtype
    if asked is None:
        return numerics.at_least_float32(dtype)
    asked = jnp.dtype(asked)
    if not jnp.issubdtype(dtype, jnp.complexfloating):
        return asked
    return jnp.dtype(jnp.complex64 if asked.itemsize < 8 else jnp.complex128)


def _spec(shape: Any) -> tuple:
    """Return the partition of each axis, `None` for each that is not explicitly sharded."""
    spec = () if shape.sharding is None else tuple(shape.sharding.spec)
    return (*spec, *(None,) * (len(shape.shape) - len(spec)))


def _zeros(like: Any, shape: tuple[int, ...], dtype: jnp.dtype, spec: tuple = ()) -> jax.Array:
    """Return zeros with the explicit partition `spec`, inside `shard_map` varying over the axes that `like` does."""
    if any(name is not None for name in spec):
        sharding = jax.sharding.NamedSharding(like.sharding.mesh, jax.sharding.PartitionSpec(*spec))
        return jnp.zeros(shape, dtype, out_sharding=sharding)
    zeros = jnp.zeros(shape, dtype)
    varying = getattr(getattr(like, "manual_axis_type", None), "varying", None)
    return jax.lax.pcast(zeros, tuple(varying), to="varying") if varying else zeros
