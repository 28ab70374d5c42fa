"""Running sums and running means of the updates."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from gradx import numerics, tree
from gradx.core import transformation
from gradx.typing import Decay, DType, Params, Updates


class TraceState(NamedTuple):
    """The state of `momentum`."""

    trace: Updates
    """The decaying sum of updates; like the parameters, at least float32."""


class EmaState(NamedTuple):
    """The state of `ema`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    ema: Updates
    """The running mean, biased towards its start at 0; like the parameters, at least float32."""


def storage_dtype(param: Any, dtype: DTypeLike | None) -> DTypeLike | None:
    """Return the dtype in which something like `param` is kept where `dtype` is asked for.

    For complex parameters a real dtype stands for the complex one of its precision: in itself it would keep real parts.
    """
    narrow = dtype is not None and jnp.iscomplexobj(param) and not jnp.issubdtype(dtype, jnp.complexfloating)
    return (jnp.complex128 if jnp.finfo(dtype).bits == 64 else jnp.complex64) if narrow else dtype


def moments_like(params: Params, dtype: DTypeLike | None) -> Updates:
    """Return the zeros with which a running sum or mean of gradients starts: in `dtype`, else in at least float32."""
    return jax.tree.map(lambda param: tree.zeros_like(param, storage_dtype(param, dtype)), params)


def momentum_leaf(g: jax.Array, m: jax.Array, *, decay: jax.Array, nesterov: bool) -> tuple[jax.Array, jax.Array]:
    """Return (u, m): m ← g + decay · m; u = m, with Nesterov u = g + decay · m."""
    m = g + decay * m
    return (g + decay * m if nesterov else m), m


@transformation
def momentum(decay: Decay, nesterov: bool = False, accumulator_dtype: DType | None = None) -> Any:
    """Replace the update by the decaying sum of all updates: m ← g + decay · m, u = m.

    The sum is not divided by 1/(1 - decay): at rest the step is 1/(1 - decay) times that of plain gradient descent.

    Args:
      decay: in [0, 1).
      nesterov: use u = g + decay · m, the gradient seen from where the sum is heading.

    State: 1 number per parameter. Polyak 1964; Sutskever et al. 2013, eq. 3-4. (Optax calls this `trace`.)

    >>> import gradx
    >>> tx = gradx.momentum(0.5)
    >>> updates, state = tx.update(1.0, tx.init(0.0))
    >>> updates, state = tx.update(1.0, state)
    >>> float(updates)
    1.5
    """

    def init(params: Params) -> TraceState:
        return TraceState(moments_like(params, accumulator_dtype))

    def update(updates: Updates, state: TraceState) -> tuple[Updates, TraceState]:
        updates, trace = tree.map_leaves(momentum_leaf, updates, state.trace, decay=decay, nesterov=nesterov)
        return updates, TraceState(trace)

    return init, update


def ema_leaf(g: jax.Array, m: jax.Array, *, decay: jax.Array, c: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Return (u, m): m ← decay · m + (1 - decay) · g; u = m / c."""
    m = decay * m + (1 - decay) * g
    return m / c, m


@transformation
def ema(decay: Decay, debias: bool = True, accumulator_dtype: DType | None = None) -> Any:
    """Replace the update by its exponential moving average: m ← decay · m + (1 - decay) · g.

    Args:
      decay: in [0, 1).
      debias: return m / (1 - decay^t), t = 1 at the first update, which undoes the start at zero.

    State: 1 number per parameter and int32[].

    >>> import gradx
    >>> tx = gradx.ema(0.75, debias=False)
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    1.0
    """

    def init(params: Params) -> EmaState:
        return EmaState(jnp.zeros((), jnp.int32), moments_like(params, accumulator_dtype))

    def update(updates: Updates, state: EmaState) -> tuple[Updates, EmaState]:
        count = numerics.safe_increment(state.count)
        c = numerics.bias_correction(decay, count) if debias else 1.0
        updates, mean = tree.map_leaves(ema_leaf, updates, state.ema, decay=decay, c=c)
        return updates, EmaState(count, mean)

    return init, update
