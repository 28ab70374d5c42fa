"""Functions of a batch, computed a few rows at a time: less memory, the same result.

Sums and means are accumulated in float32 at least, the last microbatch may be smaller than the others, and the rows of
a microbatch are spread over the devices as those of the batch are.

>>> import jax, jax.numpy as jnp
>>> from gradx.microbatching import AccumulationType, microbatch
>>> def loss(weights, rows):
...     return jnp.mean((rows @ weights) ** 2)
>>> rows, weights = jnp.arange(10.0).reshape(5, 2), jnp.array([1.0, -1.0])
>>> gradient = microbatch(jax.grad(loss), argnums=1, microbatch_size=2, accumulator=AccumulationType.MEAN)
>>> bool(jnp.allclose(gradient(weights, rows), jax.grad(loss)(weights, rows)))
True
"""

import functools
import operator
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from gradx.microbatching import accumulators
from gradx.microbatching.accumulators import AccumulationType, Accumulator
from gradx.microbatching.batches import Plan, make_plan, split_columns
from gradx.typing import PyTree


class Aux(NamedTuple):
    """What `micro_grad` says of each row of the batch."""

    values: jax.Array  # (batch,)
    metrics: PyTree  # of metrics_fn, stacked
    aux: PyTree  # of fun, stacked


def microbatch(
    fun: Callable,
    argnums: int | Sequence[int],
    microbatch_size: int | None,
    accumulator: AccumulationType | Accumulator | PyTree = AccumulationType.SUM,
    *,
    argnames: str | Sequence[str] = (),
    in_axes: int | Sequence[int] = 0,
    num_real_microbatches: int | jax.Array | None = None,
    accumulator_dtype: DTypeLike | None = None,
) -> Callable:
    """Return `fun` computed on one microbatch after another, its results accumulated.

    Of a batch of B = n · size rows, microbatch i takes the rows i, i + n, i + 2n, ...; what is left of a B that `size`
    does not divide comes last. `fun` is traced once for all full ones and once for the last.

    Args:
      fun: any function of arrays.
      argnums, argnames: its arguments that have a batch axis, trees of arrays with as many rows each.
      microbatch_size: rows at a time; `None` takes the whole batch at once.
      in_axes: the batch axis of each of `argnums` and then `argnames`, or one for all.
      num_real_microbatches: stop after so many; traced, it serves padded batches without a new trace, and then only
        forward derivatives exist.
      accumulator_dtype: dtype of sums and means, and of their results; `None`: the value's own, float32 at least.

    Raises:
      ValueError: arguments that are not there, rows that differ in number, sizes below 1, or a `microbatch_size` that
        the devices of an explicitly sharded batch axis cannot share.

    >>> from gradx import microbatching
    >>> import jax, jax.numpy as jnp
    >>> grads = jax.grad(lambda w, x: jnp.sum(w * x))
    >>> float(microbatching.microbatch(grads, argnums=1, microbatch_size=2)(1.0, jnp.arange(4.0)))  # 0 + 1 + 2 + 3
    6.0
    """
    argnums, argnames = _tuple_of(argnums), (argnames,) if isinstance(argnames, str) else tuple(argnames)
    axes = (in_axes,) * (len(argnums) + len(argnames)) if isinstance(in_axes, int | np.integer) else tuple(in_axes)
    if len(axes) != len(argnums) + len(argnames) or not axes:
        raise ValueError(
            f"microbatch: in_axes {axes} must name an axis for each of {(*argnums, *argnames)}, at least one"
        )
    real = _checked_real(num_real_microbatches)

    @functools.wraps(fun)
    def microbatched(*args: Any, **kwargs: Any) -> Any:
        batched = [_take(args, index) for index in argnums] + [_take(kwargs, name) for name in argnames]
        batched = [jax.tree.map(jnp.asarray, argument) for argument in batched]

        def call(parts: Sequence[PyTree]) -> PyTree:
            positional, named = list(args), dict(kwargs)
            for index, part in zip(argnums, parts, strict=False):
                positional[index] = part
            named.update(zip(argnames, parts[len(argnums) :], strict=True))
            return fun(*positional, **named)

        plan = make_plan(batched, axes, (*argnums, *argnames), microbatch_size)
        return _run(call, batched, axes, plan, accumulator, accumulator_dtype, real)

    return microbatched


def micro_vmap(
    fun: Callable,
    in_axes: int | Sequence[int | None] | None = 0,
    out_axes: Any = 0,
    *,
    microbatch_size: int | None = None,
    vmap_fn: Callable = jax.vmap,
    accumulator: AccumulationType | Accumulator | PyTree = AccumulationType.CONCAT,
    num_real_microbatches: int | jax.Array | None = None,
    accumulator_dtype: DTypeLike | None = None,
) -> Callable:
    """Return `fun` mapped over rows, as `jax.vmap` does, on one microbatch after another.

    `CONCAT` stacks the results of the rows; sums and means of them never hold more than a microbatch of them.

    Args:
      fun: a function of single rows.
      in_axes: the mapped axis of each positional argument, `None` for one that is shared; keyword arguments are mapped
        over axis 0.
      out_axes: 0.
      vmap_fn: called as `jax.vmap(fun, in_axes=..., out_axes=0)`.

    The others, and the errors, are those of `microbatch`.

    >>> from gradx import microbatching
    >>> import jax.numpy as jnp
    >>> microbatching.micro_vmap(lambda x: x**2, microbatch_size=2)(jnp.arange(4.0)).tolist()
    [0.0, 1.0, 4.0, 9.0]
    """
    if out_axes != 0:
        raise ValueError(f"micro_vmap: out_axes must be 0, got {out_axes!r}; move the axis of the result")

    @functools.wraps(fun)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        axes = tuple(in_axes) if isinstance(in_axes, Sequence) else (in_axes,) * len(args)
        if len(axes) != len(args):
            raise ValueError(f"micro_vmap: in_axes {axes} must name an axis for each of {len(args)} arguments")
        batched = {index: axis for index, axis in enumerate(axes) if axis is not None}

        def aggregated(*args: Any, **kwargs: Any) -> Any:
            rows = vmap_fn(fun, in_axes=axes, out_axes=0)(*args, **kwargs)
            return accumulators.over(
                accumulator, lambda kind, part: accumulators.aggregate(kind, part, accumulator_dtype), rows
            )

        return microbatch(
            aggregated,
            tuple(batched),
            microbatch_size,
            accumulator,
            argnames=tuple(kwargs),
            in_axes=(*batched.values(), *(0,) * len(kwargs)),
            num_real_microbatches=num_real_microbatches,
            accumulator_dtype=accumulator_dtype,
        )(*args, **kwargs)

    return mapped


def micro_grad(
    fun: Callable,
    has_aux: bool = False,
    argnums: int | Sequence[int] = 0,
    *,
    batch_argnums: int | Sequence[int] = 1,
    keep_batch_dim: bool = True,
    microbatch_size: int | None = None,
    accumulator: AccumulationType | Accumulator | PyTree = AccumulationType.SUM,
    transform_fn: Callable[[PyTree], PyTree] = lambda gradient: gradient,
    metrics_fn: Callable[[PyTree], PyTree] = lambda gradient: None,
    num_real_microbatches: int | jax.Array | None = None,
    accumulator_dtype: DTypeLike | None = None,
) -> Callable:
    """Return (*args) ↦ (accumulated gradient, `Aux`): gradients of single rows, transformed, then combined.

    Σ transform_fn(∇ fun(..., row, ...)) over the rows, for the default accumulator. The gradients of a microbatch are
    held at a time; where nothing is done to single ones, `microbatch(jax.grad(fun), ...)` needs less.

    Args:
      fun: returns a scalar, with `has_aux` a pair of it and anything.
      has_aux: whether `fun` returns a pair.
      argnums: as for `jax.grad`.
      batch_argnums: positional arguments with a batch axis, axis 0.
      keep_batch_dim: whether `fun` sees a row as a batch of one, or without the axis.
      transform_fn: from the gradient of a row to what is accumulated (clipped, squared, a tuple of several).
      metrics_fn: from the gradient of a row to small things worth keeping of each.

    The others, and the errors, are those of `microbatch`; keyword arguments go to `fun` as they are. `Aux` holds the
    values, the metrics and fun's own aux of every row, stacked.

    >>> from gradx import microbatching
    >>> import jax.numpy as jnp
    >>> clipped = microbatching.micro_grad(lambda w, x: jnp.sum(w * x), transform_fn=lambda g: jnp.clip(g, -1, 1))
    >>> float(clipped(1.0, jnp.arange(4.0))[0])  # 0 + 1 + 1 + 1
    3.0
    """
    batch_argnums = _tuple_of(batch_argnums)

    def graded(*args: Any, **kwargs: Any) -> tuple[PyTree, Aux]:
        for index in batch_argnums:
            _take(args, index)
        rows_of = {index % len(args) for index in batch_argnums}

        def of_row(*args: Any) -> tuple[PyTree, Aux]:
            rows = list(args)
            for index in rows_of if keep_batch_dim else ():
                rows[index] = jax.tree.map(lambda x: jnp.expand_dims(x, 0), rows[index])
            result, gradient = jax.value_and_grad(fun, argnums=argnums, has_aux=has_aux)(*rows, **kwargs)
            value, aux = result if has_aux else (result, None)
            return transform_fn(gradient), Aux(value, metrics_fn(gradient), aux)

        return micro_vmap(
            of_row,
            in_axes=tuple(0 if index in rows_of else None for index in range(len(args))),
            microbatch_size=microbatch_size,
            accumulator=(accumulator, AccumulationType.CONCAT),
            num_real_microbatches=num_real_microbatches,
            accumulator_dtype=accumulator_dtype,
        )(*args)

    return graded


def _tuple_of(indices: int | Sequence[int]) -> tuple[int, ...]:
    return tuple(indices) if isinstance(indices, Sequence) else (operator.index(indices),)


def _take(arguments: Any, key: int | str) -> Any:
    try:
        return arguments[key]
    except (IndexError, KeyError):
        kind = f"{len(arguments)} positional" if isinstance(key, int) else f"the keyword {sorted(arguments)}"
        raise ValueError(f"microbatch: batch argument {key!r} is not there; the call has {kind} arguments") from None


def _checked_real(real: int | jax.Array | None) -> int | jax.Array | None:
    """Return a concrete count as a Python int, which keeps the loop's length static."""
    if real is None:
        return None
    if not isinstance(real, int | np.integer):
        return jnp.asarray(real).astype(jnp.int32)
    if real < 0:
        raise ValueError(f"microbatch: num_real_microbatches must be at least 0, got {real}")
    return int(real)


def _run(
    call: Callable, batched: Sequence, axes: Sequence[int], plan: Plan, kinds: PyTree, dtype: Any, real: Any
) -> PyTree:
    """Accumulate `call(part of each batched argument)` over the microbatches of the plan."""
    only_one = plan.count == 1  # the batch as it is, not reshaped
    split = batched if only_one else _each(lambda x, axis: split_columns(x, axis, plan), batched, axes)

    def result(index: Any) -> PyTree:
        return call(split if only_one else _each(functools.partial(_column, index=index), split, axes, extra_axes=1))

    def update(carry: PyTree, value: PyTree, index: Any) -> PyTree:
        return accumulators.over(rules, lambda rule, part, old: rule.update(old, part, index), value, carry)

    shapes = jax.eval_shape(result, jnp.zeros((), jnp.int32))
    rules = accumulators.over(kinds, lambda kind, _: accumulators.rule(kind, plan, dtype), shapes)
    carry = accumulators.over(rules, lambda rule, part: rule.init(part), shapes)
    if only_one and real is None:
        carry = update(carry, result(0), 0)
    else:
        stop = plan.full if real is None else _least(real, plan.full)
        carry = jax.lax.fori_loop(0, stop, lambda i, carry: update(carry, result(i), i), carry)
    if plan.rest:
        start = plan.size * plan.full
        last = _each(lambda x, axis: jax.lax.slice_in_dim(x, start, None, axis=axis), batched, axes)
        run_last = True if real is None else real > plan.full
        carry = _change_if(run_last, lambda carry: update(carry, call(last), plan.full), carry)
    return accumulators.over(rules, lambda rule, part: rule.finalize(part), carry)


def _each(pick: Callable, batched: Sequence[PyTree], axes: Sequence[int], extra_axes: int = 0) -> list[PyTree]:
    """Apply pick(leaf, axis) to the leaves of each argument; a negative axis counts without the extra ones."""

    def pick_leaf(x: jax.Array, axis: int) -> jax.Array:
        return pick(x, axis % (x.ndim - extra_axes))

    pairs = zip(batched, axes, strict=True)
    return [jax.tree.map(functools.partial(pick_leaf, axis=axis), argument) for argument, axis in pairs]


def _column(x: jax.Array, axis: int, index: Any) -> jax.Array:
    return jax.lax.dynamic_index_in_dim(x, index, axis + 1, keepdims=False)


def _least(real: int | jax.Array, full: int) -> int | jax.Array:
    return min(real, full) if isinstance(real, int) else jnp.minimum(real, full)


def _change_if(condition: Any, change: Callable, carry: PyTree) -> PyTree:
    if isinstance(condition, bool):
        return change(carry) if condition else carry
    return jax.lax.cond(condition, change, lambda carry: carry, carry)
