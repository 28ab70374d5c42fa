"""Float64 NumPy references of the optimizers that find their own step size, from the papers, and their rows.

These see all arrays at once: their distances and norms are those of the whole. A reference keeps what the paper writes,
sums over all steps so far where it has them, and says where gradx or Optax do something else.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

import gradx
from tests.oracles.optimizers import BLOCK_RATE
from tests.oracles.optimizers_trajectory import (
    Remembering,
    Row,
    Scheduled,
    Tree,
    Whole,
    loss,
    of_library,
    of_reference,
)


def total(f: Callable, *trees: Tree) -> float:
    """Return the sum of f over all entries."""
    return sum(float(np.sum(f(*(tree[name] for tree in trees)))) for name in trees[0])


def each(f: Callable, *trees: Tree) -> Tree:
    """Return f of each array."""
    return {name: f(*(tree[name] for tree in trees)) for name in trees[0]}


def squared_norm(tree: Tree) -> float:
    """Return ‖x‖² of all arrays as one vector."""
    return total(np.square, tree)


def with_loss(params: Tree) -> dict[str, Any]:
    """Return the extra of those that need the loss."""
    return {"value": loss(params)}


def polyak(grads, params, *, value, f_min=0.0, max_learning_rate=1.0, eps=0.0, variant="sps", scaling=1.0):
    """Loizou et al. 2021, eq. 3 with c = 1 and the bound; "sps+" Garrigos et al. 2023, its positive part."""
    gap = value - f_min
    if variant == "sps+":
        gap = max(gap, 0.0)
    step = min(gap / (squared_norm(grads) + eps), max_learning_rate)
    return each(lambda g: -scaling * step * g, grads)


def whole(
    name: str,
    reference: Callable,
    title: str = "",
    *,
    kind: Callable = Remembering,
    peer: str | None = "contrib",
    block: float | None = None,
    extras: Callable[[Tree], dict[str, Any]] = lambda params: {},
    **hyper: Any,
) -> Row:
    """Return the row of an optimizer whose reference sees all arrays at once.

    Args:
      name: of gradx's factory, and of Optax's.
      reference: what `kind` runs.
      title: the row's name, if not the factory's.
      kind: `Whole` or `Remembering`.
      peer: where in Optax it stands: "", "contrib", or None for no peer.
      block: the learning rate of the plain descent behind a building block.
      extras: from the parameters to what the update needs.
      **hyper: the hyperparameters.
    """
    scheduled = any(isinstance(h, Scheduled) for h in hyper.values())

    def behind(library: Any, tx: Any) -> Any:
        return tx if block is None else library.chain(tx, library.scale(-block))

    def of_optax(optax: Any) -> Any:
        make = getattr(getattr(optax, peer) if peer else optax, name)
        return behind(optax, (optax.inject_hyperparams(make) if scheduled else make)(**of_library(optax, hyper)))

    def referee(**changes: Any) -> Callable[..., Tree]:
        run = kind(reference, **(of_reference(hyper) | changes))
        step = 1.0 if block is None else -block
        return lambda *args, **given: each(lambda u: step * u, run(*args, **given))

    return Row(
        name=title or name,
        ours=lambda: behind(gradx, getattr(gradx, name)(**of_library(gradx, hyper))),
        reference=referee,
        optax=None if peer is None else of_optax,
        hyper=hyper,
        extras=extras,
    )


TRAJECTORIES: list[Row] = [
    whole("polyak_sgd", polyak, kind=Whole, peer="", extras=with_loss, max_learning_rate=0.3, f_min=7.0, eps=2.0),
    whole(
        "polyak_sgd",
        polyak,
        "polyak_sgd, scaled, sps+",
        kind=Whole,
        peer=None,  # Optax measures the gradient behind the scaling
        extras=with_loss,
        max_learning_rate=0.3,
        scaling=Scheduled(lambda lib: lib.exponential_decay(1.0, 20, 0.5), lambda n: 0.5 ** (n / 20)),
        f_min=8.6,
        eps=0.5,
        variant="sps+",
    ),
    whole(
        "scale_by_polyak",
        lambda grads, params, **rest: each(np.negative, polyak(grads, params, **rest)),
        kind=Whole,
        peer="",
        block=BLOCK_RATE,
        extras=with_loss,
        f_min=7.0,
        eps=3.0,
    ),
]
