"""The pages of the reference: one for each optimizer, one for each namespace, and the list of all names."""

import inspect
import itertools
import textwrap
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

import gradx
from docs.generator import docstrings, examples, names, paths, peers, plots
from docs.generator.blocks import outputs
from docs.generator.docstrings import escaped, in_cell, linked
from docs.generator.formulas import FORMULAS, LETTERS
from docs.generator.names import Name

WIDTH = 88
"""Characters of a signature on one line."""
SHAPES = {"a kernel, 512 × 2048": (512, 2048), "a vector, 2048": (2048,)}
"""For which the bytes of a state are counted."""
KINDS = {
    "Moments": ("adam", "adabelief", "adamax", "adan", "ademamix", "adopt", "amsgrad", "laprop", "radam", "yogi"),
    "Descent and momentum": ("sgd", "optimistic", "asgd", "sign", "lion", "rprop"),
    "Divided by what was seen": ("adagrad", "rmsprop", "adadelta", "madgrad"),
    "Matrices": ("muon", "adamuon", "normuon", "dion", "polargrad", "scion", "shampoo", "kl_shampoo", "soap", "psgd"),
    "Small states": ("adafactor", "sm3", "adam_mini", "apollo", "galore"),
    "No learning rate to find": ("adaptation", "distance", "cocob", "polyak", "momo"),
    "Layer by layer": ("layerwise", "novograd"),
    "Curvature": ("lbfgs", "sophia"),
}
"""The shelves of the index, by the modules on them; what is on none stands under the last heading."""
REST = "Others"


def signature(name: Name) -> str:
    """Return how a name is called, one argument a line where it would be long."""
    try:
        found = inspect.signature(name.thing)
    except (TypeError, ValueError):
        return name.dotted
    one = f"{name.dotted}{found}"
    if len(one) <= WIDTH:
        return one
    parameters = [str(p) for p in found.parameters.values()]
    kinds = [p.kind for p in found.parameters.values()]
    if inspect.Parameter.KEYWORD_ONLY in kinds and inspect.Parameter.VAR_POSITIONAL not in kinds:
        parameters.insert(kinds.index(inspect.Parameter.KEYWORD_ONLY), "*")
    if inspect.Parameter.POSITIONAL_ONLY in kinds:
        parameters.insert(len(kinds) - kinds[::-1].index(inspect.Parameter.POSITIONAL_ONLY), "/")
    returns = "" if found.return_annotation is found.empty else f" -> {found.return_annotation}"
    return f"{name.dotted}(\n" + "".join(f"    {p},\n" for p in parameters) + f"){returns}"


def described(name: Name, level: int, heading: str | None = None) -> str:
    """Return the section of a name: its call, what it does, its arguments, its sources, its example."""
    found = docstrings.parse(name.thing)
    lines = [f"{'#' * level} {heading or name.short} {{ #{name.dotted} }}", ""] if level else []
    if name.is_function:
        lines += ["```python", signature(name), "```", ""]
    elif inspect.isclass(name.thing):
        lines += [f"*class* `{name.dotted}`", ""]
    else:
        kind = type(name.thing).__name__
        said = _value(name.thing)
        return "\n".join(
            [*lines, f"`{name.dotted}`, {'an alias of a type' if said is None else f'{kind}'}.", "", said or ""]
        )
    lines += [linked(escaped(found.summary)), ""]
    for paragraph in found.text:
        lines += [_paragraph(paragraph), ""]
    lines += _arguments(name, found)
    lines += _fields(name)
    for paragraph in found.tail:
        lines += [linked(escaped(" ".join(paragraph.split()))), ""]
    if found.example:
        lines += ["```pycon", found.example, "```", ""]
    return "\n".join(lines) + "\n"


def _value(thing: Any) -> str | None:
    if isinstance(thing, str | int | float | tuple):
        return f"Its value is `{thing!r}`.\n" if len(repr(thing)) < 200 else ""
    if isinstance(thing, dict):
        return f"It holds {', '.join(f'`{key}`' for key in thing)}.\n"
    return None


def _paragraph(text: str) -> str:
    if docstrings.is_formula(text):
        return "```{ .text .formula }\n" + text + "\n```"
    return linked(escaped(text))


def _arguments(name: Name, found: docstrings.Docstring) -> list[str]:
    if not found.arguments:
        return []
    try:
        parameters = inspect.signature(name.thing).parameters
    except (TypeError, ValueError):
        parameters = {}
    lines = ["| argument | default | meaning |", "| --- | --- | --- |"]
    for which, meaning in found.arguments.items():
        shown = []
        for part in which.split(","):
            p = parameters.get(part.strip(" *"))
            shown.append("" if p is None or p.default is p.empty else f"`{_default(p.default)}`")
        called = ", ".join(f"`{part.strip()}`" for part in which.split(","))
        lines.append(
            f"| {called} | {in_cell(', '.join(dict.fromkeys(filter(None, shown))))} | {linked(in_cell(meaning))} |"
        )
    return [*lines, ""]


def _default(x: Any) -> str:
    text = repr(x)
    return text if len(text) <= 40 else f"{text[:37]}..."


def _fields(name: Name) -> list[str]:
    """Return the fields of a state, with the words that stand behind them in its source."""
    if not inspect.isclass(name.thing) or not hasattr(name.thing, "_fields"):
        return []
    words = _words_of(name.thing)
    lines = ["| field | what |", "| --- | --- |"]
    lines += [f"| `{field}` | {in_cell(words.get(field, ''))} |" for field in name.thing._fields]
    return [*lines, ""]


def _words_of(kind: type) -> dict[str, str]:
    import ast

    try:
        tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    except (OSError, TypeError, SyntaxError):
        return {}
    body, found = tree.body[0].body, {}  # type: ignore[attr-defined]
    for line, after in itertools.pairwise(body):
        is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
        if isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and is_text:
            found[line.target.id] = " ".join(str(after.value.value).split())
    return found


# Optimizers


def state_bytes(name: Name, shape: tuple[int, ...]) -> float:
    """Return the bytes of state for each parameter of an array, without making any."""
    params = {
        "layer": {"kernel": jax.ShapeDtypeStruct(shape, jnp.float32)},
        "head": jax.ShapeDtypeStruct((1,), jnp.float32),
    }
    state = jax.eval_shape(paths.made(name, 0.1).init, params)
    size = sum(x.size * x.dtype.itemsize for x in jax.tree.leaves(state) if hasattr(x, "dtype"))
    return size / np.prod(shape)


def optimizer_page(name: Name, said: list[str], cost: dict[str, list[str]]) -> str:
    """Return the page of an optimizer.

    Args:
      name: of the optimizer.
      said: what its example prints.
      cost: rows of the kept table of costs, by optimizer.
    """
    found = docstrings.parse(name.thing)
    lines = [f"# {name.short} {{ #{name.dotted} }}", ""]
    text = described(name, 0)
    head, call, rest = text.partition("```\n\n")
    lines += [head + call]
    lines += ["", "$$", FORMULAS[name.short], "$$", "", "[What the letters mean](index.md#letters)", ""]
    lines += [rest, "## Its path on three surfaces", "", '<figure class="wide">', paths.picture(name)]
    lines += [
        f"<figcaption>{paths.STEPS} steps from the dot; stars are minima. On each surface the best of "
        f"{len(paths.RATES)} {_what_is_tried(name)} from {paths.RATES[0]:g} to {paths.RATES[-1]:g} "
        f"that stays in the picture; the number is the height at the end."
        f"{_of_vectors(name)}</figcaption></figure>",
        "",
        "## What it costs",
        "",
        "| | bytes of state for each parameter, float32 |",
        "| --- | ---: |",
    ]
    lines += [f"| {what} | {_number(state_bytes(name, shape))} |" for what, shape in SHAPES.items()]
    if name.short in cost:
        row = cost[name.short]
        lines += ["", f"A whole compiled step reads and writes {row[0]} bytes for each parameter"]
        lines[-1] += f" (Optax: {row[1]}), with {row[3]} of temporaries (Optax: {row[4]}): " if row[1] else ": "
        lines[-1] += "[how that was measured](../../choose/cost.md)."
    lines += ["", "## An example that runs", "", f"```python\n{examples.program(name)}```", ""]
    lines += ['``` { .text .output title="prints" }', said[0].rstrip(), "```", "", "## In other libraries", ""]
    others = peers.equivalents(name.short)
    if others:
        lines += ["| library | there | here |", "| --- | --- | --- |"]
        for library, theirs, note in others:
            lines.append(f"| {library} | {in_cell(f'`{theirs}`')} | {in_cell(note) or f'`gradx.{name.short}(...)`'} |")
    missing = [library for library in ("Optax", "torch.optim", "Keras") if library not in {row[0] for row in others}]
    if missing:
        lines += ["", f"Not in {' or '.join(missing)}."]
    if papers := docstrings.papers(found):
        lines += ["", "## Source", ""]
        lines += [f"- [arXiv:{number}](https://arxiv.org/abs/{number})" for number in papers]
    return "\n".join(lines) + "\n"


def _what_is_tried(name: Name) -> str:
    first = next(iter(inspect.signature(name.thing).parameters))
    return "learning rates" if first == "learning_rate" else f"values of `{first}`".replace("`", "")


def _of_vectors(name: Name) -> str:
    module = name.thing.__module__.rpartition(".")[2]
    if module in KINDS["Matrices"] or module in ("galore", "apollo", "adafactor"):
        return " Two numbers are no matrix: this is what it does to vectors."
    return ""


def _number(x: float) -> str:
    return f"{x:.2g}" if x < 1 else f"{x:.1f}"


def shelf(name: Name) -> str:
    """Return the heading of the index under which an optimizer stands."""
    module = name.thing.__module__.rpartition(".")[2]
    return next((kind for kind, modules in KINDS.items() if module in modules), REST)


def optimizers_index(many: list[Name]) -> str:
    """Return the page that lists the optimizers by kind, with their states."""
    lines = ["# Optimizers", ""]
    lines += [
        "Each has a page: its formula, arguments and cost, its path on three surfaces, a program that runs, and what it"
    ]
    lines += [
        "is called elsewhere. Which to take is [another page](../../choose/index.md). The bytes are those of the state"
    ]
    lines += ["for each parameter of a kernel of 512 × 2048; the letters of the formulas stand [below](#letters).", ""]
    for kind in [*KINDS, REST]:
        on_it = [name for name in many if shelf(name) == kind]
        if on_it:
            lines += [f"## {kind}", "", "| optimizer | what it does | state, bytes |", "| --- | --- | ---: |"]
            for name in on_it:
                summary = docstrings.parse(name.thing).summary
                lines.append(
                    f"| [`{name.short}`]({name.short}.md) | {in_cell(summary)} "
                    f"| {_number(state_bytes(name, (512, 2048)))} |"
                )
            lines.append("")
    return "\n".join([*lines, "## What the letters mean { #letters }", LETTERS])


# Namespaces


def namespace_page(space: str) -> str:
    """Return the page of a namespace: its names by kind, one section each."""
    page = f"reference/{space}"
    module = None if space == names.CORE else getattr(gradx, space, None)  # `gradx.core` is no namespace
    lines = [f"# {names.title(space)}", ""]
    if module is not None and inspect.ismodule(module) and module.__doc__:
        lines += [linked(escaped(docstrings.parse(module).summary)), ""]
        lines += [linked(escaped(p)) + "\n" for p in docstrings.parse(module).text]
    many = names.on_page(page)
    if space == "schedules":
        lines += [plots.overview(), ""]
    lines += ["| name | what it is |", "| --- | --- |"]
    for name in many:
        summary = docstrings.parse(name.thing).summary if name.is_function or inspect.isclass(name.thing) else ""
        lines.append(f"| [`{name.short}`](#{name.dotted}) | {in_cell(summary)} |")
    for name in many:
        lines += ["", described(name, 2)]
        if space == "schedules" and name.is_function:
            lines += [plots.schedule(name), ""]
    return "\n".join(lines) + "\n"


def all_names() -> str:
    """Return the page that lists every public name."""
    lines = ["# All names", "", f"All {len(names.public())} public names of gradx, by letter.", ""]
    letter = ""
    for name in sorted(names.public().values(), key=lambda x: x.short.lower()):
        if name.short[0].upper() != letter:
            letter = name.short[0].upper()
            lines += ["", f"## {letter}", ""]
        lines.append(f"- [`{name.dotted}`]({name.url.removeprefix('reference/')})")
    return "\n".join(lines) + "\n"


def reference() -> dict[str, str]:
    """Return all pages of the reference, by path."""
    many = names.optimizers()
    programs = {name.short: f"```python\n{examples.program(name)}```\n" for name in many}
    said = outputs(programs)
    cost = _costs()
    pages = {f"{name.page}.md": optimizer_page(name, said[name.short], cost) for name in many}
    pages["reference/optimizers/index.md"] = optimizers_index(many)
    pages["reference/names.md"] = all_names()
    for space in names.namespaces():
        if space != "optimizers":
            pages[f"reference/{space}.md"] = namespace_page(space)
    return pages


def _costs() -> dict[str, list[str]]:
    from docs.generator.kept import ROOT

    rows = {}
    for line in (ROOT / "benchmarks/results/cost.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if line.startswith("|") and len(cells) > 6 and cells[1].replace(".", "").isdigit():
            rows[cells[0]] = cells[1:]
    return rows
