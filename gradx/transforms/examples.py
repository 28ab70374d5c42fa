"""Gradients of single examples: their mean, and how far they scatter around it."""

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

from gradx import numerics, tree
from gradx.core import EmptyState, transformation
from gradx.transforms.momentum import moments_like
from gradx.transforms.privacy import count_examples
from gradx.typing import Decay, Params, State, Updates


class TrackExamplesState(NamedTuple):
    """The state of `track_examples`."""

    weight: jax.Array
    """float[]: the weight that the running means have gathered, 0 at the start."""
    mean: Updates
    """The running mean of the mean gradient, biased towards its start at 0; like the parameters, at least float32."""
    variance: Updates
    """The running mean of the variance between examples; real, like the parameters, at least float32."""


class ExampleMoments(NamedTuple):
    """What `example_moments` returns, two trees like the parameters."""

    mean: Updates
    """Of the gradients of examples, over the last batches."""
    variance: Updates
    """Between the examples of a batch, over the last batches; real."""


def average_leaf(g: jax.Array) -> jax.Array:
    """Return the mean over axis 0; of no examples it is 0."""
    g = jnp.atleast_1d(g)  # a number, where a rule is asked how many results it has
    return jnp.sum(g, axis=0) / max(g.shape[0], 1)


def tracked_leaf(g, m, v, *, decay):
    """Return (mean over axis 0, m, v): m, v ← decay · (m, v) + (1 - decay) · (mean, sum |g - mean|² / (n - 1))."""
    g = jnp.atleast_1d(g)
    mean = average_leaf(g)
    spread = jnp.sum(numerics.abs_sq(g - mean[None]), axis=0) / (g.shape[0] - 1)
    return mean, decay * m + (1 - decay) * mean, decay * v + (1 - decay) * spread


@transformation
def average_examples() -> Any:
    """Average the gradients of examples: u = 1/n · sum over i of g_i.

    The gradients come with a first axis of examples, as from `vmap(grad(loss), (None, 0))`; the update has none. So
    this stands first in a chain. Behind it, `MultiSteps` gathers the means of several batches.

    State: none.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.chain(gradx.average_examples(), gradx.sgd(1.0))
    >>> updates, _ = tx.update(jnp.array([[1.0, 2.0], [3.0, 6.0]]), tx.init(jnp.zeros(2)))
    >>> updates.tolist()
    [-2.0, -4.0]
    """

    def init(params: Params) -> EmptyState:
        return EmptyState()

    def update(updates: Updates, state: EmptyState) -> tuple[Updates, EmptyState]:
        count_examples("average_examples", updates)
        return tree.map_leaves(average_leaf, updates), state

    update.takes_examples = True  # pyright: ignore[reportFunctionMemberAccess]
    return init, update


@transformation
def track_examples(decay: Decay = 0.9) -> Any:
    """Average the gradients of examples as `average_examples` does, and keep running means of mean and variance.

    The variance is that between the examples of a batch, sum over i of |g_i - u|² / (n - 1), entry by entry, which no
    size of the batch biases; `gradx.example_moments(state)` returns both. The sum of it divided by the squared norm of
    the mean is the noise scale, the number of examples beyond which a larger batch gains little.

    Args:
      decay: of both running means, in [0, 1); 0 keeps the last batch's.

    State: 2 numbers per parameter and float[]. McCandlish et al. 2018, arXiv:1812.06162, section 2.2.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.chain(gradx.track_examples(), gradx.sgd(1.0))
    >>> updates, state = tx.update(jnp.array([[1.0, 2.0], [3.0, 6.0]]), tx.init(jnp.zeros(2)))
    >>> [round(float(x), 4) for x in gradx.example_moments(state).variance]
    [2.0, 8.0]
    """

    kept: Any = decay

    def init(params: Params) -> TrackExamplesState:
        return TrackExamplesState(
            tree.scalar_like(params, 0.0), moments_like(params, None), tree.real_full_like(params, 0.0)
        )

    def update(updates: Updates, state: TrackExamplesState) -> tuple[Updates, TrackExamplesState]:
        if jax.tree.leaves(updates) and count_examples("track_examples", updates) < 2:
            raise ValueError(
                "track_examples: a variance takes at least 2 examples, got"
                f" {count_examples('track_examples', updates)}; gradx.average_examples() takes one"
            )
        mean, m, v = tree.map_leaves(tracked_leaf, updates, state.mean, state.variance, decay=kept)
        weight = kept * state.weight + (1 - kept)
        return mean, TrackExamplesState(weight.astype(state.weight.dtype), m, v)

    update.takes_examples = True  # pyright: ignore[reportFunctionMemberAccess]
    return init, update


def example_moments(state: State) -> ExampleMoments:
    """Return mean and variance of the gradients of examples, freed of their start at 0.

    Args:
      state: of `track_examples`, or of what holds it.

    Raises ValueError where nothing tracks them, or more than one does. Before the first update both are NaN.

    >>> import gradx, jax.numpy as jnp
    >>> tx = gradx.track_examples(0.5)
    >>> _, state = tx.update(jnp.array([1.0, 3.0]), tx.init(0.0))
    >>> mean, variance = gradx.example_moments(state)
    >>> float(mean), float(variance)
    (2.0, 2.0)
    """
    found = [x for x in jax.tree.leaves(state, is_leaf=_is_tracked) if _is_tracked(x)]
    if len(found) != 1:
        raise ValueError(f"example_moments: the state must hold one track_examples, it holds {len(found)}")
    kept = found[0]
    return ExampleMoments(*(jax.tree.map(lambda x: x / kept.weight, part) for part in (kept.mean, kept.variance)))


def _is_tracked(x: Any) -> bool:
    return isinstance(x, TrackExamplesState)
