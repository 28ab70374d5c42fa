"""What a program needs on each device of a mesh, read from its trace: nothing is compiled, and no device is needed.

Under explicit axes every intermediate array of a trace says in its type how it is split. So its part on a device is
known, and with it the operations done there; where the way of splitting changes there is a collective.
"""

from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from math import prod
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.extend.core import Literal
from jax.sharding import AbstractMesh, NamedSharding

VIEWS = {"squeeze", "reshape", "expand_dims", "pvary", "pcast", "stop_gradient", "copy_p", "optimization_barrier"}
"""Show the same numbers in another shape, where axes of size 1 come and go."""
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
SUMS = {"psum", "psum_invariant"}
CUTS = {"slice", "dynamic_slice", "gather", "split"}
"""Their operands lie in memory, for the parts go to several places."""
KEPT = COLLECTIVES | {"dot_general", "sort", "eigh", "cholesky", "triangular_solve", "svd", "geqrf"}
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
    results = walk.run(traced.jaxpr.jaxpr, [_Value() for _ in traced.jaxpr.jaxpr.invars])
    return Need(walk.flops, _most(results), dict(walk.sent))


def bytes_on_device(x: Any) -> int:
    """Return the bytes of a device's part of an array, or of its shape with a sharding."""
    return prod(_local(x)) * _item(x)


@dataclass(eq=False)
class _Value:
    """What an operation computes; or an operation with several results, which has no bytes of its own."""

    sources: tuple["_Value", ...] = ()
    size: float = 0.0
    """The bytes that it takes where it lies in memory; none for arguments, which are there already."""
    is_kept: bool = True
    """Whether it lies in memory, and is not computed inside of what uses it."""
    working: float = 0.0
    """Bytes held only while it is computed."""
    results: list["_Value"] = field(default_factory=list)
    """Of an operation: all are there at once."""

    def of_size(self, sizes: Iterable[float]) -> list["_Value"]:
        """Return new results of the operation, of so many bytes."""
        found = [_Value((self,), size) for size in sizes]
        self.results += found
        return found

    def reads(self) -> set["_Value"]:
        """Return the values in memory that it is computed of, directly or through others inside of it."""
        found, left, seen = set(), list(self.sources), set()
        while left:
            value = left.pop()
            if value.is_kept:
                found.add(value)
            elif value not in seen:
                seen.add(value)
                left += value.sources
        return found


def _most(results: list[_Value]) -> float:
    """Return the most bytes that are held at one time, where each operation waits until its result is asked for.

    So do compilers that go by memory: the whole of the first result, then what the second needs beside.
    """
    for value in results:  # each has its place: an argument's, or what the caller counts
        value.is_kept, value.size = True, 0.0
    done: set[_Value] = set()
    born: list[float] = []
    working: list[float] = []
    last: dict[_Value, int] = {}
    left = [(value, False) for value in reversed(results)]
    while left:
        value, is_ready = left.pop()
        if value in done:
            continue
        if not is_ready:
            left += [(value, True)] * value.is_kept + [(x, False) for x in reversed(value.sources)]
            continue
        together = (value, *value.results)
        done |= set(together)
        last |= {x: len(born) for x in (*together, *value.reads())}
        born.append(sum(x.size for x in together))
        working.append(value.working)
    died = Counter[int]()
    for value, now in last.items():
        died[now] += value.size
    held = most = 0.0
    for now, size in enumerate(born):
        held += size
        most = max(most, held + working[now])
        held -= died[now]
    return most


class _Walk:
    """What has been seen of a trace, in the order of its operations."""

    def __init__(self, sizes: dict[str, int]) -> None:
        self.sizes, self.flops = sizes, 0.0
        self.sent: Counter[str] = Counter()
        self.sum: _Value | None = None
        """The sum over devices that was begun last: the compiler makes one of those that follow one another."""

    def run(self, jaxpr: Any, given: list[_Value]) -> list[_Value]:
        """Go through a trace; return its results."""
        known: dict[Any, _Value] = dict(zip(jaxpr.invars, given, strict=True))
        known |= {x: _Value() for x in jaxpr.constvars}

        def read(x: Any) -> _Value:
            return _Value() if isinstance(x, Literal) else known[x]

        for eqn in jaxpr.eqns:
            for x, value in zip(eqn.outvars, self._step(eqn, list(map(read, eqn.invars))), strict=True):
                known[x] = value
        return list(map(read, jaxpr.outvars))

    def _step(self, eqn: Any, inputs: list[_Value]) -> list[_Value]:
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
        if name in VIEWS or (name == "reshard" and _placed(eqn.invars[0].aval) == _placed(outs[0].aval)):
            return inputs[: len(outs)]
        sizes, sources = [bytes_on_device(x.aval) for x in outs], tuple(inputs)
        if name in KEPT and not (name == "reshard" and _only_slices(eqn)):
            for value in inputs:
                value.is_kept = True
            operation = _Value(sources)
            if name in SUMS:
                operation = self._summed(operation)
            return operation.of_size(sizes)
        if name in REDUCTIONS or name == "concatenate":
            return [_Value(sources, size) for size in sizes]
        if name in CUTS:
            inputs[0].is_kept = True
        if name == "broadcast_in_dim":  # it is repeated where it is written
            sizes = [bytes_on_device(eqn.invars[0].aval)]
        return [_Value(sources, size, is_kept=False) for size in sizes]

    def _summed(self, operation: _Value) -> _Value:
        """Return the operation that sums over devices, with those before unless one of its operands waits for them."""
        seen, left = set(), list(operation.sources)
        while left:
            if (value := left.pop()) not in seen:
                seen.add(value)
                left += value.sources
        if self.sum is None or self.sum in seen:
            self.sum = operation
        else:
            self.sum.sources += operation.sources
        return self.sum

    def _apart(self, eqn: Any, inputs: list[_Value], bodies: list, times: int) -> list[_Value]:
        """Run bodies for themselves: of several, branches say, the one that costs most, so many times."""
        walks, held = [], []
        for body in bodies:
            walks.append(_Walk(self.sizes))
            held.append(_most(walks[-1].run(body.jaxpr, [_Value() for _ in body.jaxpr.invars])))
        self.flops += times * max(walk.flops for walk in walks)
        for name, size in max(walks, key=lambda walk: sum(walk.sent.values())).sent.items():
            self.sent[name] += times * size
        operation = _Value(tuple(inputs), working=max(held))
        return operation.of_size(bytes_on_device(x.aval) for x in eqn.outvars)

    def _communicate(self, eqn: Any) -> None:
        name, params = eqn.primitive.name, eqn.params
        size = bytes_on_device(eqn.invars[0].aval) if eqn.invars else 0
        if name in SUMS:
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
