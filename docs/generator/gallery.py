"""The programs of `examples/` as pages, if there are any."""

import ast
import re

from docs.generator.docstrings import escaped
from docs.generator.kept import ROOT

FOLDER = ROOT / "examples"
SPELT = {"zero1": "ZeRO-1", "equinox": "Equinox", "haiku": "Haiku", "lora": "LoRA", "numpyro": "NumPyro"}
SPELT |= {word: word.upper() for word in ("cnn", "gan", "gpt", "gru", "ppo", "svi", "vae")}
KEPT = ("linen", "nnx")
"""Flax's interfaces, in small letters also where a title begins."""


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
        title = title_of(path.stem)
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
        seconds, found = reached(path.name)
        rows.append(f"| [{title}]({path.stem}.md) | {escaped(' '.join(first.split()))} | {seconds} | {found} |")
    if rows:
        head = "# Gallery\n\nWhole programs, each on one page; CPU seconds without imports.\n\n"
        head += "| program | what it does | seconds | reached |\n| --- | --- | ---: | --- |\n"
        made["gallery/index.md"] = head + "\n".join(rows) + "\n"
    return made


def title_of(stem: str) -> str:
    """Return a title from the name of a file."""
    words = stem.split("_")
    title = " ".join(SPELT.get(word, word) for word in words)
    return title if words[0] in KEPT else title[0].upper() + title[1:]


def reached(file: str) -> tuple[str, str]:
    """Return the seconds of a whole run and what it reached, from the table beside the programs."""
    row = re.search(rf"^\| \[`{re.escape(file)}`\].*$", (FOLDER / "README.md").read_text(), re.M)
    cells = [cell.strip() for cell in row[0].strip("|").split("|")] if row else ["", "", "–", "–"]
    return cells[2], cells[3]
