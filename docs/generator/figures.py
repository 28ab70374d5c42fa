"""Figures in pages written by hand: `{{ cell images adam 2 }}` is read from the kept results when the site is built."""

import re
from collections.abc import Callable

from docs.generator import evidence, names, paths, reference
from docs.generator.docstrings import in_cell, parse
from gradx.recipes.suggestions import SUGGESTIONS

_MARK = re.compile(r"\{\{ (\w+)((?: [\w.-]+)*) \}\}")
TASKS = ("images", "tabular", "language", "recurrent", "stream")
NEAR = {True: 0.01, False: 0.1}
"""A rate comes near the best within one point of an accuracy, or a tenth of a bit."""


def filled(text: str) -> str:
    """Return a page with its figures."""
    return _MARK.sub(lambda found: FIGURES[found[1]](*found[2].split()), text)


def _rows(task: str) -> tuple[list[str], list[list[str]]]:
    lines = (evidence.RESULTS / task / "table.md").read_text().splitlines()
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines if line.startswith("|")]
    return rows[0], rows[2:]


def cell(task: str, optimizer: str, column: str) -> str:
    """Return a cell of a race's table."""
    for row in _rows(task)[1]:
        if row[0].strip("*") == optimizer:
            return row[int(column)].strip("*")
    raise LookupError(f"no {optimizer} in the race {task}")


def table(task: str, *columns: str) -> str:
    """Return some columns of a race's table."""
    heads, rows = _rows(task)
    chosen = [int(x) for x in columns]
    lines = [" | ".join(heads[i] for i in chosen), " | ".join("---" for _ in chosen)]
    lines += [" | ".join(row[i] for i in chosen) for row in rows]
    return "\n".join(f"| {line} |" for line in lines)


def verdict(task: str) -> str:
    """Say in a sentence whether the textbook's choice was the best."""
    row = evidence.summary()[task]
    answer = f"**{row[6].capitalize()}**: {row[2]}, against {row[4]} of {row[3]}, {row[7]} seeds"
    return f"Textbooks say {row[1]}. Was it the best? {answer}"


def verdicts() -> str:
    """Return the verdicts of all races as a table."""
    lines = [
        "| task | textbook's choice | reached | closest other | reached | was it the best? |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    lines += [
        f"| {row[0]} | {row[1]} | {row[2]} | {row[3]} | {row[4]} | {row[6]} |" for row in evidence.summary().values()
    ]
    return "\n".join(lines)


def schedules() -> str:
    """Return the comparisons of schedules as a table."""
    second = (evidence.RESULTS / "summary.md").read_text().strip().split("\n\n")[1]
    return second


def valleys() -> str:
    """Return for some optimizers how many of the five rates tried come near the best."""
    shown = ("sgd", "momentum", "rmsprop", "adam", "adamw")
    lines = [
        "| rates within a point of accuracy, or a tenth of a bit, of the optimizer's best | " + " | ".join(shown) + " |"
    ]
    lines.append("| --- |" + " ---: |" * len(shown))
    for race in evidence.races():
        if race["task"] in TASKS:
            higher, numbers = race["metric"]["higher_is_better"], []
            for name in shown:
                metrics = [x if isinstance(x, int | float) else float("nan") for x in race["tuning"][name]["metrics"]]
                best = (max if higher else min)(x for x in metrics if x == x)
                numbers.append(f"{sum(abs(x - best) <= NEAR[higher] for x in metrics)} of {len(metrics)}")
            lines.append(f"| {race['task']} | " + " | ".join(numbers) + " |")
    return "\n".join(lines)


def recipe(kind: str) -> str:
    """Say in a sentence what the recipe for a kind of work is."""
    return f"`gradx.recipes.{kind}`: {parse(SUGGESTIONS[kind][0]).summary.removeprefix('Return ')}"


def path(short: str) -> str:
    """Return the picture of an optimizer's path."""
    name = names.find(f"gradx.{short}")
    of = f"the best of {len(paths.RATES)} rates that stays in the picture"
    caption = f"{short}, {paths.STEPS} steps from the dot, each at {of}"
    return f'<figure class="wide">{paths.picture(name)}<figcaption>{caption}</figcaption></figure>'


def states(*many: str) -> str:
    """Return the bytes of state for each parameter of some optimizers."""
    lines = ["| optimizer | bytes |", "| --- | ---: |"]
    for short in many:
        if short == "momentum":
            lines.append("| `gradx.sgd(0.1, momentum=0.9)` | 4.0 |")
            continue
        size = reference.state_bytes(names.find(f"gradx.{short}"), (512, 2048))
        lines.append(f"| `gradx.{short}` | {in_cell(f'{size:.1f}' if size >= 0.05 or size == 0 else f'{size:.2g}')} |")
    return "\n".join(lines)


def count(what: str) -> str:
    """Return how many there are."""
    return str(len(names.optimizers()) if what == "optimizers" else len(names.public()))


FIGURES: dict[str, Callable[..., str]] = {
    "cell": cell, "table": table, "verdict": verdict, "verdicts": verdicts, "schedules": schedules, "valleys": valleys,
    "path": path, "states": states, "count": count, "recipe": recipe,
}  # fmt: skip
