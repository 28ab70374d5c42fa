"""The table "which optimizer for which task", row by row: read from the races, not trained again."""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import verdict
from benchmarks.course.claim import Claim, Contrast, Panel, Setup
from benchmarks.results import Race

TITLE = "Which optimizer for which task"
RESULTS = Path(__file__).parent.parent / "results"
COURSE = ("sgd", "momentum", "rmsprop", "adam", "adamw", "adam-0.5")
"""Whom an ordinary course compares; who else raced is counted apart."""


def read(task: str, choices: Sequence[str]) -> Race:
    """Return a kept race, with these as the textbook's choices."""
    race = Race.read(RESULTS / task / "results.json")
    return dataclasses.replace(race, textbook=choices[0], alternatives=choices[1:])


def among(race: Race, names: Sequence[str]) -> Race:
    """Return the race as if only these had taken part."""
    return dataclasses.replace(race, runs=[run for run in race.runs if run.optimizer in names])


def contrasts(race: Race, judged: verdict.Verdict) -> list[Contrast]:
    """Return the choice against each rival, over the seeds that both have."""
    metric, found = race.metric, []
    mine = {run.seed: run.points[-1].metric for run in race.of(judged.choice)}
    for rival in judged.comparisons:
        theirs = {run.seed: run.points[-1].metric for run in race.of(rival.other)}
        seeds = sorted(mine.keys() & theirs.keys())
        values = [mine[seed] for seed in seeds], judged.choice, [theirs[seed] for seed in seeds]
        how = (metric.higher_is_better, metric.style, metric.examples, None, metric.ceiling)
        found.append(Contrast(metric.name, judged.choice, values[0], rival.other, values[2], *how))
    return found


def beside(judged: verdict.Verdict, wider: verdict.Verdict) -> str:
    """Say what becomes of it against all who raced, where there are more."""
    rest = len(wider.comparisons) - len(judged.comparisons)
    if not rest:
        return ""
    others = ", ".join(x.other for x in wider.deciding)
    answer = {
        verdict.YES: f"it is the best of all, {others} the closest",
        verdict.NO: f"it is not the best: {others} is better",
        verdict.CEILING: f"the best value is reached by {others} too",
    }.get(wider.answer, f"it is not told apart from {others}")
    return f"Against all who raced, {rest} more, {answer}."


def row(name: str, task: str, choices: Sequence[str], said: str, source: str) -> Callable[[Setup], tuple]:
    """Return the function that reads a row of the table from its race."""

    def measured(setup: Setup) -> tuple[Claim, Sequence[Panel]]:
        race = read(task, choices)
        judged, wider = verdict.judge(among(race, COURSE)), verdict.judge(race)
        if judged is None or wider is None:
            raise ValueError(f"the race {task} has none of {', '.join(choices)}")
        here = (
            f"The race `{task}`, {race.title}: {race.steps} steps of {race.step}, every optimizer with the best of five"
            f" rates and the same schedule; against the others that a course compares."
        )
        return Claim(name, said, source, here, contrasts(race, judged), beside(judged, wider)), []

    measured.__name__ = name
    return measured


ROWS = (
    (
        "general",
        "tabular",
        ("adam", "adamw"),
        "For most work: Adam or AdamW.",
        "Kingma and Ba 2015, arXiv:1412.6980; Loshchilov and Hutter 2019, arXiv:1711.05101",
    ),
    (
        "images",
        "images",
        ("adamw", "momentum"),
        "For images: AdamW, or descent with momentum.",
        "Loshchilov and Hutter 2019, arXiv:1711.05101; He et al. 2016, arXiv:1512.03385",
    ),
    ("language", "language", ("adamw",), "For language: AdamW.", "Touvron et al. 2023, arXiv:2302.13971"),
    (
        "reinforcement_learning",
        "control",
        ("adam",),
        "For reinforcement learning: Adam.",
        "Schulman et al. 2017, arXiv:1707.06347",
    ),
    ("recurrent", "recurrent", ("rmsprop",), "For recurrent nets: RMSProp.", "Graves 2013, arXiv:1308.0850"),
    (
        "very_large_data",
        "stream",
        ("momentum",),
        "For very large data: descent with momentum.",
        "Bottou 2010, doi:10.1007/978-3-7908-2604-3_16",
    ),
    (
        "adversarial_nets",
        "gan",
        ("adam-0.5", "adam"),
        "For adversarial nets: Adam.",
        "Radford, Metz and Chintala 2016, arXiv:1511.06434, with β₁ = 0.5; Kingma and Ba 2015, with 0.9",
    ),
)
"""Of each: its name, the race, the textbook's choices, what is said, and where."""
CLAIMS = tuple(row(*x) for x in ROWS)
