"""What the arguments mean, each in one place: `?` and `help()` show it wherever a docstring is silent.

`document` gives a factory a signature that a person can read and completes the `Args:` of its docstring; `document_all`
does the same for the plain functions of a package. A docstring's own words win, then those of the functions to which it
points ("the rest as in `scale_by_adam`"), then the glossary's. What static checkers see stays.
"""

import functools
import inspect
import re
import types
from collections.abc import Callable, Iterable
from typing import Any, Union, get_args, get_origin

from jax.typing import ArrayLike, DTypeLike

from gradx.typing import OfParams, Range, Schedule, StorageDType, TreeKind

GLOSSARY = {
    # Optimizers and transformations
    "learning_rate": "step size, at least 0; a schedule, here or for another float, is called with 0, 1, 2, ...",
    "b1": "decay of the running mean of the gradient g, in [0, 1).",
    "b2": "decay of the running mean of |g|², in [0, 1).",
    "eps": "keeps a denominator from 0; with 0, a gradient that was always 0 gives 0/0, NaN.",
    "eps_root": "the same under the root, which makes its derivative at 0 finite.",
    "mu_dtype": "dtype of the first moment; None is that of the parameters, at least float32.",
    "accumulator_dtype": "dtype of what is gathered; None is that of the parameters, at least float32.",
    "weight_decay": "pull of the weights towards zero, at least 0, times the learning rate.",
    "mask": "where: a pytree of bools (a prefix will do), or a function from the parameters to one.",
    "nesterov": "use the momentum where it is heading, that of the next step.",
    "momentum": "decay of a running sum, in [0, 1); None keeps no sum.",
    "max_linesearch_steps": "how often the function may be evaluated, at least 1.",
    "max_learning_rate": "the longest step; None for any.",
    "slope_rtol": "the share of the decrease by the slope that is asked for.",
    "curv_rtol": "the share of the slope that may be left.",
    "approx_dec_rtol": "what the value may rise, relative to it, where slopes alone say that a step is good.",
    "verbose": "print in words what goes wrong.",
    "value_fn": "from the parameters, and further arguments, to a real scalar.",
    "decay": "of the running mean, in [0, 1).",
    "rho": "decay of both means, in [0, 1).",
    "initial_accumulator_value": "where the sum of squares starts, at least 0.",
    "step_size": "the factor; negative descends.",
    "max_norm": "the largest norm that passes, at least 0.",
    "max_delta": "the largest entry that passes, at least 0.",
    "parts": "transformations, in the order in which they see the update.",
    "tx": "the transformation.",
    "state": "from `init`, or from the update before.",
    "params": "the parameters, a pytree of arrays.",
    "updates": "a tree like the parameters: gradients, or what became of them.",
    "extras": "what the transformation asks for by name.",
    "gradient_step": "the updates already applied.",
    "factory": "the function to decorate.",
    # Optimizers of matrices
    "max_size": "the largest side of a matrix with a full factor.",
    "when_larger": 'what becomes of a larger side: cut in equal parts ("blocks"), a "diagonal", nothing ("one_sided").',
    "one_sided": "give the larger side of each matrix no factor.",
    "update_interval": "updates from one renewal to the next.",
    "weight_dimension_numbers": "which leaves are matrices, as in `scale_by_muon`; None takes those with two axes.",
    # Schedules
    "init_value": "the value at step 0.",
    "peak_value": "the highest value.",
    "end_value": "the value at the end and after it.",
    "transition_steps": "how many steps it takes, at least 1.",
    "transition_begin": "the steps before it begins, at least 0.",
    "decay_steps": "the steps of the fall, at least 1.",
    "warmup_steps": "the steps of the rise, at least 0.",
    "decay_rate": "the factor of each `transition_steps`, above 0.",
    "staircase": "multiply only when another `transition_steps` have passed.",
    "alpha": "the end, as a fraction of the start.",
    "exponent": "power to which the half cosine is raised, above 0.",
    "gamma": "the factor, above 0.",
    "power": "of the polynomial: 1 is a line, above it falls fast at first.",
    "pct_start": "the share of the steps spent rising, in (0, 1).",
    "pct_final": "the share of the steps after which the last fall begins, in (0, 1).",
    "div_factor": "the peak divided by the start, above 0.",
    "final_div_factor": "the start divided by the end, above 0.",
    # Trees and arrays
    "tree": "a pytree of arrays or numbers.",
    "tree_x": "x, a pytree.",
    "tree_y": "y, a pytree of the same structure.",
    "scalar": "a number.",
    "dtype": "the dtype wanted; None keeps the default that is named above.",
    "fill_value": "a number.",
    "rng_key": "a key of `jax.random`.",
    "target_tree": "a pytree of arrays, for its structure and shapes.",
    "moments": "m, a tree like the updates.",
    "order": "the power to which g is raised, an integer of at least 1.",
    "rest": "trees of the same structure, whose leaves are handed on too.",
    "x": "the point, a pytree of real arrays.",
    "a": "the normal vector, a pytree with the leaves of x.",
    "b": "the offset, a scalar.",
    "scale": "at least 0: a number, a tree like `tree` or a prefix of one.",
    # Training
    "steps": "of the whole training.",
    "peak": "the highest learning rate.",
    "clip": "bound on the gradients' global norm.",
    "accumulator": "how results combine, one or a tree of them, a prefix of what `fun` returns.",
}
"""Argument, and what it means everywhere but where a docstring says otherwise."""


class Shown(str):
    """An annotation as it is to be read; it prints without quotes."""

    __slots__ = ()
    __repr__ = str.__str__


def document(function: Callable, signature: inspect.Signature, returns: str | None = None, known: bool = True) -> None:
    """Set the `__signature__` of a function, and complete its docstring if its arguments are `known` to the glossary.

    Args:
      function: what to document, in place.
      signature: with annotations as objects.
      returns: what is returned, where the signature does not say it.
      known: whether the names mean what the glossary says: in gradx's own functions.
    """
    parameters = [p.replace(annotation=_shown(p)) for p in signature.parameters.values()]
    result = signature.return_annotation
    shown = result if result is signature.empty and returns is None else Shown(returns or spelt(result))
    vars(function)["__signature__"] = inspect.Signature(parameters, return_annotation=shown)
    if known and function.__doc__:
        text = inspect.cleandoc(function.__doc__)
        namespace = inspect.unwrap(function).__globals__
        function.__doc__ = completed(text, tuple(signature.parameters), _pointed_at(text, namespace))


def document_all(namespace: dict[str, Any], names: Iterable[str]) -> Callable[[], list[str]]:
    """Document the plain functions of a package, those of `names` that no decorator has documented.

    Returns the package's `__dir__`: the names, and not the modules that they come from.
    """
    for name in names:
        function = namespace.get(name)
        if isinstance(function, types.FunctionType) and "__signature__" not in vars(function):
            document(function, inspect.signature(function))
    return lambda: sorted(names)


def completed(text: str, names: tuple[str, ...], pointed_at: dict[str, str] | None = None) -> str:
    """Return a docstring with an entry in `Args:` for every name, in their order; words of its own stay.

    A docstring without the section gets one, behind what the function does.

    Args:
      text: the docstring, without indentation.
      names: the arguments.
      pointed_at: from argument to entry, where other docstrings describe it.
    """
    before, _, after = text.partition("\nArgs:\n")
    own, after = _entries(after)
    entries = {name: f"  {name}: {GLOSSARY[name]}" for name in names if name in GLOSSARY}
    entries |= (pointed_at or {}) | _by_name(own)
    lines = list(dict.fromkeys(entries[name] for name in names if name in entries))
    lines += [entry for entry in own if entry not in lines]
    if lines == own:
        return text
    if not own:
        end = _TAIL.search(text)
        before, after = (text[: end.start()], text[end.end() :]) if end else (text, "")
    section = "\n".join(["Args:", *lines])
    return f"{before.rstrip()}\n\n{section}" + (f"\n\n{after}" if after else "")


_TAIL = re.compile(r"\n\n(?=(?:State|Needs|Errors|Raises|Returns|Reduction|References?|>>>)[: ])")
"""Where the parts begin that stand behind the arguments."""


def _pointed_at(text: str, namespace: dict[str, Any]) -> dict[str, str]:
    """Return the entries of the functions whose arguments the docstring says are the same: "as in `adam`"."""
    found: dict[str, str] = {}
    for name in _POINTER.findall(text):
        docstring = getattr(namespace.get(name), "__doc__", None) or ""
        _, _, section = inspect.cleandoc(docstring).partition("\nArgs:\n")
        found = _by_name(_entries(section)[0]) | found
    return found


_POINTER = re.compile(r"(?:those of|as|as in|as for)\s`(\w+)`")


def _by_name(entries: list[str]) -> dict[str, str]:
    return {name.strip(" *"): entry for entry in entries for name in entry.partition(":")[0].split(",")}


def _entries(text: str) -> tuple[list[str], str]:
    """Split what follows `Args:` into its entries, lines of two spaces and what is indented below, and the rest."""
    lines = text.splitlines()
    end = next((i for i, line in enumerate(lines) if not line.startswith("  ")), len(lines))
    entries: list[str] = []
    for line in lines[:end]:
        if line.startswith("   ") and entries:
            entries[-1] += f"\n{line}"
        else:
            entries.append(line)
    return entries, "\n".join(lines[end:]).lstrip("\n")


def _shown(parameter: inspect.Parameter) -> Any:
    if parameter.annotation is parameter.empty:
        return parameter.empty
    text = spelt(parameter.annotation)
    # Any number may be a schedule; said of all, it would hide those for which one is the rule.
    return Shown(text if parameter.default is parameter.empty else text.replace(" | Schedule", ""))


def spelt(annotation: Any) -> str:
    """Return an annotation in a few letters: `float | Schedule`, `Mask | None`, `PyTree`."""
    try:
        return _spelt(annotation)
    except TypeError:  # it cannot be hashed
        return _spelt.__wrapped__(annotation)


@functools.lru_cache(maxsize=1024)
def _spelt(annotation: Any) -> str:
    if isinstance(annotation, str):
        return annotation
    if annotation is None or annotation is type(None):
        return "None"
    for mark in getattr(annotation, "__metadata__", ()):
        if isinstance(mark, Range):
            return "int" if mark.integer else "float | Schedule" if mark.schedule else "float"
        if isinstance(mark, OfParams):
            return mark.name
        if isinstance(mark, StorageDType | TreeKind):
            return "DType" if isinstance(mark, StorageDType) else "PyTree"
    if annotation == Schedule:
        return "Schedule"
    origin, args = get_origin(annotation), get_args(annotation)
    if origin in (Union, types.UnionType):
        return " | ".join(dict.fromkeys(_members(args)))
    if origin is Callable or not args:
        return (getattr(origin or annotation, "__name__", None) or str(annotation)).rpartition(".")[2]
    inside = [repr(x) if isinstance(x, str) else "..." if x is ... else spelt(x) for x in args]
    return f"{getattr(origin, '__name__', origin)}[{', '.join(inside)}]"


def _members(args: tuple) -> list[str]:
    """Return the members of a union, jax's long aliases by their names, `None` last."""
    found = []
    for name, alias in (("DTypeLike", DTypeLike), ("ArrayLike", ArrayLike)):
        if set(get_args(alias)) <= set(args):
            args = tuple(x for x in args if x not in get_args(alias))
            found.append(name)
    shown = found + [spelt(x) for x in args]
    return [x for x in shown if x != "None"] + ["None"] * ("None" in shown)
