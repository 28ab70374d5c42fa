"""The report over all races: README.md and one self-contained HTML page: python -m benchmarks.report [FOLDER]

The folder, benchmarks/results unless given, holds one folder for each race, as `benchmarks.race` left it.
"""

import base64
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from string import Template

from markdown_it import MarkdownIt

from benchmarks import verdict
from benchmarks.command import Parser, Refused, check_folder, read
from benchmarks.pictures import draw, overview, save
from benchmarks.results import NOTHING, Race, markdown_table, write_whole
from benchmarks.roster import RECIPE

OVERVIEW = "overview.png"
RESULTS = Path("benchmarks", "results")
PICTURES = re.compile(r'src="([^":]+\.png)"')
PAGE = Template("""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>$title</title>
<style>
body { font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 80rem; margin: 2rem auto; padding: 0 1rem; }
table { border-collapse: collapse; margin: 1rem 0; font-size: .85rem; display: block; overflow-x: auto; }
th, td { border-bottom: 1px solid #ddd; padding: .3rem .5rem; white-space: nowrap; }
th { border-bottom: 2px solid #222; text-align: left; }
img { max-width: 100%; }
code { background: #f3f3f3; }
</style>
</head>
<body>
$body</body>
</html>
""")
INTRODUCTION = """\
Every optimizer trains on every task with the best of five learning rates, each about three times the one before. They
were tuned with other seeds than those that are shown and, where there is a training set, on a fifth of it that was held
out. Nothing else was tuned. All have one schedule, a warmup and a cosine, but for "adam-constant" and the convex task.
Numbers are means over the seeds, with the lowest and the highest in brackets. "recipe" is what `gradx.recipes` has for
the task.

"""
WORDS = {verdict.YES: "better", verdict.NO: "worse", verdict.OPEN: verdict.OPEN}
NOTES = """\
- "ms/step" is the time of one training while all its seeds train side by side, divided by their number, without
  compiling; it is the median over the stretches between two looks at the test data. The machine is not a quiet one.
- "temporary MB" is what the compiled program needs beside parameters, state and data, for each training.
- A cell "–" under "steps to" says that not every seed reached the target.
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; return the exit status."""
    parser = Parser(prog="python -m benchmarks.report", description="Write the report over the races.")
    parser.add_argument("folder", type=Path, nargs="?", default=RESULTS, help=f"default: {RESULTS}")
    folder = parser.parse_args(arguments).folder
    try:
        if not found(folder):
            parser.error(f"no race in {folder}; start one with python -m benchmarks.race all --out {folder}")
        check_folder(folder)
    except Refused as problem:
        parser.error(str(problem))
    build(folder)
    print(f"README.md and report.html are in {folder}")
    return 0


def build(folder: Path) -> None:
    """Draw the curves again and write README.md, its first table alone, and report.html about the races in a folder."""
    races = found(folder)
    for race in races:
        draw(race, folder / race.task / "curves.png")
    save(overview(races), folder / OVERVIEW)
    text = markdown(races, folder)
    write_whole(folder / "README.md", text)
    write_whole(folder / "summary.md", summary(races))
    body = PICTURES.sub(lambda match: f'src="{_embedded(folder / match[1])}"', _html(text))
    write_whole(folder / "report.html", PAGE.substitute(title="Which optimizer, for what", body=body))


def found(folder: Path) -> list[Race]:
    """Return the races in the folder that have something to show; raise Refused, naming it, for a file that is none."""
    races = []
    for path in sorted(folder.glob("*/results.json")):
        read(path)
        if (race := Race.read(path)).runs:
            races.append(race)
    return races


def markdown(races: Sequence[Race], folder: Path) -> str:
    """Return the report as Markdown; the folder has the pictures."""
    picture = f"![the end of every training]({OVERVIEW})\n"
    sections = [_section(race, folder) for race in races]
    parts = ["# Which optimizer, for what", INTRODUCTION, summary(races), verdict.RULE, picture, NOTES, *sections]
    return "\n".join(parts)


def summary(races: Sequence[Race]) -> str:
    """Return a row for each race: the textbook's choice, who decides about it, the verdict; then a row per schedule."""
    headings = ["task", "textbook's choice", "reached", "closest other", "reached", "difference ± needed"]
    table = markdown_table([*headings, "was it the best?", "seeds", "the recipe"], list(map(_summary, races)))
    rows = [_schedule(race, base, judged) for race in races for base, judged in verdict.schedules(race)]
    if not rows:
        return table
    headings = ["task", "another schedule", "reached", "the same with its own", "reached", "difference ± needed"]
    return table + "\n" + markdown_table([*headings, "is the other better?", "seeds"], rows)


def _summary(race: Race) -> list[str]:
    recipe = _reached(race, RECIPE) if RECIPE in race.optimizers else NOTHING
    task, choice = f"{race.task}: {race.metric.name}", _choice(race)
    judged = verdict.judge(race)
    if judged is None:
        return [task, choice, "not raced", *[NOTHING] * 4, _seeds(race), recipe]
    if race.alternatives:
        choice += f"; here {judged.choice}"
    names = [x.other for x in judged.deciding]
    seen = [_reached(race, names[0]), _difference(race, judged.deciding[0])] if names else [NOTHING] * 2
    return [
        task,
        choice,
        _reached(race, judged.choice),
        ", ".join(names) or NOTHING,
        *seen,
        judged.answer,
        _seeds(race),
        recipe,
    ]


def _choice(race: Race) -> str:
    return " or ".join((race.textbook, *race.alternatives))


def _schedule(race: Race, base: str, judged: verdict.Verdict) -> list[str]:
    (found,) = judged.comparisons
    ends = _reached(race, judged.choice), _reached(race, base)
    task = f"{race.task}: {race.metric.name}"
    return [task, judged.choice, ends[0], base, ends[1], _difference(race, found), judged.answer, _seeds(race)]


def _difference(race: Race, found: verdict.Comparison) -> str:
    return f"{found.difference:+{race.metric.style}} ± {race.metric.show(found.needed)}"


def _seeds(race: Race) -> str:
    """Return how many seeds each optimizer has: one number, or from the fewest to the most."""
    counts = sorted({len(race.of(name)) for name in race.optimizers})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _comparisons(race: Race) -> str:
    """Return a table of the textbook's choice against every rival; empty where there is nothing to compare."""
    judged = verdict.judge(race)
    if judged is None or not judged.comparisons:
        return ""
    style = re.sub(r"\d+", lambda digits: str(int(digits[0]) + 1), race.metric.style)  # one digit more
    rows = [
        [
            x.other,
            f"{x.difference:+{style}}",
            f"{x.interval:{style}}",
            f"{x.margin:{style}}" if race.metric.examples else NOTHING,
            WORDS[x.answer],
        ]
        for x in judged.comparisons
    ]
    headings = [f"{judged.choice} against", "ahead by", "95 % interval ±", "test set ±", f"{judged.choice} is"]
    return markdown_table(headings, rows)


def _reached(race: Race, name: str) -> str:
    ends, show = race.ends(name), race.metric.show
    spread = f" ({show(min(ends))} to {show(max(ends))})" if len(ends) > 1 else ""
    return f"{show(race.mean(name))}{spread}"


def _pictures(race: Race, folder: Path) -> list[tuple[str, str]]:
    """Return the files of a race's pictures, and what each shows: the curves, and what the optimizers' models made."""
    made = [(f"{name}.png", f"made with {name}") for name in race.optimizers]
    pictures = [("curves.png", f"{race.metric.name} against steps"), *made]
    return [(name, what) for name, what in pictures if (folder / race.task / name).exists()]


def _section(race: Race, folder: Path) -> str:
    metric, seeds = race.metric, _seeds(race)
    aim = "at least" if metric.higher_is_better else "at most"
    parts = [
        f"## {race.task}: {race.title}\n",
        f"{race.steps} steps of {race.step}, {seeds} seed{'' if seeds == '1' else 's'}. Target: {metric.name} {aim}"
        f" {metric.show(metric.target)}. The textbook's choice: {_choice(race)} ({race.source}).\n",
        markdown_table(race.headings(), race.rows()),
        _comparisons(race),
        *(f"![{what}]({race.task}/{name})\n" for name, what in _pictures(race, folder)),
    ]
    if race.tunings:
        parts += ["Learning rates tried, and what they reached on held-out data:\n", _tunings(race)]
    where = race.origin
    versions = ", ".join(f"{name} {version}" for name, version in where["versions"].items())
    machine = where["platform"]
    place = f"{machine['processors']} processors, {machine['backend']} ({machine['device']})"
    parts.append(f"{versions}; {race.seconds / 60:.1f} minutes in all on {place}.\n")
    return "\n".join(parts)


def _tunings(race: Race) -> str:
    width = max(len(tuning.rates) for tuning in race.tunings)
    rows = []
    for tuning in race.tunings:
        best = tuning.best(race.metric)
        cells = []
        for rate, value in zip(tuning.rates, tuning.metrics, strict=True):
            cell = f"{rate:g}: {race.metric.show(value)}"
            cells.append(f"**{cell}**" if rate == best else cell)
        edge = " (at the edge)" if best in (tuning.rates[0], tuning.rates[-1]) else ""
        rows.append([tuning.optimizer + edge, *cells, *[""] * (width - len(cells))])
    return markdown_table(["optimizer", *[""] * width], rows)


def _html(text: str) -> str:
    return MarkdownIt("commonmark").enable("table").render(text)


def _embedded(path: Path) -> str:
    return "data:image/png;base64," + base64.b64encode(path.read_bytes()).decode()


if __name__ == "__main__":
    sys.exit(main())
