"""Notebooks as pages: text, code, what it printed and drew."""

import base64
import re
from dataclasses import dataclass, field
from pathlib import Path
from textwrap import indent

import nbformat

from docs.generator.kept import ROOT

FOLDER = ROOT / "notebooks"
_GOAL = re.compile(r"\*\*Goal\*\*:\s*(?P<goal>.*?)\s*\*\*Time\*\*:\s*(?P<time>[^.\n]*)", re.S)
_SEEN = re.compile(r"\s+What\s+you\s+should\s+see:\s+(.*?)(?=\n\n|\Z)", re.S)
"""The answer to an exercise, which a page folds."""
_LONGEST = 4000
"""Characters of an output that are shown."""


@dataclass
class Page:
    """A notebook as a page."""

    path: str
    title: str
    goal: str
    time: str
    text: str
    pictures: dict[str, bytes] = field(default_factory=dict)


def pages() -> list[Page]:
    """Return all notebooks in their order."""
    return [page(path) for path in sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))]


def page(path: Path) -> Page:
    """Return a notebook as a page in `learn/`."""
    notebook = nbformat.read(path, as_version=4)
    made = Page(f"learn/{path.stem}.md", path.stem, "", "", "")
    parts = []
    for number, cell in enumerate(notebook.cells):
        if cell.cell_type == "markdown":
            parts.append(_linked(cell.source))
        elif cell.cell_type == "code" and "google.colab" not in cell.source:
            if cell.source.strip():
                parts.append(f"```python\n{cell.source}\n```")
            parts += [_output(output, made, path.stem, f"{number}-{i}") for i, output in enumerate(cell.outputs)]
    made.text = "\n\n".join(filter(None, parts)) + "\n"
    made.title = (re.search(r"^# (.+)$", made.text, re.M) or re.match("(.*)", path.stem))[1]
    if found := _GOAL.search(made.text):
        made.goal, made.time = " ".join(found["goal"].split()), " ".join(found["time"].split())
    made.text += (
        f"\n---\n\n*This page is the notebook `notebooks/{path.name}`, with the outputs that are kept there.*\n"
    )
    return made


def _linked(text: str) -> str:
    """Return text with links to notebooks as links to pages, and those that leave the site as plain words."""
    text = re.sub(r"\]\((\d\d_\w+)\.ipynb\)", r"](\1.md)", text)
    text = re.sub(r"\]\(\.\./docs/(\w+)\.md\)", r"](../\1.md)", text)
    text = re.sub(
        r"\[([^\]]+)\]\(\.\./(?:benchmarks/results/(?:README|report)\.\w+|README\.md)[^)]*\)",
        r"[\1](../choose/races.md)",
        text,
    )
    text = re.sub(r"\[([^\]]+)\]\(\.\./[^)]*\)", r"\1", text)
    text = _SEEN.sub(
        lambda found: '\n\n??? success "What you should see"\n\n' + indent(_sentence(found[1]), "    "), text
    )
    return re.sub(r"<details><summary>(.*?)</summary>", r'<details markdown="1"><summary>\1</summary>', text)


def _sentence(text: str) -> str:
    text = text.strip()
    return text[:1].upper() + text[1:]


def _output(output: nbformat.NotebookNode, made: Page, stem: str, key: str) -> str:
    data = output.get("data", {"text/plain": output.get("text", "")})
    for kind, ending in (("image/png", "png"), ("image/gif", "gif")):
        if kind in data:
            name = f"{stem}/{key}.{ending}"
            made.pictures[f"learn/{name}"] = base64.b64decode(data[kind])
            return f'<div class="shown" markdown="1">\n\n![What the cell above draws]({name})\n\n</div>'
    if "text/markdown" in data:
        return f'<div class="shown" markdown="1">\n\n{_linked(data["text/markdown"])}\n\n</div>'
    if "text/html" in data and "<table" in data["text/html"] and "<style" not in data["text/html"]:
        return f'<div class="shown">{data["text/html"]}</div>'
    text = str(data.get("text/plain", "")).rstrip()[:_LONGEST]
    if not text or text.startswith("<IPython"):
        return ""
    return f'``` {{ .text .output title="prints" }}\n{text}\n```'
