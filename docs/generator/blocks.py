"""The Python blocks of a page: found, executed, and shown with what they print.

The blocks of a page run one after the other in one namespace, as a reader would paste them. Blocks of a tab
(`=== "nnx"`) run in a namespace of the tab, which begins as what the page had before its first tab. A block whose
fence says `{ .python .no-run }` shows what needs another machine; the page says why.
"""

import contextlib
import io
import json
import os
import re
import subprocess
import sys
import textwrap
import traceback
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from docs.generator.kept import ROOT, kept

_FENCE = re.compile(
    r"^(?P<indent> *)```(?:python|\{ \.python (?P<flags>[^}]*)\}).*?\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S
)
_TAB = re.compile(r'^=== "(?P<tab>[^"]+)"$', re.M)
DEVICES = 8
"""Of the machine on which blocks run: those of its processor."""
QUICK = "--xla_cpu_use_fusion_emitters=false --xla_cpu_parallel_codegen_split_count=1"


@dataclass(frozen=True)
class Block:
    """A block of code on a page."""

    code: str
    tab: str
    """Empty outside of tabs."""
    runs: bool
    end: int
    """Where the fence ends in the text."""
    indent: int


def blocks(text: str) -> list[Block]:
    """Return the Python blocks of a page in Markdown."""
    tabs = [(found.start(), found["tab"]) for found in _TAB.finditer(text)]
    result = []
    for found in _FENCE.finditer(text):
        indent = len(found["indent"])
        tab = next((tab for at, tab in reversed(tabs) if at < found.start()), "") if indent else ""
        runs = "no-run" not in (found["flags"] or "")
        result.append(Block(textwrap.dedent(found["code"]), tab, runs, found.end(), indent))
    return result


def run(text: str, name: str = "page") -> list[str]:
    """Execute the blocks of a page; return what each prints. What raises raises here, with the page's name and line."""
    spaces = {"": _module(name, {})}
    printed = []
    for number, block in enumerate(blocks(text)):
        if not block.runs:
            printed.append("")
            continue
        if block.tab not in spaces:
            spaces[block.tab] = _module(f"{name} {block.tab}", spaces[""])
        said = io.StringIO()
        with contextlib.redirect_stdout(said):
            exec(compile(block.code, f"{name}, block {number + 1}", "exec"), spaces[block.tab])
        printed.append(said.getvalue())
    return printed


def _module(name: str, begins_as: dict[str, Any]) -> dict[str, Any]:
    """Return the namespace of a module that can be found by its name, as pickle does."""
    module = types.ModuleType(f"docs {name}".replace(".", " "))
    sys.modules[module.__name__] = module
    vars(module).update({key: x for key, x in begins_as.items() if not key.startswith("__")})
    return vars(module)


def shown(text: str, printed: list[str]) -> str:
    """Return a page with what each block prints behind it."""
    for block, said in reversed(list(zip(blocks(text), printed, strict=True))):
        if said.strip():
            output = textwrap.indent(
                f'\n\n``` {{ .text .output title="prints" }}\n{said.rstrip()}\n```', " " * block.indent
            )
            text = text[: block.end] + output + text[block.end :]
    return text


def outputs(pages: dict[str, str]) -> dict[str, list[str]]:
    """Return what the blocks of pages print, from what is kept or by one process that runs those that are not.

    Args:
      pages: from the name of a page to its text.
    """
    code = {name: [(b.code, b.tab) for b in blocks(text) if b.runs] for name, text in pages.items()}
    known: dict[str, list[str]] = {}
    missing = {}
    for name in pages:
        if not code[name]:
            known[name] = [""] * len(blocks(pages[name]))
            continue
        try:
            known[name] = kept("page", json.dumps(code[name]), _refuse)
        except LookupError:
            missing[name] = pages[name]
    if missing:
        done = subprocess.run(
            [sys.executable, "-m", "docs.generator.blocks"],
            input=json.dumps(missing),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment(),
        )
        for line in done.stdout.splitlines():  # one for each page that was done, also if a later one raised
            name, said = json.loads(line)
            known[name] = kept("page", json.dumps(code[name]), lambda said=said: said)
        if done.returncode:
            raise RuntimeError(f"a block of the documentation raises:\n{done.stderr[-4000:]}")
    return known


def _refuse() -> list[str]:
    raise LookupError


def environment() -> dict[str, str]:
    """Return the environment in which blocks run: this checkout's gradx, processors alone, several devices."""
    import jaxlib

    flags = QUICK if jaxlib.__version__.startswith("0.10.") else ""
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    return os.environ | {
        "PYTHONPATH": path,
        "JAX_PLATFORMS": "cpu",
        "JAX_NUM_CPU_DEVICES": str(DEVICES),
        "XLA_FLAGS": f"{flags} {os.environ.get('XLA_FLAGS', '')}".strip(),
        "JAX_DISABLE_MOST_OPTIMIZATIONS": "1",
        "MPLBACKEND": "agg",
    }


def pages(folder: Path) -> dict[str, str]:
    """Return the pages written by hand, by their path in a folder."""
    found = sorted(folder.rglob("*.md"))
    return {path.relative_to(folder).as_posix(): path.read_text() for path in found}


def main() -> None:
    """Read pages as JSON, run them, and write for each, as soon as it is done, its name and what it prints."""
    failed = False
    for name, text in json.load(sys.stdin).items():
        try:
            print(json.dumps([name, run(text, name)]), flush=True)
        except Exception:
            traceback.print_exc()
            failed = True
    sys.exit(failed)


if __name__ == "__main__":
    main()
