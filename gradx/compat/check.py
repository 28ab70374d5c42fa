"""Say what a program that imports Optax would get from gradx: `python -m gradx.compat.check path/`.

Reads the sources, runs nothing. For each name of Optax that a file uses: "same", "better" with what differs, or
"missing" with the reason where there is one.
"""

import argparse
import ast
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

from gradx.compat.differences import BETTER, LEFT_OUT

PARTS = ["assignment", "contrib", "losses", "microbatching", "perturbations", "projections", "schedules"]
PARTS += ["second_order", "transforms", "tree", "tree_utils"]
MODULES = ["optax", *(f"optax.{name}" for name in PARTS)]
HEADING = """\
# Optax's names in `gradx.compat.optax`

`import gradx.compat.optax as optax` runs a program that was written for Optax; `python -m gradx.compat.check path/`
says for each name that it uses what it gets. "Same": same arguments, defaults, state fields and, within float32
rounding, results. Wherever parameters are bfloat16 or float16, states are float32 here.

"""


def names_in(source: str) -> dict[str, int]:
    """Return the dotted names of Optax that a source uses, each with the first line of its use.

    >>> names_in("import optax as ox; tx = ox.adam(1e-3)")
    {'optax.adam': 1}
    """
    tree = ast.parse(source)
    known: dict[str, str] = {}
    found: dict[str, int] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                if _is_optax(alias.name):
                    known[alias.asname or "optax"] = alias.name if alias.asname else "optax"
        elif isinstance(node, ast.ImportFrom) and not node.level and _is_optax(node.module or ""):
            for alias in node.names:
                name = f"{node.module}.{alias.name}"
                known[alias.asname or alias.name] = name
                found.setdefault(name, node.lineno)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Name | ast.Attribute):
            continue
        if (dotted := _dotted(node)) is not None and dotted.split(".")[0] in known:
            first, *rest = dotted.split(".")
            if rest:
                name = ".".join([known[first], *rest])
                found[name] = min(node.lineno, found.get(name, node.lineno))
    longest = {name for name in found if not any(other.startswith(f"{name}.") for other in found)}
    return {name: line for name, line in found.items() if name in longest}


def verdict(name: str) -> str:
    """Return what a dotted name of Optax gives here.

    >>> verdict("optax.sgd"), verdict("optax.no_such_name")
    ('same', 'missing')
    """
    last = name.rsplit(".", 1)[-1]
    if _is_there(name):
        return f"better: {BETTER[last]}" if last in BETTER else "same"
    return f"missing: {LEFT_OUT[last]}" if last in LEFT_OUT else "missing"


def table() -> str:
    """Return the names of `gradx.compat.optax` as a table in Markdown."""
    lines = ["| name | here |", "|---|---|"]
    for module in MODULES:
        names = vars(importlib.import_module(f"gradx.compat.{module}"))
        public = [x for x in names if not x.startswith("_") and not isinstance(names[x], ModuleType)]
        lines += [f"| `{module}.{name}` | {verdict(f'{module}.{name}')} |" for name in sorted(public)]
    lines += [f"| `{name}` | left out: {reason} |" for name, reason in sorted(LEFT_OUT.items())]
    return HEADING + "\n".join(lines) + "\n"


def main() -> int:
    """Print a line for each name of each file; the status is 1 if one is missing."""
    parser = argparse.ArgumentParser(prog="python -m gradx.compat.check", description=(__doc__ or "").split("\n")[0])
    parser.add_argument("paths", nargs="*", type=Path, help="Python files, or folders of them")
    parser.add_argument("--table", action="store_true", help="print the table of all names instead")
    arguments = parser.parse_args()
    if arguments.table:
        print(table(), end="")
        return 0
    missing = 0
    for path in _sources(arguments.paths):
        try:
            names = names_in(path.read_text())
        except (SyntaxError, UnicodeDecodeError) as problem:
            print(f"{path}: not read: {problem}")
            continue
        for name, line in sorted(names.items(), key=lambda item: item[1]):
            said = verdict(name)
            missing += said.startswith("missing")
            print(f"{path}:{line}: {name}: {said}")
    print(f"{missing} names are missing" if missing else "every name is there: import gradx.compat.optax as optax")
    return min(missing, 1)


def _sources(paths: list[Path]) -> Iterator[Path]:
    for path in paths:
        if not path.exists():
            raise SystemExit(f"no such file or folder: {path}")
        yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]


def _is_optax(module: str) -> bool:
    return module.split(".")[0] == "optax"


def _dotted(node: ast.AST) -> str | None:
    """Return `a.b.c` of nested attributes."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute) and (inner := _dotted(node.value)) is not None:
        return f"{inner}.{node.attr}"
    return None


def _is_there(name: str) -> bool:
    """Whether gradx has the name: a module, something in one, or an attribute of that (a method, a field)."""
    parts = name.split(".")
    for i in range(len(parts), 0, -1):
        try:
            x = importlib.import_module(f"gradx.compat.{'.'.join(parts[:i])}")
        except ModuleNotFoundError:
            continue
        for attribute in parts[i:]:
            if not hasattr(x, attribute):
                return False
            x = getattr(x, attribute)
        return True
    return False


if __name__ == "__main__":
    raise SystemExit(main())
