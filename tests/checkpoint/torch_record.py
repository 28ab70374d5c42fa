"""What torch's optimizers kept after some steps, and where they went from there; recorded in `torch_states.npz`.

`PYTHONPATH=. python -m tests.checkpoint.torch_record`, with torch, writes it anew, and has torch load what `to_torch`
makes. The steps are those of `tests/oracles/optimizers_trajectory.py`.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
import numpy as np

import gradx
from gradx import checkpoint
from tests.oracles.optimizers_trajectory import gradient, start

FILE = Path(__file__).parent / "torch_states.npz"
BEFORE, AFTER = 20, 20
NAMES = list(start(np.float32))
INCREASING = gradx.linear_schedule(0.01, 0.03, 20)


@dataclass(frozen=True)
class Pair:
    """An optimizer of torch, and ours of the same maths."""

    name: str
    theirs: Callable[[Any, list], Any]
    ours: gradx.GradientTransformation

    def __str__(self) -> str:
        return self.name


BETAS = {"b1": 0.8, "b2": 0.95}
PAIRS = [
    Pair("AdamW", lambda optim, ps: optim.AdamW(ps, 0.05, (0.8, 0.95), weight_decay=0.2),
         gradx.adamw(0.05, **BETAS, weight_decay=0.2)),
    Pair("Adam", lambda optim, ps: optim.Adam(ps, 0.05, (0.8, 0.95), weight_decay=0.2),
         gradx.chain(gradx.add_decayed_weights(0.2), gradx.adam(0.05, **BETAS))),
    Pair("SGD", lambda optim, ps: optim.SGD(ps, 0.05), gradx.sgd(0.05)),
    Pair("SGD, momentum", lambda optim, ps: optim.SGD(ps, 0.05, momentum=0.9, weight_decay=0.1, nesterov=True),
         gradx.chain(gradx.add_decayed_weights(0.1), gradx.sgd(0.05, momentum=0.9, nesterov=True))),
    Pair("RMSprop", lambda optim, ps: optim.RMSprop(ps, 0.02, 0.8), gradx.rmsprop(0.02, 0.8, eps_in_sqrt=False)),
    Pair("RMSprop, centered, momentum",
         lambda optim, ps: optim.RMSprop(ps, 0.01, 0.9, 0.1, momentum=0.8, centered=True),
         gradx.rmsprop(0.01, 0.9, 0.1, eps_in_sqrt=False, centered=True, momentum=0.8)),
    Pair("Adagrad", lambda optim, ps: optim.Adagrad(ps, 0.3), gradx.adagrad(0.3, 0.0, eps=1e-20)),
    Pair("NAdam", lambda optim, ps: optim.NAdam(ps, 0.02), gradx.nadam(0.02, momentum_decay=4e-3)),
    Pair("RAdam", lambda optim, ps: optim.RAdam(ps, 0.02, (0.8, 0.95)), gradx.radam(0.02, **BETAS)),
    Pair("Adadelta", lambda optim, ps: optim.Adadelta(ps, 1.0, 0.8, 1e-3), gradx.adadelta(1.0, 0.8, 1e-3)),
]  # fmt: skip


def recorded(name: str) -> tuple[dict, dict, dict]:
    """Return torch's state dict, the parameters then, and those some steps later."""
    with np.load(FILE) as file:
        mine = {key.split("|", 1)[1]: x for key, x in file.items() if key.split("|", 1)[0] == name}
    state: dict[int, dict] = {}
    for key, x in mine.items():
        if key.startswith("state|"):
            _, i, field = key.split("|")
            state.setdefault(int(i), {})[field] = x
    params, later = ({x: mine[f"{when}|{x}"] for x in NAMES} for when in ("params", "later"))
    return {"state": state, "param_groups": json.loads(str(mine["groups"]))}, params, later


def go_on(tx: gradx.GradientTransformation, state: Any, params: dict, first: int, steps: int) -> tuple[Any, dict]:
    """Return state and parameters after some steps of ours."""
    update = jax.jit(tx.update)
    for step in range(first, first + steps):
        updates, state = update(gradient(params, step), state, params)
        params = {name: np.asarray(params[name] + updates[name]) for name in params}
    return state, params


def _steps(torch: Any, optimizer: Any, parameters: dict, first: int, steps: int) -> dict:
    for step in range(first, first + steps):
        values = {name: p.detach().numpy() for name, p in parameters.items()}
        for name, g in gradient(values, step).items():
            parameters[name].grad = torch.tensor(g)
        optimizer.step()
    return {name: p.detach().numpy().copy() for name, p in parameters.items()}


def record() -> None:
    """Write the file, and have torch go on from what `to_torch` makes of our states."""
    import torch

    kept: dict[str, Any] = {}
    for pair in PAIRS:
        parameters = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in start(np.float32).items()}
        optimizer = pair.theirs(torch.optim, list(parameters.values()))
        params = _steps(torch, optimizer, parameters, 0, BEFORE)
        found = optimizer.state_dict()
        for i, fields in found["state"].items():
            kept |= {f"{pair}|state|{i}|{key}": x.numpy().copy() for key, x in fields.items() if x is not None}
        kept[f"{pair}|groups"] = json.dumps(found["param_groups"])
        later = _steps(torch, optimizer, parameters, BEFORE, AFTER)
        kept |= {f"{pair}|params|{name}": x for name, x in params.items()}
        kept |= {f"{pair}|later|{name}": x for name, x in later.items()}
        state, ours = go_on(pair.ours, pair.ours.init(start(np.float32)), start(np.float32), 0, BEFORE)
        parameters = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in ours.items()}
        optimizer = pair.theirs(torch.optim, list(parameters.values()))
        d = checkpoint.to_torch(pair.ours, state, ours, optimizer.state_dict(), NAMES)
        d["state"] = {i: {k: torch.as_tensor(x) for k, x in s.items()} for i, s in d["state"].items()}
        optimizer.load_state_dict(d)
        after = _steps(torch, optimizer, parameters, BEFORE, AFTER)
        worst = max(float(np.max(np.abs(after[name] - later[name]))) for name in NAMES)
        print(f"{pair}: exported, torch goes on within {worst:.1e} of itself")
        assert worst < 1e-4
    np.savez_compressed(FILE, **kept)


if __name__ == "__main__":
    record()
