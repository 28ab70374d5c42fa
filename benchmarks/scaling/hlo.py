"""What a compiled program communicates."""

import re
from collections import Counter
from math import prod

from benchmarks.scaling.trace import sent

NAMES = ("all-gather", "all-reduce", "all-to-all", "reduce-scatter", "collective-permute")
COLLECTIVE = re.compile(rf"= (.*?) ({'|'.join(NAMES)})\((.*)")
GROUPS = re.compile(r"replica_groups=(?:\{\{([\d,]*)\}|\[\d+,(\d+)\]|mesh\[([^\]]*)\][^{]*\{([^}]*)\})")
ARRAY = re.compile(r"([a-z]+\d*)\w*\[([\d,]*)\]")


def collectives(text: str) -> tuple[dict[str, int], dict[str, float]]:
    """Return how many arrays of more than one number are communicated, and the bytes that each device sends for all.

    Args:
      text: of the compiled program; a collective may take several arrays together. Loops count once.
    """
    counts: Counter[str] = Counter()
    bytes_sent: Counter[str] = Counter()
    for results, name, rest in COLLECTIVE.findall(text):
        group = _group(rest)
        for dtype, sizes in ARRAY.findall(results):
            size = prod(map(int, filter(None, sizes.split(",")))) * _bytes(dtype)
            counts[name] += bool(sizes)
            bytes_sent[name] += sent(name, size * (group if name == "reduce-scatter" else 1), group)
    return {name: n for name, n in counts.items() if n}, dict(bytes_sent)


def _group(text: str) -> int:
    """Return how many devices a collective takes together; XLA writes lists of them, sizes, or axes of a mesh."""
    found = GROUPS.search(text)
    if found is None:  # of a permutation pairs are written
        return 1
    members, size, mesh, axes = found.groups()
    if mesh is not None:
        sizes = dict(re.findall(r"'(\w+)'=(\d+)", mesh))
        return prod(int(part or sizes[name]) for name, part in re.findall(r"'(\w+)'(?::\(\d+\)(\d+))?", axes))
    return int(size) if size else members.count(",") + 1


def _bytes(dtype: str) -> float:
    bits = re.search(r"\d+", dtype)
    return max(int(bits[0]) / 8, 1) if bits else 1
