"""The report over all races: README.md and one self-contained HTML page: python -m benchmarks.report [FOLDER]

The folder, benchmarks/results unless given, holds one folder for each race, as `benchmarks.race` left it.
"""

import re
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks import verdict
from benchmarks.command import Parser, Refused, check_folder, read
from benchmarks.page import anchor, page
from benchmarks.pictures import curves, overview, save
from benchmarks.pursuit import pursuit
from benchmarks.results import NOTHING, Race, markdown_table, write_whole
from benchmarks.roster import RECIPE

OVERVIEW = "overview.png"
CURVES = "curves.png"
RESULTS = Path("benchmarks", "results")
TITLE = "Which optimizer, for what"
SUMMARY = "All races"
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
- Bold is the best mean, which says less than the verdict: the next may be as good.
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
    """Draw the curves anew and write README.md, the tables that others quote, and report.html on a folder of races."""
    races = found(folder)
    drawn = {f"{race.task}/{CURVES}": (curves(race), curves(race, narrow=True)) for race in races}
    drawn[OVERVIEW] = overview(races), overview(races, narrow=True)
    for name, (wide, _) in drawn.items():
        save(wide, folder / name)
    for race in races:
        if table := pursuit(race):
            write_whole(folder / race.task / "pursuit.md", table)
    text = markdown(races, folder)
    write_whole(folder / "README.md", text)
    write_whole(folder / "summary.md", summary(races))
    write_whole(folder / "report.html", page(TITLE, text, drawn, folder))


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
    titles = [(race.task, _title(race)) for race in races]
    contents = "\n".join(f"- [{title}](#{anchor(title)})" for _, title in [("", SUMMARY), *titles]) + "\n"
    picture = _picture(OVERVIEW, "The end of every training, for every seed")
    sections = [_section(race, folder) for race in races]
    summed = [f"## {SUMMARY}\n", summary(races), verdict.RULE, picture, NOTES]
    return "\n".join([f"# {TITLE}\n", INTRODUCTION + contents, *summed, *sections])


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


def _pursuit(race: Race) -> str:
    table = pursuit(race)
    said = "How soon each has what AdamW has at its end, the mean over its seeds; between two looks on a line:\n"
    return f"{said}\n{table}" if table else ""


def _reached(race: Race, name: str) -> str:
    ends, show = race.ends(name), race.metric.show
    spread = f" ({show(min(ends))} to {show(max(ends))})" if len(ends) > 1 else ""
    return f"{show(race.mean(name))}{spread}"


def _picture(path: str, caption: str) -> str:
    """Return a picture with its caption below, in Markdown."""
    return f"![{caption}]({path})\n\n*{caption}.*\n"


def _pictures(race: Race, folder: Path) -> list[str]:
    """Return a race's pictures: the curves, and what the optimizers' models made."""
    curves = f"{race.metric.name}, its last third enlarged, and the test loss, against the steps; of several seeds "
    pictures = [(CURVES, curves + "a line at the mean and a band from the lowest to the highest")]
    pictures += [(f"{name}.png", f"Made with {name}") for name in race.optimizers]
    there = [(name, caption) for name, caption in pictures if (folder / race.task / name).exists()]
    return [_picture(f"{race.task}/{name}", caption[0].upper() + caption[1:]) for name, caption in there]


def _title(race: Race) -> str:
    return f"{race.task}: {race.title}"


def _rows(race: Race) -> list[list[str]]:
    """Return the table's rows, with the best mean in bold."""
    means = [race.mean(name) for name in race.optimizers]
    best = race.mean(race.best())
    rows = race.rows()
    column = race.headings().index(race.metric.name)
    for row, mean in zip(rows, means, strict=True):
        row[column] = f"**{row[column]}**" if mean == best else row[column]
    return rows


def _section(race: Race, folder: Path) -> str:
    metric, seeds = race.metric, _seeds(race)
    aim = "at least" if metric.higher_is_better else "at most"
    parts = [
        f"## {_title(race)}\n",
        f"{race.steps} steps of {race.step}, {seeds} seed{'' if seeds == '1' else 's'}. Target: {metric.name} {aim}"
        f" {metric.show(metric.target)}. The textbook's choice: {_choice(race)} ({race.source}).\n",
        markdown_table(race.headings(), _rows(race)),
        _comparisons(race),
        _pursuit(race),
        *_pictures(race, folder),
    ]
    if race.tunings:
        parts += [
            "Learning rates tried, each with what it reached on held-out data; the best in bold:\n",
            _tunings(race),
        ]
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
        rows.append([tuning.optimizer + edge, *cells, *[NOTHING] * (width - len(cells))])
    headings = [f"rate {i}" for i in range(1, width + 1)]
    headings[0] += ", the lowest"
    return markdown_table(["optimizer", *headings], rows)


if __name__ == "__main__":
    sys.exit(main())
