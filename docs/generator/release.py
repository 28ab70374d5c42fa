"""The notes of a release, from CHANGELOG.md: `python -m docs.generator.release [VERSION]`."""

import re
import sys

import gradx
from docs.generator.kept import ROOT


def sections() -> dict[str, str]:
    """Return the text of each version in CHANGELOG.md, the newest first."""
    text = (ROOT / "CHANGELOG.md").read_text()
    parts = re.split(r"^## (.+)$", text, flags=re.M)[1:]
    return {heading.split()[0].strip("[]"): body.strip() for heading, body in zip(parts[::2], parts[1::2], strict=True)}


def notes(version: str) -> str:
    """Return the notes of a version, without the names of the tests that guard each line."""
    found = sections()
    if version not in found:
        raise SystemExit(f"CHANGELOG.md has no {version}; it has {', '.join(found)}")
    body = re.sub(r"\s*\((?:[^()]|\([^()]*\))*`tests/(?:[^()]|\([^()]*\))*\)", "", found[version])
    return f"# gradx {version}\n\n{body}\n"


if __name__ == "__main__":
    print(notes(sys.argv[1] if len(sys.argv) > 1 else gradx.__version__), end="")
