"""What a build computed and the next may use again: in `.cache/docs`, under the sources that it came from."""

import functools
import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".cache" / "docs"


@functools.cache
def sources() -> str:
    """Return a digest of the library and its pages: what was computed with another is computed anew."""
    digest = hashlib.sha256()
    for path in sorted(x for x in (ROOT / "gradx").rglob("*") if x.suffix in (".py", ".html")):
        digest.update(path.read_bytes())
    return digest.hexdigest()


def kept(kind: str, key: str, compute: Callable[[], Any]) -> Any:
    """Return what `compute` gave for the same library and key, or call it and keep what it gives, as JSON.

    Args:
      kind: a word, the beginning of the file's name.
      key: what the result depends on, beside the library.
      compute: without arguments; returns what JSON holds.
    """
    name = hashlib.sha256(f"{sources()}|{kind}|{key}".encode()).hexdigest()[:24]
    path = FOLDER / f"{kind}-{name}.json"
    if path.exists():
        return json.loads(path.read_text())
    result = compute()
    FOLDER.mkdir(parents=True, exist_ok=True)
    part = path.with_suffix(".part")
    part.write_text(json.dumps(result))
    part.replace(path)
    return result
