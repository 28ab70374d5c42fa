"""Changelog, versions, citation, from the files that say it."""

import re
import tomllib

import gradx
from docs.generator.docstrings import escaped
from docs.generator.kept import ROOT


def pages() -> dict[str, str | bytes]:
    """Return the pages about the project."""
    return {
        "about/changelog.md": changelog(),
        "about/versions.md": versions(),
        "about/citation.md": citation(),
        "reference/index.md": reference_index(),
    }


def changelog() -> str:
    """Return CHANGELOG.md."""
    return re.sub(r"\[([^\]]+)\]\((?!https?:)[^)]*\)", r"\1", (ROOT / "CHANGELOG.md").read_text())


def versions() -> str:
    """Return what this is the documentation of, and what it needs."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    needs = "".join(
        f"| `{_package(x)}` | {escaped(x[len(_package(x)) :].strip())} |\n" for x in project["dependencies"]
    )
    tested = {}
    for line in (ROOT / "requirements.txt").read_text().splitlines():
        if found := re.match(r"(jax|jaxlib|numpy|flax|optax)==(\S+?)(?:; (.*))?$", line):
            tested.setdefault(found[1], []).append(f"{found[2]}{f' ({found[3]})' if found[3] else ''}")
    rows = "".join(f"| {name} | {'; '.join(many)} |\n".replace('"', "") for name, many in tested.items())
    return f"""# Versions

This is the documentation of gradx {gradx.__version__}, `gradx.__version__`. It is built from the same commit as the
code that it describes, and every block of Python on it was executed in the build.

It needs Python {escaped(project["requires-python"])} and

| package | version |
| --- | --- |
{needs}
The suite last passed with

| package | version |
| --- | --- |
{rows}
A version has three numbers. Until 1.0 the second may break a program, and then the [changelog](changelog.md) says which
line to change; the third never does.
"""


def _package(requirement: str) -> str:
    return re.match(r"[\w.-]+", requirement)[0]


def citation() -> str:
    """Return how to cite gradx, from CITATION.cff."""
    text = (ROOT / "CITATION.cff").read_text()
    year = re.search(r"Copyright \(c\) (\d{4})", (ROOT / "LICENSE").read_text())[1]
    fields = dict(re.findall(r'^(\w[\w-]*): "?([^"\n]+)"?$', text, re.M))
    return f"""# Citation

From `CITATION.cff`:

```bibtex
@software{{gradx,
  title = {{{fields["title"]}}},
  author = {{{{The gradx authors}}}},
  version = {{{fields["version"]}}},
  year = {{{year}}},
  license = {{{fields["license"]}}},
}}
```

Cite the paper of an optimizer too: its [page](../reference/optimizers/index.md) names it.
"""


def reference_index() -> str:
    """Return the page that leads into the reference."""
    from docs.generator import docstrings, names

    lines = ["# Reference", ""]
    lines += [
        "Read from the code: signatures, arguments, costs counted in the build, examples that ran in it. The formulas",
        "of optimizers are written by hand, from the code.",
        "",
    ]
    lines += ["| | |", "| --- | --- |"]
    for space in names.namespaces():
        page = "optimizers/index.md" if space == "optimizers" else f"{space}.md"
        module = getattr(gradx, space, None)
        said = docstrings.parse(module).summary if module is not None and getattr(module, "__doc__", None) else ""
        if space == names.CORE:
            said = "What is no namespace: chains, masks, partitions, values and their numbers, `minimize`."
        if space == names.BLOCKS:
            said = "What optimizers are made of: `scale_by_adam` and its kin, and the states they keep."
        lines.append(f"| [{names.title(space)}]({page}) | {docstrings.in_cell(said)} |")
    return "\n".join([*lines, "", "[All names](names.md), by letter.", ""])
