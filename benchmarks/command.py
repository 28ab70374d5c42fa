"""What the command lines share: errors in one line, checks before anything is measured, what may be replaced."""

import argparse
import difflib
import json
import tempfile
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from benchmarks.results import Race

RESULTS = "results.json"


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, without the usage above it; exits with 2."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: error: {message}\n")


class Refused(Exception):
    """Something would fail later, or be lost."""


def positive(text: str) -> int:
    """Return a whole number from 1 on."""
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"must be a whole number, 1 or more, got {text!r}") from None
    if number < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return number


def unknown(what: str, name: str, known: Iterable[str]) -> str:
    """Say that there is no such name, and which one may have been meant."""
    known = list(known)
    near = difflib.get_close_matches(name, known, n=1)
    return f"unknown {what} {name!r}{f', did you mean {near[0]!r}?' if near else ';'} choose from {', '.join(known)}"


def check_folder(folder: Path) -> None:
    """Make a folder for results; raise Refused, naming it, where nothing can be written to it."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as problem:
        reason = "it is no folder" if folder.exists() and not folder.is_dir() else problem.strerror or problem
        raise Refused(f"cannot write to {folder}: {reason}") from None


@dataclass(frozen=True)
class Selection:
    """What a race trains."""

    task: str
    optimizers: Sequence[str]
    seeds: int
    steps: int
    tuned: bool

    @property
    def trainings(self) -> set[tuple[str, int]]:
        """Every optimizer with every seed."""
        return {(name, seed) for name in self.optimizers for seed in range(self.seeds)}


def check_kept(folder: Path, mine: Selection, *, add: bool, overwrite: bool) -> None:
    """Raise Refused where a race would replace what a folder holds of another; `overwrite` allows that.

    A race gives way to one that asks for all that it has: measured anew if it was finished, else it goes on. With `add`
    all that is kept stays, which needs the same task, steps and versions.
    """
    path = folder / RESULTS
    if overwrite or not path.exists():
        return
    kept = read(path)
    there = {(run["optimizer"], run["seed"]) for run in kept["runs"] if run["finished"]}
    if not there:
        return
    same = (kept["task"], kept["steps"], bool(kept["tuning"])) == (mine.task, mine.steps, mine.tuned)
    if add:
        origin = Race("", "", Race.read(path).metric, 0, "").origin
        fits = same and all(kept[key] == origin[key] for key in origin)
        why = "--add needs the same task, steps, tuning, versions and machine"
    else:
        fits = same and there <= mine.trainings
        why = "--add keeps it" if same else "that is another race"
    if not fits:
        raise Refused(f"{path} has {_described(kept)}; {why}, --overwrite replaces it, --out takes another folder")


def read(path: Path) -> dict[str, Any]:
    """Return a results file; raise Refused, naming it, where it is none."""
    try:
        kept = json.loads(path.read_text(encoding="utf-8"))
        Race.read(path)
    except OSError as problem:
        raise Refused(f"cannot read {path}: {problem.strerror}") from None
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as problem:
        reason = f"{type(problem).__name__}: {problem}".splitlines()[0]
        raise Refused(
            f"{path} is no result of a race ({reason}); move it away, or replace it with --overwrite"
        ) from None
    return kept


def _described(kept: dict[str, Any]) -> str:
    done = [run for run in kept["runs"] if run["finished"]]
    names, seeds = dict.fromkeys(run["optimizer"] for run in done), {run["seed"] for run in done}
    how = "tuned" if kept["tuning"] else "not tuned"
    return f"{kept['task']}, {', '.join(names)}, {len(seeds)} seeds, {kept['steps']} steps, {how}"
