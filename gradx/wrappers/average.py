"""Averages of the parameters along the way: exponential, of all, or of those at some steps."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import GradientTransformation, Wrapper, apply_updates, run_init, run_update, transformation
from gradx.evaluation import map_known, number
from gradx.sometimes import sometimes
from gradx.typing import Decay, NonNegative, NonNegativeInt, Params, PositiveInt, State, Updates


class AverageParamsState(NamedTuple):
    """The state of `average_params`."""

    count: jax.Array
    """int32[]: the updates already applied."""
    averaged: jax.Array
    """int32[]: the parameters that the average holds."""
    average: Params
    """The average; like the parameters, at least float32. Before the first is taken in, the parameters at init."""
    inner_state: State

    def eval_params(self, params: Params) -> Params:
        """Return the average, or `params` as long as it holds none."""
        is_empty = number(self.averaged) == 0
        return map_known(lambda mean, param: jnp.where(is_empty, param, mean), self.average, params)


@transformation
def average_params(
    inner: GradientTransformation,
    decay: Decay | None = 0.999,
    debias: bool = True,
    start: NonNegativeInt = 0,
    every: PositiveInt = 1,
    overwrite_every: PositiveInt | None = None,
    tail: NonNegative | None = None,
) -> Any:
    """Train with `inner` and keep an average of the parameters, which `gradx.eval_params(state, params)` returns.

    average ← (1 - w) · average + w · (params + update), after updates `start`, `start + every`, ... The weight w of the
    n-th: (1 - decay) / (1 - decay^n), the exponential average without bias; 1/n where decay is None, the mean of all
    (Polyak); that with `start` and `every` is stochastic weight averaging; with `tail` (1 + tail) / (n + tail), which
    weighs the end the most. Nothing behind it may change the update.

    Args:
      inner: the transformation inside.
      decay: of the exponential average, in [0, 1); None weighs all alike.
      debias: False makes w = 1 - decay, and the average starts as the parameters at init.
      start: the number of updates after which the first parameters are taken in; 0 begins with the first update.
      every: the updates from one to the next.
      overwrite_every: after each so many updates the parameters become the average (Keras); None leaves them.
      tail: with decay=None: the last 1 / (1 + tail) of the run counts, about; 0 and None weigh all alike.

    Keras's use_ema is `average_params(tx, lambda step: ema_momentum * (step > 0), debias=False,
    overwrite_every=ema_overwrite_frequency)`: its average starts as the parameters behind the first update.

    State: 1 number per parameter and two int32[] beside the inner state. Needs: params. Polyak and Juditsky 1992;
    Izmailov et al. 2018, arXiv:1803.05407, Algorithm 1; tail: Shamir and Zhang 2013, arXiv:1212.1824, section 4.

    >>> import gradx
    >>> tx = gradx.average_params(gradx.sgd(1.0), decay=None)
    >>> params, state = 0.0, tx.init(0.0)
    >>> for _ in range(2):
    ...     updates, state = tx.update(1.0, state, params)
    ...     params = gradx.apply_updates(params, updates)
    >>> float(params), float(gradx.eval_params(state, params))
    (-2.0, -1.5)
    """
    if tail is not None and decay is not None:
        raise ValueError(f"average_params: tail is for decay=None, the mean of all, got decay={decay!r}")

    def init(params: Params) -> AverageParamsState:
        zeros = [jnp.zeros((), jnp.int32) for _ in range(2)]
        return AverageParamsState(*zeros, average=tree.copy(tree.lift(params)), inner_state=run_init(inner, params))

    def update(
        updates: Updates, state: AverageParamsState, params: Params, **extras: Any
    ) -> tuple[Updates, AverageParamsState]:
        updates, inner_state = run_update(inner, updates, state.inner_state, params, extras)
        count = numerics.safe_increment(state.count)
        takes = (count >= start) & ((count - start) % every == 0)
        number = numerics.safe_increment(state.averaged)
        weight = _weight(number, decay, debias, tail)

        moved = apply_updates(params, updates)  # what apply_updates computes: XLA does it once

        def take(average: Params) -> Params:
            return tree.map_leaves(average_leaf, average, moved, weight=weight)

        average = take(state.average) if every == 1 and start <= 1 else sometimes(takes, take, state.average)
        averaged = jnp.where(takes, number, state.averaged)
        if overwrite_every is not None:
            overwrites = (count % overwrite_every == 0) & (averaged > 0)
            updates = tree.map_leaves(move_leaf, updates, average, params, overwrites=overwrites)
        return updates, AverageParamsState(count, averaged, average, inner_state)

    return Wrapper(init, update, lambda state: [("", inner, state and state.inner_state)])


def average_leaf(mean: jax.Array, p: jax.Array, *, weight: jax.Array) -> jax.Array:
    """Return (1 - w) · mean + w · p."""
    return (1 - weight) * mean + weight * p


def move_leaf(u: jax.Array, mean: jax.Array, p: jax.Array, *, overwrites: jax.Array) -> jax.Array:
    """Return the update, or where the average overwrites the one that ends there."""
    return jnp.where(overwrites, mean - p, u)


def _weight(number: jax.Array, decay: Any, debias: bool, tail: Any) -> Any:
    n = number.astype(jnp.result_type(float))
    if decay is None:
        return 1 / n if tail is None else (1 + tail) / (n + tail)
    return (1 - decay) / numerics.bias_correction(decay, number) if debias else 1 - decay
