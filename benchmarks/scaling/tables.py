"""What was measured and planned, as Markdown."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

COLLECTIVES = ("all-reduce", "reduce-scatter", "all-gather", "all-to-all", "collective-permute")

PLANNED = ("model", "optimizer", "mesh", "layout", "params GB", "state GB", "step GB", "GFLOP", "sent GB", "passes GB")
PLANNED += ("whole GB",)


def report(found: dict[str, Any]) -> str:
    """Write all tables."""
    around = ", ".join(f"{name} {version}" for name, version in found["versions"].items())
    counts = sorted({row["processes"] for row in found["trained"]})
    most = counts[-1]
    shown = [x * found["devices"] for x in counts]
    lines = [
        "# Past one device",
        "",
        f"`python -m benchmarks.scale`; {around}; {found['platform']['device']}.",
        f"{', '.join(map(str, counts))} processes with {found['devices']} devices each, over `jax.distributed` on one",
        f"machine: {found['steps']} steps of {found['batch']} windows of the language task, 136,704 parameters.",
        "",
        "## The same losses",
        "",
        f"The loss of the last step, and how far that of any step is from data parallel training on {shown[0]}",
        "devices. Batches are the same; sums over them are taken in another order.",
        "",
        *_by_count(found["trained"], counts, shown, lambda row: _losses(row, found["trained"], counts[0])),
        "",
        "## What each device holds",
        "",
        "Kilobytes of parameters, of state, and of temporaries in a whole step, forward and backward pass in it.",
        "",
        *_by_count(found["trained"], counts, shown, _held),
        "",
        "## What a step communicates",
        "",
        f"On {shown[-1]} devices, from the compiled step: arrays, and the kilobytes that each device sends for them",
        "around a ring. Under FSDP the CPU's compiler sums gradients whole and slices them.",
        "",
        *_communicated([row for row in found["trained"] if row["processes"] == most]),
        "",
        "## Weak scaling",
        "",
        f"{found['rows']} windows for each device. The work of a device stays, and what it sends tends to a bound;",
        "FLOPs and bytes are of the compiled step, whose devices are one process's here. They share the processors of",
        "one machine: no time is told.",
        "",
        *_by_count(found["weak"], counts, shown, _work),
        "",
        f"## Saved on {most} processes, taken up by {counts[0]}, and back",
        "",
        "ZeRO-1, each for a third of the steps: the largest difference of a loss from the training that did not stop.",
        "",
        *_resumed(found, most),
    ]
    return "\n".join(lines) + "\n"


def plan_page(rows: Sequence[dict[str, Any]]) -> str:
    """Write plans as a page."""
    lines = [
        "# Planned for devices that are not there",
        "",
        "`python -m benchmarks.scale --plan --models 7B --mesh data=512 model=2`, read from traces over meshes without",
        "devices, axes explicit. `tests/benchmarks/test_scale.py` holds such plans, over one axis and over two, within",
        "10 % of what XLA says of the compiled step, scheduled by memory as for an accelerator.",
        "",
        planned(rows),
        "",
        "No size of these models is divided by 1,250: ZeRO-1 and FSDP split nothing there. Choose a power of two.",
        "",
        "With more devices than matrices of one shape several compute the same. Where parameters are whole on every",
        "device, the results come together in one sum of as many matrices as there are, and no copy is sent.",
    ]
    return "\n".join(lines) + "\n"


def planned(rows: Sequence[dict[str, Any]]) -> str:
    """Write what the optimizer's step will need."""
    lines = [
        "A step of the optimizer, from each device's own gradient (under FSDP its part of the sum) to new parameters,",
        "all in float32, on each device. `step` is the most that is held at once: parameters, state, gradient,",
        "temporaries. Bytes are sent around rings; under FSDP the `passes` gather parameters twice and scatter the",
        "gradient. `whole`: state that the data axis does not divide.",
        "",
        f"| {' | '.join(PLANNED)} |",
        "|---|---|---|---|" + "---:|" * 7,
    ]
    for row in rows:
        mesh = " x ".join(f"{name} {size:,}" for name, size in row["mesh"].items())
        sent = ", ".join(f"{name} {row['sent'][name] / 1e9:.2f}" for name in COLLECTIVES if row["sent"].get(name))
        numbers = [f"{row[key] / 1e9:,.2f}" for key in ("params", "state", "step", "flops")]
        rest = [f"{row[key] / 1e9:,.2f}" for key in ("passes", "whole")]
        cells = [row["model"], row["optimizer"], mesh, row["layout"], *numbers, sent or "–", *rest]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def _by_count(rows: list[dict], counts: list[int], shown: list[int], cell: Callable[[dict], str]) -> list[str]:
    lines = ["| optimizer | layout | " + " | ".join(f"{n} devices" for n in shown) + " |"]
    lines.append("|---|---|" + "---:|" * len(counts))
    for name, layout in dict.fromkeys((row["optimizer"], row["layout"]) for row in rows):
        mine = {row["processes"]: row for row in rows if (row["optimizer"], row["layout"]) == (name, layout)}
        lines.append(f"| {name} | {layout} | {' | '.join(cell(mine[n]) for n in counts)} |")
    return lines


def _losses(row: dict, rows: list[dict], least: int) -> str:
    (first,) = [
        x for x in rows if (x["optimizer"], x["processes"], x["layout"]) == (row["optimizer"], least, "data parallel")
    ]
    return f"{row['losses'][-1]:.4f} ({_apart(row['losses'], first['losses']):.0e})"


def _held(row: dict) -> str:
    return " + ".join(f"{row[key] / 1e3:.0f}" for key in ("params", "state", "temporaries"))


def _work(row: dict) -> str:
    return f"{row['flops'] / 1e6:.0f} MFLOP, {sum(row['sent'].values()) / 1e3:.0f} kB sent"


def _communicated(rows: list[dict]) -> list[str]:
    lines = ["| optimizer | layout | " + " | ".join(COLLECTIVES) + " |", "|---|---|" + "---:|" * len(COLLECTIVES)]
    for row in rows:
        cells = [
            f"{row['collectives'][x]}: {row['sent'][x] / 1e3:.0f} kB" if x in row["collectives"] else "–"
            for x in COLLECTIVES
        ]
        lines.append(f"| {row['optimizer']} | {row['layout']} | {' | '.join(cells)} |")
    return lines


def _resumed(found: dict[str, Any], most: int) -> list[str]:
    third = found["steps"] // 3
    lines = ["| optimizer | taken up by one | and back |", "|---|---:|---:|"]
    for name, losses in found["resumed"].items():
        (whole,) = [
            row["losses"]
            for row in found["trained"]
            if (row["optimizer"], row["layout"], row["processes"]) == (name, "ZeRO-1", most)
        ]
        one, back = _apart(losses["one"], whole[third : 2 * third]), _apart(losses["back"], whole[2 * third :])
        lines.append(f"| {name} | {one:.0e} | {back:.0e} |")
    return lines


def _apart(losses: Sequence[float], others: Sequence[float]) -> float:
    return float(np.max(np.abs(np.subtract(losses, others))))
