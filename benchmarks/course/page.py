"""What the claims show: a page, and a picture for each group, both from what is kept."""

import re
import statistics
from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from benchmarks import pictures
from benchmarks.course.claim import FAILS, HOLDS, RULE, VERDICTS, Claim, Contrast, Group
from benchmarks.page import anchor
from benchmarks.results import NOTHING, NUMBERS_ON_LINES, markdown_table
from gradx.viz.style import COLOURS, DASHES, finish, plain_numbers, whole_ticks

TITLE = "The course, claim by claim"
INTRODUCTION = """\
What an ordinary course says of optimizers, and what became of it here: small networks on real data, a few constructed
functions where a claim is about those, and the [races](../README.md). "Holds" is said of these settings and no others;
that something does not hold here does not make it wrong elsewhere.
"""
NOTES = """\
Numbers are means over the seeds, with the lowest and the highest in brackets. Where an optimizer has "the best of its
rates", it was chosen with other seeds than those that are shown. In the pictures a line is the median of the seeds and
a band goes from the lowest to the highest.
"""
COLUMNS = 3
"""Panels side by side."""
REACH = 30.0
"""Where a difference in units of what is needed is cut off in the picture."""
MARKS = {HOLDS: "#009E73", FAILS: "#D55E00"}
UNTOLD = "0.5"


def json_lines(text: str) -> str:
    """Put each list of numbers on a line of its own."""
    return re.sub(NUMBERS_ON_LINES, lambda found: " ".join(found[0].split()), text)


def page(groups: Sequence[Group]) -> str:
    """Return the page as Markdown."""
    claims = [claim for group in groups for claim in group.claims]
    counts = ", ".join(f"{word} {sum(x.verdict == word for x in claims)}" for word in VERDICTS)
    lines = [f"# {TITLE}\n", INTRODUCTION, f"Of {len(claims)} claims: {counts}.\n", RULE, NOTES]
    lines += [_summary(group) for group in groups]
    for group in groups:
        lines += [f"## {group.title}\n", *map(_section, group.claims)]
        alt = f"{group.title}: what was measured"
        lines += [f"![{alt}]({group.name}.png)\n", f"{_origin(group)}\n"]
    return "\n".join(lines)


def _summary(group: Group) -> str:
    rows = [[f"{x.said}", _figure(_deciding(x)), x.verdict] for x in group.claims]
    heading = f"[{group.title}](#{anchor(group.title)})"
    return markdown_table([heading, "where it is closest", "verdict"], rows)


def _section(claim: Claim) -> str:
    headings = ["what is compared", "favoured", "", "other", "", "difference ± needed", "answer"]
    rows = [[x.quantity, x.favoured, _spread(x, x.mine), x.other, _spread(x, x.theirs), *_answer(x)]
            for x in claim.contrasts]  # fmt: skip
    parts = [f"### {claim.said}\n", f"*Said*: {claim.source}.\n", f"*Measured here*: {claim.here}\n"]
    parts += [markdown_table(headings, rows), f"**Verdict: {claim.verdict}.** {claim.remark}".rstrip() + "\n"]
    return "\n".join(parts)


def _answer(contrast: Contrast) -> list[str]:
    found = contrast.comparison
    show = contrast.metric.show
    words = {1: "better", -1: "worse", 0: "not told apart"}
    sign = 1 if found.ratio > 1 else -1 if found.ratio < -1 else 0
    if contrast.limited:
        return [NOTHING, "both at the best value"]
    if not np.isfinite(found.difference):
        return ["always diverged" if found.needed == 0 else "some diverged", words[sign]]
    needed = show(found.needed) if np.isfinite(found.needed) else NOTHING
    return [f"{'+' if found.difference >= 0 else '−'}{show(abs(found.difference))} ± {needed}", words[sign]]


def _deciding(claim: Claim) -> Contrast:
    return min(claim.contrasts, key=lambda x: x.comparison.ratio)


def _figure(contrast: Contrast) -> str:
    show = contrast.metric.show
    known = (statistics.mean(x) for x in (contrast.mine, contrast.theirs))
    mine, theirs = (show(x) if np.isfinite(x) else "diverged" for x in known)
    return f"{contrast.quantity}: {contrast.favoured} {mine}, {contrast.other} {theirs}"


def _spread(contrast: Contrast, values: Sequence[float]) -> str:
    show = contrast.metric.show
    if not np.isfinite(values).all():
        return f"{sum(map(np.isfinite, values))} of {len(values)} seeds did not diverge"
    if min(values) == max(values):
        return show(values[0])
    return f"{show(statistics.mean(values))} ({show(min(values))} to {show(max(values))})"


def _origin(group: Group) -> str:
    versions = ", ".join(f"{name} {version}" for name, version in group.origin["versions"].items())
    platform = group.origin["platform"]
    machine = f"{platform['processors']} processors, {platform['device']}"
    if not group.panels:
        return "Read from the races, whose pages name versions and machine."
    return f"{group.seeds} seeds; {versions}; {group.seconds:.0f} seconds on {machine}."


def picture(group: Group) -> Figure:
    """Return the group's picture: its panels, or where it has none its differences."""
    return _curves(group) if group.panels else _differences(group)


def _curves(group: Group) -> Figure:
    columns = min(COLUMNS, len(group.panels))
    rows = -(-len(group.panels) // columns)
    figure = Figure(figsize=(3.9 * columns + 0.6, 3.5 * rows), layout="constrained")
    every = list(figure.subplots(rows, columns, squeeze=False).flat)
    looks = _styles(list(dict.fromkeys(name for panel in group.panels for name in panel.lines)))
    for panel, axes in zip(group.panels, every, strict=False):
        for name, seeds in panel.lines.items():
            _line(axes, panel.x[name], np.array(seeds), looks[name], name)
        finish(axes, panel.title, xlabel=panel.xlabel)
        _scales(axes, panel)
        axes.legend(fontsize=7.5, frameon=False, handlelength=2.8)
    for axes in every[len(group.panels) :]:
        axes.axis("off")
    return figure


def _line(axes: Axes, x: Sequence[float], seeds: np.ndarray, look: dict[str, Any], name: str) -> None:
    with np.errstate(all="ignore"):
        known = np.isfinite(seeds).any(0)
        x, seeds = np.asarray(x)[known], seeds[:, known]
        axes.plot(x, np.nanmedian(seeds, axis=0), label=name, linewidth=1.6, **look)
        axes.fill_between(x, np.nanmin(seeds, 0), np.nanmax(seeds, 0), color=look["color"], alpha=0.13, linewidth=0)


def _scales(axes: Axes, panel: Any) -> None:
    if "y" in panel.log:
        axes.set_yscale("log")
    if panel.ylim:
        axes.set_ylim(*panel.ylim)
    if "y" in panel.log:
        plain_numbers(axes.yaxis)
    if "x" in panel.log:
        axes.set_xscale("log")
        places = [x for line in panel.x.values() for x in line if x > 0]
        axes.set_xlim(min(places), max(places))
        plain_numbers(axes.xaxis)
    else:
        axes.set_xlim(left=min(min(line) for line in panel.x.values()))
        whole_ticks(axes)


def _styles(names: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return how each line looks: optimizers as in the races, others in the colours that are left."""
    known = {x for row in pictures.NAMES for x in row}
    looks = {name: {k: v for k, v in pictures.style(name).items() if k != "marker"} for name in names if name in known}
    free = [x for x in COLOURS if x not in {look["color"] for look in looks.values()}] or list(COLOURS)
    others = [name for name in names if name not in known]
    for i, name in enumerate(others):
        looks[name] = {"color": free[i % len(free)], "dashes": DASHES[i // len(free) % len(DASHES)]}
    return looks


def _differences(group: Group) -> Figure:
    """Draw each difference in units of what is needed: right of 1 it speaks for the claim, left of -1 against it."""
    rows = [(claim, x) for claim in group.claims for x in claim.contrasts]
    figure = Figure(figsize=(8.5, 0.24 * (len(rows) + len(group.claims)) + 1.2), layout="constrained")
    axes, at, ticks = figure.subplots(), 0.0, []
    for claim in group.claims:
        axes.text(-REACH, at, f" {claim.said}", fontsize=8, va="center", weight="bold")
        at += 1
        for contrast in claim.contrasts:
            ratio = float(np.clip(contrast.comparison.ratio, -REACH, REACH))
            word = HOLDS if ratio > 1 else FAILS if ratio < -1 else ""
            fill = "none" if contrast.limited else MARKS.get(word, UNTOLD)
            axes.plot([ratio], [at], "o", color=MARKS.get(word, UNTOLD), markerfacecolor=fill, markersize=6)
            ticks.append((at, f"{contrast.favoured} against {contrast.other}"))
            at += 1
    axes.axvspan(-1, 1, color="0.92", linewidth=0, zorder=0)
    axes.set_xscale("symlog", linthresh=1)
    axes.set_xlim(-REACH * 1.15, REACH * 1.15)
    axes.set_xticks([-30, -10, -3, -1, 0, 1, 3, 10, 30], ["−30", "−10", "−3", "−1", "0", "1", "3", "10", "30"])
    axes.set_ylim(at, -1)
    axes.set_yticks([x for x, _ in ticks], [x for _, x in ticks], fontsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_xlabel("difference, in units of what is needed to tell it apart")
    kinds = {"speaks for the claim": MARKS[HOLDS], "against it": MARKS[FAILS], "not told apart": UNTOLD}
    handles = [Line2D([], [], marker="o", linestyle="none", color=x) for x in kinds.values()]
    kinds["both at the best value"] = UNTOLD
    handles.append(Line2D([], [], marker="o", linestyle="none", color=UNTOLD, markerfacecolor="none"))
    figure.legend(handles, list(kinds), loc="outside lower center", ncols=4, frameon=False, fontsize=8)
    return figure
