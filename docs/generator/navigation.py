"""The navigation: what is there has its place, whoever wrote it."""

import re
from pathlib import Path

from docs.generator import names

ORDER = {
    "start": ["install", "tour", "questions"],
    "howto": [
        "change-rate", "warmup", "clip", "decay-kernels", "freeze", "layerwise", "accumulate", "bfloat16", "skip-nan",
        "average", "checkpoint", "tensorboard", "devices", "find-rate", "sweep", "loss-is-wrong", "lbfgs",
        "write-your-own",
    ],
    "choose": ["races", "recipes", "cost"],
    "extend": ["contract", "algorithm"],
    "coming-from": ["optax", "torch", "keras"],
    "about": ["changelog", "versions", "citation"],
    "learn": ["claims"],
}  # fmt: skip
"""What comes first in a folder; the rest follows by name."""
SECTIONS = {
    "Start": "start",
    "Learn": "learn",
    "How to": "howto",
    "Gallery": "gallery",
    "Choose": "choose",
    "Reference": "reference",
    "Coming from": "coming-from",
    "Extend": "extend",
    "About": "about",
}
BESIDE = {"roles.md": "extend", "sharding.md": "howto", "checkpoints.md": "howto"}
"""Pages at the top of the folder, and the section in which they are; another one is under "Extend"."""


def title_of(text: str, path: str) -> str:
    """Return the first heading of a page, or its file's name."""
    found = re.search(r"^# (.+?)(?: \{.*\})?$", text, re.M)
    return found[1].replace("`", "") if found else Path(path).stem


def navigation(pages: dict[str, str]) -> list:
    """Return the navigation of all pages, as mkdocs takes it.

    Args:
      pages: from path to text.
    """
    nav: list = [{"gradx": "index.md"}]
    for section, folder in SECTIONS.items():
        nav.append({section: _reference(pages) if folder == "reference" else _section(pages, folder)})
    return [entry for entry in nav if not isinstance(entry, dict) or all(entry.values())]


def _section(pages: dict[str, str], folder: str) -> list:
    paths = [path for path in pages if path.startswith(f"{folder}/")]  # none, if nobody wrote any yet
    paths += [
        path
        for path in pages
        if "/" not in path and path not in ("index.md", "optax.md") and BESIDE.get(path, "extend") == folder
    ]
    order = [f"{folder}/index.md", *(f"{folder}/{name}.md" for name in ORDER.get(folder, []))]
    paths.sort(key=lambda path: (order.index(path) if path in order else len(order), path))
    return [path if path.endswith("/index.md") else {title_of(pages[path], path): path} for path in paths]


def _reference(pages: dict[str, str]) -> list:
    optimizers = sorted(
        path for path in pages if path.startswith("reference/optimizers/") and not path.endswith("index.md")
    )
    entries: list = ["reference/index.md", {"All names": "reference/names.md"}]
    entries.append({"Optimizers": ["reference/optimizers/index.md", *({Path(p).stem: p} for p in optimizers)]})
    entries += [{names.title(space): f"reference/{space}.md"} for space in names.namespaces() if space != "optimizers"]
    return entries
