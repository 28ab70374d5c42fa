"""Microbatching with Optax's results: of the function's own dtype, and of batches that divide."""

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from gradx import microbatching
from gradx.microbatching import AccumulationType, Accumulator, accumulators
from gradx.typing import PyTree


class _OwnDtypes:
    """Remembers of which dtypes a function's results are, and gives sums and means of them the same."""

    def __init__(self, fun: Callable) -> None:
        self.fun = fun
        self.dtypes: PyTree = None

    def __call__(self, *args: Any, **kwargs: Any) -> PyTree:
        result = self.fun(*args, **kwargs)
        self.dtypes = jax.tree.map(jnp.result_type, result)
        return result

    def of(self, kinds: PyTree, result: PyTree) -> PyTree:
        return accumulators.over(kinds, _cast_back, result, self.dtypes)


def _cast_back(kind: Any, part: PyTree, dtypes: PyTree) -> PyTree:
    if isinstance(kind, Accumulator):
        return part
    is_sum = kind is AccumulationType.SUM
    return jax.tree.map(lambda x, d: x.astype(d) if is_sum or jnp.issubdtype(d, jnp.inexact) else x, part, dtypes)


def _check_divides(arguments: Sequence[PyTree], axes: Sequence[int], size: int | None) -> None:
    rows = [x.shape[axis] for tree, axis in zip(arguments, axes, strict=False) for x in jax.tree.leaves(tree)]
    if size is not None and rows and rows[0] % size:
        raise ValueError(f"batch_size={rows[0]} must be divisible by microbatch_size={size}")


def _tuple_of(x: Any) -> tuple:
    return (x,) if isinstance(x, int | str) else tuple(x)


def microbatch(
    fun: Callable,
    argnums: int | Sequence[int],
    microbatch_size: int | None,
    accumulator: AccumulationType | Accumulator | PyTree = AccumulationType.SUM,
    *,
    argnames: str | Sequence[str] = (),
    in_axes: int | Sequence[int] = 0,
    num_real_microbatches: int | jax.Array | None = None,
) -> Callable:
    """Return `gradx.microbatching.microbatch(...)`, its results in the dtypes of the function's own.

    >>> import gradx.compat.optax as optax, jax.numpy as jnp
    >>> optax.microbatch(jnp.sum, argnums=0, microbatch_size=2)(jnp.ones(4, jnp.bfloat16)).dtype
    dtype(bfloat16)
    """
    numbers, names = _tuple_of(argnums), _tuple_of(argnames)
    axes = (in_axes,) * (len(numbers) + len(names)) if isinstance(in_axes, int) else tuple(in_axes)

    @functools.wraps(fun)
    def microbatched(*args: Any, **kwargs: Any) -> PyTree:
        _check_divides([args[i] for i in numbers] + [kwargs[name] for name in names], axes, microbatch_size)
        own = _OwnDtypes(fun)
        call = microbatching.microbatch(
            own, numbers, microbatch_size, accumulator, argnames=names, in_axes=axes,
            num_real_microbatches=num_real_microbatches,
        )  # fmt: skip
        return own.of(accumulator, call(*args, **kwargs))

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
) -> Callable:
    """Return `gradx.microbatching.micro_vmap(...)`, its results in the dtypes of the function's own.

    >>> from gradx.compat.optax import microbatching
    >>> import jax.numpy as jnp
    >>> microbatching.micro_vmap(lambda x: x**2, microbatch_size=2)(jnp.arange(4.0)).tolist()
    [0.0, 1.0, 4.0, 9.0]
    """

    @functools.wraps(fun)
    def mapped(*args: Any, **kwargs: Any) -> PyTree:
        axes = tuple(in_axes) if isinstance(in_axes, Sequence) else (in_axes,) * len(args)
        shown = [(x, axis) for x, axis in zip(args, axes, strict=False) if axis is not None]
        _check_divides([x for x, _ in shown], [axis for _, axis in shown], microbatch_size)
        own = _OwnDtypes(fun)
        call = microbatching.micro_vmap(
            own, in_axes, out_axes, microbatch_size=microbatch_size, vmap_fn=vmap_fn, accumulator=accumulator,
            num_real_microbatches=num_real_microbatches,
        )  # fmt: skip
        return own.of(accumulator, call(*args, **kwargs))

    return mapped


def _as_it_is(gradient: PyTree) -> PyTree:
    return gradient


def _nothing(gradient: PyTree) -> None:
    return None


def micro_grad(
    fun: Callable,
    has_aux: bool = False,
    argnums: int | Sequence[int] = 0,
    *,
    batch_argnums: int | Sequence[int] = 1,
    keep_batch_dim: bool = True,
    microbatch_size: int | None = None,
    accumulator: AccumulationType | Accumulator | PyTree = AccumulationType.SUM,
    transform_fn: Callable[[PyTree], PyTree] = _as_it_is,
    metrics_fn: Callable[[PyTree], PyTree] = _nothing,
    num_real_microbatches: int | jax.Array | None = None,
) -> Callable:
    """Return `gradx.microbatching.micro_grad(...)`, its gradients in the dtypes of the function's own.

    >>> from gradx.compat.optax import microbatching
    >>> import jax.numpy as jnp
    >>> float(microbatching.micro_grad(lambda w, x: jnp.sum(w * x))(1.0, jnp.arange(4.0))[0])
    6.0
    """

    def graded(*args: Any, **kwargs: Any) -> tuple[PyTree, Any]:
        batched = [args[i] for i in _tuple_of(batch_argnums)]
        _check_divides(batched, (0,) * len(batched), microbatch_size)
        own = _OwnDtypes(transform_fn)
        call = microbatching.micro_grad(
            fun, has_aux, argnums, batch_argnums=batch_argnums, keep_batch_dim=keep_batch_dim,
            microbatch_size=microbatch_size, accumulator=accumulator, transform_fn=own, metrics_fn=metrics_fn,
            num_real_microbatches=num_real_microbatches,
        )  # fmt: skip
        gradient, aux = call(*args, **kwargs)
        return own.of(accumulator, gradient), aux

    return graded
