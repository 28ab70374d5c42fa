"""Training in a directory: a checkpoint for each step, written by Orbax, trusted when every byte of it is there."""

import itertools
import json
import threading
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import AbstractMesh, NamedSharding

from gradx.checkpoint import files
from gradx.checkpoint.files import CheckpointError
from gradx.checkpoint.places import parameter_keys
from gradx.checkpoint.plan import Plan
from gradx.checkpoint.report import Report
from gradx.checkpoint.state_dict import DESCRIPTION, filled, placed, places_from, state_dict, understood
from gradx.typing import NonNegativeInt, Params, PositiveInt, PyTree, State

PARAMS, STATE = "params", "state"
"""The items of a checkpoint beside its description."""


class Restored(NamedTuple):
    """What `restore` found."""

    step: int
    params: Params
    state: State
    report: Report
    """What became of each number of the state, and `params:name` for parameters that are new or left out."""
    refused: dict[int, str]
    """The later steps that could not be read, and why."""


class Saving:
    """A checkpoint that is being written, or has been."""

    def __init__(self, step: int, finish: Callable[[], None], in_background: bool) -> None:
        self.step = step
        self._finish, self._error = finish, None
        self._thread = threading.Thread(target=self._run, name=f"gradx.checkpoint {step}") if in_background else None
        if self._thread:
            self._thread.start()
        else:
            finish()

    def _run(self) -> None:
        try:
            self._finish()
        except BaseException as error:  # told to whoever waits
            self._error = error

    def wait(self) -> None:
        """Return when the checkpoint is complete; raise what went wrong on the way."""
        if self._thread:
            self._thread.join()
        if self._error:
            error, self._error = self._error, None
            raise error


BARRIER_SECONDS = 1200
"""How long a process waits for the others."""

_NUMBERS = itertools.count()
"""Barriers must be called differently each time."""
_UNDER_WAY: dict[Path, Saving] = {}
"""The last one for each directory: they are written one after the other."""


def save(
    directory: str | Path,
    step: NonNegativeInt,
    tx: Any,
    state: State,
    params: Params,
    *,
    keep: PositiveInt | None = None,
    asynchronous: bool = False,
) -> Saving:
    """Write parameters and state under `directory/step`, so that `restore` finds the whole of it or nothing.

    Orbax writes, each process its own shards. A checkpoint counts once all its files and their check sums are written:
    what a crash leaves behind is passed over, and cleared away at the next `save`. A step that exists is replaced, and
    stays until then; one before a later one is refused.

    Args:
      directory: on a disk that all processes see; it is made where it is missing.
      step: the number of the step, at least 0.
      keep: how many checkpoints to keep, the latest; None keeps all. With 2, a damaged one has one before it.
      asynchronous: return when the arrays are copied, and write in the background: the next step may donate them. The
        next `save` waits for this one; call `wait()` on the last one before the program ends.

    Returns the `Saving`, whose `wait()` returns when the checkpoint is complete.

    >>> import gradx, tempfile
    >>> tx, params = gradx.sgd(0.1, momentum=0.9), {"w": 1.0}
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     _ = gradx.checkpoint.save(directory, 7, tx, tx.init(params), params)
    ...     restored = gradx.checkpoint.restore(directory, tx, params)
    >>> restored.step, float(restored.params["w"]), restored.report.is_complete
    (7, 1.0, True)
    """
    ocp = _orbax()
    root, step = files.root_of(directory), files.number("save", "step", step)
    keep = None if keep is None else files.number("save", "keep", keep, least=1)
    if under_way := _UNDER_WAY.pop(root, None):
        under_way.wait()
    files.check_place(root, step, DESCRIPTION)
    kept = state_dict(tx, state, params)
    arrays = {
        PARAMS: dict(zip(parameter_keys(params), jax.tree.leaves(params), strict=True)),
        STATE: {name: x for name, x in kept.items() if name != DESCRIPTION},
    }
    described = {item: {name: _type(x) for name, x in found.items()} for item, found in arrays.items()}
    description = {"step": step, DESCRIPTION: json.loads(kept[DESCRIPTION]), **described}
    # Orbax takes no array without entries; their shapes are in the description
    written = {item: {k: x for k, x in found.items() if np.size(x)} for item, found in arrays.items()}
    items = {item: ocp.args.PyTreeSave(jax.tree.map(_array, found)) for item, found in written.items() if found}
    everything = ocp.args.Composite(**items, **{DESCRIPTION: ocp.args.JsonSave(description)})
    is_first, number = jax.process_index() == 0, next(_NUMBERS)
    _meet(f"begin {step} {number}")  # before one of them clears away what others may still look at
    if is_first:
        files.clear(root, step)
    kind = ocp.AsyncCheckpointer if asynchronous else ocp.Checkpointer
    checkpointer = kind(ocp.CompositeCheckpointHandler())
    checkpointer.save(root / str(step), args=everything, force=True)

    def finish() -> None:
        checkpointer.close()  # waits for what is still to be written
        if is_first:
            files.seal(root / str(step))
            useless = [root / str(old) for old in files.steps(root)[:-keep]] if keep else []
            before = root / f"{step}{files.REPLACED}"
            for path in (*useless, *[before] * before.is_dir()):
                files.remove(path)
        _meet(f"end {step} {number}")  # for none of them it is complete before the seal is there

    saving = Saving(step, finish, asynchronous)
    if asynchronous:
        _UNDER_WAY[root] = saving
    return saving


def restore(
    directory: str | Path,
    tx: Any,
    params: Params,
    *,
    step: NonNegativeInt | None = None,
    shardings: PyTree | None = None,
) -> Restored:
    """Return the parameters and the state of the latest checkpoint that is whole, or of a given step.

    A checkpoint with a file that is missing, shorter or changed is refused with that file's name, and the one before is
    taken, with a warning. The optimizer may have changed since: what goes where is found as by `load_state_dict`, and
    the report says it. A parameter that the checkpoint lacks stays as given.

    Args:
      directory: where `save` wrote.
      params: the parameters, or `jax.ShapeDtypeStruct`s: they say names, shapes and dtypes, and by their shardings
        where each array goes, also on another mesh than it came from.
      step: which one; then a damaged one is an error.
      shardings: a tree like the state of `jax.sharding.Sharding`s; None puts its leaves where `tx.init` does.

    Raises FileNotFoundError where no checkpoint was ever finished, `CheckpointError` where all are damaged, ValueError
    where a parameter has another shape.

    >>> import gradx, tempfile
    >>> tx, params = gradx.sgd(0.1, momentum=0.9), {"w": 1.0}
    >>> with tempfile.TemporaryDirectory() as directory:
    ...     _ = gradx.checkpoint.save(directory, 7, tx, tx.init(params), params)
    ...     other = gradx.chain(gradx.clip(1.0), tx)  # the optimizer may change
    ...     restored = gradx.checkpoint.restore(directory, other, params)
    >>> restored.report.matched
    {'sgd/momentum.trace:w': 'sgd/momentum.trace:w'}
    """
    root = files.root_of(directory)
    if root in _UNDER_WAY:
        _UNDER_WAY[root].wait()
    candidates = files.steps(root, sealed=False)[::-1] if step is None else [files.number("restore", "step", step)]
    if not candidates or not files.place_of(root, candidates[0]).is_dir():
        raise FileNotFoundError(f"restore: no checkpoint in {root}" + ("" if step is None else f" for step {step}"))
    params = jax.tree.map(_on_devices, params)
    refused: dict[int, str] = {}
    is_unfinished = True
    for candidate in candidates:
        place = files.place_of(root, candidate)
        try:
            files.verify(place)
            found = _read(place, tx, params, shardings)
        except CheckpointError as error:
            if step is not None:
                raise
            refused[candidate] = str(error)
            if not isinstance(error, files.UnfinishedError):  # which is what a crash leaves
                is_unfinished = False
                warnings.warn(f"restore: step {candidate} is refused, the one before is taken: {error}", stacklevel=2)
            continue
        return Restored(candidate, *found, refused)
    raise (files.UnfinishedError if is_unfinished else CheckpointError)("; ".join(refused.values()))


def _read(directory: Path, tx: Any, params: Params, shardings: PyTree | None) -> tuple[Params, State, Report]:
    """Return parameters, state and report from the files of one step."""
    description = _load(directory, DESCRIPTION, None)
    understood(json.dumps(description.get(DESCRIPTION)))  # before anything that a later version may write otherwise
    given = dict(zip(parameter_keys(params), jax.tree.leaves(params), strict=True))
    types = {name: _struct(*x) for name, x in description[PARAMS].items()}
    for name in given.keys() & types.keys():
        if types[name].shape != np.shape(given[name]):
            fault = f"'{name}' is {types[name].shape} in the checkpoint, and {np.shape(given[name])} here"
            raise ValueError(f"restore: {directory}: the parameter {fault}")
    missing = [name for name in given if name not in types]
    if abstract := [name for name in missing if isinstance(given[name], jax.ShapeDtypeStruct)]:
        raise ValueError(f"restore: {directory} has no parameter '{abstract[0]}', and no value is given for it")
    likes = {name: x for name, x in given.items() if name in types}
    values = _load_arrays(directory, PARAMS, types, likes)
    leaves = [placed(values[name], x) if name in values else x for name, x in given.items()]
    params = jax.tree.structure(params).unflatten(leaves)
    old = places_from(json.dumps(description[DESCRIPTION]), {k: _struct(*x) for k, x in description[STATE].items()})

    def fetch(plan: Plan, fresh: list) -> list:
        wanted = {old.places[i].name: fresh[n] for n, i in reversed(plan.source.items())}
        types = {name: _struct(*description[STATE][name]) for name in wanted}
        found = _load_arrays(directory, STATE, types, wanted)
        return [found.get(place.name) for place in old.places]

    state, report = filled(tx, params, old, fetch, loosely=False, shardings=shardings)
    left = {f"params:{name}": "there is no such parameter here" for name in types if name not in given}
    new = {f"params:{name}": "it was not there" for name in missing}
    return params, state, Report(report.matched, report.left_out | left, report.new | new, report.changed)


def _on_devices(x: Any) -> Any:
    """Return a shape as `jax.eval_shape` tells it under `jax.set_mesh`, on the devices of that mesh."""
    sharding = getattr(x, "sharding", None)
    if not isinstance(sharding, NamedSharding) or not isinstance(sharding.mesh, AbstractMesh):
        return x
    mesh = jax.sharding.get_mesh()
    if mesh.shape != sharding.mesh.shape:
        fault = f"a parameter of {x.shape} lies on the axes {dict(sharding.mesh.shape)} of no devices"
        raise ValueError(f"restore: {fault}: call it under jax.set_mesh(mesh)")
    own = NamedSharding(mesh, sharding.spec, memory_kind=sharding.memory_kind)
    return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=own)


def _load_arrays(directory: Path, item: str, types: Mapping[str, Any], likes: Mapping[str, Any]) -> dict[str, Any]:
    """Return arrays by name, each where the one like it lies, if that is anywhere in particular."""
    ocp = _orbax()

    def how(name: str, like: Any) -> Any:
        sharding = getattr(like, "sharding", None) if getattr(like, "committed", True) else None
        if sharding is None or np.shape(like) != types[name].shape:  # of a random key its data is kept
            return ocp.RestoreArgs(restore_type=np.ndarray)
        return ocp.ArrayRestoreArgs(sharding=sharding, global_shape=types[name].shape, dtype=types[name].dtype)

    kept = {name: like for name, like in likes.items() if np.prod(types[name].shape, dtype=int)}
    empty = {name: np.zeros(types[name].shape, types[name].dtype) for name in likes if name not in kept}
    if not kept:
        return empty
    arguments = ocp.args.PyTreeRestore(
        {name: types[name] for name in kept},
        restore_args={name: how(name, like) for name, like in kept.items()},
        partial_restore=True,
    )
    return {**_load(directory, item, arguments), **empty}


def _load(directory: Path, item: str, arguments: Any) -> Any:
    """Return one item of a checkpoint; what Orbax cannot read is refused by name."""
    ocp = _orbax()
    try:
        with ocp.Checkpointer(ocp.CompositeCheckpointHandler()) as checkpointer:
            return checkpointer.restore(
                directory, args=ocp.args.Composite(**{item: arguments or ocp.args.JsonRestore()})
            )[item]
    except Exception as error:  # of many kinds, from several libraries
        raise CheckpointError(f"{directory / item}: {error}") from error


def _meet(key: str) -> None:
    """Return when all processes are here."""
    if jax.process_count() > 1:
        _orbax().multihost.get_barrier_sync_fn()(key=f"gradx.checkpoint {key}", timeout_ms=BARRIER_SECONDS * 1000)


def _orbax() -> Any:
    try:
        import orbax.checkpoint
    except ImportError as error:
        raise ImportError("gradx.checkpoint.save and restore need Orbax: pip install '.[checkpoint]'") from error
    return orbax.checkpoint


def _type(x: Any) -> list:
    return [str(_array(x).dtype), list(np.shape(x))]


def _array(x: Any) -> Any:
    return x if isinstance(x, jax.Array | np.ndarray) else np.asarray(x)


def _struct(dtype: str, shape: list[int]) -> jax.ShapeDtypeStruct:
    return jax.ShapeDtypeStruct(tuple(shape), jax.numpy.dtype(dtype))
