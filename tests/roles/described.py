"""What each recipe does with each network, as kept texts: `python -m tests.roles.described` writes them anew.

Read each difference as a reviewer: who goes by which method, and what decays?
"""

from pathlib import Path

import gradx
from gradx import recipes
from gradx.recipes.suggestions import SUGGESTIONS
from tests.roles.golden import MODELS

FOLDER = Path(__file__).parent.parent / "golden" / "recipes"
STEPS = 1000


def text(recipe: str) -> str:
    """Return the tables of all networks, each under its name."""
    tx = recipes.suggest(recipe)(steps=STEPS)
    return "\n\n".join(f"# {name}\n{gradx.describe(tx, params())}" for name, params in MODELS.items()) + "\n"


if __name__ == "__main__":
    FOLDER.mkdir(exist_ok=True)
    for name in SUGGESTIONS:
        (FOLDER / f"{name}.txt").write_text(text(name))
    print(f"{len(SUGGESTIONS)} recipes in {FOLDER}")
