"""What a program needs on each device of a mesh, read from its trace: nothing is compiled, and no device is needed.

Under explicit axes every intermediate array of a trace says in its type how it is split. So its part on a device is
known, and with it the operations done there; where the way of splitting changes there is a collective.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal
from jax.sharding import AbstractMesh, NamedSharding

VIEWS = {"squeeze", "reshape", "expand_dims", "pvary", "pcast", "stop_gradient", "copy_p", "optimization_barrier"}
"""Show an array that is there in another shape, where axes of size 1 come and go."""
FREE = VIEWS | {
    "broadcast_in_dim", "transpose", "slice", "pad", "rev", "iota", "dynamic_slice", "gather", "concatenate", "split",
    "dynamic_update_slice", "bitcast_convert_type", "copy", "random_wrap", "random_unwrap",
}  # fmt: skip
"""Move numbers, and compute none."""
TRANSCENDENTAL = {"exp", "exp2", "expm1", "log", "log1p", "sqrt", "rsqrt", "cbrt", "pow", "tanh", "logistic", "erf_inv"}
TRANSCENDENTAL |= {"sin", "cos", "tan", "erf", "atan2"}
"""XLA counts them apart from other operations."""
REDUCTIONS = {"reduce_sum", "reduce_max", "reduce_min", "reduce_prod", "reduce_and", "reduce_or", "argmax", "argmin"}
COLLECTIVES = {"psum", "psum_invariant", "reduce_scatter", "all_gather", "all_to_all", "reshard"}
KEPT = COLLECTIVES | {"concatenate", "dot_general", "sort", "eigh", "cholesky", "triangular_solve", "svd", "geqrf"}
KEPT |= {"householder_product"}
"""Their operands and results lie in memory; all else is fused into what uses it."""


class Need(NamedTuple):
    """What a program needs on one device."""

    flops: float
    """As XLA counts them: without exponentials, roots and their like, and none for a decomposition."""
    temporaries: float
    """The most bytes that are held at once beside arguments and results."""
    sent: dict[str, float]
    """Bytes that a device sends, by collective, around a ring."""


def need(f: Callable, mesh: AbstractMesh, *args: Any) -> Need:
    """Return what a device of the mesh needs to run `f`, given arguments whose types say how they are split."""
    with jax.sharding.use_abstract_mesh(mesh):
        traced = jax.jit(f).trace(*args)
    walk = _Walk(dict(mesh.shape))
    walk.run(traced.jaxpr.jaxpr, [_Value(frozenset(), True, 0)] * len(traced.jaxpr.jaxpr.invars), outermost=True)
    return Need(walk.flops, walk.most(), dict(walk.sent))


def bytes_on_device(x: Any) -> int:
    """Return the bytes of a device's part of an array, or of its shape with a sharding."""
    return prod(_local(x)) * _item(x)


class _Value(NamedTuple):
    """An array of a trace."""

    roots: frozenset[int]
    """The arrays in memory of which it is computed."""
    is_kept: bool
    """Whether it lies in memory itself, and is not computed inside of what uses it."""
    time: int
    size: float = 0.0
    """The bytes that it takes where it must lie in memory and does not."""


class _Walk:
    """What has been seen of a trace, in the order of its operations."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes, self.flops = sizes, 0.0
        self.sent: Counter[str] = Counter()
        self.held: list[list[float]] = []
        """Bytes, first and last time of each array in memory."""
        self.now, self.last = 0, ""

    def most(self) -> float:
        """Return the most bytes that are held at one time."""
        changes = np.zeros(self.now + 2)
        for size, born, used in self.held:
            changes[int(born)] += size
            changes[int(used) + 1] -= size
        return float(np.cumsum(changes).max())

    def run(self, jaxpr: Any, given: list[_Value], outermost: bool = False) -> list[_Value]:
        """Go through a trace; return its results."""
        known: dict[Any, _Value] = dict(zip(jaxpr.invars, given, strict=True))
        known |= {x: _Value(frozenset(), True, self.now) for x in jaxpr.constvars}

        def read(x: Any) -> _Value:
            return _Value(frozenset(), True, self.now) if isinstance(x, Literal) else known[x]

        for eqn in jaxpr.eqns:
            for x, value in zip(eqn.outvars, self._step(eqn, list(map(read, eqn.invars)), known), strict=True):
                known[x] = value
        results = list(map(read, jaxpr.outvars))
        if outermost:  # written as soon as they are known
            for value in results:
                self._use(value.roots, value.time)
        return results

    def _step(self, eqn: Any, inputs: list[_Value], known: dict[Any, _Value]) -> list[_Value]:
        name, outs = eqn.primitive.name, eqn.outvars
        inner = eqn.params.get("jaxpr", eqn.params.get("call_jaxpr"))
        if name == "cond":
            return self._apart(eqn, inputs, list(eqn.params["branches"]), 1)
        if name == "while":
            return self._apart(eqn, inputs, [eqn.params["body_jaxpr"]], 1)
        if name == "scan":
            return self._apart(eqn, inputs, [inner], eqn.params["length"])
        if inner is not None:
            return self.run(getattr(inner, "jaxpr", inner), inputs)
        self.flops += _flops(eqn)
        self._communicate(eqn)
        roots = frozenset().union(*(x.roots for x in inputs))
        if name in KEPT and not (name == "reshard" and _only_slices(eqn)):
            if not name == self.last == "reduce_scatter":  # which start together
                self.now += 1
            self.last = name
            self._use(roots, self.now)
            copies = name == "reduce_scatter" and eqn.params["scatter_dimension"]  # XLA scatters along the first axis
            for x, value in zip(eqn.invars, inputs, strict=True):
                if not isinstance(x, Literal) and (copies or not value.is_kept):
                    known[x] = self._keep(bytes_on_device(x.aval) if copies else value.size)
            return [self._keep(bytes_on_device(x.aval)) for x in outs]
        if name in REDUCTIONS:
            self._use(roots, self.now)
            return [self._keep(bytes_on_device(x.aval)) for x in outs]
        is_kept = name in VIEWS and inputs[0].is_kept
        source = eqn.invars if name == "broadcast_in_dim" else outs  # it is repeated where it is written
        return [_Value(roots, is_kept, self.now, bytes_on_device(x.aval)) for x in source[: len(outs)]]

    def _apart(self, eqn: Any, inputs: list[_Value], bodies: list, times: int) -> list[_Value]:
        """Run bodies for themselves: of several, branches say, the one that costs most, so many times."""
        walks = []
        for body in bodies:
            walk = _Walk(self.sizes)
            walk.run(body.jaxpr, [_Value(frozenset(), True, 0)] * len(body.jaxpr.invars))
            walks.append(walk)
        self.flops += times * max(walk.flops for walk in walks)
        for name, size in max(walks, key=lambda walk: sum(walk.sent.values())).sent.items():
            self.sent[name] += times * size
        self.now += 1
        self._use(frozenset().union(*(x.roots for x in inputs)), self.now)
        self._keep(max(walk.most() for walk in walks))
        return [self._keep(bytes_on_device(x.aval)) for x in eqn.outvars]

    def _keep(self, size: float) -> _Value:
        self.held.append([size, self.now, self.now])
        return _Value(frozenset([len(self.held) - 1]), True, self.now)

    def _use(self, roots: Iterable[int], time: int) -> None:
        for root in roots:
            self.held[root][2] = max(self.held[root][2], time)

    def _communicate(self, eqn: Any) -> None:
        name, params = eqn.primitive.name, eqn.params
        size = bytes_on_device(eqn.invars[0].aval) if eqn.invars else 0
        if name in ("psum", "psum_invariant"):
            for x in eqn.invars:
                self._send("all-reduce", bytes_on_device(x.aval), params["axes"])
        elif name == "reduce_scatter":
            self._send("reduce-scatter", size, params["axis_name"])
        elif name == "all_gather":
            self._send("all-gather", bytes_on_device(eqn.outvars[0].aval), params["axis_name"])
        elif name == "all_to_all":
            self._send("all-to-all", size, params["axis_name"])
        elif name in REDUCTIONS:
            gone = [_names(_spec(eqn.invars[0].aval)[i]) for i in params["axes"]]
            self._send("all-reduce", bytes_on_device(eqn.outvars[0].aval), [x for names in gone for x in names])
        elif name == "reshard":
            self._reshard(size, _placed(eqn.invars[0].aval), _placed(eqn.outvars[0].aval))

    def _reshard(self, size: float, old: dict[str, int], new: dict[str, int]) -> None:
        """Count first what is sliced, then what moves to another axis of the array, then what is gathered."""
        size /= self._group(name for name in new if name not in old)
        for name in old:
            if name in new and old[name] != new[name]:
                self._send("all-to-all", size, [name])
        gathered = [name for name in old if name not in new]
        self._send("all-gather", size * self._group(gathered), gathered)

    def _group(self, names: Iterable[str]) -> int:
        return prod(self.sizes[name] for name in names)

    def _send(self, collective: str, size: float, names: Any) -> None:
        group = self._group((names,) if isinstance(names, str) else names)
        if group > 1:
            self.sent[collective] += sent(collective, size, group)


def sent(collective: str, size: float, group: int) -> float:
    """Return the bytes that each device of a group sends around a ring.

    Args:
      collective: as XLA calls it.
      size: the bytes of the larger of a device's operand and result.
      group: how many devices take part.
    """
    if collective == "collective-permute":
        return size
    return (2 if collective == "all-reduce" else 1) * size * (group - 1) / group


def _only_slices(eqn: Any) -> bool:
    old, new = (_placed(x.aval) for x in (eqn.invars[0], eqn.outvars[0]))
    return all(new.get(name) == i for name, i in old.items())


def _flops(eqn: Any) -> float:
    name = eqn.primitive.name
    if not eqn.outvars or name in FREE or name in TRANSCENDENTAL or name in COLLECTIVES:
        return 0
    x, out = eqn.invars[0].aval if eqn.invars else eqn.outvars[0].aval, prod(_local(eqn.outvars[0].aval))
    if name == "dot_general":
        (contracted, _), _ = eqn.params["dimension_numbers"]
        return 2 * out * prod(_local(x)[i] for i in contracted)
    if name in REDUCTIONS:
        return prod(_local(x)) - out
    if name == "integer_pow":
        return out * max(abs(eqn.params["y"]).bit_length() - 1, 1)
    return out if name not in KEPT else 0


def _item(x: Any) -> int:
    return 8 if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key) else np.dtype(x.dtype).itemsize


def _local(x: Any) -> tuple[int, ...]:
    """Return the shape of a device's part; over manual axes the shape is that already."""
    mesh = x.sharding.mesh
    return tuple(n // prod(mesh.shape[name] for name in _names(y)) for n, y in zip(x.shape, _spec(x), strict=True))


def _spec(x: Any) -> tuple:
    sharding = x.sharding
    spec = tuple(sharding.spec) if isinstance(sharding, NamedSharding) else ()
    return (*spec, *(None,) * (len(x.shape) - len(spec)))


def _names(entry: Any) -> tuple[str, ...]:
    return () if entry is None else (entry,) if isinstance(entry, str) else tuple(entry)


def _placed(x: Any) -> dict[str, int]:
    """Return along which axis of an array each mesh axis splits it."""
    return {name: i for i, entry in enumerate(_spec(x)) for name in _names(entry)}
