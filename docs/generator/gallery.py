"""The programs of `examples/` as pages, if there are any."""

import ast

from docs.generator.docstrings import escaped
from docs.generator.kept import ROOT

FOLDER = ROOT / "examples"


def pages() -> dict[str, str | bytes]:
    """Return a page for each program, and the one that lists them."""
    made: dict[str, str | bytes] = {}
    rows = []
    for path in sorted(FOLDER.glob("*.py")):
        source = path.read_text()
        said = ast.get_docstring(ast.parse(source))
        if said is None or "__main__" not in source:
            continue
        first, _, more = said.partition("\n\n")
        title = path.stem.replace("_", " ").capitalize()
        code = source[source.index('"""', source.index('"""') + 3) + 3 :].strip()
        made[f"gallery/{path.stem}.md"] = "\n\n".join(
            [
                f"# {title}",
                escaped(" ".join(first.split())),
                escaped(" ".join(more.split())),
                f"`python examples/{path.name}` runs it; the tests run it in a short form.",
                f"```{{ .python .no-run }}\n{code}\n```\n",
            ]
        )
        rows.append(f"| [{title}]({path.stem}.md) | {escaped(' '.join(first.split()))} |")
    if rows:
        head = "# Gallery\n\nWhole programs, each on one page.\n\n| program | what it does |\n| --- | --- |\n"
        made["gallery/index.md"] = head + "\n".join(rows) + "\n"
    return made
