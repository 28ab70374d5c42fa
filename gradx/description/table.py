"""A description as a table: text, and HTML for notebooks."""

import html
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from jax.core import Tracer

from gradx.matrices import Layout
from gradx.roles.role import Role
from gradx.scheduled import ScheduleValue

HEADER = ("path", "shape", "role", "layout", "transformation", "learning rate", "weight decay", "state bytes")
NUMBERS = (5, 6, 7)
"""The columns that stand right."""
SHORT = 20
"""A schedule with so many letters at most stands in its cell, a longer one by its name."""


class Row(NamedTuple):
    """What one parameter is for, and what an optimizer does with it."""

    path: str
    shape: tuple[int, ...]
    role: Role | None
    """None where it cannot be told."""
    transformation: str
    """What its update goes through, in order; nothing where it passes unchanged."""
    learning_rate: tuple[Any, ...]
    """Numbers or schedules, in the order in which they are met: one as a rule."""
    weight_decay: tuple[Any, ...]
    """The same of weight decay; empty where it does not decay."""
    state_bytes: int
    """What the state keeps for it alone."""


@dataclass(frozen=True, repr=False)
class Description:
    """Who gets what; `str` and a notebook show it as a table."""

    rows: tuple[Row, ...]
    """One for each parameter, in the order of the tree's leaves."""
    parameter_bytes: int
    """The bytes of the parameters."""
    shared_bytes: int
    """The bytes of the state that belong to no one parameter: counts, and what is made of all together."""

    @property
    def state_bytes(self) -> int:
        """The bytes of the whole state."""
        return self.shared_bytes + sum(row.state_bytes for row in self.rows)

    def __repr__(self) -> str:
        cells = [HEADER, *map(_cells, self.rows)]
        widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
        lines = [
            "  ".join(
                x.rjust(w) if k in NUMBERS else x.ljust(w) for k, (x, w) in enumerate(zip(row, widths, strict=True))
            )
            for row in cells
        ]
        return "\n".join(line.rstrip() for line in [*lines, "", *self._foot()])

    def _repr_html_(self) -> str:
        def line(cells: Iterable[str], tag: str) -> str:
            return "".join(
                f'<{tag} style="text-align: {"right" if k in NUMBERS else "left"}">{html.escape(x)}</{tag}>'
                for k, x in enumerate(cells)
            )

        body = "\n".join(f"<tr>{line(_cells(row), 'td')}</tr>" for row in self.rows)
        foot = "<br>".join(map(html.escape, self._foot()))
        return (
            f"<table>\n<thead><tr>{line(HEADER, 'th')}</tr></thead>\n<tbody>\n{body}\n</tbody>\n"
            f'<tfoot><tr><td colspan="{len(HEADER)}" style="text-align: left">{foot}</td></tr></tfoot>\n</table>'
        )

    def _foot(self) -> list[str]:
        """Return the totals, the schedules in full, and what is open."""
        n = sum(math.prod(row.shape) for row in self.rows)
        each = f", {self.state_bytes / n:.3g} per parameter" if n else ""
        shared = f", {self.shared_bytes:,} of them shared" if self.shared_bytes else ""
        total = f"{len(self.rows)} arrays, {n:,} parameters, {self.parameter_bytes:,} bytes"
        lines = [f"{total}; state {self.state_bytes:,} bytes{each}{shared}"]
        values = [x for row in self.rows for x in (*row.learning_rate, *row.weight_decay)]
        full = {repr(x): number(x) for x in values if isinstance(x, ScheduleValue)}
        lines += [f"{short}: {long}" for long, short in full.items() if long != short]
        if any(row.role is None for row in self.rows):
            lines.append("?: gradx.roles.infer(params) says why, and what to write")
        return lines


def _cells(row: Row) -> tuple[str, ...]:
    role = row.role
    return (
        row.path,
        "×".join(map(str, row.shape)) or "scalar",
        role.kind if role else "?",
        axes(role.layout, len(row.shape)) if role and role.layout else "",
        row.transformation or "(unchanged)",
        ", ".join(map(number, row.learning_rate)) or "-",
        ", ".join(map(number, row.weight_decay)) or "-",
        f"{row.state_bytes:,}",
    )


def axes(layout: Layout, n: int) -> str:
    """Return what each of `n` axes is: `batch, in, out/3` of three fused kernels.

    >>> axes(Layout(rows=(1,), columns=(2,), splits=3), 3)
    'batch, in, out/3'
    """
    out = "out" if layout.splits == 1 else f"out/{layout.splits}"
    return ", ".join("in" if i in layout.rows else out if i in layout.columns else "batch" for i in range(n))


def number(x: Any) -> str:
    """Return a number, an array of them or a schedule in a few letters."""
    if isinstance(x, ScheduleValue):
        return repr(x) if len(repr(x)) <= SHORT else x.name
    if isinstance(x, Tracer):
        return "traced"
    return f"{float(x):.4g}" if np.ndim(x) == 0 else np.array2string(np.asarray(x), precision=4)
