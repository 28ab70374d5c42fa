"""Does the suite notice small faults? `make mutants` plants each fault of the tables in a copy, and runs its tests.

The tables, `mutants_*.toml` beside this file, hold for each file its mutants: a name, the exact text that is replaced,
what it is replaced by, and the arguments of pytest that should notice. Files are of gradx, or of the folders in
`OUTSIDE`. A mutant that nothing can notice stands under `excused`, with the reason. Nothing is ever written to the
working tree.
"""

import argparse
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

TESTS = Path(__file__).resolve().parent
ROOT = TESTS.parent
OUTSIDE = ("benchmarks", "docs", "tests")
"""Folders whose files the tables name from the root; all others are inside gradx."""
FOLDERS = ("gradx", "tests", "benchmarks", "docs", "examples", "notebooks")
FILES = ("pyproject.toml", "README.md", "CHANGELOG.md", "LICENSE", "CITATION.cff", "requirements.txt", "mkdocs.yml")
"""What a copy holds: a test whose neighbour is missing fails too, and nothing was noticed."""
PASSED, FAILED, INTERRUPTED = 0, 1, 2
"""Exit codes of pytest: every other one says that it was called wrongly, or collected nothing."""


@dataclass(frozen=True)
class Mutant:
    """One small fault."""

    file: str
    """Inside gradx, or with one of the folders `OUTSIDE` from the root."""
    name: str
    old: str
    new: str
    tests: str
    """The arguments of pytest, as in a shell."""
    excuse: str = ""
    table: str = ""
    """The word in its table's name."""

    @property
    def is_outside(self) -> bool:
        return self.file.partition("/")[0] in OUTSIDE

    def path(self, root: Path = ROOT) -> Path:
        return root / self.file if self.is_outside else root / "gradx" / self.file

    def occurrences(self, root: Path = ROOT) -> int:
        return self.path(root).read_text().count(self.old)

    def plant(self, root: Path) -> None:
        """Write the fault into the copy under `root`."""
        path = self.path(root)
        path.write_text(path.read_text().replace(self.old, self.new))


def read(tables: list[Path] | None = None) -> list[Mutant]:
    """Return all mutants, in the order of the tables."""
    found, excuses = [], {}
    for table in tables or sorted(TESTS.glob("mutants_*.toml")):
        content = tomllib.loads(table.read_text())
        excuses |= content.pop("excused", {})
        word = table.stem.removeprefix("mutants_")
        found += [(word, file, name, row) for file, rows in content.items() for name, row in rows.items()]
    if unknown := excuses.keys() - {name for _, _, name, _ in found}:
        raise ValueError(f"excused, and no mutant: {sorted(unknown)}")
    return [Mutant(file, name, *row, excuses.get(name, ""), word) for word, file, name, row in found]


def faults(mutants: list[Mutant]) -> list[str]:
    """Say what is wrong with the tables: a text that is gone or stands twice, a name used twice, a file of no test."""
    names = [m.name for m in mutants]
    found = [f"{name!r} is the name of {names.count(name)} mutants" for name in set(names) if names.count(name) > 1]
    for m in mutants:
        if (n := m.occurrences()) != 1:
            found.append(f"{m.file}: {m.name!r}: the text stands there {n} times: {m.old!r}")
        if m.old == m.new:
            found.append(f"{m.file}: {m.name!r} changes nothing")
        paths = [word.partition("::")[0] for word in shlex.split(m.tests) if word.startswith("tests/")]
        found += [
            f"{m.file}: {m.name!r}: no file {path}" for path in paths or ["of tests"] if not (ROOT / path).exists()
        ]
    return found


def outcome(mutant: Mutant | None, seconds: float, tests: str = "") -> str:
    """Return "killed", "survived", "out of time" or what pytest said, for a mutant in a copy of its own."""
    with tempfile.TemporaryDirectory(prefix="mutant-") as name:
        copy = Path(name)
        for part in FOLDERS:
            shutil.copytree(ROOT / part, copy / part)  # compiled modules too: they go by the time of their source
        for part in FILES:
            shutil.copy(ROOT / part, copy)
        if mutant is not None:
            mutant.plant(copy)
        environment = os.environ | {"PYTHONPATH": str(copy), "JAX_PLATFORMS": "cpu", "PYTHONDONTWRITEBYTECODE": "1"}
        command = [sys.executable, "-m", "pytest", "-x", "-q", "--no-header", "-p", "no:cacheprovider"]
        command += shlex.split(mutant.tests if mutant else tests)
        try:
            done = subprocess.run(command, cwd=copy, env=environment, capture_output=True, text=True, timeout=seconds)
        except subprocess.TimeoutExpired:
            return "out of time"
    if done.returncode == INTERRUPTED and mutant is not None and outcome(None, seconds, mutant.tests) != "survived":
        return f"pytest: {mutant.tests} is not collected without the fault either"
    if done.returncode in (FAILED, INTERRUPTED):
        return "killed"
    return "survived" if done.returncode == PASSED else f"pytest: {done.stdout.strip().splitlines()[-1:]} {done.stderr}"


def is_fine(mutant: Mutant, said: str) -> bool:
    """Whether nothing is to be done: a fault was noticed, or could not be. A loop that never ends is noticed too."""
    return said == "survived" if mutant.excuse else said in ("killed", "out of time")


def chosen(mutants: list[Mutant], words: list[str]) -> list[Mutant]:
    """Return the mutants of the tables that are named, and those whose file or name holds a word; without words all."""
    return [m for m in mutants if not words or any(word == m.table or word in f"{m.file}: {m.name}" for word in words)]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "words", nargs="*", help="take only the tables `mutants_WORD.toml`, or mutants whose file or name holds one"
    )
    parser.add_argument("--jobs", type=int, default=1, choices=(1, 2), help="mutants at a time")
    parser.add_argument("--seconds", type=float, default=300, help="time limit for one mutant")
    parser.add_argument("--list", action="store_true", help="only list them")
    options = parser.parse_args()
    mutants = chosen(read(), options.words)
    if wrong := faults(read()):
        print("\n".join(wrong))
        return 1
    if options.list or not mutants:
        print("\n".join(f"{m.file}: {m.name}" for m in mutants) or "no such mutant")
        return 0 if mutants else 1
    print(f"{len(mutants)} mutants", flush=True)

    def run(mutant: Mutant) -> tuple[Mutant, str]:
        start = time.monotonic()
        said = outcome(mutant, options.seconds)
        shown = f"excused ({mutant.excuse})" if mutant.excuse and said == "survived" else said
        line = f"{mutant.file:<32} {mutant.name:<62} {shown}"
        print(f"{line} {time.monotonic() - start:.0f} s", flush=True)
        return mutant, said

    with ThreadPoolExecutor(options.jobs) as pool:
        results = list(pool.map(run, mutants))
    left = [(m, said) for m, said in results if not is_fine(m, said)]
    killed = sum(said in ("killed", "out of time") for _, said in results)
    excused = sum(bool(m.excuse) and said == "survived" for m, said in results)
    print(f"\n{killed} killed, {excused} excused, {len(left)} to be looked at, of {len(results)}")
    for m, said in left:
        print(f"  {m.file}: {m.name}: {said}{' though excused' if m.excuse else ''}; ran {m.tests}")
    return 1 if left else 0


if __name__ == "__main__":
    sys.exit(main())
