"""The badges of the README, from what pyproject.toml says: `python -m docs.generator.badges` writes them."""

import html
import tomllib
from pathlib import Path

import gradx

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "docs" / "assets" / "badges"
LETTER = 6.6
"""Pixels for a letter, about."""
COLORS = {"label": "#455a64", "value": "#3f51b5"}


def badges() -> dict[str, str]:
    """Return what each badge says."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    jax = next(x.removeprefix("jax") for x in project["dependencies"] if x.startswith("jax>"))
    said = {
        "version": gradx.__version__,
        "python": project["requires-python"],
        "jax": jax,
        "licence": project["license"],
    }
    return {name: value.replace(">=", "≥ ") for name, value in said.items()}


def svg(label: str, value: str) -> str:
    """Return a badge of two fields."""
    left, right = (len(text) * LETTER + 14 for text in (label, value))
    fields = [(0, left, label, COLORS["label"]), (left, right, value, COLORS["value"])]
    boxes = "".join(f'<rect x="{x:g}" width="{w:g}" height="20" fill="{color}"/>' for x, w, _, color in fields)
    texts = "".join(f'<text x="{x + w / 2:g}" y="14">{html.escape(text)}</text>' for x, w, text, _ in fields)
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{left + right:g}" height="20" role="img" '
        f'aria-label="{html.escape(f"{label}: {value}")}"><clipPath id="round"><rect width="{left + right:g}" '
        f'height="20" rx="3"/></clipPath><g clip-path="url(#round)">{boxes}</g><g fill="#fff" text-anchor="middle" '
        f'font-family="Verdana,DejaVu Sans,sans-serif" font-size="11">{texts}</g></svg>\n'
    )


def main() -> None:
    """Write all badges."""
    FOLDER.mkdir(exist_ok=True)
    for name, value in badges().items():
        (FOLDER / f"{name}.svg").write_text(svg(name, value))


if __name__ == "__main__":
    main()
