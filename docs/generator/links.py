"""Links from names in code to where they are described."""

import posixpath
import re

from docs.generator import names

_KEPT = re.compile(
    r"(?:^(?P<indent> *)(?:```|~~~).*?^(?P=indent)(?:```|~~~)\s*$)|(?:\[[^\]\n]*\]\([^)\n]*\))|(?:^#[^\n]*$)"
    r"|(?:<svg.*?</svg>)|(?:<script.*?</script>)",
    re.M | re.S,
)
"""Where no names are looked for: blocks of code, links, headings, pictures."""
_CODE = re.compile(r"(?<![`\w\[])`(?P<code>[A-Za-z_][\w.]*)(?P<call>\([^`\n]*\))?`(?!`)")
OTHERS = ("gradx.compat", "gradx.glossary", "gradx.core", "gradx.arguments", "gradx.typing", "gradx.numerics")
"""Names that may be written in full, of modules that are no namespaces."""


def linked(text: str, path: str) -> tuple[str, list[str]]:
    """Return a page on which names of gradx in code are links, and the names that are not known.

    In the reference a bare name will do; elsewhere it is `gradx.` that says that a name is one of ours.

    Args:
      text: of the page.
      path: of the page, from the root.
    """
    unknown: list[str] = []
    in_reference = path.startswith("reference/")

    def link(found: re.Match) -> str:
        code, call = found["code"], found["call"] or ""
        ours = code.startswith("gradx.")
        if not ours and not in_reference:
            return found[0]
        name = names.find(code)
        if name is None or (not ours and (name.thing is None or not callable(name.thing) or "." in code)):
            if ours and not code.startswith(OTHERS) and code not in ("gradx.__version__", "gradx.x"):
                unknown.append(code)
            return found[0]
        anchor = "" if name.thing is None else f"#{name.dotted}"
        if f"{name.page}.md" == path:
            return f"[`{code}{call}`]({anchor})" if anchor and name.page.split("/")[-1] != name.short else found[0]
        here = posixpath.relpath(f"{name.page}.md", posixpath.dirname(path) or ".")
        return f"[`{code}{call}`]({here}{anchor})"

    parts, last = [], 0
    for kept in _KEPT.finditer(text):
        parts += [_CODE.sub(link, text[last : kept.start()]), kept[0]]
        last = kept.end()
    parts.append(_CODE.sub(link, text[last:]))
    return "".join(parts), unknown
