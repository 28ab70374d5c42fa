"""What optimizers of matrices in `pytorch_optimizer` and `heavyball` did, kept in `peers.npz`: tests compare with that.

`python tests/oracles/peers.py`, where both, torch and NumPy are installed, records it anew and says how far it has
moved. It imports nothing of ours, so that an environment of its own will do, and draws nothing that is not seeded.
"""

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "peers.npz"
STEPS = 12
SHAPES = {"square": (4, 4), "tall": (6, 4), "wide": (2, 6), "vector": (5,)}
MATRICES = ("square", "tall", "wide")
SQUARE = ("square",)
"""Whose first gradient has eigenvectors on both sides: those of the 0 of a longer side are anybody's choice."""
LR = 0.05

Arrays = dict[str, np.ndarray]


def _draw(seed: int, *lead: int) -> Arrays:
    rng = np.random.default_rng(seed)
    return {name: rng.normal(size=(*lead, *shape)) for name, shape in SHAPES.items()}


START, TARGET, NOISE, PROBES = _draw(10), _draw(11), _draw(12, STEPS), _draw(13, STEPS)
"""PROBES: the noise of PSGD, which peers draw from torch and we from `jax.random`."""


def gradient(params: Arrays, step: int) -> Arrays:
    """Return p - target + 0.3 sin(2 p) + noise of the step, for the arrays given."""
    return {
        name: (p - TARGET[name] + 0.3 * np.sin(2 * p) + 0.5 * NOISE[name][step]).astype(p.dtype)
        for name, p in params.items()
    }


@dataclass(frozen=True)
class Peer:
    """An optimizer of a peer."""

    name: str
    make: Callable[[Any, dict], Any]
    """From (the package, torch's parameters by name) to the optimizer."""
    package: str = "pytorch_optimizer"
    names: tuple[str, ...] = tuple(SHAPES)
    """The arrays on which it runs."""
    dtype: str = "float64"


def with_muon(params: dict, **hyper: Any) -> list[dict]:
    """Return the groups of a peer's Muon."""
    matrices, rest = [params[name] for name in MATRICES], [params["vector"]]
    adam = {"params": rest, "use_muon": False, "lr": LR, "betas": (0.9, 0.95), "eps": 1e-8, "weight_decay": 0.0}
    return [{"params": matrices, "use_muon": True, "lr": LR, **hyper}, adam]


def probability_1(step: int) -> Any:
    import torch

    return torch.ones(())


PEERS = [
    Peer(
        "SOAP",
        lambda po, p: po.SOAP(
            p.values(), lr=LR, betas=(0.8, 0.9), eps=1e-30, weight_decay=0.0, precondition_frequency=3
        ),
        names=SQUARE,
    ),
    Peer(
        "SOAP, a side above the bound",
        lambda po, p: po.SOAP(
            p.values(), lr=LR, betas=(0.8, 0.9), eps=1e-30, weight_decay=0.0, precondition_frequency=2,
            max_precondition_dim=4,
        ),
        names=MATRICES,
    ),
    Peer(
        "SOAP of heavyball",
        lambda hb, p: hb.SOAP(
            p.values(), lr=LR, betas=(0.8, 0.9), shampoo_beta=0.9, eps=1e-12, weight_decay=0.0, merge_dims=False,
            precondition_frequency=1, storage_dtype="float64",
        ),
        package="heavyball",
        names=SQUARE,
    ),
    Peer("Shampoo", lambda po, p: po.Shampoo(p.values(), lr=LR, matrix_eps=1e-2), names=MATRICES),
    Peer(
        "Shampoo in blocks, grafted onto RMSProp",
        lambda po, p: po.ScalableShampoo(
            p.values(), lr=LR, betas=(0.0, 0.9), nesterov=False, start_preconditioning_step=1, block_size=2,
            preconditioning_compute_steps=1, shape_interpretation=False, graft_type=3, diagonal_eps=1e-3,
            matrix_eps=1e-2, use_svd=True,
        ),
        names=MATRICES,
    ),
    Peer(
        "Kron",
        lambda po, p: po.Kron(
            [{"params": list(p.values()), "precondition_lr": 0.3}], lr=LR, momentum=0.7, balance_prob=0.0,
            pre_conditioner_update_probability=probability_1,
        ),
        dtype="float32",
    ),
    Peer(
        "Muon",
        lambda po, p: po.Muon(with_muon(p, momentum=0.8, nesterov=False, weight_decay=0.1, use_adjusted_lr=True)),
    ),
    Peer(
        "NorMuon",
        lambda po, p: po.NorMuon(
            with_muon(p, momentum=0.8, beta2=0.9, nesterov=True, weight_decay=0.1, eps=1e-8, update_scale="match_rms")
        ),
    ),
    Peer(
        "Scion",
        lambda po, p: po.SCION(p.values(), lr=LR, momentum=0.3, constraint=True, norm_type=2, scale=3.0),
        names=MATRICES,
    ),
    Peer("Adan", lambda po, p: po.Adan(p.values(), lr=LR, betas=(0.9, 0.8, 0.95), eps=1e-3)),
    Peer("ADOPT", lambda po, p: po.ADOPT(p.values(), lr=LR, betas=(0.8, 0.95), eps=1e-6)),
    Peer("Lion", lambda po, p: po.Lion(p.values(), lr=LR, betas=(0.8, 0.95), weight_decay=0.1)),
]  # fmt: skip


def start(peer: Peer) -> Arrays:
    """Return the first parameters."""
    return {name: START[name].astype(peer.dtype) for name in peer.names}


def record(peer: Peer) -> Arrays:
    """Run a peer; return the parameters after each step."""
    import importlib

    import torch

    params = {name: torch.nn.Parameter(torch.tensor(x)) for name, x in start(peer).items()}
    optimizer, path = peer.make(importlib.import_module(peer.package), params), []
    of_shape = {PROBES[name][0].shape: PROBES[name] for name in SHAPES}
    drawn = torch.randn_like
    try:
        for step in range(STEPS):
            torch.randn_like = lambda x, step=step, **_: torch.tensor(of_shape[tuple(x.shape)][step]).to(x.dtype)
            grads = gradient({name: p.detach().numpy() for name, p in params.items()}, step)
            for name, g in grads.items():
                params[name].grad = torch.tensor(g)
            optimizer.step()
            path.append({name: p.detach().numpy().copy() for name, p in params.items()})
    finally:
        torch.randn_like = drawn
    return {name: np.stack([values[name] for values in path]) for name in params}


def iterate_in_float64() -> None:
    """Let Newton-Schulz of `pytorch_optimizer` run in the precision of the comparison, and not in bfloat16."""
    import torch
    from pytorch_optimizer.optimizer.utils import matrix

    *kept, dtype = matrix.zero_power_via_newton_schulz_5.__defaults__
    assert dtype == torch.bfloat16
    matrix.zero_power_via_newton_schulz_5.__defaults__ = (*kept, torch.float64)


def kept() -> Arrays:
    """Return the whole record."""
    if not FILE.exists():
        return {}
    with np.load(FILE) as archive:
        return dict(archive)


def path_of(peer: Peer) -> Arrays:
    """Return the parameters of a peer after each step."""
    prefix = f"{peer.name}|"
    found = {key.removeprefix(prefix): x for key, x in kept().items() if key.startswith(prefix)}
    assert found, f"{FILE.name} has no {peer.name!r}; {__doc__}"
    return found


def main() -> int:
    """Record all peers anew."""
    from importlib.metadata import version

    import heavyball

    heavyball.utils.compile_mode = None
    iterate_in_float64()
    before = kept()
    after = {f"{peer.name}|{name}": path for peer in PEERS for name, path in record(peer).items()}
    for key, x in after.items():
        old = before.get(key)
        said = "new" if old is None or old.shape != x.shape else f"{np.max(np.abs(old - x)) / np.max(np.abs(x)):.1e}"
        print(f"{key}: {said}")
    after |= {f"version|{name}": np.array(version(name)) for name in ("torch", "pytorch_optimizer", "heavyball")}
    np.savez_compressed(FILE, **after)
    return 0


if __name__ == "__main__":
    sys.exit(main())
