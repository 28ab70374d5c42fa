"""Which recipe for which kind of work."""

from collections.abc import Callable
from typing import NamedTuple

from gradx.core import GradientTransformation
from gradx.recipes import compositions


class Suggestion(NamedTuple):
    """A recipe, and what it is for."""

    recipe: Callable[..., GradientTransformation]
    task: str
    model: str


SUGGESTIONS = {
    "general": Suggestion(compositions.general, "anything else", "perceptrons, and what is not named below"),
    "images": Suggestion(compositions.images, "images", "convolutional networks"),
    "language": Suggestion(compositions.language, "language", "Transformers"),
    "recurrent": Suggestion(compositions.recurrent, "sequences", "recurrent networks"),
    "control": Suggestion(compositions.control, "reinforcement learning", "policy gradients"),
    "gan": Suggestion(compositions.gan, "generation", "generative adversarial networks"),
    "stream": Suggestion(compositions.stream, "very large data", "one pass over a stream"),
}


def suggest(task: str) -> Callable[..., GradientTransformation]:
    """Return the recipe for a kind of work; call it with the steps of the training.

    Args:
      task: a name of the table: "general", "images", "language", "recurrent", "control", "gan" or "stream".

    Raises ValueError for another name.

    >>> from gradx import recipes
    >>> recipes.suggest("images")(steps=1000, peak=0.003)
    images(steps=1000, peak=0.003)
    """
    if task not in SUGGESTIONS:
        raise ValueError(f"suggest: no recipe for {task!r}; there are {', '.join(SUGGESTIONS)}")
    return SUGGESTIONS[task].recipe


def table() -> str:
    """Return the recipes as a table in Markdown: name, what for, and what it is made of for a thousand steps.

    >>> from gradx import recipes
    >>> print(recipes.table().splitlines()[0])
    | recipe | for | networks | made of |
    """
    lines = ["| recipe | for | networks | made of |", "| --- | --- | --- | --- |"]
    for name, (recipe, task, model) in SUGGESTIONS.items():
        lines.append(f"| `{name}` | {task} | {model} | `{recipe(1000).expand()}` |")
    return "\n".join(lines) + "\n"
