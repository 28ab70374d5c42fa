"""What was measured, as pages: the races with their curves, the recipes with their evidence, costs, claims."""

import json
import math
import re
from typing import Any

from docs.generator.docstrings import escaped, linked, parse
from docs.generator.kept import ROOT

RESULTS = ROOT / "benchmarks" / "results"
KIND = {"tabular": "general"} | {name: name for name in ("control", "gan", "images", "language", "recurrent", "stream")}
"""From race to recipe."""


def races() -> list[dict[str, Any]]:
    """Return the kept races, by name."""
    return [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*/results.json")) if _is_race(path)]


def _is_race(path: Any) -> bool:
    return '"runs"' in path.read_text() and '"metric"' in path.read_text()


def curves(race: dict[str, Any]) -> dict[str, Any]:
    """Return what the picture of a race needs: for each optimizer its mean over the seeds, lowest and highest."""
    from benchmarks.pictures import style

    lines: dict[str, Any] = {}
    for run in race["runs"]:
        if run["finished"]:
            lines.setdefault(run["optimizer"], []).append(run)
    shown = []
    for name, runs in lines.items():
        steps = runs[0]["curves"]["step"]
        points = []
        for i, step in enumerate(steps):
            values = [run["curves"]["metric"][i] for run in runs]
            values = [x for x in values if x is not None and math.isfinite(x)]
            if values:
                points.append(
                    [step, *(float(f"{x:.5g}") for x in (sum(values) / len(values), min(values), max(values)))]
                )
        look = style(name)
        shown.append(
            {
                "name": name,
                "color": look["color"],
                "dashes": list(look["dashes"]),
                "points": points,
                "rate": runs[0]["learning_rate"],
            }
        )
    metric = race["metric"]
    return {
        "task": race["task"], "metric": metric["name"], "higher": metric["higher_is_better"],
        "percent": "%" in metric["style"], "digits": int(re.search(r"\.(\d)", metric["style"])[1]),
        "target": metric["target"], "unit": race["step"],
        "textbook": race["textbook"], "lines": shown,
    }  # fmt: skip


def races_page() -> str:
    """Return the page of all races."""
    lines = [
        "# The races", "",
        "Every optimizer with the best of five learning rates, on real data, several seeds. Point at a curve to",
        "read it, press a name to hide or show it. Bands are the lowest and the highest seed. These are small",
        "networks trained for minutes, on a CPU.", "",
        _part(RESULTS / "README.md", "One rule says", "![The end"),
        "## All races", "", _tables(RESULTS / "summary.md"), "",
    ]  # fmt: skip
    for race in races():
        data = json.dumps(curves(race), separators=(",", ":")).replace("</", "<\\/")
        seeds = len({run["seed"] for run in race["runs"]})
        lines += [f"## {race['task']}: {race['title']}", ""]
        lines += [f"{race['steps']} steps, each {race['step']}; {seeds} seeds. {linked(escaped(race['source']))}.", ""]
        lines += [f'<div class="race"><script type="application/json">{data}</script></div>', ""]
        lines += [_tables(RESULTS / race["task"] / "table.md"), ""]
        if (pursuit := RESULTS / race["task"] / "pursuit.md").exists():
            lines += ["How soon each is where the textbook's choice ends:", "", _tables(pursuit), ""]
    versions = ", ".join(f"{key} {value}" for key, value in races()[0]["versions"].items())
    lines += [f"Measured with {versions}; `python -m benchmarks.race all` measures anew.", ""]
    return "\n".join(lines)


def _tables(path: Any) -> str:
    rows = [line for line in path.read_text().splitlines() if line.startswith("|") or not line]
    return "\n".join(rows).strip()


def _part(path: Any, first: str, last: str) -> str:
    text = path.read_text()
    start = text.find(first)
    end = text.find(last, start)
    return text[start:end].strip() + "\n" if start >= 0 and end > start else ""


def summary() -> dict[str, list[str]]:
    """Return the rows of the summary of all races, by task."""
    rows = {}
    for line in (RESULTS / "summary.md").read_text().split("\n\n")[0].splitlines()[2:]:
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0].partition(":")[0]] = cells
    return rows


def recipes_page() -> str:
    """Return the page of the recipes, each beside what its race found."""
    from gradx.recipes.suggestions import SUGGESTIONS

    rows = summary()
    lines = [
        "# Recipes",
        "",
        "An optimizer for a kind of work in one line: clipping, a method, a schedule as long as the",
    ]
    lines += ["training, decay where it belongs. Each was raced; the evidence stands beside it.", ""]
    lines += [
        "```python",
        "from gradx import recipes",
        "",
        "tx = recipes.language(steps=1000)",
        "print(tx.expand())",
        "```",
        "",
    ]
    for name, (recipe, task, model) in SUGGESTIONS.items():
        found = parse(recipe)
        race = next((key for key, value in KIND.items() if value == name), None)
        lines += [
            f"## {name}",
            "",
            f"For {task}: {model}. {linked(escaped(found.summary.removeprefix('Return ')))}",
            "",
        ]
        lines += ["```{ .text .output }", _wrapped(str(recipe(1000).expand())), "```", ""]
        if race in rows:
            cells = rows[race]
            lines += [
                "| race | the recipe reached | the textbook's choice reached | was the textbook's the best? |",
                "| --- | --- | --- | --- |",
            ]
            lines += [
                f"| [{cells[0]}](races.md#{_anchor(race)}) | {cells[8]} | {cells[1]}: {cells[2]} | {cells[6]} |",
                "",
            ]
        lines += [f"`gradx.recipes.{name}`", ""]
    lines += ["`gradx.recipes.suggest` finds a recipe by the word, `gradx.recipes.table` lists all.", ""]
    return "\n".join(lines)


def _wrapped(text: str) -> str:
    return re.sub(r", (?=[a-z_]+\()(?![^(]*\)\))", ",\n      ", text)


def _anchor(task: str) -> str:
    race = next(race for race in races() if race["task"] == task)
    words = re.sub(r"[^\w\s-]", "", f"{race['task']}: {race['title']}".lower())
    return re.sub(r"[-\s]+", "-", words).strip("-")


def cost_page() -> str:
    """Return the page of what things cost."""
    lines = [
        "# What it costs",
        "",
        "Beside Optax, in the same process, from the tables that are kept in `benchmarks/results`.",
    ]
    lines += ["Below 1 a ratio says that gradx is faster.", ""]
    for title, file, words in (
        (
            "Bytes of a step",
            "cost",
            "A whole compiled step, buffers donated. What is read and written decides the time of most optimizers.",
        ),
        ("Time", "speed", "Runs side by side; the ratio is that of medians."),
        (
            "Thirty-two learning rates",
            "sweep",
            "One program beats compiling each rate anew; one function called 32 times is faster still on two cores.",
        ),
        ("Evaluations to a minimum", "minimize", "L-BFGS beside SciPy's and Optax's, in float64."),
    ):
        path = RESULTS / f"{file}.md"
        command = re.search(r"`(python -m [\w. ]+)`", path.read_text())
        lines += [
            f"## {title}",
            "",
            f"{words} `{command[1] if command else f'python -m benchmarks.{file}'}` measures anew.",
            "",
            _tables(path),
            "",
        ]
    return "\n".join(lines)


CLAIMS = RESULTS / "claims" / "claims.md"
"""The course, claim by claim, once it is measured."""


def claims() -> str | None:
    """Return a sentence on the kept table of the course's claims, or None where there is none."""
    if not CLAIMS.exists():
        return None
    found = re.search(r"^Of (\d+) claims: ", CLAIMS.read_text(), re.M)
    return f"{found[1]} claims, each with its verdict." if found else None


def claims_page() -> dict[str, str | bytes]:
    """Return the page of the claims with its pictures, if they were measured."""
    if not CLAIMS.exists():
        return {}
    made: dict[str, str | bytes] = {}
    text = CLAIMS.read_text()
    for target in set(re.findall(r"\]\(([\w./-]+\.(?:png|svg))\)", text)):
        if (CLAIMS.parent / target).exists():
            made[f"learn/claims/{target}"] = (CLAIMS.parent / target).read_bytes()
            text = text.replace(f"]({target})", f"](claims/{target})")
    text = re.sub(r"(?<!!)\[([^\]]+)\]\((?!#|https?:)[^)]*\)", r"\1", text)  # what leads out of the site
    return made | {"learn/claims.md": text}


def pages() -> dict[str, str | bytes]:
    """Return the pages of what was measured."""
    made: dict[str, str | bytes] = {
        "choose/races.md": races_page(),
        "choose/recipes.md": recipes_page(),
        "choose/cost.md": cost_page(),
    }
    return made | claims_page()
