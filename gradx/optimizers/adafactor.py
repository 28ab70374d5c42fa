"""Adafactor: the second moment of a matrix from the means of its rows and columns."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.clip import clip_by_block_rms
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.momentum import ema
from gradx.transforms.normalize import scale_by_param_block_rms
from gradx.transforms.scale import scale, scale_by_learning_rate
from gradx.typing import Decay, DType, LearningRate, Mask, NonNegative, Params, Positive, ScalarOrSchedule, Updates


class FactoredState(NamedTuple):
    """The state of `scale_by_factored_rms`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    v_row: Updates
    """The mean of |g|² over the largest axis, real, at least float32; one 0 where nothing is factored."""
    v_col: Updates
    """The same over the second largest axis."""
    v: Updates
    """The mean of |g|² where nothing is factored, like the parameters; one 0 where it is."""


def factored_leaf(g, v_row, v_col, v, *, decay, epsilon, axes_of):
    """Return (g / sqrt(v), v_row, v_col, v); a factored v is the product of v_row and v_col over the mean of v_row."""
    square = numerics.abs_sq(g) + epsilon
    if axes_of(g.shape) is None:
        v = decay * v + (1 - decay) * square
        return g / numerics.safe_sqrt(v), v_row, v_col, v
    row_axis, col_axis = axes_of(g.shape)
    rows, columns = means(square, row_axis, col_axis)
    v_row = decay * v_row + (1 - decay) * rows
    v_col = decay * v_col + (1 - decay) * columns
    row = jnp.expand_dims(v_row, col_axis)
    row_root, col_root = numerics.safe_sqrt(row), numerics.safe_sqrt(jnp.expand_dims(v_col, row_axis))
    mean_root = numerics.safe_sqrt(mean(row, row_axis, keepdims=True))
    # Quotients of roots: epsilon squared is 0 in float32.
    return (g / row_root) * (mean_root / col_root), v_row, v_col, v


def means(x: jax.Array, row_axis: int, col_axis: int) -> tuple[jax.Array, jax.Array]:
    """Return the means along the second axis and along the first; sums do not overflow where the means do not.

    One quotient serves both sums: with one for each, XLA:CPU fills an array with each divisor, 12 bytes an entry.
    """
    n = max(x.shape[row_axis], x.shape[col_axis])
    along_columns, along_rows = (jnp.sum(x / n, axis=axis) * (n / x.shape[axis]) for axis in (col_axis, row_axis))
    return along_columns, along_rows


def mean(x: jax.Array, axis: int, keepdims: bool = False) -> jax.Array:
    """Return the mean along an axis, as a sum that does not overflow where the mean does not."""
    return jnp.sum(x / x.shape[axis], axis=axis, keepdims=keepdims)


def nothing(param: Any) -> jax.Array:
    """Return the zero that stands where nothing is kept: a state has one structure, whatever the shapes."""
    return tree.real_full_like(jnp.zeros((1,), jnp.result_type(param)), 0.0)


class FactoredAxes(NamedTuple):
    """Which axes of an array are factored: the two largest or the two last, if both are large enough."""

    factored: bool
    min_dim_size: int
    last: bool

    def __call__(self, shape: tuple[int, ...]) -> tuple[int, int] | None:
        """Return the second largest axis and the largest, the last ones of equal size; None for no factors."""
        if not self.factored or len(shape) < 2:
            return None
        order = range(len(shape)) if self.last else np.argsort(shape, stable=True)
        first, second = (int(axis) for axis in order[-2:])
        return (first, second) if min(shape[first], shape[second]) >= max(self.min_dim_size, 1) else None


def power_decay(t: Any, exponent: Any) -> jax.Array:
    """Return 1 - (t + 1)^-exponent, t at least 0: the start is forgotten entirely, what follows ever more slowly."""
    return 1 - (jnp.maximum(t, 0) + 1) ** -exponent


@transformation
def scale_by_factored_rms(
    factored: bool = True,
    decay_rate: NonNegative = 0.8,
    step_offset: ScalarOrSchedule = 0,
    min_dim_size_to_factor: int = 128,
    epsilon: Positive = 1e-30,
    decay_rate_fn: Callable | None = None,
    *,
    last_axes: bool = False,
) -> Any:
    """Divide by a running root mean square, kept by rows and columns: u = g / sqrt(v_row ⊗ v_col / mean(v_row)).

    v ← d · v + (1 - d) · (|g|² + epsilon), d = 1 - t^-decay_rate, t = 1 at the first update; v_row and v_col are means
    of that over the largest and the second largest axis.

    Args:
      factored: False keeps all of v.
      decay_rate: power of t.
      step_offset: updates at which t was 0 still, when training goes on with new data; t is at least 1.
      min_dim_size_to_factor: arrays whose second largest axis is shorter keep all of v.
      epsilon: added to |g|², above 0.
      decay_rate_fn: from (updates already applied - step_offset, decay_rate) to d; None is the above.
      last_axes: factor the last two axes of an array, as PyTorch and Keras do, in place of the two largest.

    State: about the rows and columns of matrices, 1 number per parameter of the rest, and int32[].
    Shazeer and Stern 2018, arXiv:1804.04235, Algorithms 1 and 2, section 7.

    >>> import gradx, jax.numpy as jnp
    >>> state = gradx.scale_by_factored_rms(min_dim_size_to_factor=2).init(jnp.ones((2, 3)))
    >>> state.v_row.shape, state.v_col.shape
    ((2,), (3,))
    """
    axes_of = FactoredAxes(factored, min_dim_size_to_factor, last_axes)

    def first(axis: int) -> Callable:
        def zeros(param: Any) -> jax.Array:
            axes = axes_of(jnp.shape(param))
            return nothing(param) if axes is None else mean(tree.real_full_like(param, 0.0), axes[axis])

        return zeros

    def whole(param: Any) -> jax.Array:
        return tree.real_full_like(param, 0.0) if axes_of(jnp.shape(param)) is None else nothing(param)

    def init(params: Params) -> FactoredState:
        trees = [jax.tree.map(rule, params) for rule in (first(1), first(0), whole)]
        return FactoredState(jnp.zeros((), jnp.int32), *trees)

    def update(updates: Updates, state: FactoredState) -> tuple[Updates, FactoredState]:
        offset: Any = step_offset
        t = state.count.astype(jnp.result_type(float)) - offset
        decay = (decay_rate_fn or power_decay)(t, decay_rate)
        updates, *trees = tree.map_leaves(
            factored_leaf, updates, *state[1:], decay=jnp.asarray(decay), epsilon=epsilon, axes_of=axes_of
        )
        return updates, FactoredState(numerics.safe_increment(state.count), *trees)

    return init, update


@transformation
def adafactor(
    learning_rate: LearningRate | None = None,
    min_dim_size_to_factor: int = 128,
    decay_rate: NonNegative = 0.8,
    decay_offset: ScalarOrSchedule = 0,
    multiply_by_parameter_scale: bool = True,
    clipping_threshold: NonNegative | None = 1.0,
    momentum: Decay | None = None,
    dtype_momentum: DType | None = None,
    weight_decay_rate: NonNegative | None = None,
    eps: Positive = 1e-30,
    factored: bool = True,
    weight_decay_mask: Mask | None = None,
    *,
    last_axes: bool = False,
) -> Any:
    """Adafactor: u = -learning_rate · max(rms(p), 0.001) · d, d = g / sqrt(v) shortened to rms(d) at most 1.

    Args:
      learning_rate: the step in root mean squares of the parameters; None is 1. The paper's is min(0.01, 1/sqrt(t)).
      decay_offset: `step_offset` of `scale_by_factored_rms`.
      multiply_by_parameter_scale: False leaves out the factor max(rms(p), 0.001).
      clipping_threshold: the largest root mean square of d, by array; None bounds nothing.
      momentum: decay of a running mean of the steps, in [0, 1); None keeps none.
      dtype_momentum: dtype in which it is kept; None is that of the parameters, at least float32.
      weight_decay_rate: share of p that is taken off at each update, not multiplied by the learning rate; None is 0.
      weight_decay_mask: where to decay, as in `add_decayed_weights`.
      eps: added to |g|², above 0.

    The rest as in `scale_by_factored_rms`.

    PyTorch's Adafactor(params, lr, weight_decay=w) is `adafactor(lambda step: jnp.minimum(lr, (step + 1) ** -0.5), 1,
    weight_decay_rate=lr * w, last_axes=True)` wherever squares of gradients are above 1e-7 in the mean; so is Keras's,
    with a rate 1 - lr * w times as large, for it decays before it measures rms(p).

    State: about the rows and columns of matrices, 1 number per parameter of the rest; with momentum 1 more. Needs:
    params. Shazeer and Stern 2018, arXiv:1804.04235, Algorithms 4 to 6.

    >>> import gradx
    >>> gradx.adafactor(1e-2)
    adafactor(learning_rate=0.01)
    """
    hyper = {"min_dim_size_to_factor": min_dim_size_to_factor, "epsilon": eps, "last_axes": last_axes}
    parts = [scale_by_factored_rms(factored, decay_rate, decay_offset, **hyper)]
    if clipping_threshold is not None:
        parts.append(clip_by_block_rms(clipping_threshold))
    if learning_rate is not None:
        parts.append(scale_by_learning_rate(learning_rate, flip_sign=False))
    if multiply_by_parameter_scale:
        parts.append(scale_by_param_block_rms())
    if momentum is not None:
        parts.append(ema(momentum, False, dtype_momentum))
    if weight_decay_rate is not None:
        parts.append(add_decayed_weights(weight_decay_rate, weight_decay_mask))
    return chain(*parts, scale(-1.0))
