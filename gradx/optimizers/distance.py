"""Distance over gradients: the step is how far the parameters have come, divided by the gradients met on the way."""

from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp

from gradx import checks, numerics, tree
from gradx.combine import chain
from gradx.core import GradientTransformation, identity, transformation
from gradx.transforms.decay import add_decayed_weights
from gradx.transforms.scale import scale_by_learning_rate, scale_leaf
from gradx.typing import DType, LearningRate, Mask, NonNegative, Params, Positive, Range, ScalarOrSchedule, Updates

InitStep = tuple[Literal["distance", "learning_rate", "heuristic"], Any]


class DoGState(NamedTuple):
    """The state of `scale_by_dog`."""

    is_init_step: jax.Array
    """bool[]: whether no update has been made yet."""
    init_params: Params
    """The parameters at the start; at least float32."""
    max_dist: jax.Array
    """float32[]: the largest distance from the start so far."""
    sum_sq_norm_grads: jax.Array
    """float32[]: the sum of all ‖g‖²."""


class DoWGState(NamedTuple):
    """The state of `scale_by_dowg`."""

    init_params: Params
    """The parameters at the start; at least float32."""
    weighted_sq_norm_grads: jax.Array
    """float32[]: the sum of all ‖g‖², each times the squared distance at that time."""
    estim_sq_dist: jax.Array
    """float32[]: the largest squared distance from the start so far."""


class ScaleByDistanceOverGradientsState(NamedTuple):
    """The state of `scale_by_distance_over_gradients`."""

    max_dist: Updates
    """float32[] for each array: its largest distance from its start so far."""
    grad_sum_of_squares: Updates
    """float32[] for each array: the sum of all its ‖g‖²."""
    init_params: Params
    """The parameters at the start, in `param_dtype` or at least float32."""


def squared_distance_leaf(g, p0, p):
    """Return ‖p - p0‖² of a leaf that has a gradient."""
    return jnp.sum(numerics.abs_sq(p - p0))


def dog_step(max_dist, total, is_first, *, eps, init_step):
    """Return max_dist / sqrt(total + eps), at the first update `init_step` if that is given."""
    step = numerics.safe_divide(max_dist, numerics.safe_sqrt(total + eps))
    return step if init_step is None else jnp.where(is_first, init_step, step)


@transformation
def scale_by_dog(init_step: InitStep = ("heuristic", 1e-6), eps: NonNegative = 1e-8) -> Any:
    """Multiply by distance over gradients: u = g · r / sqrt(G + eps), r = max ‖p - p0‖, G = the sum of all ‖g‖².

    Args:
      init_step: where r starts: ("distance", r), or ("heuristic", a) for r = a · (1 + ‖p0‖), a = 1e-6, with batch
        normalisation 1e-4; or ("learning_rate", x), the step of the first update itself.
      eps: added to the sum.

    State: 1 number per parameter, 3 scalars. Needs: params. Ivgi, Hinder and Carmon 2023, arXiv:2302.12022, Algorithm
    1 (DoG); the authors evaluate an average of the parameters.

    >>> import gradx
    >>> tx = gradx.scale_by_dog(("distance", 0.5))
    >>> updates, _ = tx.update(4.0, tx.init(1.0), 1.0)
    >>> round(float(updates), 4)
    0.5
    """
    kind, value = init_step
    if kind not in ("distance", "learning_rate", "heuristic"):
        raise ValueError(
            f"scale_by_dog: init_step must be ('distance', r), ('learning_rate', x) or ('heuristic', a), got {kind!r}"
        )
    value = checks.hyperparameter("scale_by_dog", "init_step[1]", value, Range(low=0.0, closed="(]", schedule=True))

    def init(params: Params) -> DoGState:
        start = {"distance": value, "learning_rate": 0.0}.get(kind)
        start = value * (1 + tree.norm(params)) if start is None else start
        none = tree.scalar_like(params, 0.0)
        return DoGState(jnp.ones((), bool), tree.copy(tree.lift(params)), tree.scalar_like(params, start), none)

    def update(updates: Updates, state: DoGState, params: Params) -> tuple[Updates, DoGState]:
        distance = numerics.safe_sqrt(tree.total(squared_distance_leaf, updates, state.init_params, params))
        max_dist = jnp.maximum(state.max_dist, distance.astype(state.max_dist.dtype))
        total = state.sum_sq_norm_grads + tree.norm(updates, squared=True).astype(max_dist.dtype)
        first = value if kind == "learning_rate" else None
        step = tree.map_leaves(dog_step, max_dist, total, state.is_init_step, eps=eps, init_step=first)
        updates = tree.map_leaves(scale_leaf, updates, factor=step)
        return updates, DoGState(jnp.zeros((), bool), state.init_params, max_dist, total)

    return init, update


@transformation
def dog(
    learning_rate: LearningRate = 1.0,
    init_step: InitStep = ("heuristic", 1e-6),
    eps: NonNegative = 1e-8,
    weight_decay: NonNegative | None = None,
    mask: Mask | None = None,
) -> Any:
    """DoG: u = -learning_rate · g · r / sqrt(G + eps), r = max ‖p - p0‖, G = the sum of all ‖g‖².

    Args:
      learning_rate: a factor, 1 as a rule.
      weight_decay: L2 regularisation: weight_decay · p is added to the gradient before all else; None adds nothing.

    The rest as in `scale_by_dog`.

    State: 1 number per parameter. Needs: params. Ivgi, Hinder and Carmon 2023, arXiv:2302.12022, Algorithm 1.

    >>> import gradx
    >>> gradx.dog(init_step=("distance", 0.1))
    dog(init_step=('distance', 0.1))
    """
    return _descending(scale_by_dog(init_step, eps), learning_rate, weight_decay, mask)


def dowg_step(estimate, weighted, square, *, eps):
    """Return (estimate, weighted, step): weighted ← weighted + estimate · ‖g‖², step = estimate / (its root + eps)."""
    weighted = weighted + estimate * square
    return estimate, weighted, numerics.safe_divide(estimate, numerics.safe_sqrt(weighted) + eps)


@transformation
def scale_by_dowg(init_estim_sq_dist: Positive | None = None, eps: NonNegative = 1e-4) -> Any:
    """Multiply by distance over weighted gradients: u = g · r² / (sqrt(v) + eps), v ← v + r² · ‖g‖².

    r = max ‖p - p0‖, the distance from the start.

    Args:
      init_estim_sq_dist: where r² starts; None is `eps`.
      eps: added to the root.

    State: 1 number per parameter, 2 scalars. Needs: params. Khaled, Mishchenko and Jin 2023, arXiv:2305.16284,
    Algorithm 1, with eps.

    >>> import gradx
    >>> tx = gradx.scale_by_dowg(0.25, eps=0.0)
    >>> updates, _ = tx.update(4.0, tx.init(1.0), 1.0)
    >>> round(float(updates), 4)
    0.5
    """

    def init(params: Params) -> DoWGState:
        start = eps if init_estim_sq_dist is None else init_estim_sq_dist
        none = tree.scalar_like(params, 0.0)
        return DoWGState(tree.copy(tree.lift(params)), none, tree.scalar_like(params, start))

    def update(updates: Updates, state: DoWGState, params: Params) -> tuple[Updates, DoWGState]:
        distance = tree.total(squared_distance_leaf, updates, state.init_params, params)
        estimate = jnp.maximum(state.estim_sq_dist, distance.astype(state.estim_sq_dist.dtype))
        square = tree.norm(updates, squared=True)
        estimate, weighted, step = tree.map_leaves(dowg_step, estimate, state.weighted_sq_norm_grads, square, eps=eps)
        updates = tree.map_leaves(scale_leaf, updates, factor=step)
        return updates, DoWGState(state.init_params, weighted, estimate)

    return init, update


@transformation
def dowg(
    learning_rate: LearningRate = 1.0,
    init_estim_sq_dist: Positive | None = None,
    eps: NonNegative = 1e-4,
    weight_decay: NonNegative | None = None,
    mask: Mask | None = None,
) -> Any:
    """DoWG: u = -learning_rate · g · r² / (sqrt(v) + eps), v ← v + r² · ‖g‖², r = max ‖p - p0‖.

    Args:
      learning_rate: a factor, 1 as a rule.
      weight_decay: L2 regularisation: weight_decay · p is added to the gradient before all else; None adds nothing.

    The rest as in `scale_by_dowg`.

    State: 1 number per parameter. Needs: params. Khaled, Mishchenko and Jin 2023, arXiv:2305.16284, Algorithm 1.

    >>> import gradx
    >>> gradx.dowg(weight_decay=1e-4)
    dowg(weight_decay=0.0001)
    """
    return _descending(scale_by_dowg(init_estim_sq_dist, eps), learning_rate, weight_decay, mask)


def distance_leaf(g, max_dist, total, p0, p, *, eps, scale):
    """Return (g · scale · max_dist / sqrt(total + eps), max_dist, total) of one array."""
    max_dist = jnp.maximum(max_dist, numerics.safe_sqrt(jnp.sum(numerics.abs_sq(p - p0))))
    total = total + jnp.sum(numerics.abs_sq(g))
    return g * (scale * numerics.safe_divide(max_dist, numerics.safe_sqrt(total + eps))), max_dist, total


@transformation
def scale_by_distance_over_gradients(
    reps_rel: Positive = 1e-6,
    eps: NonNegative = 1e-8,
    param_dtype: DType | None = None,
    global_scale: ScalarOrSchedule = 1.0,
) -> Any:
    """Multiply each array by its own distance over gradients: u = global_scale · g · r / sqrt(G + eps).

    r = max ‖p - p0‖ and G = the sum of all ‖g‖² of this array alone.

    Args:
      reps_rel: r starts at reps_rel · (1 + ‖p0‖); 1e-4 for models with batch normalisation.
      eps: added to the sum.
      param_dtype: in which p0 is kept; None is at least float32 (Optax's float32 loses float64).
      global_scale: a factor; with -1 the update descends.

    State: 1 number per parameter, 2 scalars per array. Needs: params. Ivgi, Hinder and Carmon 2023, arXiv:2302.12022,
    Algorithm 1 for each layer (L-DoG).

    >>> import gradx
    >>> tx = gradx.scale_by_distance_over_gradients(reps_rel=0.25)
    >>> updates, _ = tx.update(4.0, tx.init(1.0), 1.0)
    >>> round(float(updates), 4)
    0.5
    """

    def init(params: Params) -> ScaleByDistanceOverGradientsState:
        start = tree.cast(params, param_dtype) if param_dtype is not None else tree.lift(params)
        max_dist = jax.tree.map(lambda p: tree.scalar_like(p, jnp.asarray(reps_rel) * (1 + tree.norm(p))), params)
        total = jax.tree.map(lambda p: tree.scalar_like(p, 0.0), params)
        return ScaleByDistanceOverGradientsState(max_dist, total, tree.copy(start))

    def update(
        updates: Updates, state: ScaleByDistanceOverGradientsState, params: Params
    ) -> tuple[Updates, ScaleByDistanceOverGradientsState]:
        trees = state.max_dist, state.grad_sum_of_squares, state.init_params, params
        updates, max_dist, total = tree.map_leaves(distance_leaf, updates, *trees, eps=eps, scale=global_scale)
        return updates, ScaleByDistanceOverGradientsState(max_dist, total, state.init_params)

    return init, update


def _descending(
    direction: GradientTransformation, learning_rate: LearningRate, weight_decay: NonNegative | None, mask: Mask | None
) -> GradientTransformation:
    decay = identity() if weight_decay is None else add_decayed_weights(weight_decay, mask)
    return chain(decay, direction, scale_by_learning_rate(learning_rate))
