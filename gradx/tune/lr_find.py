"""Find a learning rate: train briefly with many, all in one compiled program, and read the losses."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks, display
from gradx.core import GradientTransformation, apply_updates
from gradx.tune.members import stack_members
from gradx.typing import Params, PyTree

OWNER = "lr_find"
RATES = 10.0 ** np.linspace(-6, 3, 64)
TIE = 1e-3
"""Losses closer than this part of the greatest fall count as equal."""
LAST = 4
"""The loss at the end is the mean over the last quarter of the steps."""


@dataclass(frozen=True, eq=False, repr=False)
class LearningRateCurve:
    """The losses of short trainings with several learning rates; `.plot()` draws it."""

    learning_rates: np.ndarray
    """[K], ascending."""
    losses: np.ndarray
    """[K, steps]: of each step's batch, before its update."""
    untrained: np.ndarray
    """[steps]: the loss of the parameters as given, on the same batches."""
    suggestion: float
    """The learning rate to train with."""
    edge: float
    """The lowest rate, from the best one on, whose loss rose above every untrained one; infinity where none did."""

    def plot(self, *, ax: Any = None) -> Any:
        """Draw the last loss of each learning rate and the suggestion with matplotlib, and return its `Axes`.

        Args:
          ax: the `Axes` to draw on; None makes a new figure.
        """
        return display.show("viz.plots", "plot_learning_rate_curve", self, ax=ax)

    def __repr__(self) -> str:
        rates, steps = self.learning_rates, self.losses.shape[1]
        note = {rates[0]: ", the lowest tried: try lower ones", rates[-1]: ", the greatest tried: try greater ones"}
        rose = f"the loss rises from {self.edge:.3g} on" if np.isfinite(self.edge) else "the loss rose with none"
        return (
            f"learning rate {self.suggestion:.3g}{note.get(self.suggestion, '')}"
            f" ({len(rates)} rates from {rates[0]:.3g} to {rates[-1]:.3g}, {steps} steps each; {rose})"
        )


def lr_find(
    tx: GradientTransformation,
    loss: Callable[..., jax.Array],
    params: Params,
    batches: PyTree = None,
    *,
    learning_rates: Sequence[float] | ArrayLike | None = None,
    steps: int | None = None,
    key: jax.Array | None = None,
    name: str = "learning_rate",
) -> LearningRateCurve:
    """Train from `params` with each learning rate, under `jax.vmap` in one compiled program, and suggest one.

    The suggestion: of the rates at most half of `edge`, the one with the lowest loss at the end, the greatest among
    equals. Gradient descent on a quadratic of curvature L rises from 2 / L on, so it comes to about 1 / L.

    Args:
      tx: its learning rate is replaced; a schedule too, for then the suggestion is for the schedule's peak.
      loss: `loss(params, batch) -> scalar`, with a key `loss(params, batch, key)`.
      params: a pytree of arrays, left as it is.
      batches: a pytree of arrays with a leading axis of steps; with `steps`, one batch, used at every step.
      learning_rates: ascending; 64 from 1e-6 to 1e3 unless given. Memory grows with their number.
      steps: how many, when `batches` is one batch.
      key: split over the steps; the same for all rates.
      name: of the hyperparameter, as `gradx.replace` takes it (`"adamw/learning_rate"` where several have one).

    Raises:
      TypeError: `tx` has no such hyperparameter, or more than one; or `loss` returns no real scalar.
      ValueError: rates not ascending or out of range, or no rate lowers the loss.

    >>> import gradx
    >>> curve = gradx.tune.lr_find(gradx.sgd(1.0), lambda w, batch: 5.0 * w**2, 1.0, steps=20)  # curvature 10
    >>> 0.02 <= curve.suggestion <= 0.2
    True
    """
    rates = _rates(learning_rates)
    stacked = stack_members(OWNER, tx, {name: rates.tolist()})
    steps, repeated = _steps(batches, steps)
    keys = None if key is None else jax.random.split(key, steps)
    params = jax.tree.map(lambda x: jnp.asarray(x, checks.dtype_of(x)), params)
    inputs = (None if repeated else batches, keys)

    def loss_at(params: Params, batch: PyTree, key: jax.Array | None) -> jax.Array:
        batch = batches if repeated else batch
        return _scalar(loss(params, batch) if key is None else loss(params, batch, key))

    def train(tx: GradientTransformation, params: Params, inputs: PyTree) -> jax.Array:
        def step(carry: tuple, inputs: tuple) -> tuple[tuple, jax.Array]:
            params, state = carry
            value, gradients = jax.value_and_grad(loss_at)(params, *inputs)
            extras = {} if inputs[1] is None else {"key": inputs[1]}
            updates, state = tx.update(gradients, state, params, value=value, grad=gradients, **extras)
            return (apply_updates(params, updates), state), value

        return jax.lax.scan(step, (params, tx.init(params)), inputs, length=steps)[1]

    def program(stacked: GradientTransformation, params: Params, inputs: PyTree) -> tuple[jax.Array, jax.Array]:
        losses = jax.vmap(train, (0, None, None))(stacked, params, inputs)
        _, untrained = jax.lax.scan(lambda _, x: (None, loss_at(params, *x)), None, inputs, length=steps)
        return losses, untrained

    losses, untrained = jax.device_get(jax.jit(program)(stacked, params, inputs))
    suggestion, edge = suggest(rates, losses, untrained)
    return LearningRateCurve(rates, losses, untrained, suggestion, edge)


def suggest(rates: np.ndarray, losses: np.ndarray, untrained: np.ndarray) -> tuple[float, float]:
    """Return the suggestion and the edge for rates [K], losses [K, steps] and untrained losses [steps].

    Half of the edge, because a rate near it owes its low loss to directions that barely contract, and a longer or
    noisier training would find it rising. A rate that only ends below the edge of the shortest direction is capped
    too, for with momentum the loss may rise first and fall later.
    """
    losses, untrained = losses.astype(float), untrained.astype(float)
    last = max(1, losses.shape[1] // LAST)
    with np.errstate(invalid="ignore"):  # infinities of both signs
        end = losses[:, -last:].mean(axis=1)
    finite = np.asarray(np.isfinite(losses).all(axis=1))
    end = np.where(finite, end, np.inf)
    start = untrained[-last:].mean()
    learned = end < start
    if not learned.any():
        fate = "the loss leaves the finite numbers" if not finite.any() else "the loss does not fall"
        raise ValueError(
            f"{OWNER}: with every learning rate from {rates[0]:.3g} to {rates[-1]:.3g} {fate} within"
            f" {losses.shape[1]} steps (untrained: {start:.3g}): try lower rates or more steps, or mend loss and params"
        )
    best = rates[np.argmin(end)]
    highest = untrained.max() + TIE * abs(untrained.max())  # the same loss rounds otherwise under vmap
    rose = ~(losses <= highest).all(axis=1)
    edge = min(rates[rose & (rates >= best)], default=np.inf)
    allowed = learned & (rates <= edge / 2)
    if not allowed.any():
        allowed = rates == best
    lowest = end[allowed].min()
    equal = allowed & (end <= lowest + TIE * (start - lowest))
    return float(rates[equal].max()), float(edge)


def _rates(learning_rates: Any) -> np.ndarray:
    rates = np.asarray(RATES if learning_rates is None else learning_rates, float)
    if rates.ndim != 1 or not rates.size or not (np.isfinite(rates) & (rates > 0)).all() or (np.diff(rates) <= 0).any():
        raise ValueError(f"{OWNER}: learning_rates must be positive numbers in ascending order, got {learning_rates!r}")
    return rates


def _steps(batches: PyTree, steps: int | None) -> tuple[int, bool]:
    """Return the number of steps, and whether `batches` is one batch, to be used at each."""
    if steps is not None:
        if isinstance(steps, bool) or not isinstance(steps, int | np.integer) or steps < 2:
            raise ValueError(f"{OWNER}: steps must be an integer of at least 2, got {steps!r}")
        return int(steps), True
    lengths = {np.shape(x)[0] if np.ndim(x) else 0 for x in jax.tree.leaves(batches)}
    if len(lengths) != 1 or min(lengths) < 2:
        raise ValueError(
            f"{OWNER}: all arrays of batches must have the same leading axis, of 2 steps at least, got lengths"
            f" {sorted(lengths)}; to use one batch at every step, give steps"
        )
    return lengths.pop(), False


def _scalar(value: Any) -> jax.Array:
    if np.shape(value) != () or not jnp.issubdtype(checks.dtype_of(value), jnp.floating):
        raise TypeError(f"{OWNER}: loss must return a real scalar, got {checks.describe(value)}")
    return jnp.asarray(value)
