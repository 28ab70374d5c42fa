"""A docstring of gradx in its parts: summary, text, arguments, state, sources, examples."""

import inspect
import re
from dataclasses import dataclass, field

_HEADS = re.compile(r"^(Args|Raises|Errors|Returns|State|Needs|Reduction|References?):", re.M)
_ARXIV = re.compile(r"arXiv:(\d{4}\.\d{4,5})")
_SYMBOL = re.compile(r"[←‖√Σ·²³∞]|\b(?:mu|nu|u|c1|c2|g|p) [=←]|[≤≥]")


@dataclass
class Docstring:
    """What a docstring says."""

    summary: str = ""
    text: list[str] = field(default_factory=list)
    """Paragraphs."""
    arguments: dict[str, str] = field(default_factory=dict)
    """From what is written before the colon, which may name several, to the meaning."""
    tail: list[str] = field(default_factory=list)
    """State, needs, errors, sources, as they stand."""
    example: str = ""
    """With its prompts."""


def parse(thing: object) -> Docstring:
    """Return the parts of a docstring; what has none gives empty parts."""
    found = Docstring()
    paragraphs = re.split(r"\n\s*\n", inspect.getdoc(thing) or "")
    found.summary = " ".join(paragraphs[0].split())
    for paragraph in paragraphs[1:]:
        if paragraph.startswith(">>>"):
            found.example += ("\n" if found.example else "") + paragraph
        elif paragraph.startswith("Args:\n"):
            found.arguments |= _arguments(paragraph)
        elif _HEADS.match(paragraph) or found.tail:
            found.tail.append(paragraph)
        else:
            found.text.append(paragraph)
    return found


def _arguments(paragraph: str) -> dict[str, str]:
    entries: list[str] = []
    for line in paragraph.splitlines()[1:]:
        if line.startswith("   ") and entries:
            entries[-1] += " " + line.strip()
        else:
            entries.append(line.strip())
    return {name.strip(): meaning.strip() for name, _, meaning in (entry.partition(":") for entry in entries)}


def linked(text: str) -> str:
    """Return a text with the papers that it names as links.

    >>> linked("Kingma and Ba 2015, arXiv:1412.6980.")
    'Kingma and Ba 2015, [arXiv:1412.6980](https://arxiv.org/abs/1412.6980).'
    """
    return _ARXIV.sub(r"[arXiv:\1](https://arxiv.org/abs/\1)", text)


def papers(found: Docstring) -> list[str]:
    """Return the numbers of the papers that a docstring names."""
    return list(dict.fromkeys(_ARXIV.findall(" ".join([*found.text, *found.tail]))))


def is_formula(text: str) -> bool:
    """Say whether a paragraph is mathematics rather than prose."""
    return len(_SYMBOL.findall(text)) >= 2


def escaped(text: str) -> str:
    """Return a text in which Markdown finds no markup but code: stars, underscores, angles and pipes are themselves."""
    parts = re.split(r"(`+[^`]+`+)", text)
    for i in range(0, len(parts), 2):
        parts[i] = re.sub(r"([*_<>|\[\]#])", r"\\\1", parts[i])
    return "".join(parts)


def in_cell(text: str) -> str:
    """Return a text for a cell of a table, where code must not hold a bare pipe either."""
    parts = re.split(r"(`+[^`]+`+)", text)
    return "".join(part.replace("|", "\\|") if i % 2 else escaped(part) for i, part in enumerate(parts))
