"""Adagrad: divide by the root of the sum of all squared gradients."""

from typing import Any, NamedTuple

from gradx import numerics, tree
from gradx.combine import chain
from gradx.core import transformation
from gradx.transforms.scale import scale_by_learning_rate
from gradx.typing import LearningRate, NonNegative, Params, Updates


class ScaleByRssState(NamedTuple):
    """The state of `scale_by_rss`."""

    sum_of_squares: Updates
    """The sum of |g|² so far; real, like the parameters, at least float32."""


def rss_leaf(g, total, *, eps):
    """Return (g / sqrt(total + eps), total) with total ← total + |g|²; 0 where the root is 0."""
    total = total + numerics.abs_sq(g)
    return numerics.safe_divide(g, numerics.safe_sqrt(total + eps)), total


@transformation
def scale_by_rss(initial_accumulator_value: NonNegative = 0.1, eps: NonNegative = 1e-7) -> Any:
    """Divide by the root of the sum of squares: s ← s + |g|², u = g / sqrt(s + eps).

    Args:
      initial_accumulator_value: where s starts.
      eps: added under the root (PyTorch adds it to the root).

    State: 1 number per parameter. Duchi, Hazan and Singer 2011, JMLR 12, Figure 1 (diagonal).

    >>> import gradx
    >>> tx = gradx.scale_by_rss(0.0, eps=0.0)
    >>> updates, _ = tx.update(4.0, tx.init(0.0))
    >>> float(updates)
    1.0
    """

    def init(params: Params) -> ScaleByRssState:
        return ScaleByRssState(tree.real_full_like(params, initial_accumulator_value))

    def update(updates: Updates, state: ScaleByRssState) -> tuple[Updates, ScaleByRssState]:
        updates, total = tree.map_leaves(rss_leaf, updates, state.sum_of_squares, eps=eps)
        return updates, ScaleByRssState(total)

    return init, update


@transformation
def adagrad(learning_rate: LearningRate, initial_accumulator_value: NonNegative = 0.1, eps: NonNegative = 1e-7) -> Any:
    """Adagrad: u = -learning_rate · g / sqrt(s + eps), s the sum of all |g|²; the steps shrink as 1/sqrt(t).

    Args:
      eps: added under the root, as in `scale_by_rss`.

    State: 1 number per parameter. Duchi, Hazan and Singer 2011, JMLR 12, Figure 1 (diagonal).

    >>> import gradx
    >>> gradx.adagrad(0.1)
    adagrad(learning_rate=0.1)
    """
    return chain(
        scale_by_rss(initial_accumulator_value, eps),
        scale_by_learning_rate(learning_rate),
    )
