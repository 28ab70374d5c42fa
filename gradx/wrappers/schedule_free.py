"""Schedule-free learning: an average of the iterates in place of a falling learning rate."""

from typing import Annotated, Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, run_init, run_update, transformation
from gradx.evaluation import eval_params, map_known
from gradx.transforms.momentum import storage_dtype
from gradx.typing import DType, LearningRate, NonNegative, Params, Range, Schedule, State, Updates

Interpolation = Annotated[float | jax.Array | Schedule, Range(low=0.0, high=1.0, closed="(]", schedule=True)]


class ScheduleFreeState(NamedTuple):
    """The state of `schedule_free`."""

    b1: jax.Array
    """float32[]: the share of x in the point y at which the next gradient is taken."""
    weight_sum: jax.Array
    """float32[]: the weights of the average so far."""
    step_count: jax.Array
    """int32[]: the updates already applied."""
    max_lr: jax.Array
    """float32[]: the largest learning rate so far."""
    base_optimizer_state: State
    z: Params
    """The iterates of the optimizer inside; like the parameters, in `state_dtype` or at least float32."""

    def eval_params(self, params: Params) -> Params:
        """Return x, the average, from the parameters y."""
        return map_known(lambda z, y: tree.map_leaves(average_leaf, tree.lift(y), z, b1=self.b1), self.z, params)


def average_leaf(y, z, *, b1):
    """Return x, of which y = (1 - b1) · z + b1 · x."""
    return y + (1 - b1) / b1 * (y - z)


def schedule_free_leaf(u, z, y, *, toward, share):
    """Return (y_next - y, z_next): z_next = z + u, x_next and y_next from it.

    x_next = (1 - c) · x + c · z_next and y = b1 · x + (1 - b1) · z, put into y_next - y: x is gone, and with it the
    division by b1, and nothing cancels. Where b1 stays, toward is c and share is (1 - c) · (1 - b1).
    """
    z = z + u  # only the new z is read below: so XLA renews it in place
    return toward * (z - y) + share * u, z


@transformation
def schedule_free(
    base_optimizer: GradientTransformation,
    learning_rate: LearningRate,
    b1: Interpolation = 0.9,
    weight_lr_power: NonNegative = 2.0,
    state_dtype: DType | None = None,
) -> Any:
    """Take the gradient between the iterates z of an optimizer and their running mean x, which is what to evaluate.

    z ← z + u(y);  x ← (1 - c) · x + c · z, c = w / sum of all w, w = (largest learning rate so far)^weight_lr_power;
    y ← b1 · x + (1 - b1) · z. The parameters are y; `gradx.eval_params(state, y)` gives x.

    Args:
      base_optimizer: without momentum, whose place y takes.
      learning_rate: that of `base_optimizer`, constant or behind a warmup: it weighs the mean alone.
      b1: share of x in y, in (0, 1].
      weight_lr_power: 0 weighs all iterates alike.
      state_dtype: of z; None is at least float32.

    State: 1 number per parameter, 4 scalars, the inner state. Needs: params. Defazio et al. 2024, arXiv:2405.15682, eq.
    3-5, weighted as in section 4. (Optax's learning_rate begins at its second value.)

    >>> import gradx
    >>> tx = gradx.schedule_free(gradx.sgd(0.5), 0.5)
    >>> params = {"w": 4.0}
    >>> updates, state = tx.update(params, tx.init(params), params)
    >>> float(gradx.eval_params(state, gradx.apply_updates(params, updates))["w"])
    2.0
    """

    def init(params: Params) -> ScheduleFreeState:
        stored = jax.tree.map(lambda p: tree.cast(p, storage_dtype(p, state_dtype)), tree.lift(params))
        z = tree.copy(stored)
        dtype, count = tree.real_dtype(params), jnp.zeros((), jnp.int32)
        weight_sum, max_lr = jnp.zeros((), dtype), jnp.zeros((), dtype)
        inner = run_init(base_optimizer, params)
        return ScheduleFreeState(jnp.array(b1, dtype), weight_sum, count, max_lr, inner, z)

    def update(
        updates: Updates, state: ScheduleFreeState, params: Params, **extras: Any
    ) -> tuple[Updates, ScheduleFreeState]:
        steps, inner = run_update(base_optimizer, updates, state.base_optimizer_state, params, extras)
        dtype = state.weight_sum.dtype
        max_lr = jnp.maximum(state.max_lr, jnp.asarray(learning_rate, dtype))
        weight = max_lr ** jnp.asarray(weight_lr_power, dtype)
        weight_sum = state.weight_sum + weight
        c = numerics.safe_divide(weight, weight_sum)  # a warmup starts at 0, and x, y and z are one until it moves
        new_b1 = jnp.asarray(b1, dtype)
        toward = c + (1 - c) * (state.b1 - new_b1) / state.b1
        share = (1 - c) * new_b1 * (1 - state.b1) / state.b1
        updates, z = tree.map_leaves(schedule_free_leaf, steps, state.z, params, toward=toward, share=share)
        count = numerics.safe_increment(state.step_count)
        return updates, ScheduleFreeState(new_b1, weight_sum, count, max_lr, inner, z)

    return Wrapper(init, update, lambda state: [("", base_optimizer, state and state.base_optimizer_state)])


def schedule_free_eval_params(state: State, params: Params) -> Params:
    """Return the mean x of `schedule_free`, as `gradx.eval_params` does for every optimizer that keeps other weights.

    Args:
      state: of `schedule_free`, or of a chain, partition, ... that holds it.

    Raises ValueError where nothing in the state keeps such a mean.

    >>> import gradx
    >>> tx = gradx.schedule_free_sgd(0.5)
    >>> gradx.schedule_free_eval_params(tx.init({"w": 4.0}), {"w": 4.0})["w"].item()
    4.0
    """
    nodes = jax.tree.leaves(state, is_leaf=_is_state)
    if not any(map(_is_state, nodes)):
        raise ValueError("schedule_free_eval_params: no ScheduleFreeState in the state; gradx.eval_params takes any")
    return eval_params(state, params)


def _is_state(x: Any) -> bool:
    return isinstance(x, ScheduleFreeState)
