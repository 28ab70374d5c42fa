"""States of torch's optimizers: their `state_dict()` into a state here, and back. torch itself is not needed."""

from collections.abc import Mapping, Sequence
from typing import Any

import jax
import numpy as np

from gradx.checkpoint.matching import is_count
from gradx.checkpoint.places import Part, Place, Places, parameter_keys, places_of
from gradx.checkpoint.plan import Plan
from gradx.checkpoint.report import Report
from gradx.checkpoint.state_dict import filled
from gradx.typing import Params, State

Names = Sequence[str | tuple[str, tuple[int, ...]]]
"""The parameters here in the order of torch's; with a tuple of axes, torch's array turned by them is the one here."""

FIELDS = {
    "exp_avg": "mu",
    "exp_avg_sq": "nu",
    "grad_avg": "mu",
    "square_avg": "nu",
    "momentum_buffer": "trace",
    "sum": "sum_of_squares",
    "acc_delta": "e_x",
    "mu_product": "momentum_product",
    "step": "count",
}
"""torch's names, and what the same is called here; Adadelta's `square_avg` is `e_g`."""
NUMBERS = {"step", "mu_product"}
"""What torch keeps as one number for each parameter, and gradx once."""


def from_torch(tx: Any, state_dict: Mapping[str, Any], params: Params, names: Names) -> tuple[State, Report]:
    """Return the state of `tx` that goes on where an optimizer of torch stopped, and a report of what went where.

    Knows Adam, AdamW, SGD, RMSprop, Adagrad, NAdam, RAdam and Adadelta. What torch keeps for its hyperparameters is not
    looked at: give them to `tx`, in which weight decay and momentum have their places as in the docstrings here.

    Args:
      tx: the transformation of the same maths: RMSprop's is `rmsprop(..., eps_in_sqrt=False)`, SGD's with weight decay
        `chain(add_decayed_weights(d), sgd(...))`.
      state_dict: of the optimizer, as `optimizer.state_dict()` gives it; tensors, or arrays of NumPy.
      params: the parameters.
      names: the names of the parameters in the order of torch's, `["layer/kernel", ...]`; a pair
        `("layer/kernel", (1, 0))` says that torch's array is turned by these axes: its linear layers are (out, in).

    Raises ValueError where names, shapes and numbers of the parameters do not agree.

    >>> import gradx, numpy as np
    >>> theirs = {"state": {0: {"momentum_buffer": np.float32(3)}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    >>> state, _ = gradx.checkpoint.from_torch(gradx.sgd(0.1, momentum=0.9), theirs, {"w": 1.0}, ["w"])
    >>> float(gradx.tree.get(state, "trace")["w"])
    3.0
    """
    parameters = parameter_keys(params)
    shapes = {name: np.shape(x) for name, x in zip(parameters, jax.tree.leaves(params), strict=True)}
    old, values, rates = _read(state_dict, _turned(state_dict, names, shapes), shapes)

    def fetch(plan: Plan, fresh: list) -> list:
        for n, i in plan.source.items():
            place = plan.new.places[n]
            if place.parameter and place.field == "trace" and _is_behind_rate(plan.new, place.part):
                values[i] = -rates[place.parameter] * values[i]
        return values

    return filled(tx, params, old, fetch, loosely=True)


def to_torch(tx: Any, state: State, params: Params, state_dict: Mapping[str, Any], names: Names) -> dict[str, Any]:
    """Return the state as a `state_dict` that torch's optimizer loads, in arrays of NumPy.

    With `d` the result, in torch:
    `d["state"] = {i: {k: torch.as_tensor(x) for k, x in s.items()} for i, s in d["state"].items()}`.

    Args:
      tx: the transformation that made the state.
      state_dict: of the optimizer that is to load it, fresh or not: its groups say what it keeps, and are handed on.
      names: as in `from_torch`.

    Raises ValueError where the state lacks what torch's optimizer keeps.

    >>> import gradx
    >>> tx, params = gradx.sgd(0.1, momentum=0.9), {"w": 1.0}
    >>> theirs = {"state": {}, "param_groups": [{"lr": 0.1, "momentum": 0.9, "dampening": 0, "params": [0]}]}
    >>> gradx.checkpoint.to_torch(tx, tx.init(params), params, theirs, ["w"])["state"]
    {0: {'momentum_buffer': array(0., dtype=float32)}}
    """
    places, leaves = places_of(tx, state, params), jax.tree.leaves(state)
    kept = {}
    for i, (name, axes, group) in _turned(state_dict, names, places.parameters).items():
        wanted = _fields_of(group)
        found = {key: _leaf(places, leaves, field, name, group, key) for key, field in wanted.items()}
        back = None if axes is None else np.argsort(axes)
        kept[i] = {
            key: np.array(x if key in NUMBERS or back is None else np.transpose(x, back)) for key, x in found.items()
        }
    return {"state": {i: x for i, x in kept.items() if x}, "param_groups": list(state_dict["param_groups"])}


def _turned(state_dict: Mapping[str, Any], names: Names, shapes: Mapping[str, tuple]) -> dict[int, tuple]:
    """Return for each of torch's numbers the parameter's name, the axes by which to turn it, and its group."""
    groups = [(i, group) for group in state_dict["param_groups"] for i in group["params"]]
    if len(groups) != len(names):
        raise ValueError(f"names: torch's optimizer has {len(groups)} parameters, and {len(names)} are named")
    pairs = [(x, None) if isinstance(x, str) else x for x in names]
    if unknown := [name for name, _ in pairs if name not in shapes]:
        raise ValueError(f"names: no parameter is called '{unknown[0]}'; there are {', '.join(shapes)}")
    if repeated := [name for i, (name, _) in enumerate(pairs) if name in dict(pairs[:i])]:
        raise ValueError(f"names: '{repeated[0]}' is named twice")
    return {i: (name, axes, group) for (i, group), (name, axes) in zip(groups, pairs, strict=True)}


def _read(
    state_dict: Mapping[str, Any], turned: dict[int, tuple], shapes: dict[str, tuple]
) -> tuple[Places, list, dict[str, float]]:
    """Return what torch kept as places here, the values, and the learning rate of each parameter."""
    parts: dict[tuple, Part] = {}
    found: dict[tuple[Part, str, str | None], Any] = {}
    for i, (name, axes, _) in turned.items():
        kept = {key: _numpy(x) for key, x in state_dict["state"].get(i, {}).items() if x is not None}
        age = tuple(float(kept[key]) for key in sorted(NUMBERS) if key in kept)
        path = f"torch#{len(parts)}" if parts else "torch"
        part = parts.setdefault(age, Part(path, "torch", "torch", "", "", False))
        for key, x in kept.items():
            field = "e_g" if key == "square_avg" and "acc_delta" in kept else FIELDS.get(key, key)
            if key in NUMBERS:
                found[part, field, None] = x.astype(np.int32) if field == "count" else x.astype(np.float32)
                continue
            x = x if axes is None else np.transpose(x, axes)
            if x.shape != shapes[name]:
                cure = "turn it: (name, axes) in names" if x.ndim > 1 else "are the names in torch's order?"
                raise ValueError(f"'{name}' is {shapes[name]}, and torch's {key} {x.shape}: {cure}")
            found[part, field, name] = x
    places = [Place(*key, "", x.shape, str(x.dtype)) for key, x in found.items()]
    rates = {name: float(_numpy(group["lr"])) for name, _, group in turned.values() if "lr" in group}
    return Places(list(parts.values()), places, shapes), list(found.values()), rates


def _fields_of(group: Mapping[str, Any]) -> dict[str, str]:
    """Return what an optimizer of torch keeps, as its group of parameters tells, and what that is called here."""
    if group.get("amsgrad"):
        raise ValueError("to_torch: with amsgrad torch keeps the maximum of other numbers than scale_by_amsgrad does")
    if "betas" in group:
        wanted = ["step", "exp_avg", "exp_avg_sq", *["mu_product"] * ("momentum_decay" in group)]
    elif "alpha" in group and "centered" in group:
        wanted = ["step", "square_avg", *["grad_avg"] * bool(group["centered"])]
        wanted += ["momentum_buffer"] * (group["momentum"] > 0)
    elif "dampening" in group:
        wanted = ["momentum_buffer"] * (group["momentum"] > 0)
    elif "lr_decay" in group:
        wanted = ["step", "sum"]
    elif "rho" in group:
        return {"step": "count", "square_avg": "e_g", "acc_delta": "e_x"}
    else:
        raise ValueError("to_torch: no group of Adam, AdamW, SGD, RMSprop, Adagrad, NAdam, RAdam or Adadelta")
    return {key: FIELDS[key] for key in wanted}


def _leaf(places: Places, leaves: list, field: str, name: str, group: Mapping[str, Any], key: str) -> np.ndarray:
    """Return what the state keeps under a field for a parameter, as torch has it."""
    parts = [part for part in places.parts if any(k[1] == name for k in places.of_part[part])]
    for part in parts:
        own = places.of_part[part]
        n = own.get((field, None if key in NUMBERS else name, ""))
        if n is not None:
            x = np.asarray(leaves[n], np.float32)
            is_scaled = field == "trace" and _is_behind_rate(places, part)
            return x / -np.float32(_numpy(group["lr"])) if is_scaled else x
    if key == "step":  # where no moment needs it, schedules may count, or nobody
        counts = [i for part in places.parts for k, i in places.of_part[part].items() if is_count(places, part, k)]
        return np.asarray(leaves[counts[0]] if counts else 0, np.float32)
    raise ValueError(f"to_torch: the state has no {field} of '{name}', which is torch's {key}")


def _is_behind_rate(places: Places, part: Part) -> bool:
    """Whether updates reach a part multiplied by the learning rate, as RMSProp's momentum; in torch none do."""
    around = part.path.rpartition("/")[0]
    before = places.parts[: places.parts.index(part)]
    return any(x.name == "scale_by_learning_rate" and x.path.rpartition("/")[0] == around for x in before)


def _numpy(x: Any) -> np.ndarray:
    """Return a tensor of torch, or whatever else, as an array; bfloat16, which NumPy lacks, as float32."""
    if hasattr(x, "detach"):
        x = x.detach().cpu()
        x = x.float() if "bfloat16" in str(x.dtype) else x
    return np.asarray(x)
