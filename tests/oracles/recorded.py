"""What torch answered, kept in `torch.npz`: tests compare with that, and never import torch, which is large.

`python -m tests.oracles.recorded`, where torch is installed, asks it anew and says how far the answers have moved.
"""

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

FILE = Path(__file__).parent / "torch.npz"
RECORDS = "RECORD"
"""The environment variable under which a comparison asks torch, and keeps what it answers."""
VERSION = "version"
"""The key under which the version of torch stands."""

Arrays = dict[str, np.ndarray]


def from_torch(key: str, compute: Callable[[Any], Arrays]) -> Arrays:
    """Return what `compute(torch)` was when it was recorded."""
    if os.environ.get(RECORDS):
        import torch

        fresh = {f"{key}|{name}": np.asarray(x) for name, x in compute(torch).items()}
        np.savez_compressed(FILE, **(kept() | fresh | {VERSION: np.array(torch.__version__)}))
    record = {name.removeprefix(f"{key}|"): x for name, x in kept().items() if name.startswith(f"{key}|")}
    assert record, f"{FILE.name} has no {key!r}; {__doc__}"
    return record


def torch_version() -> str:
    """Return the version of torch that answered."""
    return str(kept()[VERSION])


def kept() -> Arrays:
    """Return the whole record."""
    if not FILE.exists():
        return {}
    with np.load(FILE) as archive:
        return dict(archive)


def moved(before: Arrays, after: Arrays) -> list[str]:
    """Return a line for each record: how far from the old one, relative to its largest entry, or new, or gone."""
    lines = []
    for name in sorted(before.keys() | after.keys()):
        x, y = before.get(name), after.get(name)
        if x is None or y is None:
            lines.append(f"{name}: {'new' if x is None else 'gone'}")
        elif x.dtype.kind == "f" and x.shape == y.shape:
            lines.append(f"{name}: {np.max(np.abs(x - y), initial=0) / max(np.max(np.abs(x), initial=0), 1e-30):.1e}")
        elif not np.array_equal(x, y):
            lines.append(f"{name}: {x} is now {y}")
    return lines


def main() -> int:
    """Record everything anew by running the comparisons; where they fail the old record comes back."""
    import pytest

    before = kept()
    os.environ[RECORDS] = "1"
    FILE.unlink(missing_ok=True)
    failed = pytest.main(["-q", "-n0", "-p", "no:cacheprovider", "-k", "torch and not imported", "tests"])
    if failed:
        np.savez_compressed(FILE, **before)
        return int(failed)
    print("\n".join(moved(before, kept())))
    return 0


if __name__ == "__main__":
    sys.exit(main())
