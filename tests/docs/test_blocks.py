"""Every block of every page written by hand runs, as the build runs it."""

from pathlib import Path

import pytest

import gradx
from docs.generator import blocks

PAGES = {
    path: text
    for path, text in blocks.pages(Path(gradx.__file__).parents[1] / "docs").items()
    if "/" in path and blocks.blocks(text)  # those at the top are run by tests/test_docs.py
}
FAST = ["start/install.md", "howto/clip.md", "howto/freeze.md", "howto/write-your-own.md", "extend/contract.md"]


EACH = [pytest.param(path, id=path, marks=() if path in FAST else pytest.mark.slow) for path in PAGES]


@pytest.mark.parametrize("path", EACH)
def test_every_block_runs(path):
    printed = blocks.run(PAGES[path], path)
    assert any(said.strip() for said in printed), "a page shows what it does"


def test_there_are_pages():
    assert len(PAGES) >= 22
    assert set(FAST) <= set(PAGES)
