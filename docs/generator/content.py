"""All that is generated, by path."""

import gradx
from docs.generator import about, coming_from, evidence, gallery, notebooks, reference
from docs.generator.kept import kept


def generated() -> dict[str, str | bytes]:
    """Return the pages and pictures that no hand writes."""
    made: dict[str, str | bytes] = {}
    made |= reference.reference()
    made |= coming_from.pages()
    made |= evidence.pages()
    made |= about.pages()
    made |= gallery.pages()
    made |= _explorer()
    many = notebooks.pages()
    made["learn/index.md"] = _learn(many)
    for page in many:
        made[page.path] = page.text
        made |= page.pictures
    return made


def _explorer() -> dict[str, str | bytes]:
    """Return the page on which sliders move rate and momentum, if `gradx.viz` makes one."""
    make = getattr(gradx.viz, "explorer", None)
    if make is None:
        return {}
    frame = '<iframe src="explorer-page.html" title="Explorer" style="width: 100%; height: 58rem; border: 0"></iframe>'
    said = "# Move the rate yourself\n\n`gradx.viz.explorer` made this page; it works from a file too."
    text = f"---\nhide: [navigation, toc]\n---\n\n{said}\n\n{frame}\n"
    return {"learn/explorer.md": text, "learn/explorer-page.html": kept("explorer", "", lambda: str(make()))}


def _learn(many: list[notebooks.Page]) -> str:
    lines = ["# Learn", ""]
    lines += [
        "The course, executed: each page is a notebook of the repository with the outputs that are kept there. Each has"
    ]
    lines += ["a goal, a time, an exercise, and says what to read next.", ""]
    if (claims := evidence.claims()) is not None:
        lines += [f"[The course, claim by claim](claims.md): what is usually said, and what was measured. {claims}", ""]
    if hasattr(gradx.viz, "explorer"):
        lines += ["[Move the rate yourself](explorer.md): sliders for rate and momentum over three surfaces.", ""]
    lines += ["| page | goal | time |", "| --- | --- | --- |"]
    lines += [f"| [{page.title}]({page.path.removeprefix('learn/')}) | {page.goal} | {page.time} |" for page in many]
    lines += ["", 'To run them: `pip install ".[notebooks]"` and `jupyter lab notebooks` in a clone.', ""]
    return "\n".join(lines)
