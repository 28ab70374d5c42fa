"""What is called otherwise in PyTorch and in Keras: their call, ours, and what is to be known about it.

They are kept in `peers.toml`.
"""

import importlib
import re
import tomllib
from pathlib import Path
from typing import NamedTuple


class Peer(NamedTuple):
    """A call of another library, and what to write here."""

    theirs: str
    ours: str
    note: str = ""

    @property
    def name(self) -> str:
        """The class of the other library."""
        return self.theirs.partition("(")[0]

    def uses(self, short: str) -> bool:
        """Whether ours is an optimizer of this name, alone or at the end of a chain."""
        return re.search(rf"\bgradx\.{short}\(", self.ours) is not None


_GROUPS = tomllib.loads((Path(__file__).with_suffix(".toml")).read_text())


def _peers(group: str) -> list[Peer]:
    return [Peer(**entry) for entry in _GROUPS[group]]


TORCH_OPTIMIZERS = _peers("TORCH_OPTIMIZERS")
TORCH_SCHEDULERS = _peers("TORCH_SCHEDULERS")
TORCH_OTHERS = _peers("TORCH_OTHERS")
KERAS_OPTIMIZERS = _peers("KERAS_OPTIMIZERS")
KERAS_SCHEDULES = _peers("KERAS_SCHEDULES")
KERAS_OTHERS = _peers("KERAS_OTHERS")
ALL = [*TORCH_OPTIMIZERS, *TORCH_SCHEDULERS, *TORCH_OTHERS, *KERAS_OPTIMIZERS, *KERAS_SCHEDULES, *KERAS_OTHERS]


def in_optax(short: str) -> str | None:
    """Return the dotted name of Optax that has the same purpose and spelling, or None."""
    for module in ("optax", "optax.contrib", "optax.losses", "optax.schedules", "optax.tree"):
        if hasattr(importlib.import_module(f"gradx.compat.{module}"), short):
            return f"{module}.{short}"
    return None


def equivalents(short: str) -> list[tuple[str, str, str]]:
    """Return (library, call, note) for what other libraries have in the place of an optimizer."""
    found = []
    if (name := in_optax(short)) is not None:
        found.append(("Optax", f"{name}(...)", ""))
    for library, peers in (("torch.optim", TORCH_OPTIMIZERS), ("Keras", KERAS_OPTIMIZERS)):
        found += [
            (library, peer.theirs, f"here `{peer.ours}`" + (f"; {peer.note}" if peer.note else ""))
            for peer in peers
            if peer.uses(short)
        ]
    return found
