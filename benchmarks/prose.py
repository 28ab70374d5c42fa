"""English prose for the language tasks: the reference texts that Python carries for its own `help()`.

They change a little from one version of Python to the next; results are compared within one.
"""

from pydoc_data.topics import topics
from typing import NamedTuple

import numpy as np

LENGTH = 64
"""Bytes that a window predicts."""
BYTES = 256
BLOCK = 100
"""Windows in a row that stay together, so that the held-out text is not the middle of sentences trained on."""
HELD_OUT_BLOCKS = 0.1
SPLIT_SEED = 0


class Windows(NamedTuple):
    """Stretches of text, each with the byte that follows every byte."""

    text: np.ndarray
    """uint8[n, 64]."""
    following: np.ndarray
    """uint8[n, 64]: the text, one byte later."""


def windows() -> tuple[Windows, Windows]:
    """Return nine tenths of the text to train on and a tenth to test, in blocks of 6,400 bytes drawn at random."""
    text = np.frombuffer("\n".join(topics[name] for name in sorted(topics)).encode(), np.uint8)
    count = (len(text) - 1) // (LENGTH * BLOCK)
    size = count * LENGTH * BLOCK
    shape = (count, BLOCK, LENGTH)
    text, following = text[:size].reshape(shape), text[1 : size + 1].reshape(shape)
    order = np.random.default_rng(SPLIT_SEED).permutation(count)
    cut = round(HELD_OUT_BLOCKS * count)

    def part(blocks: np.ndarray) -> Windows:
        return Windows(*(x[blocks].reshape(-1, LENGTH) for x in (text, following)))

    return part(order[cut:]), part(order[:cut])
