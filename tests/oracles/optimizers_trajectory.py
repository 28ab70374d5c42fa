"""The problem on which optimizers are compared, and a run of 50 steps on it by gradx, NumPy, Optax and torch.

The gradient is one NumPy formula for all of them, in the precision of the parameters that it is given: it depends on
the parameters (curvature, a sine, a coupling of all arrays through their means) and has noise of its own at each step.
"""

import functools
import importlib
from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pkgutil import iter_modules
from typing import Any

import jax
import numpy as np

import gradx
from tests import oracles
from tests.oracles.recorded import from_torch

STEPS = 50
FLOAT32 = 1e-5
"""Against the reference and the peers. Rounding makes 1e-6 in 50 steps, and 5e-6 where a peer's formula cancels."""
SHAPES = {"heads": (3, 2, 2), "kernel": (3, 3, 2, 4), "matrix": (4, 3), "scalar": (), "vector": (5,)}

Tree = dict[str, np.ndarray]


def _draw(seed: int, *lead: int) -> Tree:
    rng = np.random.default_rng(seed)
    return {name: np.asarray(rng.normal(size=(*lead, *shape))) for name, shape in SHAPES.items()}


START = _draw(0)
TARGET = _draw(1)
CURVATURE = {name: 0.3 + x**2 for name, x in _draw(2).items()}
NOISE = {name: 0.2 * x for name, x in _draw(3, STEPS).items()}


def gradient(params: Mapping[str, np.ndarray], step: int) -> Tree:
    """Return the gradient of curvature · (p - target)² / 2 - 0.15 cos(2 p) + coupling, with the noise of `step`."""
    coupling = 0.1 * sum(np.mean(p) for p in params.values())

    def of(name: str, p: np.ndarray) -> np.ndarray:
        pull = CURVATURE[name].astype(p.dtype) * (p - TARGET[name].astype(p.dtype))
        return (pull + 0.3 * np.sin(2 * p) + coupling + NOISE[name][step].astype(p.dtype)).astype(p.dtype)

    return {name: of(name, np.asarray(p)) for name, p in params.items()}


def loss(params: Mapping[str, np.ndarray]) -> np.ndarray:
    """Return the loss whose gradient is that without coupling and noise, less what it is at the least: above 0."""

    def of(name: str, p: np.ndarray) -> np.ndarray:
        pull = CURVATURE[name].astype(p.dtype) * (p - TARGET[name].astype(p.dtype)) ** 2 / 2
        return np.sum(pull + 0.15 * (1 - np.cos(2 * p)), dtype=p.dtype)

    return np.asarray(sum((of(name, np.asarray(p)) for name, p in params.items()), np.zeros((), np.float32)))


Reference = Callable[..., Tree]
"""From (gradients, parameters) and extras to what is added to the parameters; counts its own steps."""


class Leafwise:
    """A reference that treats each array by itself, and needs no extras.

    `leaf(t, g, p, memory, **hyper)` returns the update; t is 1 at the first step, `memory` a dict of the array's own,
    empty at the start. A hyperparameter given as a function of the number of steps already taken is evaluated at each
    step; `mask` (a dict, or a function from the parameters to one) reaches the leaf as its own bool.
    """

    def __init__(self, leaf: Callable, **hyper: Any) -> None:
        self.leaf, self.hyper, self.t = leaf, hyper, 0
        self.memory: defaultdict[str, dict] = defaultdict(dict)

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        now = {k: h(self.t) if callable(h) and "mask" not in k else h for k, h in self.hyper.items()}
        masks = {k: h(params) if callable(h) else h for k, h in now.items() if "mask" in k and h is not None}
        self.t += 1

        def of(name: str) -> np.ndarray:
            own = {k: mask[name] for k, mask in masks.items()}
            return self.leaf(self.t, grads[name], params[name], self.memory[name], **(now | own))

        return {name: of(name) for name in grads}


class Whole:
    """A reference without memory that sees all arrays at once: `f(grads, params, **extras, **hyper)`."""

    def __init__(self, f: Callable, **hyper: Any) -> None:
        self.f, self.hyper, self.t = f, hyper, 0

    def __call__(self, grads: Tree, params: Tree, **extras: Any) -> Tree:
        now = {k: h(self.t) if callable(h) else h for k, h in self.hyper.items()}
        self.t += 1
        return self.f(grads, params, **extras, **now)


class Remembering:
    """A reference that sees all arrays at once and has a memory, a dict that is empty at the start.

    `f(t, grads, params, memory, **extras, **hyper)`; t is 1 at the first step.
    """

    def __init__(self, f: Callable, **hyper: Any) -> None:
        self.f, self.hyper, self.t = f, hyper, 0
        self.memory: dict[str, Any] = {}

    def __call__(self, grads: Tree, params: Tree, **extras: Any) -> Tree:
        now = {k: h(self.t) if callable(h) and "mask" not in k else h for k, h in self.hyper.items()}
        self.t += 1
        return self.f(self.t, grads, params, self.memory, **extras, **now)


class Chain:
    """One reference after the other."""

    def __init__(self, *parts: Reference) -> None:
        self.parts = parts

    def __call__(self, grads: Tree, params: Tree) -> Tree:
        for part in self.parts:
            grads = part(grads, params)
        return grads


@dataclass(frozen=True)
class Scheduled:
    """A hyperparameter that changes: a schedule of a library beside the same formula in Python floats."""

    ours: Callable[[Any], Any]
    """From the library (gradx or Optax) to its schedule."""
    value: Callable[[int], float]
    """From the number of steps already taken to the value."""


@dataclass(frozen=True, eq=False)
class Row:
    """One optimizer, its reference, and its peers; rows are told apart by identity, so that runs can be cached."""

    name: str
    ours: Callable[[], Any]
    """Makes the transformation."""
    reference: Callable[..., Reference]
    """Makes the reference, at its first step; keywords replace hyperparameters of `hyper`."""
    optax: Callable[[Any], Any] | None = None
    """From the module to Optax's transformation of the same definition."""
    torch: Callable[[Any, list], Any] | None = None
    """From (module, parameters) to torch's optimizer of the same definition."""
    hyper: Mapping[str, Any] = field(default_factory=dict)
    """The hyperparameters that `reference` was made with."""
    corrupt: Callable[[int, Tree], Tree] = lambda step, grads: grads
    """What becomes of the gradients on their way to the optimizer."""
    extras: Callable[[Tree], dict[str, Any]] = lambda params: {}
    """From the parameters to what gradx, Optax and the reference are handed by name."""
    float32: float = FLOAT32
    """How far a trajectory in float32 may be from the reference and from the peers."""

    def __str__(self) -> str:
        return self.name


def all_rows() -> list[Row]:
    """Return the rows of every module beside this one that has a list `TRAJECTORIES`."""
    modules = [importlib.import_module(f"{oracles.__name__}.{found.name}") for found in iter_modules(oracles.__path__)]
    return [row for module in modules for row in getattr(module, "TRAJECTORIES", [])]


def of_library(library: Any, hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with `library`'s schedules."""
    return {k: h.ours(library) if isinstance(h, Scheduled) else h for k, h in hyper.items()}


def of_reference(hyper: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters with Python's functions for schedules."""
    return {k: h.value if isinstance(h, Scheduled) else h for k, h in hyper.items()}


def start(dtype: Any) -> Tree:
    """Return the first parameters."""
    return {name: x.astype(dtype) for name, x in START.items()}


@functools.cache
def run_reference(row: Row) -> list[Tree]:
    """Return the parameters after each step of the NumPy reference, in float64."""
    return run_changed_reference(row)


def run_changed_reference(row: Row, **changes: Any) -> list[Tree]:
    """Return the parameters after each step of the NumPy reference with other hyperparameters."""
    step_of, params, path = row.reference(**changes), start(np.float64), []
    for step in range(STEPS):
        updates = step_of(row.corrupt(step, gradient(params, step)), params, **row.extras(params))
        params = {name: np.asarray(params[name] + updates[name]) for name in params}
        path.append(params)
    return path


@functools.cache
def run_gradx(row: Row, dtype: Any) -> list[Tree]:
    """Return the parameters after each step of gradx; float64 needs jax's x64 mode."""
    tx = row.ours()
    return _run_pair(tx.init, tx.update, gradx.apply_updates, row, dtype)


@functools.cache
def run_optax(row: Row, dtype: Any) -> list[Tree]:
    """Return the parameters after each step of Optax, compiled."""
    import optax

    assert row.optax is not None
    tx = row.optax(optax)
    return _run_pair(tx.init, jax.jit(tx.update), optax.apply_updates, row, dtype)


def _run_pair(init: Callable, update: Callable, apply_updates: Callable, row: Row, dtype: Any) -> list[Tree]:
    params, path = start(dtype), []
    state = init(params)
    for step in range(STEPS):
        grads = row.corrupt(step, gradient(params, step))
        updates, state = update(grads, state, params, **row.extras(params))
        params = jax.tree.map(np.asarray, apply_updates(params, updates))
        path.append(params)
    return path


@functools.cache
def run_torch(row: Row) -> list[Tree]:
    """Return the float32 parameters after each step of torch."""
    paths = from_torch(f"trajectory {row.name}", functools.partial(_torch_path, row))
    return [{name: path[step] for name, path in paths.items()} for step in range(STEPS)]


def _torch_path(row: Row, torch: Any) -> Tree:
    assert row.torch is not None
    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in start(np.float32).items()}
    optimizer, path = row.torch(torch, list(params.values())), []
    for step in range(STEPS):
        values = {name: p.detach().numpy() for name, p in params.items()}
        for name, g in row.corrupt(step, gradient(values, step)).items():
            params[name].grad = torch.tensor(g)
        optimizer.step()
        path.append({name: p.detach().numpy().copy() for name, p in params.items()})
    return {name: np.stack([values[name] for values in path]) for name in params}


def deviation(path: list[Tree], other: list[Tree]) -> float:
    """Return the largest distance of both paths, relative to the largest entry that each array has along `other`."""
    assert len(path) == len(other) == STEPS
    worst = 0.0
    for name in SHAPES:
        a = np.stack([params[name] for params in path]).astype(np.float64)
        b = np.stack([params[name] for params in other]).astype(np.float64)
        assert a.shape == b.shape, f"{name}: {a.shape} against {b.shape}"
        distance = float(np.max(np.abs(a - b)) / np.max(np.abs(b)))
        worst = max(worst, distance) if np.isfinite(distance) else float("inf")
    return worst
