"""The formula of a transformation, as its docstring has it: there it is written once, and tests hold the code to it."""

import inspect
import re
from collections.abc import Callable

MOST = 5
"""So many equations are a formula; more are a text."""
_TAIL = re.compile(r"\n\s*\n?(?=(?:Args|State|Needs|Errors|Raises|Returns|Reduction|References?|>>>)[: ])")
_SIDE = re.compile(r"(?:(?<=[\s(])|^)(\w'?(?:\w*'?)(?:\([\w+]+\))?(?: \+ \w+)?)\s(=|←)\s")
"""What is given a value: a name, `b(t)`, or `p + u`."""
_PROSE = re.compile(r"\s(?:and|with|at (?:the|each|first)|for|so|as|until|if|which|after|from|along|over a)\s")
"""Words behind an equation, not in it."""
_ELSEWHERE = re.compile(r"(?:Other leaves|Where)\b[^.]*\.")
"""Sentences on what is no matrix, or 0: the equations in them are not the rule."""
_COUNTS = {"t", "n", "i", "k"}
"""What is said of a count, "t = 0 at the first update", is no formula."""
_RESULTS = re.compile(r"(?:u|g|p|z|slow|average|(?:p|W) \+ u) [=←]")
"""How an equation begins that says what becomes of the update, or of the parameters."""


def rule(factory: Callable) -> tuple[str, str]:
    """Return what a factory's docstring says it does: in words, where equations do not say it, and in equations.

    >>> import gradx
    >>> rule(gradx.scale_by_rms)
    ('', 'nu ← decay · nu + (1 - decay) · |g|²;  u = g / sqrt(nu + eps)')
    >>> rule(gradx.clip)
    ('Hold every entry within ±max_delta.', '')
    """
    text = _TAIL.split(inspect.getdoc(factory) or "", maxsplit=1)[0]
    found = _equations(" ".join(text.split()))
    words = " ".join(text.partition("\n\n")[0].split()).replace("`", "")
    first = re.split(r"(?<=\.)\s", words, maxsplit=1)[0]
    return "" if any(map(_RESULTS.match, found)) else first, ";  ".join(found[:MOST])


def _equations(text: str) -> list[str]:
    """Return the equations in a text; of several for one name the first, which is that of the ordinary case."""
    text = _ELSEWHERE.sub("", text)
    found: dict[tuple[str, str], str] = {}
    for side in _SIDE.finditer(text):
        right = _right_side(text[side.end() :])
        if right and not right.isdigit() and side[1] not in _COUNTS:
            found.setdefault((side[1], side[2]), f"{side[1]} {side[2]} {right}")
    return list(found.values())


def _right_side(text: str) -> str:
    """Return what stands before the end of the equation: a stop, a comma or a word of prose outside of brackets."""
    depth = 0
    for i, letter in enumerate(text):
        before, behind = text[max(i - 1, 0) : i], text[i + 1 : i + 2]
        depth += letter in "([" or (letter == "<" and behind != " ")  # <g, s> is a product
        depth -= letter in ")]" or (letter == ">" and before not in (" ", "-"))
        ends = letter in ",;:" or (letter == "." and behind in ("", " "))
        if depth < 0 or (depth == 0 and (ends or _PROSE.match(text, i))):
            return text[:i].strip()
    return text.strip()
