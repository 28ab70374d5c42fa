"""What torch answered, kept in `torch.npz`: the comparisons run also where torch is not installed, which is large.

`RECORD=1 python -m pytest -n0 -k torch` (with torch) writes the record anew.
"""

import importlib.util
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "torch.npz"
FLOAT32 = 1e-5
"""How far a record may be from another version of torch, relative to the largest entry."""

Arrays = dict[str, np.ndarray]


def from_torch(key: str, compute: Callable[[Any], Arrays]) -> Arrays:
    """Return `compute(torch)` where torch is installed, and what it was when recorded where it is not."""
    kept = _kept()
    record = {name.removeprefix(f"{key}|"): x for name, x in kept.items() if name.startswith(f"{key}|")}
    if importlib.util.find_spec("torch"):
        import torch

        fresh = {name: np.asarray(x) for name, x in compute(torch).items()}
        if os.environ.get("RECORD"):
            np.savez_compressed(FILE, **(kept | {f"{key}|{name}": x for name, x in fresh.items()}))
            return fresh
        assert fresh.keys() == record.keys(), f"{key!r} is not in {FILE.name} as it is now; {__doc__}"
        for name, x in fresh.items():
            assert np.max(np.abs(x - record[name])) <= FLOAT32 * np.max(np.abs(x)), f"the record of {key} is old"
        return fresh
    assert record, f"{FILE.name} has no {key!r}; {__doc__}"
    return record


def _kept() -> Arrays:
    if not FILE.exists():
        return {}
    with np.load(FILE) as kept:
        return dict(kept)
