"""A transformation as a notebook shows it: its parts, each with formula, numbers and the state that it keeps."""

import functools
import html
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp

from gradx import tree
from gradx.arguments import Arguments
from gradx.description.formulas import rule
from gradx.description.routes import Route
from gradx.description.rows import state_bytes
from gradx.description.sparklines import sparkline
from gradx.description.table import number
from gradx.hyperparams import is_part
from gradx.running import parts_of
from gradx.scheduled import ScheduleValue
from gradx.tree.states import Marked
from gradx.value import Value, spell

SIDE, KERNEL = 1024, "layer/up/kernel"
LONGEST = 40
"""Letters of an argument that is no number; a mask may be a whole tree."""
FAINT = "opacity: 0.65"


def card(tx: Any) -> str:
    """Return a transformation as HTML: a list of its parts, those of a recipe folded, and the call that makes it."""
    return (
        f'<ul style="text-align: left; margin: 0.3em 0; padding-left: 1.2em">{_item(_route(tx, ""))}</ul>\n'
        f'<div style="text-align: left; {FAINT}">State: bytes for each parameter of a float32 kernel of {SIDE}×{SIDE}; '
        "<code>gradx.describe(tx, params)</code> has yours.</div>\n"
        f'<details style="text-align: left"><summary>As code</summary><code>{html.escape(repr(tx))}</code></details>'
    )


def bytes_per_parameter(tx: Any) -> float | None:
    """Return the bytes of state for each parameter of a kernel inside a network; None where that cannot be told.

    `init` runs abstractly, on a small network's shapes: masks and labels that are trees of other parameters refuse it.

    >>> import gradx
    >>> bytes_per_parameter(gradx.adam(0.1)), bytes_per_parameter(gradx.sgd(0.1))
    (8.0, 0.0)
    """
    params, paths = _network()
    try:
        kept, shared = state_bytes(tx, params, len(paths))
    except Exception:  # whatever it is, it is no reason to show nothing of the rest
        return None
    size = sum(x.size for x in jax.tree.leaves(params))
    return round(kept[paths.index(KERNEL)] / SIDE**2 + shared / size, 2)


@functools.cache
def _network() -> tuple[Any, list[str]]:
    """Return the shapes of a network in boxes that say which they are, and their paths."""
    kernel, bias = (jax.ShapeDtypeStruct(shape, jnp.float32) for shape in ((SIDE, SIDE), (SIDE,)))
    layer = {"kernel": kernel, "bias": bias}
    params = {"embed": {"embedding": kernel}, "layer": {"up": layer, "down": layer}, "head": layer}
    leaves, treedef = jax.tree.flatten(params)
    return treedef.unflatten([Marked(x, i) for i, x in enumerate(leaves)]), tree.paths(params)


def _route(tx: Any, label: str) -> Route:
    return Route(tx, label, frozenset(), (), tx.arguments if isinstance(tx, Value) else {})


def _item(route: Route) -> str:
    """Return one transformation as an item of a list, with those inside it as a list in it."""
    label = f"{html.escape(route.label)}: " if route.label else ""
    size = bytes_per_parameter(route.tx)
    state = "" if size is None else f' <span style="{FAINT}">{size:g} bytes</span>'
    lines = [f"{label}<b>{html.escape(route.name)}</b>{state}"]
    if isinstance(route.tx, Value):
        words, equations = rule(route.tx.factory)
        lines += ["" if route.is_frame else html.escape(words), equations and f"<i>{typeset(equations)}</i>"]
        lines += [" &nbsp; ".join(_numbers(route.tx))]
    parts = list(_inside(route))
    says_more = len(parts) > 1 or any(part.name != route.name for part in parts)
    inside = "".join(map(_item, parts)) if says_more else ""
    if inside and route.is_recipe:
        inside = f"<details><summary>parts</summary><ul>{inside}</ul></details>"
    elif inside:
        inside = f"<ul>{inside}</ul>"
    return f"\n<li>{'<br>'.join(filter(None, lines))}{inside}</li>"


def _inside(route: Route) -> Iterator[Route]:
    """Go through the parts, with those of a private one, or of a chain that a recipe stands for, in its place."""
    for label, part, _ in parts_of(route.tx, None):
        inner = _route(part, label)
        if inner.name.startswith("_") or (route.is_recipe and inner.is_frame):
            yield from _inside(inner)
        else:
            yield inner


def _numbers(tx: Value) -> Iterator[str]:
    """Go through the arguments that are no parts: those that were given, then, fainter, the numbers that were not."""
    parameters = Arguments.of(tx.factory).signature.parameters
    given, defaults = [], []
    for name, x in tx.arguments.items():
        holds_parts = any(is_part(leaf) for leaf in jax.tree.leaves(x, is_leaf=is_part))
        if holds_parts or x is None or x is False or _is_empty(x):
            continue
        is_default = x is parameters[name].default or spell(x) == spell(parameters[name].default)
        if is_default and not isinstance(x, float):
            continue
        (defaults if is_default else given).append(f"<code>{html.escape(name)}</code> {_shown(x)}")
    yield from given
    yield from (f'<span style="{FAINT}">{x}</span>' for x in defaults)


def _is_empty(x: Any) -> bool:
    return isinstance(x, list | tuple | dict) and not x


def _shown(x: Any) -> str:
    if isinstance(x, ScheduleValue):
        return f"{html.escape(repr(x))} {_line(x)}".rstrip()
    try:
        text = number(x) if not isinstance(x, bool | str) else spell(x)
    except (TypeError, ValueError):  # it is none
        text = spell(x)
    return html.escape(text if len(text) <= LONGEST else f"{text[:LONGEST]}…")


def _line(schedule: ScheduleValue) -> str:
    try:
        return sparkline(schedule)
    except Exception:  # a user's function may do anything
        return ""


def typeset(equations: str) -> str:
    """Return equations as HTML, with roots, minus signs and raised powers.

    >>> typeset("c1 = 1 - b1^t;  u = sqrt(g)^(1/2)")
    'c1 = 1 − b1<sup>t</sup>;&ensp; u = √(g)<sup>1/2</sup>'
    """
    text = html.escape(equations, quote=False).replace("sqrt(", "√(").replace("cbrt(", "∛(")
    text = re.sub(r"\^\(([^()]*)\)", r"<sup>\1</sup>", text)
    text = re.sub(r"\^([-−]?\w+)", r"<sup>\1</sup>", text)
    text = re.sub(r"(?<![\w.])-(?=[\w√ (])", "−", text)
    return text.replace(";  ", ";&ensp; ")
