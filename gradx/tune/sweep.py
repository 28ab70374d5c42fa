"""Train with many values of some hyperparameters, and with several seeds, in one compiled program."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike

from gradx import checks, display
from gradx.core import GradientTransformation
from gradx.tune.members import listed_values, stack_members
from gradx.typing import PyTree

OWNER = "sweep"
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
"""How XLA's errors begin when a device has no memory left."""


@dataclass(frozen=True, eq=False, repr=False)
class SweepResult:
    """What a sweep returns."""

    values: dict[str, list]
    """The swept hyperparameters by name; entry i of each list is member i's."""
    results: PyTree
    """What `train` returned, as NumPy arrays: each leaf has the leading axes [members, seeds]."""

    def best(self, score: Callable[[PyTree], ArrayLike] = lambda results: results) -> dict[str, Any]:
        """Return the hyperparameters of the member with the lowest score, for `gradx.replace(tx, **best)`.

        Args:
          score: from the results to numbers [members, seeds] (averaged over the seeds) or [members]; without it the
            results themselves. A member with NaN in it is never the best.

        Raises ValueError for another shape, or when every score is NaN.
        """
        scores = self._scores("best", score).mean(axis=1)
        if np.isnan(scores).all():
            raise ValueError("SweepResult.best: the score of every member is NaN")
        i = int(np.nanargmin(scores))
        return {name: x[i] for name, x in self.values.items()}

    def plot(
        self,
        score: Callable[[PyTree], ArrayLike] = lambda results: results,
        *,
        over: str | None = None,
        ax: Any = None,
        log: bool = False,
    ) -> Any:
        """Draw the scores over one hyperparameter with matplotlib, and return its `Axes`.

        A line for each combination of the others: means over the seeds, in a band from the lowest to the highest. A
        cross at the upper edge is a member whose score is not finite, a star the best.

        Args:
          score: as in `best`.
          over: the hyperparameter along the axis; None takes that with the most values.
          ax: the `Axes` to draw on; None makes a new figure.
          log: whether the scores stand on a logarithmic axis.

        >>> import gradx
        >>> def train(tx, key):
        ...     updates, _ = tx.update(1.0, tx.init(0.0))
        ...     return updates
        >>> result = gradx.tune.sweep(gradx.sgd(0.1), train, {"learning_rate": [0.5, 1.0]})
        >>> axes = result.plot()
        """
        return display.show("viz.plots", "plot_sweep", self.values, self._scores("plot", score), over, ax=ax, log=log)

    def _scores(self, method: str, score: Callable[[PyTree], ArrayLike]) -> np.ndarray:
        """Return the scores, [members, seeds]."""
        leaves = jax.tree.leaves(score(self.results))
        members = len(next(iter(self.values.values())))
        shape = np.shape(leaves[0]) if len(leaves) == 1 else None
        if shape is None or len(shape) not in (1, 2) or shape[0] != members:
            found = f"shape {shape}" if shape is not None else f"{len(leaves)} arrays"
            raise ValueError(
                f"SweepResult.{method}: score must return one array [members, seeds] or [members], here {members}"
                f" members, got {found}: say what counts, {method}(lambda results: results[..., -1])"
            )
        return np.asarray(leaves[0], float).reshape(members, -1)

    def __repr__(self) -> str:
        members = len(next(iter(self.values.values())))
        shapes = jax.tree.map(checks.describe, self.results)
        return f"SweepResult({members} members over {', '.join(self.values)}; results {shapes})"


def sweep(
    tx: GradientTransformation,
    train: Callable[[GradientTransformation, jax.Array], PyTree],
    values: Mapping[str, Sequence],
    *,
    seeds: int | Sequence[int] | jax.Array = 1,
    chunk: int | None = None,
    progress: Callable[[int, int], Any] | None = None,
) -> SweepResult:
    """Run `train(tx, key)` for every member and seed in one compiled program, and return all results.

    Member i is `gradx.replace(tx, name=values[name][i], ...)`; all are built and checked before any runs.

    Args:
      tx: the transformation to vary.
      train: makes parameters and state, trains (`jax.lax.scan` over the steps), returns a pytree of arrays. It is
        traced once for each size of chunk. Arrays that it closes over are shared by all members.
      values: name, as `gradx.replace` takes it, to a list with one value a member: numbers, arrays, schedules of one
        kind. The lists are taken together; `gradx.tune.grid` makes every combination.
      seeds: n for the keys `jax.random.key(0)` to `key(n - 1)`, or the seeds, or an array of keys. Every member gets
        the same.
      chunk: how many members run at once, each with all its seeds; memory grows with chunk · seeds times one run's.
        None: all, and half as many each time that the device says it has no memory left (on a CPU the system may end
        the process first). The last chunk is filled up, so all use one program.
      progress: called with (members done, members) after each chunk.

    Raises TypeError or ValueError for wrong names, lengths and ranges, and for values that change the program.

    >>> import gradx
    >>> def train(tx, key):
    ...     updates, _ = tx.update(1.0, tx.init(0.0))
    ...     return updates
    >>> result = gradx.tune.sweep(gradx.sgd(0.1), train, {"learning_rate": [0.5, 1.0]})
    >>> result.results.tolist()
    [[-0.5], [-1.0]]
    """
    listed = listed_values(OWNER, values)
    stacked = stack_members(OWNER, tx, listed)
    keys = _keys(seeds)
    members = len(next(iter(listed.values())))
    if chunk is not None and (isinstance(chunk, bool) or not isinstance(chunk, int | np.integer) or chunk < 1):
        raise ValueError(f"{OWNER}: chunk must be None or an integer of at least 1, got {chunk!r}")
    run = jax.jit(jax.vmap(jax.vmap(train, (None, 0)), (0, None)))
    size, parts, done = members if chunk is None else min(int(chunk), members), [], 0
    while done < members:
        chosen = np.minimum(np.arange(done, done + size), members - 1)
        try:
            part = jax.device_get(run(_rows(stacked, chosen), keys))
        except jax.errors.JaxRuntimeError as problem:
            if chunk is not None or size == 1 or OUT_OF_MEMORY not in str(problem):
                raise
            size = (size + 1) // 2
            continue
        parts.append(_rows(part, slice(members - done)))
        done = min(done + size, members)
        if progress is not None:
            progress(done, members)
    return SweepResult(listed, jax.tree.map(lambda *x: np.concatenate(x), *parts))


def _rows(tree: PyTree, which: np.ndarray | slice) -> PyTree:
    return jax.tree.map(lambda x: x[which], tree)


def _keys(seeds: Any) -> jax.Array:
    """Return an array of keys [seeds]."""
    if isinstance(seeds, jax.Array) and jax.dtypes.issubdtype(seeds.dtype, jax.dtypes.prng_key):
        if seeds.ndim != 1 or not len(seeds):
            raise ValueError(f"{OWNER}: an array of keys must have one axis and one key at least, got {seeds.shape}")
        return seeds
    if isinstance(seeds, int | np.integer) and not isinstance(seeds, bool):
        seeds = range(int(seeds))
    numbers = np.asarray(seeds)
    if numbers.ndim != 1 or not numbers.size or not np.issubdtype(numbers.dtype, np.integer):
        raise ValueError(f"{OWNER}: seeds must be a number of at least 1, a list of integers or an array of keys")
    return jnp.stack([jax.random.key(int(seed)) for seed in numbers])
